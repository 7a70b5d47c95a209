"""Items of a search that are not used: each is named with the reason, and the others are used without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic import Field

from pipeline.catalogue.identities import id_key
from pipeline.catalogue.item_fields import ItemError
from pipeline.records import Frozen

T = TypeVar("T")

MOST_NAMES = 10
"""ids that a line writes out; the others of the same reason are counted"""


class LeftOut(Frozen):
    """One item, or one pass, that is not used."""

    id: str
    reason: str = Field(description="in words, as in 'sat:relative_orbit is missing'")


def readable(items: Iterable[Any], read: Callable[[Any], T], left_out: list[LeftOut]) -> list[T]:
    """Every item that `read` can read, in their order; the others are added to `left_out`."""
    found: list[T] = []
    for item in items:
        try:
            found.append(read(item))
        except ItemError as error:
            left_out.append(LeftOut(id=error.item_id, reason=error.reason))
    return found


def describe(left_out: Iterable[LeftOut], nouns: tuple[str, str] = ("item", "items")) -> tuple[str, ...]:
    """A line for each reason, with the items: '2 items left out (sat:relative_orbit is missing): a, b'."""
    by_reason: dict[str, list[str]] = {}
    for one in left_out:
        by_reason.setdefault(one.reason, []).append(one.id)
    lines = []
    for reason, ids in by_reason.items():
        names = ", ".join(sorted(ids)[:MOST_NAMES])
        more = f" and {len(ids) - MOST_NAMES} more" if len(ids) > MOST_NAMES else ""
        count = nouns[0] if len(ids) == 1 else f"{len(ids)} {nouns[1]}"
        lines.append(f"{count} left out ({reason}): {names}{more}")
    return tuple(lines)


class Exclusion:
    """The ids that an area excludes: of items, granules, bursts or passes."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._names = {id_key(name): name for name in ids}
        self._met: set[str] = set()

    def __contains__(self, item_id: object) -> bool:
        """Whether the area excludes that id; it is remembered for `notes`."""
        if not isinstance(item_id, str) or (key := id_key(item_id)) not in self._names:
            return False
        self._met.add(key)
        return True

    def notes(self) -> list[str]:
        """The ids that were found, and so left out, in one line."""
        names = sorted(self._names[key] for key in self._met)
        return [f"left out, since the area excludes them: {', '.join(names)}"] if names else []
