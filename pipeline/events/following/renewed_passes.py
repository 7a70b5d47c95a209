"""What an archive processed again and a cube has taken: lines for the history of an event, by the cube's journal."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator

from pipeline.areas.area import load_area
from pipeline.build.contents import store_of
from pipeline.errors import SlidecubeError

log = logging.getLogger(__name__)


def lines_of_renewed(area: str, known: Iterable[str]) -> list[str]:
    """A line for each version of an area's cube that took such passes, the oldest first, without those that are known.

    A journal that cannot be read says nothing, and stops no other.

    Args:
        known: lines of the history.
    """
    told = tuple(known)
    lines = []
    for number, passes in sorted(_renewed(area)):
        head = f"cube {area} version {number}: "
        if not any(words.startswith(head) for words in told):
            lines.append(f"{head}the archive processed again, and it took anew: {'; '.join(passes)}")
    return lines


def _renewed(area: str) -> Iterator[tuple[int, list[str]]]:
    """Numbers of versions, and the passes that each took anew."""
    try:
        store = store_of(load_area(area))
        names = store.names("journal")
    except (SlidecubeError, OSError) as error:
        log.warning("%s: its cube's journal cannot be read (%s)", area, error)
        return
    for name in names:
        number = name.removesuffix(".json")
        try:
            entry = json.loads(store.read(f"journal/{name}") or b"{}") if number.isdecimal() else {}
            passes = dict.fromkeys(_pass_of(str(line)) for line in entry.get("reprocessed", ()))
        except (SlidecubeError, OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
            log.warning(
                "%s: version %s has no journal that can be read (%s)", area, number, type(error).__name__
            )
            continue
        if passes:
            yield int(number), list(passes)


def _pass_of(line: str) -> str:
    """The pass of a line such as "vv 2018-09-05 20:31 track 46: NAME/vv processed again by the archive"."""
    layer, colon, _ = line.partition(": ")
    return " ".join(layer.split()[1:])[:200] if colon else line[:200]
