"""Rasters behind http: few conditional requests, true statuses, no mixture of two contents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from pipeline.archives.http.ranges import RemoteFile
from pipeline.archives.probes import probe
from pipeline.archives.rasters import RemoteRaster, open_asset
from pipeline.archives.registry import OTHER
from pipeline.catalogue.assets import Asset, local_asset
from pipeline.errors import ArchiveError, SourceDataError
from pipeline.settings import settings
from tests.unit.loopback import Loopback, Reply, Seen, brisk_settings

SIDE = 1024


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).gamma(4.4, 0.05, (SIDE, SIDE)).astype("float32")


@pytest.fixture(scope="module")
def tiff(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("tiff") / "scene.tif"
    profile = {
        "driver": "GTiff",
        "width": SIDE,
        "height": SIDE,
        "count": 1,
        "dtype": "float32",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "nodata": -32768,
        "crs": "EPSG:32654",
        "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_700_000),
    }
    with rasterio.open(path, "w", **profile) as out:
        out.write(pixels, 1)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def brisk() -> Iterator[None]:
    with brisk_settings(retries=3):
        yield


@pytest.fixture
def server(tiff: bytes) -> Iterator[Loopback]:
    with Loopback({"scene.tif": tiff}) as loopback:
        yield loopback


def test_header_and_pixels_are_the_files(server: Loopback, pixels: np.ndarray) -> None:
    with RemoteRaster(server.url("scene.tif"), '"one"') as raster:
        assert raster.shape == (SIDE, SIDE)
        assert raster.block_shape == (256, 256)
        assert raster.nodata == -32768
        assert raster.crs.to_epsg() == 32654
        assert raster.transform.c == 500_000
        assert raster.profile["dtype"] == "float32"
        np.testing.assert_array_equal(
            raster.read(window=(slice(100, 700), slice(50, 900))), pixels[100:700, 50:900]
        )
        np.testing.assert_array_equal(raster.read(window=Window(3, 5, 20, 10)), pixels[5:15, 3:23])
        np.testing.assert_array_equal(raster.read(), pixels)


def test_requests_are_few_conditional_and_never_for_neighbours_of_the_file(server: Loopback) -> None:
    with RemoteRaster(server.url("scene.tif"), '"one"') as raster:
        assert len(server.seen) == 1
        raster.read(window=(slice(0, SIDE), slice(0, SIDE)))
        assert len(server.seen) <= 4
    assert {seen.path for seen in server.seen} == {"scene.tif"}
    assert all(seen.method == "GET" and "range" in seen.headers for seen in server.seen)
    assert all(seen.headers["if-match"] == '"one"' for seen in server.seen)
    assert all(seen.headers["accept-encoding"] == "identity" for seen in server.seen)


def test_a_window_costs_about_its_own_bytes(server: Loopback, tiff: bytes) -> None:
    with RemoteRaster(server.url("scene.tif")) as raster:
        before = raster.bytes_read
        raster.read(window=(slice(0, 256), slice(0, 256)))
        assert raster.bytes_read - before < len(tiff) / 16 * 1.5


def test_another_content_than_the_catalogues_is_refused(server: Loopback) -> None:
    with pytest.raises(ArchiveError, match=r"scene\.tif changed") as caught:
        RemoteRaster(server.url("scene.tif"), '"old"')
    assert "Plan again" in caught.value.remedy
    server.honours_if_match = False
    with pytest.raises(ArchiveError, match=r"\.tif changed"):
        RemoteRaster(server.url("scene.tif"), '"old"')


@pytest.mark.parametrize("honours", [True, False])
def test_a_file_replaced_while_it_is_read_is_never_mixed(server: Loopback, honours: bool) -> None:
    server.honours_if_match = honours
    with RemoteRaster(server.url("scene.tif")) as raster:
        raster.read(window=(slice(0, 256), slice(0, 256)))
        server.etags["scene.tif"] = '"two"'
        with pytest.raises(ArchiveError, match="changed"):
            raster.read(window=(slice(512, 768), slice(0, 256)))


@pytest.mark.parametrize(
    "reply", [Reply(503), Reply(429, {"Retry-After": "0"}), Reply(500), Reply(206, {}, b"x", length=9)]
)
@pytest.mark.parametrize("skip", [0, 1])
def test_what_may_pass_is_read_again(server: Loopback, pixels: np.ndarray, reply: Reply, skip: int) -> None:
    if reply.status == 206:
        total = len(server.files["scene.tif"])

        def cut(seen: Seen) -> Reply | None:
            nonlocal skip
            skip -= 1
            if skip != -1:
                return None
            first = re.sub(r"bytes=(\d+)-.*", r"\1", seen.headers["range"])
            return Reply(
                206,
                {"ETag": '"one"', "Content-Range": f"bytes {first}-{total - 1}/{total}"},
                b"x" * 9,
                length=99,
            )

        server.rules.append(cut)
    else:
        server.fail(2, reply, skip=skip)
    with RemoteRaster(server.url("scene.tif")) as raster:
        np.testing.assert_array_equal(raster.read(), pixels)


@pytest.mark.parametrize(("status", "word"), [(404, "gone"), (403, "not signed"), (401, "Sign in")])
@pytest.mark.parametrize("skip", [0, 1])
def test_what_really_happened_is_said(server: Loopback, status: int, word: str, skip: int) -> None:
    server.fail(99, Reply(status), skip=skip)
    with (
        pytest.raises(ArchiveError, match=f"HTTP {status}") as caught,
        RemoteRaster(server.url("scene.tif?sig=S")) as r,
    ):
        r.read()
    assert word in caught.value.remedy
    assert "sig=" not in str(caught.value)
    assert not caught.value.transient
    assert len(server.seen) == skip + 1


def test_tries_end_and_the_error_says_it_may_pass(server: Loopback) -> None:
    server.fail(99, Reply(503), skip=1)
    with (
        RemoteRaster(server.url("scene.tif")) as raster,
        pytest.raises(ArchiveError, match="HTTP 503") as caught,
    ):
        raster.read()
    assert caught.value.transient
    assert len(server.seen) == 1 + 4


def test_a_raster_works_again_after_a_failure(server: Loopback, pixels: np.ndarray) -> None:
    with RemoteRaster(server.url("scene.tif")) as raster:
        server.fail(4, Reply(503))
        with pytest.raises(ArchiveError):
            raster.read()
        np.testing.assert_array_equal(raster.read(), pixels)


def test_a_server_without_ranges_is_refused(server: Loopback) -> None:
    server.rules.append(lambda seen: Reply(200, {"ETag": '"one"'}, server.files["scene.tif"]))
    with pytest.raises(ArchiveError, match="range requests"):
        RemoteRaster(server.url("scene.tif"))


@pytest.mark.parametrize(
    "answer",
    ["bytes 5-9/100", "bytes 0-9/*", "nonsense", ""],
)
def test_a_wrong_content_range_is_refused(server: Loopback, answer: str) -> None:
    server.rules.append(lambda seen: Reply(206, {"Content-Range": answer}, b"0123456789"))
    with pytest.raises(ArchiveError, match=r"scene\.tif"):
        RemoteFile(server.url("scene.tif"), OTHER)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"<html>Sign in</html>", ArchiveError), (b"text", SourceDataError), (b"", ArchiveError)],
)
def test_what_is_no_raster_is_named(server: Loopback, content: bytes, kind: type[Exception]) -> None:
    server.files["other.tif"] = content
    with pytest.raises(kind, match=r"other\.tif"):
        RemoteRaster(server.url("other.tif"))


def test_a_damaged_block_is_read_once_more_and_then_named(server: Loopback, tiff: bytes) -> None:
    damaged = bytearray(tiff)
    damaged[len(tiff) // 2 : len(tiff) // 2 + 4000] = b"\0" * 4000
    server.files["scene.tif"] = bytes(damaged)
    with (
        RemoteRaster(server.url("scene.tif")) as raster,
        pytest.raises(SourceDataError, match=r"scene\.tif"),
    ):
        raster.read()
    assert sum(seen.headers["range"].startswith("bytes=0-") for seen in server.seen) == 2


def test_threads_read_at_once(server: Loopback, pixels: np.ndarray) -> None:
    def strip(n: int) -> bool:
        rows = slice(n % 4 * 256, n % 4 * 256 + 256)
        with RemoteRaster(server.url("scene.tif"), '"one"') as raster:
            return bool((raster.read(window=(rows, slice(0, SIDE))) == pixels[rows]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(strip, range(32)))


def test_two_rasters_may_be_closed_in_any_order(server: Loopback, pixels: np.ndarray) -> None:
    first, second = RemoteRaster(server.url("scene.tif")), RemoteRaster(server.url("scene.tif"))
    first.close()
    np.testing.assert_array_equal(second.read(), pixels)
    second.close()


def test_a_window_must_lie_inside(server: Loopback) -> None:
    with (
        RemoteRaster(server.url("scene.tif")) as raster,
        pytest.raises(ValueError, match="window"),
    ):
        raster.read(window=Window(1000, 0, 100, 10))


def test_local_rasters(
    tmp_path: Path, tiff: bytes, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    settings.cache_clear()
    path = tmp_path / "scene.tif"
    path.write_bytes(tiff)
    known = local_asset(str(path))
    assert known.size_bytes == len(tiff)
    found, (remark,) = probe([str(path)])
    assert found == {} and path.name in remark
    with open_asset(known) as raster:
        np.testing.assert_array_equal(raster.read(), pixels)
    with RemoteRaster(path.as_uri()) as raster:
        assert raster.shape == (SIDE, SIDE)
    path.write_bytes(tiff + b"more")
    with pytest.raises(ArchiveError, match=r"\.tif changed"):
        open_asset(known)


def test_probes(server: Loopback, tiff: bytes) -> None:
    there, gone = server.url("scene.tif"), server.url("gone.tif?sig=SECRET")
    server.fail(2, Reply(503), method="HEAD")
    found, remarks = probe([there, gone, there])
    assert found == {there: Asset(href=there, size_bytes=len(tiff), etag='"one"')}
    assert (
        len(remarks) == 1 and "gone.tif is listed but not there" in remarks[0] and "SECRET" not in remarks[0]
    )
    assert {seen.method for seen in server.seen if "gone" not in seen.path} == {"HEAD"}
    server.fail(99, Reply(403), method="HEAD")
    with pytest.raises(ArchiveError, match="HTTP 403"):
        probe([there])


def test_one_file_that_its_server_refuses_is_named_and_the_others_are_found(server: Loopback) -> None:
    there = server.url("scene.tif")
    server.rules.append(lambda seen: Reply(403) if "refused" in seen.path else None)
    found, (remark,) = probe([server.url("refused.tif?sig=SECRET"), there])
    assert list(found) == [there] and "refused.tif" in remark and "403" in remark and "SECRET" not in remark


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_file_whose_head_is_refused_is_there_if_it_is_served(
    server: Loopback, tiff: bytes, status: int
) -> None:
    server.fail(99, Reply(status), method="HEAD")
    url = server.url("scene.tif")
    assert probe([url, server.url("gone.tif")]) == (
        {url: Asset(href=url, size_bytes=len(tiff), etag='"one"')},
        [f"{server.url('gone.tif')} is listed but not there"],
    )


@pytest.mark.parametrize(
    "href",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "s3://bucket/a.tif",
        "https://[x/a.tif",
        "https:///a.tif",
        "/vsicurl/http://x.example/a",
    ],
)
def test_an_address_that_is_not_read_is_left_out_by_name(server: Loopback, href: str) -> None:
    found, (remark,) = probe([server.url("scene.tif"), href])
    assert list(found) == [server.url("scene.tif")] and href.rpartition("/")[2] in remark


def test_ranges_close_together_are_one_request(server: Loopback, tiff: bytes) -> None:
    file = RemoteFile(server.url("scene.tif"), OTHER)
    server.seen.clear()
    wanted = [(400_000, 50), (400_100, 50), (1_500_000, 10), (400_040, 20)]
    assert file.fetch_ranges(wanted) == [tiff[o : o + n] for o, n in wanted]
    assert [seen.headers["range"] for seen in server.seen] == ["bytes=400000-400149", "bytes=1500000-1500009"]
