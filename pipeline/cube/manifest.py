"""The manifest of a version: which layers it is made of, on which grid, and what is missing."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError

from pipeline.aoi import Event
from pipeline.cube.layers import LayerRecord, canonical_json
from pipeline.cube.storage import digest_of
from pipeline.errors import CubeError
from pipeline.grid import Grid
from pipeline.passes import Direction
from pipeline.records import Frozen, Utc

MANIFEST = "manifest.json"


class Timestep(Frozen):
    """One pass in the cube: its place on the time axis and its layers by variable."""

    pass_id: str
    instant: Utc
    platform: str
    absolute_orbit: int
    relative_orbit: int
    direction: Direction
    layers: dict[str, str] = Field(description="digest of the layer, by variable")


class Manifest(Frozen):
    """What one version holds. No time of day is in it: building the same again gives the same bytes."""

    format: Literal["slidecube-manifest-1"] = "slidecube-manifest-1"
    area: str
    title: str
    event: Event
    grid: Grid
    catalogue: str = Field(description="digest of the archive's answer, without its time")
    timesteps: tuple[Timestep, ...]
    static: dict[str, str] = Field(description="digest of the layer, by static variable")
    records: dict[str, LayerRecord] = Field(description="of every layer used, by digest")
    missing: tuple[str, ...] = Field((), description="what was wanted and is not in this version, in words")
    attributes: dict[str, JsonValue] = Field(default_factory=dict, description="of the whole cube")
    files: dict[str, str] = Field(
        default_factory=dict, description="sha256 of every file of the version that is no shard, by key"
    )

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def substance(self) -> str:
        """Digest of what a reader of the cube would notice; equal substance needs no new version."""
        noticed = self.model_dump(mode="json", exclude={"catalogue", "files"})
        return digest_of(canonical_json(noticed))


def parse_manifest(raw: bytes, where: Any) -> Manifest:
    """The manifest in `raw`; `where` names it in errors.

    Raises:
        CubeError: it is damaged or of a later format.
    """
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CubeError(
            f"The manifest of {where} cannot be read ({field}: {first['msg']}).",
            "Run `slidecube verify` on it, then `slidecube build` again.",
        ) from error
