"""An exported cube: each form holds the cube's values, where and when they are, and what belongs to them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner

from pipeline.cube.export.cli import export
from pipeline.cube.export.export_folder import write_export
from pipeline.cube.local_store import LocalStore
from pipeline.cube.read import open_cube
from pipeline.cube.versions import publish
from pipeline.errors import CubeError
from tests.unit.pipeline.cube.test_cube import GRID
from tests.unit.pipeline.cube.test_cube_pairs import look, with_pairs

STATED = {"license": "CC-BY-4.0", "attribution": "contains Copernicus data 2018", "simulated": True}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = LocalStore(tmp_path_factory.mktemp("made") / "cube")
    made = with_pairs(store, (10, 22), attributes=STATED)
    looks, records = zip(*(look(store, track) for track in (46, 68)), strict=True)
    found = {**made.records, **{one.digest: one for one in records}}
    publish(store, made.model_copy(update={"looks": looks, "records": found}))
    return store.uri


@pytest.fixture(scope="module")
def cube(address: str) -> xr.Dataset:
    return open_cube(address)


@pytest.fixture(scope="module")
def folder(cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("h5py", reason="the extra netcdf is not installed")
    target = tmp_path_factory.mktemp("out") / "made"
    made = write_export(cube, target, ("cogs", "zarr2", "zarr3", "netcdf"))
    assert (made.layers, made.simulated) == (10, True)
    return target


def test_cogs_are_laid_out_for_the_cloud_and_hold_values_place_time_and_rights(
    cube: xr.Dataset, folder: Path
) -> None:
    files = sorted((folder / "cogs").glob("*.tif"))
    assert len(files) == 10
    assert [one.name for one in files if one.name.startswith("vv")] == [
        "vv_20180802T000000Z_T046.tif", "vv_20180803T000000Z_T046.tif",
    ]  # fmt: skip
    for index, path in enumerate(one for one in files if one.name.startswith("vv")):
        with rasterio.open(path) as raster:
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert raster.crs.to_epsg() == GRID.epsg and raster.transform == GRID.affine
            np.testing.assert_array_equal(raster.read(1), cube["vv"][index].values)
            assert np.isnan(raster.nodata) and raster.units == ("1",) and raster.overviews(1)
            tags = raster.tags()
            assert tags["PASS_TIME"] == f"2018-08-0{2 + index}T00:00:00Z"
            assert tags["TIFFTAG_DATETIME"] == f"2018:08:0{2 + index} 00:00:00"
            assert {k: tags[k] for k in ("PLATFORM", "RELATIVE_ORBIT", "LICENSE", "CITATION", "SIMULATED")} == {
                "PLATFORM": "sentinel-1a", "RELATIVE_ORBIT": "46", "LICENSE": "CC-BY-4.0",
                "CITATION": STATED["attribution"], "SIMULATED": "1",
            }  # fmt: skip


def test_codes_have_colours_and_a_value_for_no_data(cube: xr.Dataset, folder: Path) -> None:
    with rasterio.open(folder / "cogs" / "layover_shadow_T046.tif") as raster:
        assert raster.dtypes == ("uint8",) and raster.nodata == 255 and raster.units == ("1",)
        assert raster.colormap(1)[2] != raster.colormap(1)[1] and raster.colormap(1)[255][3] == 0
        found = raster.read(1).astype("float32")
        found[found == 255] = np.nan
        np.testing.assert_array_equal(found, cube["layover_shadow"][0].values)


@pytest.mark.parametrize("form", [2, 3])
def test_the_plain_zarr_is_the_cube_without_shards(cube: xr.Dataset, folder: Path, form: int) -> None:
    path = folder / f"cube_v{form}.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = xr.open_zarr(path).load()
    assert plain["vv"].encoding.get("shards") is None
    assert set(plain.data_vars) == set(cube.data_vars) and set(plain.coords) == set(cube.coords)
    for name in cube.variables:
        assert plain[name].values.tolist() == cube[name].values.tolist() or plain[name].dtype.kind == "f", (
            name
        )
        if plain[name].dtype.kind == "f":
            np.testing.assert_array_equal(plain[name].values, cube[name].values, err_msg=str(name))
    again = open_cube(path)
    assert again["vv"].dtype == np.float32 and again.sizes == cube.sizes
    if form == 2:  # programs that know neither zarr v3 nor objects
        assert not list(path.rglob("zarr.json")) and (path / ".zmetadata").is_file()
        kinds = {json.loads(one.read_text())["dtype"] for one in path.rglob(".zarray")}
        assert not [kind for kind in kinds if kind.startswith("|O")]
        with rasterio.open(f'ZARR:"{path}":/vv:0') as raster:
            np.testing.assert_array_equal(raster.read(1), cube["vv"][0].values)


def test_the_netcdf_is_read_by_xarray_and_gdal(cube: xr.Dataset, folder: Path) -> None:
    with xr.open_dataset(folder / "cube.nc", engine="h5netcdf") as made:
        assert made.attrs["Conventions"] == "CF-1.11" and made.attrs["simulated"] == 1
        for name in cube.data_vars:
            np.testing.assert_array_equal(made[name].values, cube[name].values, err_msg=str(name))
            assert made[name].attrs["grid_mapping"] == "spatial_ref"
        np.testing.assert_array_equal(made["timestep"].values, cube["timestep"].values)
        assert list(made["timepair_label"].values) == list(cube["timepair"].values)
        assert made["vv"].coords["relative_orbit"].values.tolist() == [46, 46]
        assert not [name for one in (made, *made.variables.values()) for name in one.attrs if ":" in name]
        assert not [name for name in made.variables if ":" in str(name)]
        assert all("long_name" in one.attrs for one in made.variables.values())
    with rasterio.open(f'NETCDF:"{folder / "cube.nc"}":vv') as raster:
        assert raster.crs.to_epsg() == GRID.epsg and raster.transform == GRID.affine and raster.count == 2


def test_the_item_names_every_file_and_what_it_is(cube: xr.Dataset, folder: Path) -> None:
    item = pystac.Item.from_file(folder / "item.json")
    names = [url.split("/")[3] for url in item.stac_extensions]
    assert set(names) == {"datacube", "file", "projection", "raster", "sar", "sat"}
    assert item.properties["proj:code"] == f"EPSG:{GRID.epsg}"
    assert item.properties["proj:shape"] == [GRID.height, GRID.width]
    assert set(item.properties["cube:variables"]) == set(cube.data_vars)
    assert item.properties["cube:dimensions"]["timestep"]["values"][0] == "2018-08-02T00:00:00Z"
    assert item.properties["slidecube:simulated"] is True
    asset = item.assets["vv_20180802T000000Z_T046"]
    assert asset.extra_fields["sat:relative_orbit"] == 46
    assert asset.extra_fields["raster:bands"][0]["data_type"] == "float32"
    for one in item.assets.values():
        assert one.href.startswith("./") and (folder / one.href).exists()
        if "file:checksum" in one.extra_fields:
            digest = hashlib.sha256((folder / one.href).read_bytes()).hexdigest()
            assert one.extra_fields["file:checksum"] == f"1220{digest}"
    text = (folder / "item.json").read_text() + (folder / "SHA256SUMS").read_text()
    assert str(folder) not in text and ".partial" not in text, (
        "no folder of this machine, none of the writing"
    )


def test_checksums_citation_and_licence(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    stated = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"SHA256SUMS"}
    assert set(stated) == files
    for name, digest in stated.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert str(STATED["attribution"]) in (folder / "CITATION.txt").read_text()
    assert "SIMULATED" in (folder / "CITATION.txt").read_text()
    assert (folder / "LICENSE.txt").read_text() == "CC-BY-4.0\n"


def test_what_is_there_is_refused_and_a_failure_leaves_nothing(
    cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for there in (tmp_path / "file", tmp_path / "folder"):
        there.mkdir() if there.name == "folder" else there.write_text("mine")
        with pytest.raises(CubeError, match=there.name):
            write_export(cube, there, ("cogs",))
    calls: list[str] = []

    def stopped(what: str, done: int, total: int | None = None, remark: str = "", /) -> None:
        calls.append(what)
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_export(cube, tmp_path / "new", ("cogs",), stopped)
    assert len(calls) == 3 and {p.name for p in tmp_path.iterdir()} == {"file", "folder"}


def test_a_cube_without_a_reference_system_is_named(cube: xr.Dataset, tmp_path: Path) -> None:
    bare = cube.drop_vars("spatial_ref").drop_attrs()
    with pytest.raises(CubeError, match="reference system"):
        write_export(bare, tmp_path / "new", ("cogs",))
    assert not list(tmp_path.iterdir())


def test_the_command_writes_refuses_and_says_what_lacks(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str) -> Any:
        return CliRunner().invoke(export, [address, *words])

    target = str(tmp_path / "one")
    done = run("--out", target, "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["forms"] == ["cogs"]
    again = run("--out", target)
    assert again.exit_code == CubeError.exit_code and target in again.stderr
    assert run().exit_code == run("--form", "cogs", "--published", target).exit_code == 2
    assert run("--out", target, "--published", target).exit_code == 2
    monkeypatch.setattr("pipeline.cube.export.netcdf_file.find_spec", lambda _: None)
    lacking = run("--out", str(tmp_path / "two"), "--form", "netcdf")
    assert lacking.exit_code == CubeError.exit_code and "slidecube[netcdf]" in lacking.stderr
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize("form", ["cogs", "zarr2"])
def test_a_full_disk_is_named_and_leaves_nothing(address: str, tmp_path: Path, form: str) -> None:
    """A limit of the size of a file stands for it: the kernel refuses the write in the same way."""
    target = tmp_path / "out"
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "from pipeline.cube.export.cli import export;"
        f"export([{address!r}, '--out', {str(target)!r}, '--form', {form!r}])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 9, run.stderr
    assert "Traceback" not in run.stderr and "out" in run.stderr
    assert not [p for p in tmp_path.iterdir() if not p.name.endswith(".lock")]
