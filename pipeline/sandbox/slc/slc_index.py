"""The index of a world's single look complex data: `slc/index.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from pipeline.catalogue.slc import Burst, Granule
from pipeline.records import Frozen, Utc
from pipeline.sandbox.earth.parameters import SandboxError

INDEX = "slc/index.json"


class OrbitEntry(Frozen):
    """One orbit file."""

    file: str = Field(description="its name, or its path below the bucket or below `blobs`")
    platform: str = Field(description="such as 'sentinel-1a'")
    start: Utc = Field(description="valid from")
    end: Utc = Field(description="valid until")
    kind: Literal["precise", "restituted"]

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.file.rpartition("/")[2]

    @property
    def key(self) -> str:
        """Key of the file in the bucket."""
        return f"AUX_{'POEORB' if self.kind == 'precise' else 'RESORB'}/{self.name}"


class Index(Frozen):
    """The index of one world; a world without an index has no such data."""

    granules: tuple[Granule, ...] = ()
    bursts: tuple[Burst, ...] = ()
    orbits: tuple[OrbitEntry, ...] = ()


def read_index(root: Path) -> Index:
    """Read a world's index.

    Raises:
        SandboxError: the index is unreadable, or a burst belongs to none of its granules.
    """
    path = root / INDEX
    if not path.exists():
        return Index()
    try:
        index = Index.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise SandboxError(f"{path} cannot be read ({str(error)[:300]}).", "Make the world again.") from error
    names = {granule.name for granule in index.granules}
    orphan = next((burst.id for burst in index.bursts if burst.granule not in names), None)
    if orphan is not None:
        raise SandboxError(f"{path}: {orphan} belongs to no granule.", "Make the world again.")
    return index
