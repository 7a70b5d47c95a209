"""Cubes from elsewhere: what the contract accepts, and that it names whatever is not met."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pyproj import CRS

from model.inputs import cubes
from pipeline.cube.foreign.contract import ContractError, check_contract
from pipeline.cube.read import open_cube
from pipeline.errors import CubeError
from tests.small_cube import small_cube, write, write_published

Change = Callable[[xr.Dataset], xr.Dataset]


@pytest.fixture(scope="module")
def sound() -> xr.Dataset:
    """In the form of the published cubes, without their name."""
    cube = small_cube(96)
    plain = cube.drop_vars(["spatial_ref", "pass_id"]).assign_coords(epsg=32654)
    return plain.assign_attrs({}).drop_attrs()


def stored(cube: xr.Dataset, path: Path) -> Path:
    for name in cube.variables:
        cube[name].encoding.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cube.to_zarr(path, zarr_format=2, mode="w", consolidated=True)
    return path


def with_labels(*codes: float) -> Change:
    def change(cube: xr.Dataset) -> xr.Dataset:
        labels = np.zeros(tuple(cube.landslides.shape), "float32")
        for number, code in enumerate(codes):
            labels[10 * number : 10 * number + 5] = code
        return cube.assign(landslides=(("y", "x"), labels))

    return change


def in_degrees(cube: xr.Dataset) -> xr.Dataset:
    return cube.assign_coords(x=142 + 1e-4 * np.arange(96), y=42 - 1e-4 * np.arange(96))


def with_times(text: str) -> Change:
    def change(cube: xr.Dataset) -> xr.Dataset:
        return cube.assign_coords(timestep=np.array([text] * cube.sizes["timestep"], dtype="M8[us]"))

    return change


def decibels(cube: xr.Dataset) -> xr.Dataset:
    with np.errstate(divide="ignore"):
        return cube.assign(vv=10 * np.log10(cube.vv.where(cube.vv > 0)))


def declared(name: str, units: str) -> Change:
    def change(cube: xr.Dataset) -> xr.Dataset:
        return cube.assign({name: cube[name].assign_attrs(units=units)})

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (with_labels(1, 255), ["255"]),
        (with_labels(1, 2), ["2"]),
        (with_labels(1, -1), ["-1"]),
        (with_labels(1, -9999), ["-9999"]),
        (with_labels(0.5), ["0.5"]),
        (with_labels(2, 255, -1), ["-1, 2, 255"]),
        (in_degrees, ["degrees"]),
        (lambda c: in_degrees(c).drop_vars("epsg"), ["degrees"]),
        (lambda c: c.assign_coords(epsg=4326), ["EPSG:4326"]),
        (lambda c: c.assign_coords(epsg=2225), ["foot"]),
        (lambda c: c.assign_coords(x=c.x / 1000, y=c.y / 1000), ["kilometres"]),
        (lambda c: c.assign_coords(x=c.x.assign_attrs(units="km")), ["km"]),
        (decibels, ["vv", "decibels"]),
        (lambda c: decibels(c).assign(vh=c.vh * 1e5), ["vv", "vh", "digital numbers"]),
        (lambda c: c.assign(vh=c.vh - 0.02), ["vh", "negative"]),
        (declared("vv", "dB"), ["vv", "dB"]),
        (declared("dem", "ft"), ["dem", "ft"]),
        (declared("dem_slope_radians", "degree"), ["dem_slope_radians"]),
        (lambda c: c.assign(dem_slope_radians=np.degrees(c.dem_slope_radians)), ["dem_slope_radians"]),
        (lambda c: c.assign(dem_aspect=np.radians(c.dem_aspect)), ["dem_aspect", "radians"]),
        (lambda c: c.assign(dem=c.dem.where(c.dem > 500, -9999)), ["dem", "-9999"]),
        (lambda c: c.assign(coherence=(("timepair", "y", "x"), 100 * c.vv.values[:1])), ["coherence"]),
        (lambda c: c.rename(vv="VV"), ["'VV'"]),
        (lambda c: c.assign(dem=c.vv), ["dem"]),
        (with_times("1970-01-01"), ["1970-01-01"]),
        (with_times("2170-01-01"), ["2170-01-01"]),
        (with_times("NaT"), ["times"]),
    ],
)  # fmt: skip
def test_what_is_not_met_is_named_and_the_cube_is_not_opened(
    sound: xr.Dataset, tmp_path: Path, change: Change, named: list[str]
) -> None:
    path = stored(change(sound.copy()), tmp_path / "brought.zarr")
    with pytest.raises(ContractError) as caught:
        open_cube(path)
    assert caught.value.exit_code == 5
    assert all(name in caught.value.message for name in named), caught.value.message
    assert str(path) in caught.value.message
    with pytest.raises(CubeError):
        cubes.load(str(path))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c,
        declared("vv", "linear"),
        declared("dem", "metre"),
        lambda c: c.transpose("x", "y", ...),
        lambda c: c.drop_vars(["epsg"]),
        lambda c: c.drop_vars("landslides"),
        with_labels(1),
        lambda c: c.assign(landslides=c.landslides.fillna(0).astype(bool)),
        lambda c: c.isel(timestep=slice(0, 1)),
        lambda c: c.assign(notes=(("y", "x"), np.full((96, 96), -9999.0))),
        lambda c: c.assign(vv=c.vv * np.nan),
    ],
)
def test_what_meets_the_contract_is_opened(sound: xr.Dataset, tmp_path: Path, change: Change) -> None:
    opened = open_cube(stored(change(sound.copy()), tmp_path / "brought.zarr"))
    assert opened.sizes["y"] == 96


def test_labels_without_a_zero_are_those_of_the_published_cubes(sound: xr.Dataset, tmp_path: Path) -> None:
    labels = sound.landslides
    path = stored(sound.assign(landslides=labels.where(labels > 0)), tmp_path / "a.zarr")
    opened = open_cube(path).landslides
    assert set(np.unique(opened)) == {0.0, 1.0}
    assert opened.attrs["label_nan_assumed"]
    with_zero = open_cube(stored(sound, tmp_path / "b.zarr")).landslides
    assert "label_nan_assumed" not in with_zero.attrs
    np.testing.assert_array_equal(with_zero, labels)


def test_a_published_cube_is_accepted_by_its_name_with_any_positive_label(tmp_path: Path) -> None:
    cube = small_cube(96)
    cube["landslides"] = cube.landslides * 3
    cube["dem_aspect"] = cube.dem_aspect.where(cube.dem > 450, -9999)
    opened = open_cube(write_published(cube, tmp_path / "hokkaido_japan.zarr"))
    assert set(np.unique(opened.landslides)) == {0.0, 1.0}
    with pytest.raises(ContractError):
        open_cube(write_published(cube, tmp_path / "another.zarr"))


def test_a_copy_of_a_version_is_checked_and_keeps_what_was_not_mapped(tmp_path: Path) -> None:
    cube = small_cube(96)
    opened = open_cube(write(cube, tmp_path / "copy.zarr"))
    np.testing.assert_array_equal(opened.landslides, cube.landslides)
    with pytest.raises(ContractError):
        open_cube(write(with_labels(1, 7)(cube), tmp_path / "edited.zarr"))


def test_two_cubes_that_differ_in_one_value_have_different_digests(sound: xr.Dataset, tmp_path: Path) -> None:
    """Uncompressed, so that their files have the same sizes."""
    digests: list[str] = []
    for number, name in enumerate(("a", "b", "copy-of-a")):
        cube = sound.copy(deep=True)
        cube.vv.values[0, 50, 50] += 0.25 * (number == 1)
        for variable in cube.variables:
            cube[variable].encoding.clear()
        encoding: dict[str, Any] = {str(each): {"compressors": None} for each in cube.data_vars}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cube.to_zarr(tmp_path / name, zarr_format=2, encoding=encoding)
        digests.append(cubes.load(str(tmp_path / name))[1].digest)
    assert digests[0] == digests[2] != digests[1]
    # changed on the disk, in the same process
    chunk = next(p for p in (tmp_path / "a" / "vv").iterdir() if p.name[0].isdigit())
    raw = bytearray(chunk.read_bytes())
    raw[-1] ^= 1
    chunk.write_bytes(bytes(raw))
    assert cubes.load(str(tmp_path / "a"))[1].digest not in digests


def test_a_cube_larger_than_any_memory_is_refused_before_it_is_read() -> None:
    huge = xr.Dataset({"landslides": (("y", "x"), np.broadcast_to(np.float32(3), (40_000, 40_000)))})
    with pytest.raises(ContractError) as caught:
        check_contract(huge, "here")
    assert caught.value.problems == ("it has 1,600,000,000 pixels, of at most 500,000,000",)


def test_the_reference_system_in_cf_decides_too(sound: xr.Dataset) -> None:
    cube = sound.drop_vars("epsg").assign_coords(spatial_ref=((), 0, CRS.from_epsg(4326).to_cf()))
    with pytest.raises(ContractError):
        check_contract(cube, "here")
