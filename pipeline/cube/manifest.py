"""The manifest of a version: which layers it is made of, on which grid, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError

from pipeline.areas.area import Event
from pipeline.catalogue.identities import Direction
from pipeline.cube.layers import LayerRecord, canonical_json
from pipeline.cube.store import digest_of
from pipeline.errors import CubeError
from pipeline.grid import MOST_PIXELS, Grid
from pipeline.records import Frozen, Utc

MANIFEST = "manifest.json"
_OF_CUBE = "backscatter: "
"""begins the line of a cube's `sources` that names its collection and where that was searched"""


class Timestep(Frozen):
    """One pass in the cube: its position on the time axis and its layers by variable."""

    pass_id: str
    instant: Utc
    platform: str
    absolute_orbit: int
    relative_orbit: int
    direction: Direction
    source: str | None = Field(
        None,
        description="the collection of its backscatter; None in earlier releases",
        exclude_if=lambda value: value is None,
    )
    layers: dict[str, str] = Field(description="digest of the layer, by variable")


class Timepair(Frozen):
    """One pair of passes in the cube: its position on the pair axis and its layers by variable."""

    pair_id: str = Field(description="identity: track, start, end, as in T046_20180824_20180905")
    start: Utc
    end: Utc
    relative_orbit: int
    perpendicular_baseline_m: float | None = Field(None, description="None where no state vectors give it")
    backend: str = Field(description="what made the interferogram")
    layers: dict[str, str] = Field(description="digest of the layer, by variable")


class Look(Frozen):
    """The look geometry of one track: its layers by variable."""

    relative_orbit: int
    layers: dict[str, str] = Field(description="digest of the layer, by variable")


class Overview(Frozen):
    """The layers of a version at a coarser resolution."""

    factor: int = Field(gt=1, le=256, description="pixels along one side of a block")
    records: dict[str, LayerRecord] = Field(
        description="of the overview, by digest of the layer that it shows"
    )


@dataclass(frozen=True)
class Level:
    """One resolution of a version: the cube itself, or an overview."""

    prefix: str
    """of the keys of its arrays in the version"""
    grid: Grid
    records: Mapping[str, LayerRecord]
    """what is stored, by digest of the layer that the manifest's axes name"""


class Manifest(Frozen):
    """The content of one version. It holds no time of the build, so that the same build again gives the same bytes."""

    format: Literal["slidecube-manifest-1"] = "slidecube-manifest-1"
    area: str
    title: str
    event: Event
    grid: Grid
    catalogue: str = Field(description="digest of what the archive listed, without the time of the search")
    timesteps: tuple[Timestep, ...]
    timepairs: tuple[Timepair, ...] = Field((), description="ascending by start, end, track")
    looks: tuple[Look, ...] = Field((), description="ascending by track")
    static: dict[str, str] = Field(description="digest of the layer, by static variable")
    records: dict[str, LayerRecord] = Field(description="of every layer used, by digest")
    missing: tuple[str, ...] = Field((), description="what was wanted and is not in this version, in words")
    undelivered: tuple[str, ...] = Field(
        (),
        description="of `missing`: what the archives list and this version lacks; the version is complete without",
    )
    attributes: dict[str, JsonValue] = Field(default_factory=dict, description="of the whole cube")
    files: dict[str, str] = Field(
        default_factory=dict, description="sha256 of every file of the version that is no shard, by key"
    )
    overviews: tuple[Overview, ...] = Field((), description="ascending by factor; none in earlier releases")

    def source_of(self, step: Timestep) -> str:
        """The collection of a pass's backscatter; empty where neither the pass nor the cube states a single one.

        Earlier releases state it for the whole cube, in a line of its `sources`.
        """
        if step.source is not None:
            return step.source
        stated = self.attributes.get("sources")
        lines = [line for line in stated if isinstance(line, str)] if isinstance(stated, list) else []
        found = [line.removeprefix(_OF_CUBE) for line in lines if line.startswith(_OF_CUBE)]
        names = [line.partition(" at ")[0] for line in found]
        return names[0] if len(names) == 1 and " and " not in names[0] else ""

    @property
    def stacks(self) -> dict[str, tuple[str, ...]]:
        """By variable on an axis: the digests of its layers along the axis.

        Raises:
            CubeError: an entry of an axis lacks a variable of the others.
        """
        found: dict[str, tuple[str, ...]] = {}
        axes: tuple[tuple[Timestep | Timepair | Look, ...], ...] = (
            self.timesteps,
            self.timepairs,
            self.looks,
        )
        for entries in axes:
            for name in sorted({name for entry in entries for name in entry.layers}):
                if any(name not in entry.layers for entry in entries):
                    raise CubeError(
                        f"The manifest of {self.area[:80]!r} names {name[:80]!r} for some entries of its axis alone.",
                        "It is damaged or forged; run `slidecube verify` on it, then `slidecube build` again.",
                    )
                found[name] = tuple(entry.layers[name] for entry in entries)
        return found

    @property
    def levels(self) -> tuple[Level, ...]:
        """The cube itself, then its overviews."""
        coarse = (
            Level(f"overviews/{one.factor}/", self.grid.coarser(one.factor), one.records)
            for one in self.overviews
        )
        return (Level("", self.grid, self.records), *coarse)

    @property
    def stored(self) -> set[str]:
        """Digests of all layers that the version is made of."""
        return {record.digest for level in self.levels for record in level.records.values()}

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self._plain())

    @property
    def substance(self) -> str:
        """Digest of what a reader of the cube would notice; equal substance needs no new version.

        Overviews follow from the layers, so that a cube without them is not written again for their sake.
        """
        return digest_of(canonical_json(self._plain("catalogue", "files", "overviews")))

    def _plain(self, *without: str) -> dict[str, Any]:
        """JSON-able; an axis without an entry is left out, as in manifests that are older than the axis.

        So are `undelivered` and `overviews` where they are empty.
        """
        optional = ("timepairs", "looks", "undelivered", "overviews")
        absent = {name for name in optional if not getattr(self, name)}
        return self.model_dump(mode="json", exclude={*without, *absent})


def timepair_labels(timepairs: tuple[Timepair, ...]) -> tuple[str, ...]:
    """'YYYYMMDD_YYYYMMDD' for each pair, with '_T046' appended where two tracks have the same dates."""
    dates = [f"{pair.start:%Y%m%d}_{pair.end:%Y%m%d}" for pair in timepairs]
    return tuple(
        f"{days}_T{pair.relative_orbit:03d}" if dates.count(days) > 1 else days
        for days, pair in zip(dates, timepairs, strict=True)
    )


def parse_manifest(raw: bytes, where: str) -> Manifest:
    """The manifest in `raw`; `where` names it in errors.

    Raises:
        CubeError: it is damaged or of a later format.
    """
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CubeError(
            f"The manifest of {where} cannot be read ({field}: {first['msg']}).",
            "Run `slidecube verify` on it, then `slidecube build` again.",
        ) from error
    pixels = manifest.grid.height * manifest.grid.width
    if pixels > MOST_PIXELS:
        raise CubeError(
            f"The manifest of {where} states a grid of {pixels:,} pixels, of at most {MOST_PIXELS:,}.",
            "It is damaged or forged; build the cube again.",
        )
    return manifest
