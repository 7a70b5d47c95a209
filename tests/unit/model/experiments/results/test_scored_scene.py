"""A cube is opened by many trials of a ladder: what was read for one serves the next."""

from __future__ import annotations

import numpy as np
import pytest

from model.experiments.results.scored_scene import open_scene
from model.inputs.channel_source import ScratchChannels, ScratchCopies
from model.inputs.cube_channels import CubeChannels
from model.inputs.inputs import Inputs
from model.inputs.pass_subsets import limit_passes
from model.inputs.windows import whole
from tests.small_cube import small_cube, write


def test_trials_of_one_cube_share_its_selections_and_copies_and_another_cube_has_its_own(tmp_path):
    inputs = Inputs(before=None)
    place = write(small_cube(96, before=3, after=3), tmp_path / "cube.zarr")
    first, again = (open_scene(str(place)) for _ in range(2))
    assert first.select(inputs) is again.select(inputs)
    assert first.select(inputs.model_copy(update={"before": 1})) != first.select(inputs)
    selection = first.select(inputs)
    fewer = limit_passes(selection, 1, 1)
    one, other = (first.copied(inputs, passes, tmp_path) for passes in (selection, fewer))
    assert again.copied(inputs, selection, tmp_path) is one and other is not one
    box = whole(one.shape)
    np.testing.assert_array_equal(one.read(box), CubeChannels(first.dataset, inputs, selection).read(box))
    np.testing.assert_array_equal(other.read(box), CubeChannels(first.dataset, inputs, fewer).read(box))
    moved = open_scene(str(write(small_cube(96, seed=5, before=3, after=3), tmp_path / "other.zarr")))
    assert not np.array_equal(moved.copied(inputs, moved.select(inputs), tmp_path).read(box), one.read(box))


class Flat:
    shape = (8, 8)

    def read(self, box):
        return np.zeros((2, box.height, box.width), np.float32)


@pytest.mark.parametrize(("room", "kept"), [(2 * 512, {"b", "c"}), (3 * 512, {"a", "b", "c"}), (1, {"c"})])
def test_copies_used_longest_ago_are_given_back(tmp_path, room, kept):
    copies, made = ScratchCopies(room), []

    def get(name):
        return copies.get(name, 2, lambda: made.append(name) or ScratchChannels(Flat(), 2, tmp_path))

    for name in "abc":
        get(name)
    made.clear()
    for name in sorted(kept, reverse=True):
        get(name)
    assert made == []
    for name in "abc":
        get(name)
    assert set(made) >= set("abc") - kept
