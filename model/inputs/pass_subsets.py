"""Parts of a selection: fewer passes, or the views of some directions alone; and how far two are apart."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import Field

from model.inputs import coherence_pairs as pairs
from model.inputs.selection import Selection, View
from pipeline.errors import ModelError
from pipeline.records import Frozen


def limit_passes(selection: Selection, before: int | None, after: int | None) -> Selection:
    """The selection with only the newest `before` passes before and the first `after` passes after the event in each
    view.

    None: all. A view that has fewer keeps all of them. Pairs that end after the newest remaining pass are dropped.

    Raises:
        ModelError: a number below 1 is asked for.
    """
    if min(n for n in (before, after, 1) if n is not None) < 1:
        raise ModelError("At least one pass before and one after the event is needed.")
    views = []
    for view in selection.every_view:
        later = view.after[:after]
        views.append(
            view.model_copy(
                update={
                    "before": view.before[-before:] if before else view.before,
                    "after": later,
                    "pairs": pairs.until(view.pairs, later[-1].instant),
                }
            )
        )
    words = f"{before or 'all'} newest before and {after or 'all'} first after of these"
    return _with_views(selection, tuple(views), words)


def in_directions(selection: Selection, directions: Collection[str]) -> Selection:
    """The selection with the views of these directions alone.

    Raises:
        ModelError: it has none of them.
    """
    views = tuple(view for view in selection.every_view if view.direction in directions)
    if views == selection.every_view:
        return selection
    if not views:
        raise ModelError(
            f"There is no {' and no '.join(sorted(directions))} view among {selection.track}.",
            "Ask for another --track.",
        )
    named = selection.model_copy(update={"track": " and ".join(view.track for view in views)})
    return _with_views(named, views, f"of these {' and '.join(view.direction for view in views)} alone")


def _with_views(selection: Selection, views: tuple[View, ...], words: str) -> Selection:
    return selection.model_copy(
        update={
            "before": views[0].before,
            "after": views[0].after,
            "views": views,
            "rule": f"{selection.rule}; {words}",
        }
    )


class ViewPasses(Frozen):
    """The numbers of passes of one view."""

    direction: str
    before: int = Field(ge=1)
    after: int = Field(ge=1)


def passes_by_view(selection: Selection) -> tuple[ViewPasses, ...]:
    """The numbers of passes of every view, by the name of the direction."""
    found = (
        ViewPasses(direction=view.direction, before=len(view.before), after=len(view.after))
        for view in selection.every_view
    )
    return tuple(sorted(found, key=lambda view: view.direction))


def most_after(selection: Selection) -> int:
    """The number of passes after the event of the view that has most."""
    return max(len(view.after) for view in selection.every_view)


class PassSubset(Frozen):
    """Some of the passes of a selection: numbers before and after the event, in the views of some directions."""

    before: int | None = Field(None, ge=1, description="newest passes before the event; None: all")
    after: int | None = Field(None, ge=1, description="first passes after the event; None: all")
    directions: tuple[str, ...] = Field((), description="empty: every view")

    def of(self, selection: Selection) -> Selection | None:
        """The passes; None: the selection has not as many, or not these views."""
        kept = selection
        if self.directions:
            if not set(self.directions) <= {view.direction for view in selection.every_view}:
                return None
            kept = in_directions(selection, self.directions)
        most = most_after(kept)
        if self.after is not None and self.after > most:
            return None
        if self.before is None and self.after in (None, most):
            return kept
        return limit_passes(kept, self.before, self.after)


def distance(
    views: tuple[ViewPasses, ...], before: int, after: int, selection: Selection
) -> tuple[int, int, int]:
    """How far a recorded case is from a selection: in directions, in passes after the event, in those before it.

    Args:
        views: of the case; empty: a case of every view, by the numbers of the first view alone.
        before, after: passes of the first view of the case.
    """
    if not views:
        return 0, abs(after - len(selection.after)), abs(before - len(selection.before))
    case, wanted = ({view.direction: view for view in each} for each in (views, passes_by_view(selection)))
    common = case.keys() & wanted.keys()
    return (
        len(case.keys() ^ wanted.keys()),
        sum(abs(case[name].after - wanted[name].after) for name in common),
        sum(abs(case[name].before - wanted[name].before) for name in common),
    )
