"""Seams and the outer border found strip by strip are those of the whole scene at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.grid import Grid
from pipeline.layers.mosaic_borders import SEAM_REACH_PX, Bits, Borders

Array = np.ndarray[Any, Any]


def grid(shape: tuple[int, int]) -> Grid:
    return Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=shape[1], height=shape[0])


def at_once(owner: Array, slices: int, erosion_px: int) -> tuple[dict[str, int], Array]:
    """Counts and removed pixels with whole arrays."""
    gaps, adjacent = np.zeros(owner.shape, bool), np.zeros(owner.shape, bool)
    if slices > 1:
        for one, two in ((np.s_[:-1, :], np.s_[1:, :]), (np.s_[:, :-1], np.s_[:, 1:])):
            touching = (owner[one] != owner[two]) & (owner[one] != 0) & (owner[two] != 0)
            adjacent[one] |= touching
            adjacent[two] |= touching
        size = 2 * SEAM_REACH_PX + 1
        highest = ndimage.maximum_filter(owner, size=size)
        lowest = ndimage.minimum_filter(np.where(owner == 0, np.uint8(255), owner), size=size)
        gaps = (owner == 0) & (highest != lowest) & (highest != 0)
    invalid = (owner == 0) & ~gaps
    edge = np.zeros(owner.shape, bool)
    for line in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        edge[line] = invalid[line]
    regions, _ = ndimage.label(invalid)
    outside = np.isin(regions, np.unique(regions[edge])) & invalid
    removed = np.zeros(owner.shape, bool)
    if erosion_px and outside.any():
        rim = ndimage.binary_dilation(outside, np.ones((3, 3), bool), iterations=erosion_px)
        removed = rim & (owner != 0)
    counts = {
        "seam_pixels": int(adjacent.sum()), "seam_gap_pixels": int(gaps.sum()), "eroded_pixels": int(removed.sum()),
        "valid": int(((owner != 0) & ~removed).sum()),
    }  # fmt: skip
    return counts, removed


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_strips_of_any_height_give_what_the_whole_scene_gives(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 30))
    slices = data.draw(st.integers(1, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    smooth = ndimage.gaussian_filter(rng.normal(size=(slices, height, width)), (0, 1.5, 1.5))
    owner = np.zeros((height, width), np.uint8)
    for number, field in enumerate(smooth, start=1):
        owner[(field > data.draw(st.sampled_from((-0.2, 0.0, 0.1)))) & (owner == 0)] = number
    step = data.draw(st.integers(1, 41))
    erosion_px = data.draw(st.integers(0, 4))
    borders = Borders(grid(owner.shape), slices, erosion_px)
    strips = [slice(top, min(top + step, height)) for top in range(0, height, step)]
    for rows in strips:
        borders.add(rows, owner[rows])
    wanted, removed = at_once(owner, slices, erosion_px)
    report = borders.report()
    assert {name: report[name] for name in wanted if name != "valid"} == {
        name: count for name, count in wanted.items() if name != "valid"
    }
    assert report["coverage"] == wanted["valid"] / owner.size
    for rows in strips:
        found = borders.removed(rows)
        np.testing.assert_array_equal(np.zeros_like(removed[rows]) if found is None else found, removed[rows])


def test_a_mask_is_kept_as_bits() -> None:
    bits = Bits((5, 13))
    mask = np.random.default_rng(0).random((5, 13)) > 0.5
    bits[0:2], bits[2:5] = mask[0:2], mask[2:5]
    np.testing.assert_array_equal(bits[1:4], mask[1:4])
    assert not Bits((5, 13))[0:5].any()
