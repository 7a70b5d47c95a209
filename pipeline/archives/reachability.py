"""Whether the archives can be reached from here, for `slidecube doctor`; nothing secret is shown."""

from __future__ import annotations

from pipeline.archives import registry, stac
from pipeline.archives.archive import Reachable
from pipeline.settings import settings


def reachability() -> list[Reachable]:
    """The search endpoint of SLIDECUBE_STAC_URL, then the services, keys and logins of each archive."""
    own = [finding for archive in registry.ARCHIVES for finding in archive.reachability()]
    return [stac.reachable(settings().stac_url), *own]
