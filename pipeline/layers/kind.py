"""A kind of layer: which layers it wants of a catalogue, how they are derived, and how they enter a version.

Everything that the build does differently for backscatter, terrain, labels, interferometry or look geometry is in a
`LayerKind`, one file each in this folder; `pipeline.layers.kinds` lists them. A task carries its kind and what the
layer is made from, so that nothing is looked up again by a name.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field, SerializeAsAny, field_serializer

from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue.catalogue import Catalogue
from pipeline.cube.layers import LayerRecord, LayerValues, Recipe
from pipeline.cube.manifest import Look, Timepair, Timestep
from pipeline.cube.schema import Axis
from pipeline.errors import number_of
from pipeline.grid import Grid
from pipeline.layers.plan_inputs import PlanInputs
from pipeline.records import Frozen

Entry = Timestep | Timepair | Look
"""The entry of a manifest for one index of an axis, with the digests of its layers."""
Key = str | int
"""The identity of an entry on its axis: the pass, the pair or the track."""
Limit = Literal["archive", "processor"]
"""The resource that too many layers at once would overload: the archive, or the processor of pairs."""


class LayerTask(Frozen):
    """One layer that a plan wants."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    kind: LayerKind[Any]
    recipe: Recipe
    label: str = Field(description="for people: what it is")
    size_bytes: int = Field(0, description="estimate of what is read from the archive; 0 where held")
    held: bool = Field(False, description="whether the cube has it already")
    promised: float | None = Field(
        None,
        description="share of the grid, 0..1, that the sources cover as the archive lists them; None: unknown",
    )

    @property
    def key(self) -> Key | None:
        """The entry of the layer on its kind's axis; None for a static layer."""
        return None

    @property
    def short_label(self) -> str:
        """The label in a list that names the kind already."""
        return self.label

    @field_serializer("kind")
    def _name_of_kind(self, kind: LayerKind[Any]) -> str:
        return kind.name


T = TypeVar("T", bound=LayerTask)


class Wanted(Frozen):
    """What one kind of layer wants for a cube: its part of a plan."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    kind: LayerKind[Any]
    tasks: tuple[SerializeAsAny[LayerTask], ...] = ()
    missing: tuple[str, ...] = Field((), description="what is wanted and cannot be built, in words")
    notes: tuple[str, ...] = ()
    staying: frozenset[Key] = Field(
        frozenset(),
        description="entries, or static variables, that stay as the latest version has them, though no task makes them",
    )
    undelivered: tuple[str, ...] = Field(
        (),
        description="of `missing`: what an archive lists and does not hand out now; the version is incomplete",
    )

    @field_serializer("kind")
    def _name_of_kind(self, kind: LayerKind[Any]) -> str:
        return kind.name


@dataclass(frozen=True)
class Site:
    """What every layer of a cube is derived for."""

    area: AreaOfInterest
    grid: Grid
    downloads: Path
    """a folder on this machine, for files that are fetched and used again"""


@dataclass(frozen=True)
class Lost(Generic[T]):
    """An entry, or a static layer, of which a layer could not be built."""

    task: T
    """the layer that failed"""
    reason: str
    kept: bool
    """whether it stays as the latest version has it, instead of being left out"""


class LayerKind(ABC, Generic[T]):
    """One kind of layer. An error of one of its layers never stops the others."""

    name: ClassVar[str]
    """the kind, as recipes name it"""
    variables: ClassVar[tuple[str, ...]]
    """every variable that its layers may hold"""
    axis: ClassVar[Axis | None]
    """the axis that its layers lie on; None for static layers"""
    limit: ClassVar[Limit | None] = "archive"
    """the resource that limits how many are built at once; None: no limit"""
    begun_first: ClassVar[bool] = True
    """whether one takes so long that it is begun before the kinds of many short layers"""
    noun: ClassVar[str] = "layer"
    """for people: one result of it, as in '2 pairs'"""

    @abstractmethod
    def wanted(self, inputs: PlanInputs) -> Wanted:
        """The layers that the area wants of the catalogue, and the wanted ones that cannot be built.

        Raises:
            ArchiveError: an item of the catalogue cannot be read.
        """

    @abstractmethod
    def derive(self, task: T, site: Site) -> LayerValues:
        """Fetch the sources of a layer and compute its values, now or while it is written. Safe in threads.

        Raises:
            ArchiveError: a source cannot be read, or changed since the catalogue was made.
            SourceDataError: a source cannot be used.
            InterferometryError: a pair cannot be processed, or its product cannot be used.
        """

    def examine(self, task: T, site: Site) -> list[str]:
        """Open the sources of a layer, as far as that costs little, before anything large is read; remarks on them.

        Raises:
            ArchiveError, SourceDataError: the layer cannot be derived from them.
        """
        return []

    def entry(self, task: T, layers: dict[str, str]) -> Entry:
        """The entry of a task on the kind's axis, with the digests of its layers by variable."""
        raise NotImplementedError(f"{self.name} layers lie on no axis")

    def delivered(self, record: LayerRecord, grid: Grid) -> float | None:
        """Share of the grid where a finished layer has data, 0..1; None where its record does not state it."""
        coverage = record.report.get("coverage")
        return float(coverage) if isinstance(coverage, int | float) else None

    def attributes(self, layers: Mapping[str, LayerRecord]) -> dict[str, Any]:
        """Attributes of the whole cube that static layers decide; `layers` are those of a version, by variable."""
        return {}

    def credits(self, layers: Mapping[str, LayerRecord], entries: Sequence[Entry]) -> list[str]:
        """Words that must go with every product made from its layers.

        `layers` are the static layers of a version by variable, `entries` those on the kind's axis.
        """
        return []

    def staying(self, wanted: Wanted, pairs: Sequence[Timepair]) -> Collection[Key]:
        """Entries of the latest version that stay without a task; `pairs` are those of the new version."""
        return wanted.staying

    def consistent(
        self, area: AreaOfInterest, built: Sequence[Entry], kept: Sequence[Entry]
    ) -> tuple[Sequence[Entry], list[str]]:
        """The kept entries that may be in one version with the built ones, and why the others are left out."""
        return kept, []

    def describe_losses(self, lost: Sequence[Lost[T]], version: int | None) -> list[str]:
        """Lines of a manifest's `missing` for what failed; `version` is the latest one."""
        return [
            f"{one.task.label}: {one.reason}"
            if self.axis is None
            else f"{one.task.label}: {'kept as it was' if one.kept else 'left out'} ({one.reason})"
            for one in lost
        ]

    def bytes_to_read(self, tasks: Sequence[T]) -> int:
        """Estimate of what is read from the archive for these layers together."""
        return sum(task.size_bytes for task in tasks)

    def sources(self, area: AreaOfInterest, catalogue: Catalogue, entries: Sequence[Entry]) -> list[str]:
        """Lines of a cube's attribute `sources`; `entries` are those of the version on the kind's axis."""
        return []


def share_without(record: LayerRecord, counted: str, grid: Grid) -> float | None:
    """Share of the grid outside the pixels that the record counts under that name, 0..1; None where it does not."""
    pixels = record.report.get(counted)
    return 1 - pixels / (grid.height * grid.width) if isinstance(pixels, int) else None


LayerTask.model_rebuild()
Wanted.model_rebuild()


def describe_tasks(tasks: Sequence[LayerTask]) -> str:
    """'labels from NIED', '2 layers: labels from NIED, terrain from nasadem', '2 pairs: T046_..., T046_...'."""
    if len(tasks) == 1:
        return tasks[0].label
    names = sorted(task.short_label for task in tasks)
    return f"{len(tasks)} {tasks[0].kind.noun}s: {', '.join(names)}"


def failures_by_reason(tasks: Sequence[LayerTask], failed: Mapping[str, str]) -> tuple[str, ...]:
    """Each reason once, after the layers that failed for it; `failed` has the reasons by digest of the recipe."""
    by_digest = {task.recipe.digest: task for task in tasks}
    found: dict[tuple[str, str], list[tuple[LayerTask, str]]] = {}
    for digest, reason in sorted(failed.items()):
        task = by_digest[digest]
        found.setdefault((task.kind.noun, without_files(reason)), []).append((task, reason))
    return tuple(
        f"{describe_tasks([task for task, _ in those])}: {one_reason_of([reason for _, reason in those])}"
        for those in found.values()
    )


_FILE = re.compile(r"https?://[^\s,;()]+|[^\s,;()]*/[^\s,;()]+|[\w.-]+\.(tiff?|SAFE|zip)\b")
"""an address, a path or a file's name: reasons that differ in nothing else are one"""


def without_files(reason: str) -> str:
    """A reason without the file that it names: the same for all files that failed alike."""
    return _FILE.sub("a file", reason)


def one_reason_of(reasons: Sequence[str]) -> str:
    """The first of reasons that differ only in the file that they name, and for how many more files it is the same."""
    others = len(set(reasons)) - 1
    if not others:
        return reasons[0]
    return f"{reasons[0].rstrip('.')} (the same for {number_of(others, 'more file')})."
