"""Where cubes, bundles and maps belong: one rule for commands and flows. No other module makes these paths.

Below the data folder (`SLIDECUBE_DATA_DIR`):

    cubes/<area>                            a cube with its versions
    cubes/<area>-<source>                   the cube of a further source of backscatter: `hokkaido-opera-rtc-s1`
    cubes/<area>-published                  the published cube of the area's event, with its licence and citation
    insar/<area>                            jobs of interferometric pairs and what was fetched for them
    models/<area>/v3                        the bundle of version 3 of the cube
    models/<area>/v3-<name>                 a further bundle of that version, named by a person
    models/<area>/v3.refused.json           why version 3 gets no bundle or no map
    maps/<area>/v3-<bundle>-<digest>        the map of version 3 by a bundle: its name and 8 digits of its digest
    maps/<area>/v3-detector                 the map of version 3 that needs no training
    maps/<area>/latest                      a link to the map of the area that was written last
    maps/<area>/reviews.json                what persons said of the polygons of its maps
    maps/feed.atom                          the feed of all maps
    areas/<area>.yaml                       the area file of an event, found by its name like the shipped ones

A bundle that comes with the package is found by its name (`shipped_bundles`), after folders and areas of that name.
Nothing but its name finds it: it is no bundle of any area.

The folder of a cube that was not built here begins with `unversioned` instead of `v3`. Earlier releases named folders
`models/<area>/3`, `maps/<area>/3`, `maps/<area>/v3`, `maps/<area>/v3-log-ratio` and
`maps/<area>/v3-<area>-<version>`; they are found, and never renamed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from pipeline.errors import ModelError, SettingsError
from pipeline.files import is_there, read_regular
from pipeline.object_storage.result_copies import fetch
from pipeline.records import Frozen
from pipeline.settings import settings

BUNDLE_DOCUMENT = "bundle.json"
"""the file that makes a folder a bundle"""
MOST_DOCUMENT_BYTES = 64 * 2**20
"""of that file"""
SHIPPED = Path(__file__).resolve().parents[1] / "model" / "bundle" / "shipped"
"""the folder of the bundles that come with the package"""
SIMULATED_PRIOR = "simulated-prior"
"""the name of the one that was trained on simulated events alone"""
WORLD_DOCUMENT, WORLD_FORMAT = "world.json", "slidecube-world-1"
"""the file that makes a folder a simulated world, and the format that it states"""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""what a person may name a bundle"""


def areas_root() -> Path:
    """The store of the areas of events: `<data>/areas`."""
    return settings().data_dir / "areas"


def stored_area(name: str) -> Path:
    """The area file of an event's area: `<data>/areas/<name>.yaml`."""
    return areas_root() / f"{name}.yaml"


def cubes_root() -> Path:
    """The folder of all cubes: `<data>/cubes`."""
    return settings().data_dir / "cubes"


def cube_root(area: str) -> Path:
    """The cube of an area: `<data>/cubes/<area>`."""
    return cubes_root() / area


def name_beside(area: str, source: str) -> str:
    """The name by which commands find the cube of a further source of an area: `hokkaido-opera-rtc-s1`."""
    return f"{area}-{source}"


def base_of(name: str, sources: Iterable[str]) -> tuple[str, str] | None:
    """The area and the source of such a name; None where it ends with none of the sources."""
    return next(((name.removesuffix(f"-{one}"), one) for one in sources if name.endswith(f"-{one}")), None)


def published_name(area: str) -> str:
    """The name by which commands find the published cube of an area's event: `hokkaido-published`."""
    return f"{area}-published"


def published_root(area: str) -> Path:
    """The published cube of an area's event: `<data>/cubes/<area>-published`."""
    return cube_root(published_name(area))


def download_root(area: str) -> Path:
    """Inventories that were fetched for an area, on the local disk: `<data>/cubes/<area>/downloads`."""
    return cube_root(area) / "downloads"


def awaited_passes(area: str) -> Path:
    """What the archives lack of an event's area, and the next pass: `<data>/cubes/<area>/awaited.json`."""
    return cube_root(area) / "awaited.json"


def insar_root(area: str) -> Path:
    """Interferometric jobs of an area and what was fetched for them: `<data>/insar/<area>`."""
    return settings().data_dir / "insar" / area


def bundle_named(text: str) -> Path:
    """The folder of a bundle by its path, by `AREA` for the newest bundle of an area, by `AREA/NAME`, or by the name of
    one that comes with the package.

    The newest bundle is the one that was trained last. A path takes precedence over a name only where it holds a
    bundle.

    Raises:
        ModelError: there is neither a folder nor a bundle of that name.
    """
    path, models = Path(text), settings().data_dir / "models"
    if (path / BUNDLE_DOCUMENT).is_file():
        return path
    area, _, name = text.partition("/")
    if is_name(area) and (not name or is_name(name)):
        found = bundles_of(area)
        if name:
            found = [models / area / name]
        if found and (found[-1] / BUNDLE_DOCUMENT).is_file():
            return found[-1]
    shipped = {each.name: each for each in shipped_bundles()}
    if text in shipped:
        return shipped[text]
    if path.exists():
        return path
    known = (*(each.name for each in _folders(models)), *shipped)
    raise ModelError(
        f"There is no bundle {text!r}: neither a folder nor an area with a bundle in {models}."
        f"{did_you_mean(text, known)}",
        "Train one with `slidecube train AREA`, or give the folder of a bundle.",
    )


def shipped_bundles() -> list[Path]:
    """The folders of the bundles that come with the package, by name."""
    return [each for each in _folders(SHIPPED) if (each / BUNDLE_DOCUMENT).is_file()]


def is_shipped(bundle: Path) -> bool:
    """Whether the folder of a bundle is one that comes with the package."""
    return bundle.resolve().parent == SHIPPED


def bundles_of(area: str) -> list[Path]:
    """The folders of all bundles of an area, the newest last."""
    fetch("models", area)
    folders = _folders(settings().data_dir / "models" / area)
    return sorted((each for each in folders if (each / BUNDLE_DOCUMENT).is_file()), key=_created)


def is_world(folder: Path) -> bool:
    """Whether a folder is a finished simulated world."""
    try:
        document = json.loads(read_regular(folder / WORLD_DOCUMENT, MOST_DOCUMENT_BYTES))
        return bool(document["format"] == WORLD_FORMAT)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


LONGEST_NAME_BYTES = 200
"""of a folder, with room for what is added to the name of an area"""


def folder_name(text: str) -> str:
    """The name itself, if it can be that of a folder below another one.

    A cube or a bundle from elsewhere can name its area as it likes: `../..` must not lead out of the data folder.

    Raises:
        ModelError: it cannot.
    """
    fits = len(text.encode(errors="replace")) <= LONGEST_NAME_BYTES
    if not (is_name(text) and text.isprintable() and not text.startswith(".") and fits):
        raise ModelError(
            f"The area {text[:80]!r} cannot name a folder, so that its results have no place.",
            "Give the folder of the result with --out, or rename the area of the cube.",
        )
    return text


def maps_root() -> Path:
    """The folder of all maps: `<data>/maps`."""
    return settings().data_dir / "maps"


def feed_of_maps() -> Path:
    """The Atom feed of all maps: `<data>/maps/feed.atom`."""
    return maps_root() / "feed.atom"


def map_named(text: str) -> Path:
    """The folder of a map by its path, by `AREA` for the map of an area that was written last, or by `AREA/NAME`.

    Raises:
        ModelError: there is neither a folder nor a map of that name.
    """
    path = Path(text).resolve()
    if is_there(path):
        return path
    area, _, name = text.partition("/")
    if is_name(area) and (not name or is_name(name)):
        fetch("maps", area)
        folder = (maps_root() / area / (name or "latest")).resolve()
        if is_there(folder):
            return folder
    known = [each.name for each in _folders(maps_root())]
    raise ModelError(
        f"There is no map {text!r:.200}: neither a folder nor an area with a map in {maps_root()}."
        f"{did_you_mean(text, known)}",
        "Make one with `slidecube map AREA`, or give the folder of a map.",
    )


class Place(Frozen):
    """Where the results of one version of one cube belong."""

    area: Annotated[str, AfterValidator(folder_name)]
    version: int | None
    """None: the cube was not built here, such as a published one"""

    @property
    def label(self) -> str:
        """The first part of the names of its folders."""
        return "unversioned" if self.version is None else f"v{self.version}"

    @property
    def models(self) -> Path:
        """The folder of all bundles of the area."""
        return settings().data_dir / "models" / self.area

    @property
    def maps(self) -> Path:
        """The folder of all maps of the area."""
        return maps_root() / self.area

    @property
    def latest_map(self) -> Path:
        """The link to the map of the area that was written last."""
        return self.maps / "latest"

    @property
    def reviews(self) -> Path:
        """What persons said of the polygons of the area's maps."""
        return self.maps / "reviews.json"

    @property
    def refusals(self) -> Path:
        """The file that states why the version gets no bundle or no map."""
        return self.models / f"{self.label}.refused.json"

    def bundle(self, name: str | None = None) -> Path:
        """Where the version's bundle belongs, or a further one that has a name.

        Raises:
            SettingsError: the name cannot be that of a folder.
        """
        if name is None:
            return self.models / self.label
        if not NAME.fullmatch(name):
            raise SettingsError(
                f"{name!r} cannot name a bundle.", "Use letters, digits, dot, hyphen and underscore."
            )
        return self.models / f"{self.label}-{name}"

    def found_bundle(self) -> Path | None:
        """The version's own bundle, where it exists; an earlier release may have made it."""
        fetch("models", self.area)
        for folder in (self.bundle(), *self._earlier(self.models)):
            if (folder / BUNDLE_DOCUMENT).is_file():
                return folder
        return None

    def map(self, bundle: Path | None, digest: str = "") -> Path:
        """Where the version's map by a bundle of that digest belongs; without a bundle: that of the detector."""
        if bundle is None:
            return self.maps / f"{self.label}-detector"
        folder = bundle.resolve()
        kept = settings().data_dir.resolve() / "models"
        name = f"{folder.parent.name}-{folder.name}" if folder.parent.parent == kept else folder.name
        return self.maps / f"{self.label}-{_slug(name)}-{digest[:8]}"

    def found_maps(self) -> list[Path]:
        """The folders of all maps of the version, those of earlier releases last."""
        fetch("maps", self.area)
        earlier = [self.maps / self.label, *self._earlier(self.maps)]
        own = [each for each in _folders(self.maps) if each.name.startswith(f"{self.label}-")]
        return [*own, *(each for each in earlier if each.is_dir())]

    def _earlier(self, root: Path) -> list[Path]:
        return [] if self.version is None else [root / str(self.version)]


def _folders(root: Path) -> list[Path]:
    """Folders directly below `root` by name, without unfinished ones."""
    if not root.is_dir():
        return []
    return sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))


def _created(bundle: Path) -> tuple[datetime, str]:
    """When a bundle was trained, as its document states; the earliest time where that states none."""
    try:
        text = json.loads(read_regular(bundle / BUNDLE_DOCUMENT, MOST_DOCUMENT_BYTES))["created"]
        when = datetime.fromisoformat(text)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        when = datetime.min
    return when if when.tzinfo else when.replace(tzinfo=UTC), bundle.name


def is_name(text: str) -> bool:
    return bool(text) and text not in (".", "..") and Path(text).name == text


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "bundle"


def did_you_mean(text: str, names: Iterable[str]) -> str:
    """A sentence that names the most similar name; empty where none is similar."""
    close = get_close_matches(text, list(names), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
