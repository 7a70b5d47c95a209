"""A hostile or broken archive against a whole build: the good pass is published, the other is named by its cause."""

from __future__ import annotations

import gzip
import logging
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
from tests.unit.loopback import Loopback, Reply, Seen
from tests.unit.pipeline.build.test_build_pairs import catalogue_of, here
from tests.unit.pipeline.catalogue.test_passes import item

AREA = here(interferometry=None)
LATER = "2018-09-17 20:21:25+00:00"


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
    "VRT of a local file": (VRT, "no TIFF"),
    "cut": (GOOD[: len(GOOD) // 2], "cut"),
    "empty": (b"", "HTTP|late"),
    "sign-in page": (b"<!doctype html><title>Sign in</title>", "web page"),
    "decibels": (tiff(-7.0), "negative"),
    "decibels by unit": (tiff(-7.0, declare(units=("dB",))), "dB"),
    "digital numbers": (tiff(3190, dtype="uint16"), "median"),
    "complex": (tiff(1j, dtype="complex64"), "complex64"),
    "degrees": (tiff(crs="EPSG:4326"), "degrees"),
    "another format": (b"\x89HDF\r\n\x1a\n" + bytes(500), "no TIFF"),
    "huge blocks": (
        GOOD.replace(
            np.array([400], "<u2").tobytes() + b"\0\0", np.array([65500], "<u2").tobytes() + b"\0\0"
        ),
        "late",
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
    "short": (short, "late|127"),
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


def listed(server: Loopback) -> Catalogue:
    """Two passes: `good.tif`, and `late.tif` with a signature in its address."""
    items = [item("2018-09-05 20:21:25+00:00"), item(LATER, name="later")]
    items[1]["properties"]["sat:absolute_orbit"] += 175
    hrefs = [server.url("good.tif"), server.url("late.tif?sig=SECRET")]
    for one, href in zip(items, hrefs, strict=True):
        one["assets"] = {"vv": {"href": href}}
    probes, notes = probe(hrefs)
    update = {"rtc_items": tuple(items), "probes": probes, "notes": tuple(notes)}
    return catalogue_of(AREA, items[0], None).model_copy(update=update)


def built(server: Loopback, folder: Path) -> build.Published:
    catalogue = listed(server)
    return build.build(
        AREA, Path(save_catalogue(catalogue, LocalStore(folder / "c"))), kinds=(Backscatter(),)
    )


def check(published: build.Published, cause: str, caplog: pytest.LogCaptureFixture) -> None:
    (reason,) = published.failed
    assert "2018-09-17" in reason or "later" in reason
    assert any(word in reason for word in cause.split("|")), reason
    assert not published.complete
    with open_cube(published.uri) as cube:
        assert cube.sizes["timestep"] == 1
        np.testing.assert_array_equal(np.unique(cube["vv"].values), np.float32(0.2))
    everything = published.model_dump_json() + caplog.text
    folder = Path(published.uri).parents[1]
    everything += "".join(path.read_text() for path in folder.rglob("manifest*.json"))
    assert "SECRET" not in everything


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_backscatter_is_left_out_by_name(
    name: str, server: Loopback, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content, cause = FILES[name]
    server.files["late.tif"] = content
    with caplog.at_level(logging.DEBUG):
        check(built(server, tmp_path), cause, caplog)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_does_not_deliver_is_named(
    name: str, server: Loopback, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rule, cause = SERVERS[name]
    server.files["late.tif"] = GOOD
    server.rules.append(lambda seen: rule(seen) if "late" in seen.path else None)
    with caplog.at_level(logging.DEBUG):
        check(built(server, tmp_path), cause, caplog)


def test_scale_and_mask_of_a_hostile_looking_file_are_applied(server: Loopback, tmp_path: Path) -> None:
    server.files["late.tif"] = tiff(2000, declare(scales=(1e-4,)), dtype="uint16", nodata=0)
    published = built(server, tmp_path)
    assert published.complete
    with open_cube(published.uri) as cube:
        np.testing.assert_allclose(cube["vv"].isel(timestep=1).values, 0.2, rtol=1e-6)
