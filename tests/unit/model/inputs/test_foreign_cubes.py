"""Every command of the learning stage refuses by name a cube from elsewhere that does not meet the contract."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from model.cli.bundles import map_landslides, train
from model.cli.experiments import ablate, ladder
from model.inputs import cubes
from tests.faults.made_bundle import write_bundle
from tests.small_cube import small_cube, write


def decibels(cube):
    return cube.assign({name: 10 * np.log10(cube[name].where(cube[name] > 0)) for name in ("vv", "vh")})


def in_degrees(cube):
    return cube.assign_coords(
        x=141.9 + 1e-4 * np.arange(cube.sizes["x"]), y=42.7 - 1e-4 * np.arange(cube.sizes["y"])
    )


SPOILT = {
    "codes": (lambda c: c.assign(landslides=c.landslides.fillna(255)), "255"),
    "other-codes": (lambda c: c.assign(landslides=c.landslides.fillna(-9999)), "-9999"),
    "decibels": (decibels, "vv"),
    "degrees": (in_degrees, "degrees"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("foreign")
    small = small_cube(128)
    for name, (spoil, _) in SPOILT.items():
        write(spoil(small), root / f"{name}.zarr")
    write_bundle(root / "bundle")
    return root


@pytest.mark.parametrize("name", SPOILT)
def test_a_cube_that_does_not_meet_the_contract_is_refused(folder, tmp_path, name):
    cube, named = folder / f"{name}.zarr", SPOILT[name][1]
    out = ("--out", tmp_path / "out")
    for command, words in (
        (train, (cube, *out)),
        (train, (cube, "--protocol", "strict", *out)),
        (map_landslides, ("--log-ratio", cube, *out)),
        (map_landslides, (folder / "bundle", cube, "--standardise", "scene", *out)),
        (ablate, (cube, *out)),
        (ladder, (cube, *out)),
    ):
        answer = CliRunner().invoke(command, [str(word) for word in words])
        assert answer.exit_code == 5, answer.output
        assert named in answer.stderr and cube.name in answer.stderr
        assert not (tmp_path / "out").exists() or not any((tmp_path / "out").rglob("*.json"))


def test_cubes_that_differ_in_values_alone_have_other_digests(tmp_path):
    small = small_cube(64)
    labels = small.landslides.copy()
    labels[30, 30] = 1.0 - np.nan_to_num(labels[30, 30])
    paths = [
        write(cube, tmp_path / f"{n}.zarr") for n, cube in enumerate((small, small.assign(landslides=labels)))
    ]
    first, second = (cubes.load(str(path))[1].digest for path in paths)
    assert first != second


def test_the_event_that_is_assumed_for_a_cube_is_part_of_its_identity():
    cube = small_cube(32)
    plain = cubes.facts(cube, "one.zarr").digest
    later = json.dumps({"start": "2018-09-06T00:00:00Z", "end": "2018-09-06T00:00:00Z"})
    digests = [
        cubes.facts(cube.assign_attrs(event=event, event_assumed="by its name"), "one.zarr").digest
        for event in (cube.attrs["event"], later)
    ]
    assert len({plain, *digests}) == 3
