"""Events of a prior on the disk: the channels of a cube, made once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from model.inputs.channels.terrain_channels import SLOPE_IF_KNOWN
from model.inputs.cube_channels import CubeChannels
from model.inputs.pass_subsets import limit_passes
from model.inputs.selection import select
from model.inputs.windows import Box, whole
from model.training.prior.stored_events import (
    BUFFER_PX,
    CASES,
    DOCUMENT,
    INPUTS,
    StoredChannels,
    is_stored,
    stored,
    training_scenes,
)
from tests.unit.model.training.prior.made_events import SIZE_PX, made_cube, made_event


def test_the_stored_channels_are_those_of_the_cube(tmp_path: Path) -> None:
    record = stored(made_event(1), tmp_path)
    cube = made_cube(1)
    full = select(cube, INPUTS)
    for number, case in enumerate(CASES):
        wanted = CubeChannels(cube, INPUTS, limit_passes(full, case.before, case.after))
        box = Box(top=17, left=40, height=64, width=96)
        found = StoredChannels(tmp_path / record.name / f"case-{number}.npy").read(box)
        assert found.dtype == np.float32
        assert np.allclose(found, wanted.read(box), atol=2e-3, equal_nan=True)
    assert [view.after for view in record.cases[0]] == [1, 1]
    assert [view.after for view in record.cases[-1]] == [2, 2]


def test_a_whole_event_is_not_made_again_and_a_spoilt_one_is(tmp_path: Path) -> None:
    calls = 0

    def made() -> xr.Dataset:
        nonlocal calls
        calls += 1
        return made_cube(1)

    event = replace(made_event(1), cube=made)
    assert not is_stored(event, tmp_path)
    first = stored(event, tmp_path)
    assert stored(event, tmp_path) == first and calls == 1 and is_stored(event, tmp_path)
    (tmp_path / event.name / DOCUMENT).write_text("{}")
    assert not is_stored(event, tmp_path)
    assert stored(event, tmp_path) == first and calls == 2


def test_training_is_apart_from_validation_and_one_case_has_no_slope(tmp_path: Path) -> None:
    record = stored(made_event(1), tmp_path)
    scenes = training_scenes(record, tmp_path, 1)
    assert len(scenes) == len(CASES)
    shape = (SIZE_PX, SIZE_PX)
    slope = [INPUTS.channels.index(name) for name in SLOPE_IF_KNOWN]
    known = []
    for scene in scenes:
        (box,) = scene.split.boxes("validation")
        assert box == record.validation and (scene.labels[box.slices] == 1).any()
        assert not scene.split.train_mask(shape)[
            max(box.top - BUFFER_PX, 0) : box.bottom + BUFFER_PX,
            max(box.left - BUFFER_PX, 0) : box.right + BUFFER_PX,
        ].any()
        assert ((scene.labels == 1) & scene.split.train_mask(shape)).any()
        values = scene.channels.read(whole(shape))[slope]
        known.append(bool((values[1] == 1).all()))
        assert (values[0] > 0).all() == known[-1]
    assert known == [True, False, True]


def test_an_event_without_landslides_is_stored_and_not_used(tmp_path: Path) -> None:
    empty = made_cube(1).assign(landslides=(("y", "x"), np.zeros((SIZE_PX, SIZE_PX), np.float32)))
    record = stored(replace(made_event(1), cube=lambda: empty), tmp_path)
    assert record.validation is None and record.landslide_share == 0
    assert training_scenes(record, tmp_path, 0) == []
