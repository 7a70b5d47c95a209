"""What a build has to do: the wanted layers that the cube lacks, and the order of the work."""

from __future__ import annotations

from pydantic import Field

from pipeline.catalogue.passes import Pass
from pipeline.catalogue.slc import Pair
from pipeline.cube.schema import Axis
from pipeline.grid import Grid
from pipeline.layers.kind import LayerTask, Wanted
from pipeline.records import Frozen

AXES: tuple[Axis | None, ...] = ("timestep", None, "timepair", "track")
"""The axes of a cube, None for its static layers, in the order in which a version is put together: look geometry stays
with the pairs of its track."""


class BuildPlan(Frozen):
    """Every layer that the next version needs; those that the cube has already are marked."""

    area: str
    cube: str
    grid: Grid
    parts: tuple[Wanted, ...] = Field(description="what each kind of layer wants, in the order of AXES")
    passes: tuple[Pass, ...] = Field(description="with backscatter, ascending in time")
    pairs: tuple[Pair, ...] = Field((), description="of SLC passes, by track and time")
    unpaired: tuple[str, ...] = Field((), description="passes that are in no pair, and why")
    missing: tuple[str, ...] = Field(description="what is wanted and cannot be built, in words")
    notes: tuple[str, ...] = Field((), description="what of the catalogue was dropped or seems wrong")
    reprocessed: tuple[str, ...] = Field(
        (), description="of `notes`: layers that the latest version has of files with other content"
    )
    current_version: int | None
    changes: bool = Field(description="whether a build would publish a new version")

    @property
    def tasks(self) -> tuple[LayerTask, ...]:
        """Every layer of the version."""
        return tuple(task for part in self.parts for task in part.tasks)

    @property
    def wanted(self) -> tuple[LayerTask, ...]:
        """The layers that the cube lacks."""
        return tuple(task for task in self.tasks if not task.held)

    @property
    def bytes_to_read(self) -> int:
        """Estimate for the whole plan; what two pairs share is read once."""
        return sum(
            part.kind.bytes_to_read([task for task in part.tasks if not task.held]) for part in self.parts
        )

    def in_order(self, processors: int) -> list[LayerTask]:
        """The wanted layers in the order in which they are begun.

        As many layers as there are `processors` (the pairs processed at once) come first, since they take longest. The
        other pairs come last, so that none of them holds a worker while it waits for the processor.
        """
        pairs = [task for task in self.wanted if task.kind.limit == "processor"]
        others = [task for task in self.wanted if task.kind.limit != "processor"]
        others.sort(key=lambda task: not task.kind.begun_first)
        return [*pairs[:processors], *others, *pairs[processors:]]
