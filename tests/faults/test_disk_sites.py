"""Every place where the product writes, on a disk that fails at each moment with each of the system's errors.

The outcome is the same everywhere: one sentence, status 9, nothing half written, and the next try succeeds.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import requests
from affine import Affine

from model.bundle.bundle import save
from model.experiments.results.result_files import write_result
from pipeline.archives.geotiff import rasters
from pipeline.archives.http.downloads import Wanted, download
from pipeline.archives.inventories import fetch_file
from pipeline.archives.slc.zips import unpack
from pipeline.areas.area import parse_area
from pipeline.catalogue.assets import local_asset
from pipeline.catalogue.catalogue import Catalogue, area_digest
from pipeline.catalogue.snapshots import save_answer, save_catalogue
from pipeline.cube import versions
from pipeline.cube.cube_quicklook import write_quicklook
from pipeline.cube.foreign.geotiffs import import_folder
from pipeline.cube.layers import LayerData, write_layer
from pipeline.cube.local_store import LocalStore
from pipeline.errors import DiskError
from pipeline.files import is_partial, whole_folder, write_whole, writing
from pipeline.insar.job_state import State, write_state
from pipeline.layers.outlines.vectors import read_features
from pipeline.lock import held
from pipeline.settings import settings
from tests.faults.corpus import RING, geojson, polygon
from tests.faults.failing_disk import Moment, failing_disk
from tests.faults.made_bundle import made_document, made_weights
from tests.unit.loopback import raw_body
from tests.unit.made_results import made_result
from tests.unit.pipeline.cube import test_cube as cubes
from tests.unit.pipeline.cube.foreign.test_geotiffs import tif

Write = Callable[[Path], Path | None]
"""Writes below a folder, the second time as well as the first; returns what then exists, if it has a name."""

DATA = bytes(range(256)) * 512


class Answering:
    """An archive that gives the same bytes for every address."""

    def open(
        self,
        href: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        public: bool = False,
    ) -> requests.Response:
        answer = requests.Response()
        answer.url, answer.status_code, answer.raw = href, 200, raw_body(DATA)
        answer.headers.update({"ETag": '"one"', "Content-Length": str(len(DATA))})
        return answer


def a_small_file(folder: Path) -> Path:
    write_whole(folder / "made" / "x.json", "{}")
    return folder / "made" / "x.json"


def a_folder(folder: Path) -> Path:
    with whole_folder(folder / "made", "mark") as scratch:
        (scratch / "mark").write_text("x")
    return folder / "made"


def a_lock(folder: Path) -> Path:
    with held(folder / "locks" / "x.lock"):
        return folder / "locks"


def a_download(folder: Path) -> Path:
    md5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    wanted = Wanted("https://datapool.asf.alaska.edu/a.zip", folder / "slc" / "a.zip", len(DATA), md5)
    return download(wanted, Answering())


def an_inventory(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.archives.inventories.archive_of", lambda url: Answering())
        return fetch_file("https://example.org/slides.geojson", folder / "downloads")


def a_safe_folder(folder: Path) -> Path:
    packed = folder.parent / "packed.zip"
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr("S1A.SAFE/manifest.safe", DATA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.archives.slc.zips.ensure_room", lambda *given: None)
        with writing(folder / "S1A.SAFE"):
            return unpack(packed, folder, "S1A.SAFE")


def searched() -> Catalogue:
    area = parse_area((Path(__file__).parents[2] / "aoi" / "sandbox.yaml").read_text(), Path("x.yaml"))
    return Catalogue(
        area=area.name, area_digest=area_digest(area), searched_at=datetime(2020, 1, 1, tzinfo=UTC),
        endpoint="https://example.org", rtc_items=(), dem_items=(),
    )  # fmt: skip


def a_catalogue(folder: Path) -> Path:
    return Path(save_catalogue(searched(), LocalStore(folder)))


def an_answer(folder: Path) -> Path:
    return Path(save_answer(searched(), LocalStore(folder)))


def a_layer(folder: Path) -> Path:
    store = LocalStore(folder)
    record = write_layer(store, cubes.recipe(1), LayerData({"vv": cubes.values(1)}), cubes.GRID)
    return store.path(f"layers/{record.digest}")


def a_version(folder: Path) -> Path:
    store = LocalStore(folder)
    versions.publish(store, cubes.manifest([cubes.layer(store, 1)]))
    return store.path("latest")


def a_journal(folder: Path) -> Path:
    versions.journal(LocalStore(folder), 1, {"seconds": 1})
    return folder / "journal" / "1.json"


def a_picture(folder: Path) -> Path:
    return Path(write_quicklook(folder).uri)


def an_import(folder: Path) -> Path:
    given = folder.parent / "tifs"
    if not given.exists():
        given.mkdir()
        tif(given / "S1_VV_20180824.tif", 0.2)
    import_folder(given, folder / "mine.zarr")
    return folder / "mine.zarr"


def a_window(folder: Path) -> None:
    path = folder.parent / "radar.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=64, count=1, dtype="float32", crs="EPSG:32654",
        transform=Affine(10, 0, 0, 0, -10, 0),
    ) as file:  # fmt: skip
        file.write(np.ones((1, 64, 64), "float32"))
    with rasters.open_asset(local_asset(str(path))) as opened:
        opened.read(1)


def an_unpacked_geopackage(folder: Path) -> None:
    import geopandas
    from shapely.geometry import shape

    source, packed = folder.parent / "x.gpkg", folder.parent / "x.zip"
    if not source.exists():
        geopandas.GeoDataFrame(geometry=[shape(polygon(RING))], crs=4326).to_file(source)
    with zipfile.ZipFile(packed, "w") as made:
        made.write(source, "x.gpkg")
    assert len(read_features(packed)) == 1


def a_link_of_a_plain_name(folder: Path) -> None:
    odd = folder.parent / "what!.geojson"
    odd.write_bytes(geojson(polygon(RING)))
    assert len(read_features(odd)) == 1


def a_bundle(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:  # the scores of what nobody trained make no figure
        for name in ("draw_precision_recall", "draw_reliability"):
            patch.setattr(f"model.bundle.bundle.{name}", lambda document, file: file.write_bytes(DATA))
        save(made_document(), made_weights(), folder / "models" / "v1")
    return folder / "models" / "v1"


class _Anything:
    """What a trial hands on, of which only the file matters here."""

    def __getattr__(self, name: str) -> Any:
        return np.zeros((4, 4), np.uint8) if name in ("scored", "labels", "score") else _Anything()

    slices = np.s_[:, :]
    top = left = 0


def a_trial(folder: Path) -> Path:
    outcome: Any = _Anything()
    write_result(folder / "trials" / "one.json", made_result(), outcome)
    return folder / "trials" / "one.json"


def a_job_state(folder: Path) -> Path:
    write_state(folder, State(fingerprint="x"))
    return folder / "state.json"


FOLDER, OPEN, WRITE, SYNC, RENAME = "folder", "open", "write", "sync", "rename"
SITES: dict[str, tuple[Write, tuple[Moment, ...], Write | None]] = {
    "small file": (a_small_file, (FOLDER, OPEN, WRITE, SYNC, RENAME), None),
    "folder": (a_folder, (FOLDER, OPEN, WRITE, SYNC, RENAME), None),
    "lock": (a_lock, (FOLDER, OPEN), None),
    "download": (a_download, (FOLDER, OPEN, WRITE, SYNC, RENAME), None),
    "inventory": (an_inventory, (FOLDER, OPEN, WRITE, SYNC, RENAME), None),
    "SAFE folder": (a_safe_folder, (FOLDER, OPEN, WRITE, RENAME), None),
    "catalogue": (a_catalogue, (FOLDER, OPEN, WRITE, SYNC, RENAME), None),
    "answer": (an_answer, (WRITE, RENAME), None),
    "layer": (a_layer, (FOLDER, OPEN, WRITE, SYNC, RENAME), None),
    "version": (a_version, (FOLDER, OPEN, WRITE, SYNC, RENAME), a_layer),
    "journal": (a_journal, (FOLDER, WRITE, SYNC), None),
    "picture": (a_picture, (FOLDER, OPEN, WRITE, SYNC, RENAME), a_version),
    "import": (an_import, (FOLDER, OPEN, WRITE, SYNC, RENAME), None),
    "window of a raster": (a_window, (OPEN, WRITE), None),
    "unpacked GeoPackage": (an_unpacked_geopackage, (FOLDER, OPEN, WRITE), None),
    "link": (a_link_of_a_plain_name, (FOLDER,), None),
    "bundle": (a_bundle, (FOLDER, OPEN, WRITE, SYNC, RENAME), None),
    "trial": (a_trial, (FOLDER, OPEN, WRITE, SYNC, RENAME), None),
    "state of a job": (a_job_state, (OPEN, WRITE, SYNC, RENAME), None),
}
"""What is written, when it can fail, and what must be there before."""
NUMBERS = {
    "folder": (errno.ENOSPC, errno.EROFS, errno.EACCES),
    "open": (errno.EMFILE, errno.EDQUOT, errno.EACCES),
    "write": (errno.ENOSPC, errno.EFBIG, errno.EIO),
    "sync": (errno.EIO, errno.EDQUOT),
    "rename": (errno.ENOSPC, errno.EROFS),
}
CASES = [
    pytest.param(*site, moment, number, id=f"{name}-{moment}-{errno.errorcode[number]}")
    for name, site in SITES.items()
    for moment in site[1]
    for number in NUMBERS[moment]
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the product writes, its temporary files too."""
    made = tmp_path / "disk"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    settings.cache_clear()
    yield made
    settings.cache_clear()


def unfinished(folder: Path) -> list[str]:
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return [
        name
        for name in names
        if is_partial(name.rpartition("/")[2]) or ".staging" in name or name.endswith(".partial")
    ]


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """What a bundle imports when it is written first, which makes a folder for temporary files of its own."""
    importlib.import_module("segmentation_models_pytorch")
    importlib.import_module("torch._inductor.codecache")


def test_the_table_has_every_kind_of_place() -> None:
    assert len(SITES) >= 18 and len(CASES) >= 150
    assert {number for numbers in NUMBERS.values() for number in numbers} >= {
        errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.EMFILE, errno.EACCES
    }  # fmt: skip


@pytest.mark.parametrize(("write", "moments", "before", "moment", "number"), CASES)
def test_a_disk_that_fails_is_one_sentence_and_the_next_try_succeeds(
    folder: Path,
    write: Write,
    moments: tuple[Moment, ...],
    before: Write | None,
    moment: Moment,
    number: int,
) -> None:
    if before is not None:
        before(folder)
    was_there = set(folder.rglob("*"))
    with failing_disk(folder, moment, number) as met, pytest.raises(DiskError) as told:
        write(folder)
    assert met, "the disk was not written at that moment"
    assert told.value.exit_code == 9 and told.value.number == number
    assert "\n" not in str(told.value) and str(folder) in str(told.value)
    assert ".part" not in told.value.message.replace(".part.json", "") and "staging" not in told.value.message
    assert unfinished(folder) == []
    made = write(folder)
    assert made is None or (made.exists() and made not in was_there)
    assert unfinished(folder) == []
