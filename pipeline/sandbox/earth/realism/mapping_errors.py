"""An inventory as people draw it: incomplete, neighbours merged, shifted as a whole, older landslides among the new."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
import shapely.affinity
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely import Polygon

from pipeline.sandbox.earth.realism.switches import MappingErrors


def mapped_outlines(
    new: Sequence[Polygon],
    old: Sequence[Polygon],
    errors: MappingErrors,
    rng: np.random.Generator,
) -> tuple[list[Polygon], list[Polygon]]:
    """Outlines as drawn: (new, old). The input is in a projection in metres, each polygon already displaced by itself.

    Older landslides that are taken for new ones are among the new.
    """
    kept = [outline for outline in new if rng.uniform() >= errors.missing]
    wrong = rng.uniform(size=len(old)) < errors.older_share
    kept += [outline for outline, taken in zip(old, wrong, strict=True) if taken]
    shift = rng.normal(0, errors.shift_m, 2)
    found = [
        [shapely.affinity.translate(outline, *shift) for outline in outlines]
        for outlines in (
            merged(kept, errors.merged_within_m),
            [outline for outline, taken in zip(old, wrong, strict=True) if not taken],
        )
    ]
    return found[0], found[1]


def merged(outlines: Sequence[Polygon], within_m: float) -> list[Polygon]:
    """The outlines, where those that lie within that distance of each other are one, with the gap between them."""
    if within_m <= 0 or len(outlines) < 2:
        return list(outlines)
    shapes = np.array(outlines, dtype=object)
    tree = shapely.STRtree(shapes)
    one, other = tree.query(shapes, predicate="dwithin", distance=within_m)
    count = len(shapes)
    links = coo_array((np.ones(len(one)), (one, other)), shape=(count, count))
    _, group = connected_components(links, directed=False)
    found: list[Polygon] = []
    for number in range(int(group.max()) + 1):
        members = shapes[group == number]
        if len(members) == 1:
            found.append(members[0])
            continue
        closed = shapely.union_all(shapely.buffer(members, within_m)).buffer(-0.8 * within_m)
        found.extend(part for part in shapely.get_parts(closed) if isinstance(part, Polygon))
    return found
