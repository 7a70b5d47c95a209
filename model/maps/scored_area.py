"""The pixels on which the map of a model is scored: those that its training did not use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.inputs.cubes import grid_of
from model.inputs.selection import Selection
from model.inputs.windows import Box, whole
from model.maps.map_description import MappedScene

if TYPE_CHECKING:
    from model.bundle.document import BundleDocument
    from model.bundle.training_event import TrainingEvent


@dataclass(frozen=True)
class ScoredArea:
    """Rectangles of a scene in which a map is scored against the labels."""

    boxes: tuple[Box, ...]
    words: str
    remarks: tuple[str, ...]


def training_event_of(scene: MappedScene, document: BundleDocument) -> TrainingEvent | None:
    """The training event of the model whose scene this is, or None.

    It has the same grid, and a pass after the event that is mapped here too. A later event on the same ground is
    another scene.
    """
    grid, after = grid_of(scene.cube), _after(scene.selection)
    same = [
        event
        for event in document.training_events
        if grid
        and event.grid == grid
        and event.cube.shape == scene.facts.shape
        and after & _after(event.selection)
    ]
    exact = (event for event in same if event.cube.digest == scene.facts.digest)
    return next(exact, same[0] if same else None)


def scored_area(scene: MappedScene, document: BundleDocument, own: TrainingEvent | None) -> ScoredArea:
    """The area where a comparison with labels does not flatter the model.

    Args:
        own: the training event whose scene this is.
    """
    if own is not None:
        return ScoredArea(
            own.split.test,
            "the test area of this scene, which training did not use",
            ("The model was trained on another part of this scene.",),
        )
    remarks: tuple[str, ...] = ()
    if scene.facts.area in {event.cube.area for event in document.training_events}:
        remarks = (
            "The model was trained on the same area, on another grid or at another event: the score may be too high.",
        )
    return ScoredArea(
        (whole(scene.facts.shape),), "the whole scene, which is not in the training set", remarks
    )


def _after(selection: Selection) -> set[str]:
    """Identifiers of the passes after the event, of all views."""
    return {used.id for view in selection.every_view for used in view.after}
