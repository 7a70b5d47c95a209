"""A hostile or broken archive against a whole build: the good pass is published, the other is named by its cause."""

from __future__ import annotations

import gzip
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from pipeline.archives.probes import probe
from pipeline.build import run as build
from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.snapshots import save_catalogue
from pipeline.cube.local_store import LocalStore
from pipeline.cube.read import open_cube
from pipeline.layers.backscatter import Backscatter
from pipeline.settings import settings
from tests.faults.outcomes import NAMED, note
from tests.unit.loopback import Loopback, Reply, Seen
from tests.unit.pipeline.build.test_build_pairs import catalogue_of, here
from tests.unit.pipeline.catalogue.test_passes import item

AREA = here(interferometry=None)


def tiff(values: Any = 0.2, change: Callable[[Any], None] = lambda _: None, **options: Any) -> bytes:
    """A scene over the area."""
    profile = {
        "driver": "GTiff", "width": 400, "height": 400, "count": 1, "dtype": "float32", "crs": "EPSG:32654",
        "transform": rasterio.Affine(10, 0, 580_000, 0, -10, 4_730_000),
    } | options  # fmt: skip
    with MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.write(np.full((400, 400), values, profile["dtype"]), 1)
            change(target)
        return bytes(memory.getbuffer())


def declare(**values: Any) -> Callable[[Any], None]:
    def change(target: Any) -> None:
        for name, value in values.items():
            setattr(target, name, value)

    return change


GOOD = tiff()
SECRET_FILE = Path(__file__)
VRT = f"""<VRTDataset rasterXSize="400" rasterYSize="400"><SRS>EPSG:32654</SRS>
<GeoTransform>580000, 10, 0, 4730000, 0, -10</GeoTransform><VRTRasterBand dataType="Byte" band="1"
subClass="VRTRawRasterBand"><SourceFilename relativetoVRT="0">{SECRET_FILE}</SourceFilename>
<PixelOffset>1</PixelOffset><LineOffset>1</LineOffset></VRTRasterBand></VRTDataset>""".encode()

FILES: dict[str, tuple[bytes, str]] = {
    "vrt": (VRT, "no TIFF"),
    "cut": (GOOD[: len(GOOD) // 2], "cut"),
    "empty": (b"", "HTTP|empty"),
    "page": (b"<!doctype html><title>Sign in</title>", "web page"),
    "decibels": (tiff(-7.0), "negative"),
    "decibels-by-unit": (tiff(-7.0, declare(units=("dB",))), "dB"),
    "numbers": (tiff(3190, dtype="uint16"), "median"),
    "complex": (tiff(1j, dtype="complex64"), "complex64"),
    "degrees": (tiff(crs="EPSG:4326"), "degrees"),
    "hdf": (b"\x89HDF\r\n\x1a\n" + bytes(500), "no TIFF"),
    "blocks": (
        GOOD.replace(
            np.array([400], "<u2").tobytes() + b"\0\0", np.array([65500], "<u2").tobytes() + b"\0\0"
        ),
        "blocks",
    ),
}


def packed(seen: Seen) -> Reply | None:
    body = gzip.compress(GOOD)
    headers = {"Content-Encoding": "gzip", "ETag": '"one"', "Content-Range": f"bytes 0-65535/{len(GOOD)}"}
    return Reply(206, headers, body) if seen.method == "GET" else None


def short(seen: Seen) -> Reply | None:
    if seen.method != "GET":
        return None
    first, last = (int(n) for n in seen.headers["range"].removeprefix("bytes=").split("-"))
    headers = {"ETag": '"one"', "Content-Range": f"bytes {first}-{min(last, len(GOOD) - 1)}/{len(GOOD)}"}
    return Reply(206, headers, b"\1" * 99, length=last - first)


def circle(seen: Seen) -> Reply | None:
    return Reply(302, {"Location": f"/{seen.path}"}) if seen.method == "GET" else None


def replaced(seen: Seen) -> Reply | None:
    return Reply(412) if seen.method == "GET" else None


SERVERS: dict[str, tuple[Callable[[Seen], Reply | None], str]] = {
    "compressed": (packed, "compressed"),
    "short": (short, "short|127"),
    "circle": (circle, "redirects"),
    "replaced": (replaced, "changed"),
    "refused": (lambda seen: Reply(403) if seen.method == "GET" else None, "HTTP 403"),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Loopback]:
    for name, value in {
        "DATA_DIR": str(tmp_path / "data"), "RETRIES": "0", "BACKOFF_S": "0.001", "TIMEOUT_S": "5",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"SLIDECUBE_{name}", value)
    settings.cache_clear()
    with Loopback({"good.tif": GOOD}) as loopback:
        yield loopback
    settings.cache_clear()


def listed(server: Loopback, names: list[str]) -> Catalogue:
    """The pass of `good.tif`, and a day later each those of the other files, with signed addresses."""
    files = {"good": server.url("good.tif")} | {name: server.url(f"{name}.tif?sig=SECRET") for name in names}
    items = []
    for day, (name, href) in enumerate(files.items()):
        one = item(f"2018-09-{5 + day:02d} 20:21:25+00:00", name=name)
        one["properties"]["sat:absolute_orbit"] += 15 * day
        one["assets"] = {"vv": {"href": href}}
        items.append(one)
    probes, notes = probe(list(files.values()))
    update = {"rtc_items": tuple(items), "probes": probes, "notes": tuple(notes)}
    return catalogue_of(AREA, items[0], None).model_copy(update=update)


def built(server: Loopback, names: list[str], folder: Path) -> build.Published:
    replay = save_catalogue(listed(server, names), LocalStore(folder / "catalogues"))
    return build.build(AREA, Path(replay), kinds=(Backscatter(),))


def check(published: build.Published, causes: dict[str, str], log: str) -> None:
    """Every pass but the first is named by its cause, the first is whole, and no secret is anywhere.

    Passes of one cause are in one line.
    """
    assert not published.complete and published.layers_failed == len(causes)
    for day, (name, cause) in enumerate(causes.items(), start=6):
        (reason,) = [line for line in published.failed if f"2018-09-{day:02d}" in line]
        assert re.search(cause, reason), (name, reason)
    with open_cube(published.uri) as cube:
        assert cube.sizes["timestep"] == 1
        np.testing.assert_array_equal(np.unique(cube["vv"].values), np.float32(0.2))
    recorded = [path.read_text() for path in Path(published.uri).parents[1].rglob("manifest*.json")]
    note(NAMED, len(causes))
    assert recorded and "SECRET" not in "".join([*recorded, published.model_dump_json(), log])


def test_files_that_are_no_backscatter_are_left_out_by_name(
    server: Loopback, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.files |= {f"{name}.tif": content for name, (content, _cause) in FILES.items()}
    with caplog.at_level(logging.DEBUG):
        published = built(server, list(FILES), tmp_path)
    check(published, {name: cause for name, (_content, cause) in FILES.items()}, caplog.text)


def test_servers_that_do_not_deliver_are_named(
    server: Loopback, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.files |= {f"{name}.tif": GOOD for name in SERVERS}
    server.rules.append(
        lambda seen: next(
            (rule(seen) for name, (rule, _) in SERVERS.items() if f"{name}.tif" in seen.path), None
        )
    )
    with caplog.at_level(logging.DEBUG):
        published = built(server, list(SERVERS), tmp_path)
    check(published, {name: cause for name, (_rule, cause) in SERVERS.items()}, caplog.text)


def test_scale_and_nodata_are_applied(server: Loopback, tmp_path: Path) -> None:
    server.files["scaled.tif"] = tiff(2000, declare(scales=(1e-4,)), dtype="uint16", nodata=0)
    published = built(server, ["scaled"], tmp_path)
    assert published.complete
    with open_cube(published.uri) as cube:
        np.testing.assert_allclose(cube["vv"].isel(timestep=1).values, 0.2, rtol=1e-6)
