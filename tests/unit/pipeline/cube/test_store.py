"""The contract of a store, tested with those on a disk, in memory and in an object store; and a whole build."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import xarray as xr

from flows import chain
from model.inputs import cubes
from pipeline.areas.area import AreaOfInterest
from pipeline.build import run as build
from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.snapshots import save_catalogue
from pipeline.cube import addresses
from pipeline.cube.addresses import (
    address_of,
    built_areas,
    latest_version,
    named_cube,
    open_store,
    resolve_version,
)
from pipeline.cube.cube_quicklook import write_quicklook
from pipeline.cube.layers import (
    RECORD,
    LayerData,
    Recipe,
    Source,
    folder_of,
    layer_problems,
    write_layer,
)
from pipeline.cube.local_store import LocalStore
from pipeline.cube.objects import object_store
from pipeline.cube.objects.folder_document import DOCUMENT
from pipeline.cube.objects.object_store import ObjectStore
from pipeline.cube.read import open_cube
from pipeline.cube.store import STAGING, Store
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import POINTER, current_version, publish, read_manifest, version_key
from pipeline.errors import BusyError, CubeError
from pipeline.layers.interferometry import Interferometry
from pipeline.layers.kinds import KINDS, Kinds
from pipeline.object_storage.bucket import Bucket
from pipeline.settings import settings
from tests.unit.made_slc import repeats
from tests.unit.pipeline.build.test_build_pairs import Processor, catalogue_of, here
from tests.unit.pipeline.build.test_build_pairs import rtc as rtc
from tests.unit.pipeline.cube.memory_store import SCHEME, MemoryStore
from tests.unit.pipeline.cube.test_cube import GRID, layer, manifest, values
from tests.unit.pipeline.cube.test_cube_pairs import with_pairs


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    """URI under which `open_store` opens stores in memory."""
    monkeypatch.setitem(addresses.STORES, SCHEME, MemoryStore)
    return f"{SCHEME}://{uuid4().hex}"


@pytest.fixture(params=["disk", SCHEME, "s3"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Store:
    if request.param == "s3":
        monkeypatch.setattr(object_store, "GRACE_S", -60.0)
        monkeypatch.setattr(object_store, "INLINE_BYTES", 2000)
        return ObjectStore(f"{request.getfixturevalue('s3_bucket')}/prefix/cube")
    return LocalStore(tmp_path / "cube") if request.param == "disk" else MemoryStore(f"{bucket}/cube")


def test_bytes_come_back_whole_and_are_listed(store: Store) -> None:
    assert (store.read("a/b"), store.exists("a"), store.names("a"), store.files("a")) == (None, False, [], [])
    store.write("a/b", b"1")
    store.write("a/c/d", b"2")
    store.write("a/b", b"3")
    assert (store.read("a/b"), store.read("a"), store.read("a/b/c")) == (b"3", None, None)
    assert store.exists("a/b") and store.exists("a/c") and not store.exists("a/d")
    assert store.names("a") == ["b", "c"]
    assert store.names("") == ["a"]
    assert store.files("a") == ["b", "c/d"]
    store.delete("a/c")
    store.delete("a/c")
    assert store.files("") == ["a/b"]


def test_a_swap_is_done_only_over_the_expected_bytes(store: Store) -> None:
    assert not store.compare_and_swap("latest", b"1", b"2")
    assert store.compare_and_swap("latest", None, b"1")
    assert not store.compare_and_swap("latest", None, b"2")
    assert store.compare_and_swap("latest", b"1", b"2")
    assert store.read("latest") == b"2"


def test_a_staged_folder_is_seen_once_it_is_committed_and_the_first_commit_wins(store: Store) -> None:
    first, second = store.staging("layers"), store.staging("layers")
    assert all(key.startswith(f"layers/{STAGING}") for key in (first, second))
    store.write("source", b"linked")
    store.link("source", f"{first}/x")
    store.write(f"{second}/x", b"later")
    store.commit(first, "layers/final")
    store.commit(second, "layers/final")
    assert store.names("layers") == ["final"]
    assert store.read("layers/final/x") == b"linked"
    with pytest.raises(CubeError, match="nowhere"):
        store.link("nowhere", "x")


def test_what_a_writer_left_is_swept(store: Store) -> None:
    store.write(f"{store.staging('layers')}/x", bytes(5000))
    store.write("layers/whole/x", b"kept")
    assert store.sweep("layers") == 1
    assert store.files("layers") == ["whole/x"]


def test_what_was_swept_while_it_was_written_is_not_committed(store: Store) -> None:
    staging = store.staging("layers")
    store.put(f"{staging}/first", bytes(5000))
    assert store.sweep("layers") == 1
    store.put(f"{staging}/second", bytes(5000))
    with pytest.raises(CubeError):
        store.commit(staging, "layers/final")
    assert not store.exists("layers/final")
    store.sweep("layers")
    assert store.names("layers") == []


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_layer_that_is_swept_while_a_worker_writes_it_has_no_hole(tmp_path: Path, moment: int) -> None:
    """As when a flow was killed: its Dask workers go on, and the next run sweeps."""
    store, shown = LocalStore(tmp_path / "cube"), []
    variables = ("interferogram", "coherence", "vv")
    made = Recipe(
        kind="interferometry",
        variables=variables,
        grid=GRID.digest,
        sources=(Source(id="a-b", fingerprint="1"),),
        algorithm="test-1",
    )

    def watch(*what: object) -> None:
        shown.append(what)
        if len(shown) == moment:
            store.sweep("layers")

    data = LayerData({name: values(1) for name in variables}, report={"coverage": 1.0})
    with pytest.raises(CubeError):
        write_layer(store, made, data, GRID, watch)
    assert len(shown) >= 3 and not store.exists(folder_of(made.digest))
    record = write_layer(store, made, data, GRID)
    assert layer_problems(store, record) == [] and store.names("layers") == [made.digest]


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "layers/../../x"])
def test_no_key_leaves_the_cube(store: Store, key: str) -> None:
    for act in (store.read, store.exists, store.names, store.files, store.delete, store.zarr):
        with pytest.raises(CubeError):
            act(key)
    with pytest.raises(CubeError):
        store.write(key, b"x")
    store.write("inside", b"x")
    with pytest.raises(CubeError):
        store.link("inside", key)


def test_one_holds_the_lock_and_another_waits_for_it(store: Store) -> None:
    waits: list[bool] = []

    def second() -> None:
        with store.lock("writer.lock", wait=True) as waited:
            waits.append(waited)

    with store.lock("writer.lock", wait=True) as waited:
        assert waited is False
        with pytest.raises(BusyError), store.lock("writer.lock", wait=False):
            pass
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert waits == []
    thread.join(10)
    assert waits == [True]


def test_an_error_inside_the_lock_is_passed_on_and_frees_it(store: Store) -> None:
    with pytest.raises(KeyError), store.lock("writer.lock", wait=False):
        raise KeyError
    with store.lock("writer.lock", wait=False) as waited:
        assert waited is False


def test_a_cube_is_published_read_and_verified(store: Store) -> None:
    publish(store, with_pairs(store, (10, 20)))
    assert publish(store, with_pairs(store, (10, 15, 20))) == (2, True)
    with xr.open_zarr(store.zarr(version_key(2))) as plain, open_cube(store.uri) as cube:
        assert cube.equals(plain)
        # a dataset in memory has neither the store's conventions, which netCDF cannot hold, nor its overviews
        assert set(plain.attrs) - set(cube.attrs) == {"zarr_conventions", "multiscales"}
        np.testing.assert_array_equal(cube["vv"][1].values, values(2))
        np.testing.assert_allclose(cube["coherence"][:, 9, 9].values, [0.1, 0.15, 0.2])
        assert cube.encoding["source"] == store.uri_of(version_key(2))
    counted: list[tuple[int, int | None]] = []
    verdict = verify_cube(store.uri, lambda what, done, total=None, remark="": counted.append((done, total)))
    assert verdict.sound, verdict.problems
    assert counted == [(n, 16) for n in range(1, 17)]
    store.write(f"{version_key(2)}/vv/c/0/0/0", b"damaged")
    store.delete(f"{version_key(2)}/vv/c/1/0/0")
    assert len(verify_cube(store.uri).problems) == 2


def test_the_bytes_of_a_version_are_those_of_any_other_store(tmp_path: Path, bucket: str) -> None:
    stores: list[Store] = [LocalStore(tmp_path / "cube"), MemoryStore(f"{bucket}/cube")]
    for store in stores:
        publish(store, with_pairs(store, (10, 20)))
    disk, memory = ({key: store.read(key) for key in store.files("versions")} for store in stores)
    assert disk == memory


def test_an_address_names_a_store_a_version_and_its_key(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, manifest([layer(store, 1)]))
    for address in (store.uri, store.uri_of(version_key(1)), store.uri_of(version_key(1)) + "/"):
        found = resolve_version(address)
        assert (found.store.uri, found.number, found.key) == (store.uri, 1, "versions/1.zarr")
        assert found.uri == store.uri_of(version_key(1))
        assert found.read("manifest.json") == read_manifest(store, 1).to_bytes()
    with pytest.raises(CubeError):
        resolve_version(store.uri_of(version_key(2)))
    assert address_of(store.uri_of("versions/other.zarr")).number is None
    foreign = address_of(store.uri_of("hokkaido_japan.zarr"))
    assert (foreign.number, foreign.key, foreign.name) == (None, "", "hokkaido_japan")


def test_a_relative_path_and_a_link_name_the_version_they_lead_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "cube")
    publish(store, manifest([layer(store, 1)]))
    (tmp_path / "link").symlink_to(store.path(version_key(1)))
    monkeypatch.chdir(store.path("versions"))
    for address in ("1.zarr", tmp_path / "link", "../versions/1.zarr", (tmp_path / "cube").as_uri()):
        assert (resolve_version(address).number, verify_cube(address).sound) == (1, True)
    monkeypatch.chdir(tmp_path)
    assert open_cube("cube").encoding["source"] == "cube/versions/1.zarr"


def test_a_scheme_without_a_store_is_refused() -> None:
    with pytest.raises(CubeError, match="ftp"):
        open_store("ftp://bucket/cube")


def kinds_with(processor: Processor) -> Kinds:
    """Kinds of layer without look geometry, whose pairs are made by `processor`."""
    pairs = Interferometry(processor, lambda mode: None)
    return (*(kind for kind in KINDS if kind.name not in ("interferometry", "look")), pairs)


@pytest.fixture(params=[SCHEME, "s3"])
def cubes_elsewhere(
    request: pytest.FixtureRequest, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[str]:
    """All cubes of this installation are in memory, or in an object store."""
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "pygmtsar")
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    if request.param == "s3":
        where = f"{request.getfixturevalue('s3_bucket')}/prefix"
        monkeypatch.setenv("SLIDECUBE_DATA_DIR", where)
        monkeypatch.setenv("SLIDECUBE_WORK_DIR", str(tmp_path / "data"))
    else:
        where = bucket
        monkeypatch.setattr(addresses, "cubes_address", lambda: f"{bucket}/cubes")
    settings.cache_clear()
    yield f"{where}/cubes"
    settings.cache_clear()


def test_a_build_its_repair_its_picture_and_its_readers_need_no_path(
    cubes_elsewhere: str, rtc: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    area = here()
    kinds = kinds_with(Processor(tmp_path / "jobs"))
    found = catalogue_of(area, rtc, repeats(3))

    def search(_area: AreaOfInterest, store: Store) -> Catalogue:
        save_catalogue(found, store)
        return found

    monkeypatch.setattr("pipeline.archives.search_area.search_catalogue", search)
    published = build.build(area, kinds=kinds)
    uri = f"{cubes_elsewhere}/{area.name}"
    assert (published.new, published.failed, published.uri) == (True, (), f"{uri}/versions/1.zarr")
    assert not build.build(area, kinds=kinds).new
    assert build.make_plan(area, found, kinds=kinds).cube == uri
    assert verify_cube(uri).sound

    store = open_store(uri)
    assert {"catalogues", "journal", "latest", "layers", "versions"} == {*store.names("")} - {"writer.lock"}
    (damaged,) = [digest for digest, record in read_manifest(store, 1).records.items()
                  if record.recipe.kind == "backscatter"]  # fmt: skip
    store.write(f"{folder_of(damaged)}/vv/c/0/0/0", b"damaged")
    store.link(f"{folder_of(damaged)}/vv/c/0/0/0", f"{version_key(1)}/vv/c/0/0/0")
    assert len(build.discard_damaged(area)) == 1
    assert (store.read(POINTER), store.exists(f"{folder_of(damaged)}/{RECORD}")) == (None, False)
    assert build.build(area, kinds=kinds).new
    assert (current_version(store), verify_cube(uri).sound) == (1, True)

    # another process, such as a later build beside a Dask worker that lives on, removes a layer that this one has read
    task = next(
        task for task in build.make_plan(area, found, kinds=kinds).tasks if task.recipe.digest == damaged
    )
    if uri.startswith("s3"):
        Bucket(uri).delete([f"{folder_of(damaged)}/{DOCUMENT}"])
    else:
        store.delete(folder_of(damaged))
    assert build.build_layer(area, task).digest == damaged and store.exists(f"{folder_of(damaged)}/{RECORD}")

    picture = write_quicklook(published.uri)
    assert picture.uri == f"{uri}/quicklook/1.png"
    assert picture.png.startswith(b"\x89PNG") and store.read("quicklook/1.png") == picture.png
    assert named_cube(area.name) == uri
    assert [version.uri for area in built_areas() if (version := latest_version(area))] == [published.uri]
    assert [version.uri for version in chain.latest_versions()[0]] == [published.uri]
    cube, facts = cubes.load(area.name)
    assert (facts.uri, facts.version, facts.area) == (published.uri, 1, area.name)
    assert cube["coherence"].sizes["timepair"] == 2
    assert not (tmp_path / "data" / "cubes").exists()


def test_a_pipe_in_place_of_a_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "latest")
    with pytest.raises(CubeError, match="latest"):
        LocalStore(tmp_path).read("latest")
