"""A cube in the published form: what is stored, what comes back, and that the published code's own calls work on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from pipeline.cube.export.cli import export
from pipeline.cube.export.published_form import write_published
from pipeline.cube.read import open_cube
from pipeline.errors import CubeError
from tests.small_cube import small_cube, write

SIZE = 96
PAIRS = ("20180807_20180819", "20180819_20180912")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """As a build makes it: two tracks, pairs with phase and coherence, look geometry, labels with parts."""
    rng = np.random.default_rng(1)
    small = small_cube(SIZE)
    pairs = ("timepair", "y", "x")
    shape = (len(PAIRS), SIZE, SIZE)
    small = small.assign(
        coherence=(pairs, rng.random(shape).astype("float32")),
        interferogram=(pairs, rng.uniform(-np.pi, np.pi, shape).astype("float32")),
        landslide_fraction=(("y", "x"), rng.random(shape[1:]).astype("float32")),
    ).assign_coords(timepair=np.array(PAIRS, dtype=object))
    return open_cube(write(small, tmp_path_factory.mktemp("made") / "cube.zarr"))


def test_the_form_is_that_of_the_published_cubes(cube: xr.Dataset, tmp_path: Path) -> None:
    made = write_published(cube, tmp_path / "hokkaido_japan.zarr", background="nan", bare=True)
    assert (made.passes, made.pairs, made.left_out) == (7, 2, ("landslide_fraction",))
    root = tmp_path / "hokkaido_japan.zarr"
    assert json.loads((root / ".zgroup").read_text()) == {"zarr_format": 2}
    metadata = json.loads((root / ".zmetadata").read_text())["metadata"]
    assert not list(root.rglob("zarr.json"))
    stored = xr.open_zarr(root, consolidated=True)
    assert set(stored.data_vars) == {
        "vv", "vh", "dem", "dem_slope_radians", "dem_aspect", "dem_curvature", "landslides", "topophase.cor_1",
        "topophase.flat_real", "topophase.flat_imag",
    }  # fmt: skip
    assert set(map(str, stored.coords)) == {"timestep", "timepair", "y", "x", "sat:orbit_state", "epsg"}
    assert {f"{name}/.zarray" for name in stored.variables} <= set(metadata)
    assert stored["vv"].dims == ("timestep", "y", "x") and stored["dem"].dims == ("y", "x")
    assert stored["topophase.cor_1"].dims == ("timepair", "y", "x")
    assert stored["vv"].dtype == stored["landslides"].dtype == np.float32
    assert list(stored["sat:orbit_state"].values) == ["d", "a", "d", "a", "d", "d", "d"]
    assert stored["timestep"].dtype.kind == "M" and int(stored["epsg"]) == 32654
    assert list(stored["timepair"].values) == list(PAIRS)
    labels = stored["landslides"].values
    assert set(np.unique(labels[np.isfinite(labels)])) == {1.0} and np.isnan(labels).any()
    assert stored.attrs == {"simulated": 1}
    # every chunk is there: one without data is no missing file
    assert len([p for p in (root / "vv").iterdir() if p.name[0].isdigit()]) == 7


def test_what_was_written_is_what_is_read(cube: xr.Dataset, tmp_path: Path) -> None:
    write_published(cube, tmp_path / "copy.zarr")
    again = open_cube(tmp_path / "copy.zarr")
    for name in (
        "vv",
        "vh",
        "dem",
        "dem_slope_radians",
        "dem_aspect",
        "dem_curvature",
        "landslides",
        "coherence",
    ):
        np.testing.assert_array_equal(again[name].values, cube[name].values, err_msg=name)
    for name in ("timestep", "y", "x", "sat:orbit_state", "relative_orbit", "timepair"):
        np.testing.assert_array_equal(again[name].values, cube[name].values, err_msg=name)
    phase = np.angle(again["topophase.flat_real"].values + 1j * again["topophase.flat_imag"].values)
    np.testing.assert_allclose(phase, cube["interferogram"].values, atol=1e-6)
    assert "label_nan_assumed" not in again["landslides"].attrs, "0 is background, NaN was not mapped"
    assert again.attrs["event"] == cube.attrs["event"] and again.attrs["license"] == "CC0-1.0"
    assert again.rio.crs.to_epsg() == 32654


def test_labels_without_zeros_are_read_as_those_of_the_published_cubes(
    cube: xr.Dataset, tmp_path: Path
) -> None:
    write_published(cube, tmp_path / "hokkaido_japan.zarr", background="nan", bare=True)
    again = open_cube(tmp_path / "hokkaido_japan.zarr")
    np.testing.assert_array_equal(again["landslides"].values, np.nan_to_num(cube["landslides"].values))
    assert again["landslides"].attrs["label_nan_assumed"]
    assert list(again["sat:orbit_state"].values) == list(cube["sat:orbit_state"].values)


def test_a_cube_without_pairs_has_the_axis_that_the_published_code_drops(tmp_path: Path) -> None:
    cube = open_cube(write(small_cube(32), tmp_path / "cube.zarr"))
    write_published(cube, tmp_path / "form.zarr", bare=True)
    stored = xr.open_zarr(tmp_path / "form.zarr").load()
    one = stored.where(stored["sat:orbit_state"] == "d", drop=True).drop_dims("timepair")
    assert one.sizes["timestep"] == 5
    before = one.sel(timestep=slice(None, "20180905"))
    assert before.sizes["timestep"] == 4, "the pass of 20:08 on the day counts as before, by its day"


@pytest.mark.parametrize("state", ["unknown", None])
def test_a_direction_that_nobody_knows_is_left_out(tmp_path: Path, state: str | None) -> None:
    small = small_cube(32)
    small = small.drop_vars("sat:orbit_state")
    if state is not None:
        small = small.assign_coords({"sat:orbit_state": ("timestep", np.array([state] * 7, dtype=object))})
    write_published(open_cube(write(small, tmp_path / "cube.zarr")), tmp_path / "form.zarr")
    assert "sat:orbit_state" not in xr.open_zarr(tmp_path / "form.zarr").coords
    assert set(open_cube(tmp_path / "form.zarr")["sat:orbit_state"].values) == {"unknown"}


def test_nothing_is_replaced_and_nothing_is_left_half_written(cube: xr.Dataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(CubeError):
        write_published(cube, tmp_path / "mine")

    def stop(what: str, done: int, total: int | None = None, remark: str = "", /) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_published(cube, tmp_path / "form.zarr", progress=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(CubeError):
        write_published(cube.isel(timestep=slice(0, 0)), tmp_path / "form.zarr")


def test_the_command_writes_and_says_what_is_left_out(cube: xr.Dataset, tmp_path: Path) -> None:
    source, target = cube.encoding["source"], tmp_path / "form.zarr"
    done = CliRunner().invoke(export, [source, "--published", str(target), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["left_out"] == ["landslide_fraction"]
    again = CliRunner().invoke(export, [source, "--published", str(target)])
    assert again.exit_code == 5 and str(target) in again.stderr
    words = CliRunner().invoke(export, [str(target), "--published", str(tmp_path / "twice.zarr"), "--bare"])
    assert words.exit_code == 0 and "7 passes and 2 pairs" in words.stdout
