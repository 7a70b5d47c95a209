"""The timetable of a world: when each product appears in the archives, and when it is replaced."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from pipeline.records import Frozen, Utc
from pipeline.sandbox.earth.parameters import SandboxError

TIMETABLE = "timetable.json"
"""file of a world; without it everything is published at any time"""
REVISIONS = "revisions"
"""folder of a world: `<n>/items/<id>.json` and `<n>/blobs/<host>/<path>`, which replace those of the world"""
FORMAT = "slidecube-timetable-1"


class Replacement(Frozen):
    """From an instant on, files (and the item, if the folder has one) are those of `revisions/<folder>`."""

    at: Utc
    folder: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class Publication(Frozen):
    """When one product is published."""

    id: str = Field(min_length=1, max_length=300, description="of the STAC item, or name of the granule")
    published: Utc | None = Field(description="None: never")
    replaced: tuple[Replacement, ...] = ()
    remark: str = Field("", max_length=300, description="what is unusual, in words")

    @model_validator(mode="after")
    def _ordered(self) -> Publication:
        instants = [one.at for one in self.replaced]
        if instants and (
            self.published is None or [self.published, *instants] != sorted([self.published, *instants])
        ):
            raise ValueError(f"{self.id}: replacements must follow its publication, in order of time")
        return self


class Timetable(Frozen):
    """The publications of a world. A product that is not named is published at any time."""

    format: Literal["slidecube-timetable-1"] = "slidecube-timetable-1"
    products: tuple[Publication, ...] = ()
    added: tuple[str, ...] = Field((), description="folders of `revisions` with items that the world lacks")

    @model_validator(mode="after")
    def _named_once(self) -> Timetable:
        names = [one.id for one in self.products]
        if len(set(names)) < len(names):
            raise ValueError("a product is named twice")
        return self

    @property
    def instants(self) -> tuple[datetime, ...]:
        """The instants at which something is published or replaced, ascending."""
        found = {one.published for one in self.products if one.published is not None}
        found |= {change.at for one in self.products for change in one.replaced}
        return tuple(sorted(found))


def read_timetable(root: Path) -> Timetable | None:
    """The timetable of the world in a folder; None without one.

    Raises:
        SandboxError: the document is unreadable, or names a folder of revisions that is absent.
    """
    path = root / TIMETABLE
    if not path.exists():
        return None
    try:
        found = Timetable.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise SandboxError(f"{path} cannot be read ({str(error)[:300]}).", "Write it again.") from error
    folders = {change.folder for one in found.products for change in one.replaced} | set(found.added)
    absent = sorted(name for name in folders if not (root / REVISIONS / name).is_dir())
    if absent:
        raise SandboxError(
            f"{path} names {absent[0]}, which {root / REVISIONS} lacks.",
            "Write the timetable again with `slidecube sandbox timetable`.",
        )
    return found
