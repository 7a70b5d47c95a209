"""A cube survives ordinary tools: writing, grouping, selecting, plotting, and the paper's data code."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline.build.cube_api import open_cube
from pipeline.cube.encoding.portable import lines_of, portable_attributes
from pipeline.cube.local_store import LocalStore
from pipeline.cube.read import open_cube as opened_by_room
from pipeline.cube.versions import publish, version_key
from pipeline.errors import CubeError
from tests.unit.pipeline.cube.test_cube import GRID, layer, manifest
from tests.unit.pipeline.cube.test_cube_pairs import look, with_pairs

ATTRIBUTES = {"simulated": True, "sources": ["one: of two words", "another"], "license": "CC-BY-4.0"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """Passes of two tracks, two pairs, look geometry of two tracks."""
    made = LocalStore(tmp_path_factory.mktemp("made") / "cube")
    whole = with_pairs(made, (10, 22), attributes=ATTRIBUTES, missing=("vh: no pass has it",))
    looks, records = zip(*(look(made, track) for track in (46, 68)), strict=True)
    steps = (whole.timesteps[0], whole.timesteps[1].model_copy(update={"relative_orbit": 68}))
    flags = {"layover_shadow": {"flag_values": [0, 1, 2, 3], "flag_meanings": "none layover shadow both"}}
    flagged = {one.digest: one.model_copy(update={"attributes": flags}) for one in records}
    publish(
        made,
        whole.model_copy(
            update={"timesteps": steps, "looks": looks, "records": {**whole.records, **flagged}}
        ),
    )
    return made


@pytest.fixture
def cube(store: LocalStore) -> xr.Dataset:
    return open_cube(store.uri)


def plain(store: LocalStore) -> xr.Dataset:
    return xr.open_zarr(store.path(version_key(1))).load()


def test_coordinates_are_in_memory_and_data_are_dask_by_whole_shards(cube: xr.Dataset) -> None:
    assert all(isinstance(cube[name].variable._data, np.ndarray) or cube[name].variable._in_memory
               for name in cube.coords)  # fmt: skip
    assert all(cube[name].chunks is not None for name in cube.data_vars)
    assert cube["vv"].chunks == ((1, 1), (GRID.height,), (GRID.width,))


@pytest.mark.parametrize("chunks", [None, "auto", "shards", {"timestep": 2, "y": 100}], ids=str)
def test_whatever_the_chunks_values_and_round_trips_are_the_same(
    store: LocalStore, tmp_path: Path, chunks: Any
) -> None:
    found = open_cube(store.uri, chunks=chunks)
    assert (found["vv"].chunks is None) == (chunks is None)
    if isinstance(chunks, dict):
        assert found["vv"].chunks[0] == (2,) and found["vv"].chunks[1][0] == 100
    assert all(found[name].variable._in_memory for name in found.coords)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # words in Zarr v3 have no specification yet
        found.to_zarr(tmp_path / "copy.zarr")
        found.to_netcdf(tmp_path / "copy.nc", engine="h5netcdf")
    whole = found.load()
    xr.testing.assert_identical(open_cube(tmp_path / "copy.zarr").load(), whole)
    with xr.open_dataset(tmp_path / "copy.nc", engine="h5netcdf") as copy:
        np.testing.assert_array_equal(copy["vv"].values, whole["vv"].values)
        np.testing.assert_array_equal(copy["timestep"].values, whole["timestep"].values)


def test_chunks_without_dask_name_the_extra(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.build.cube_api.find_spec", lambda _: None)
    with pytest.raises(CubeError, match=r"slidecube\[dask\]"):
        open_cube(store.uri, chunks="shards")


def test_without_dask_data_are_read_when_they_are_used(store: LocalStore) -> None:
    lazy = opened_by_room(store.uri)
    assert lazy["vv"].chunks is None and not lazy["vv"].variable._in_memory
    xr.testing.assert_identical(lazy.load(), open_cube(store.uri).load())


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_it_is_written_to_zarr_and_the_copy_is_a_cube(
    cube: xr.Dataset, tmp_path: Path, zarr_format: Any
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # words in Zarr v3 have no specification yet
        cube.to_zarr(tmp_path / "copy.zarr", zarr_format=zarr_format)
    copy = open_cube(tmp_path / "copy.zarr")
    xr.testing.assert_identical(copy.load(), cube.load())
    assert list(copy.coords)[:2] == ["timestep", "timepair"]


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_it_is_written_to_netcdf_and_comes_back(cube: xr.Dataset, tmp_path: Path, engine: Any) -> None:
    cube.to_netcdf(tmp_path / "cube.nc", engine=engine)
    with xr.open_dataset(tmp_path / "cube.nc", engine=engine) as copy:
        assert set(copy.coords) == set(cube.coords) and set(copy.data_vars) == set(cube.data_vars)
        for name in cube.variables:
            np.testing.assert_array_equal(copy[name].values, cube[name].values)
        assert copy.attrs["missing"] == cube.attrs["missing"]
        assert json.loads(copy.attrs["event"]) == json.loads(cube.attrs["event"])


@pytest.mark.parametrize("opened", [open_cube, None], ids=["open_cube", "open_zarr and load"])
def test_it_is_grouped_and_selected_by_its_coordinates(
    store: LocalStore, opened: Callable[..., Any] | None
) -> None:
    cube = opened(store.uri) if opened else plain(store)
    means = cube.groupby("relative_orbit").mean()
    assert means["vv"].sizes["relative_orbit"] == 2
    assert {int(track) for track, _ in cube["vv"].groupby("relative_orbit")} == {46, 68}
    one = cube.where(cube.relative_orbit == 46, drop=True)
    assert one.sizes["timestep"] == 1
    np.testing.assert_array_equal(one["vv"][0], cube["vv"][0])
    pairs = cube["coherence"].where(cube.timepair_relative_orbit == 46, drop=True)
    assert pairs.sizes["timepair"] == 2
    assert cube.sel(timestep=slice("2018-08-02", "2018-08-02")).sizes["timestep"] == 1
    assert cube["vv"].resample(timestep="1D").mean().sizes["timestep"] == 2


@pytest.mark.parametrize(
    ("variable", "index", "title"),
    [("vv", {"timestep": 0}, "2018-08-02"), ("coherence", {"timepair": 1}, "20180915_20180927"),
     ("local_incidence_deg", {"track": 0}, "46")],
)  # fmt: skip
def test_the_title_of_a_plot_begins_with_a_date(
    cube: xr.Dataset, variable: str, index: dict[str, int], title: str
) -> None:
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib import pyplot

    axes = cube[variable].isel(index).plot().axes
    pyplot.close(axes.figure)
    assert title in axes.get_title().partition(",")[0]
    assert "digest" not in axes.get_title()


def test_attributes_are_those_of_netcdf_and_cf(cube: xr.Dataset) -> None:
    assert cube.attrs["simulated"] == 1 and not isinstance(cube.attrs["simulated"], bool)
    assert cube.attrs["sources"].splitlines() == ["one: of two words", "another"]
    for variable in (cube, *cube.variables.values()):
        for name, value in variable.attrs.items():
            assert isinstance(value, str | int | float | list) and not isinstance(value, bool), name
            if isinstance(value, list) and not name.startswith("spatial:"):
                assert all(isinstance(one, int | float) for one in value), name
    flags = cube["layover_shadow"].attrs
    assert [type(one) for one in flags["flag_values"]] == [float] * len(flags["flag_meanings"].split())


def test_attributes_of_any_type_become_portable() -> None:
    found = portable_attributes(
        {"a": True, "b": ["x y", "z"], "c": {"k": [1]}, "d": None, "e": [], "f": [1, 2.5], "g": [True, False],
         "spatial:dimensions": ["y", "x"], "flag_values": [0, 1]}, "float32",
    )  # fmt: skip
    assert found == {
        "a": 1, "b": "x y\nz", "c": '{"k": [1]}', "e": "", "f": [1, 2.5], "g": "True\nFalse",
        "spatial:dimensions": ["y", "x"], "flag_values": [0.0, 1.0],
    }  # fmt: skip
    assert lines_of(found["b"]) == lines_of(["x y", "z"]) == ("x y", "z")
    assert lines_of("") == lines_of([]) == lines_of(None) == ()


def test_a_version_of_an_earlier_release_is_opened_alike(store: LocalStore, tmp_path: Path) -> None:
    """With a bool, lists of words and whole flags, and without the axis of pairs."""
    old = LocalStore(tmp_path / "old")
    publish(old, manifest([layer(old, 1), layer(old, 2)]).model_copy(update={"attributes": ATTRIBUTES}))
    folder = old.path(version_key(1))
    group = json.loads((folder / "zarr.json").read_text())
    group["attributes"] |= {"simulated": True, "sources": ATTRIBUTES["sources"], "missing": []}
    del group["consolidated_metadata"]["metadata"]["timepair"]
    (folder / "zarr.json").write_text(json.dumps(group))
    opened = open_cube(old.uri)
    assert opened.attrs["simulated"] == 1 and opened.attrs["missing"] == ""
    assert opened.sizes["timepair"] == 0
    opened.to_netcdf(tmp_path / "old.nc")


@pytest.mark.parametrize("pairs", [True, False], ids=["with pairs", "without pairs"])
@pytest.mark.parametrize("aggregation", ["mean", "median"])
@pytest.mark.parametrize("opened", [open_cube, None], ids=["open_cube", "open_zarr and load"])
def test_the_calls_of_the_papers_published_data_code(
    store: LocalStore, tmp_path: Path, pairs: bool, aggregation: str, opened: Callable[..., Any] | None
) -> None:
    """The calls of src/datamodule.py of iprapas/landslide-sar-unet, with our word for the direction."""
    if not pairs:
        store = LocalStore(tmp_path / "cube")
        publish(store, manifest([layer(store, day) for day in (1, 20, 30, 36, 48)]))
    cube = (opened(store.uri) if opened else plain(store)).load()
    cube["vv"] = np.log(cube["vv"])
    cube = cube.where(cube["sat:orbit_state"] == "descending", drop=True)
    parts = {
        "before": cube.drop_dims("timepair").sel(timestep=slice(None, "20180905")),
        "after": cube.drop_dims("timepair").sel(timestep=slice("20180905" if not pairs else None, None)),
    }
    if parts["before"].sizes["timestep"] > 2:
        parts["before"] = parts["before"].isel(timestep=range(-3, -1))
    merged = {name: getattr(part, aggregation)(dim="timestep") for name, part in parts.items()}
    found = merged["before"].rename_vars({"vv": "vv_before"})
    found["vv_after"] = merged["after"]["vv"]
    for name in list(found.data_vars):
        found[f"{name}_mean"], found[f"{name}_std"] = found[name].mean(), found[name].std()
    found = found.load()
    assert "timepair" not in found.dims
    assert np.isfinite(found["vv_before_mean"]) and np.isfinite(found["vv_after_std"])
    batch = found.isel(x=slice(0, 128), y=slice(0, 128))
    stacked = np.stack([batch[name].values for name in ("vv_before", "vv_after")])
    assert stacked.shape == (2, 128, 128)
