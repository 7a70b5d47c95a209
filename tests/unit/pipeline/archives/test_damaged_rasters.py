"""Missing bytes never become pixels: TIFFs that end early or lie, servers that send other bytes, files that change."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile
from rasterio.windows import Window

from pipeline.archives import tiff_directories
from pipeline.archives.rasters import RemoteRaster, open_asset
from pipeline.catalogue.assets import Asset, local_asset
from pipeline.errors import ArchiveError, DiskError, SlidecubeError, SourceDataError
from pipeline.settings import settings
from tests.unit.loopback import Loopback, Reply, Seen, brisk_settings

PIXELS = np.random.default_rng(5).gamma(4.4, 0.05, (600, 500)).astype("f4")
FORMS: dict[str, dict[str, Any]] = {
    "plain strips": {},
    "plain tiles": {"tiled": True, "blockxsize": 64, "blockysize": 64},
    "deflate": {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"},
    "lzw strips, BigTIFF": {"compress": "lzw", "BIGTIFF": "YES", "blockysize": 32},
    "big endian": {"ENDIANNESS": "BIG", "blockysize": 100},
    "COG": {"driver": "COG", "compress": "zstd", "blocksize": 128},
}


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    with brisk_settings(retries=1):
        yield


def tiff(pixels: Any = PIXELS, **options: Any) -> bytes:
    profile = {
        "driver": "GTiff", "height": pixels.shape[0], "width": pixels.shape[1], "count": 1, "dtype": pixels.dtype,
        "crs": "EPSG:32654", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_700_000),
    } | options  # fmt: skip
    with MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.write(pixels, 1)
        return bytes(memory.getbuffer())


@pytest.fixture(scope="module", params=FORMS)
def whole(request: pytest.FixtureRequest) -> bytes:
    return tiff(**FORMS[request.param])


def read(content: bytes, window: Window | None = None) -> Any:
    with Loopback({"scene.tif": content}) as server, RemoteRaster(server.url("scene.tif")) as raster:
        return raster.read(window=window)


def test_every_form_is_read_as_gdal_reads_it(whole: bytes) -> None:
    np.testing.assert_array_equal(read(whole), PIXELS)
    np.testing.assert_array_equal(read(whole, Window(400, 500, 90, 99)), PIXELS[500:599, 400:490])


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_tiff_that_ends_early_is_refused_whatever_is_read_of_it(whole: bytes, share: float) -> None:
    # the first pixels would be there
    with pytest.raises(SlidecubeError, match=r"scene\.tif"):
        read(whole[: int(share * len(whole))], Window(0, 0, 8, 8))


def test_the_end_of_a_local_tiff_is_missed_too(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    path.write_bytes(whole[:-3000])
    with pytest.raises(SourceDataError, match=r"scene\.tif"):
        open_asset(local_asset(str(path)))


def tag_at(content: bytes, tag: int) -> int:
    """Offset of a tag's entry in the first directory of a little-endian classic TIFF."""
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    found = [
        at + 2 + 12 * n for n in range(count) if struct.unpack_from("<H", content, at + 2 + 12 * n)[0] == tag
    ]
    return found[0]


def with_value(content: bytes, tag: int, value: int, *, count: int | None = None, number: int = 0) -> bytes:
    """The TIFF with a number of a tag's values (or the count of its values) exchanged."""
    changed = bytearray(content)
    entry = tag_at(content, tag)
    kind, values = struct.unpack_from("<HI", content, entry + 2)
    if count is not None:
        struct.pack_into("<I", changed, entry + 4, count)
        return bytes(changed)
    size = {3: 2, 4: 4}[kind]
    at = entry + 8 if size * values <= 4 else struct.unpack_from("<I", content, entry + 8)[0]
    struct.pack_into("<H" if size == 2 else "<I", changed, at + size * number, value)
    return bytes(changed)


TILED = tiff(tiled=True, blockxsize=64, blockysize=64)
WIDTH, HEIGHT, BITS, TILE_WIDTH, TILE_HEIGHT, OFFSETS, LENGTHS = 256, 257, 258, 322, 323, 324, 325
LIES: dict[str, bytes] = {
    "a block beyond the end": with_value(TILED, OFFSETS, len(TILED) - 10, number=7),
    "a block without a length": with_value(TILED, LENGTHS, 0, number=7),
    "a block without an offset": with_value(TILED, OFFSETS, 0, number=7),
    "a block that is too short": with_value(TILED, LENGTHS, 100, number=7),
    "fewer blocks than pixels": with_value(TILED, OFFSETS, 0, count=9),
    "more rows than blocks": with_value(TILED, HEIGHT, 4000),
    "no columns": with_value(TILED, WIDTH, 0),
    "a block of 65,520 x 65,520": with_value(with_value(TILED, TILE_WIDTH, 65520), TILE_HEIGHT, 65520),
    "tags beyond the end": with_value(TILED, OFFSETS, 0, count=2**31),
    "a directory that leads to itself": TILED,
}


def looping(content: bytes) -> bytes:
    changed = bytearray(content)
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    struct.pack_into("<I", changed, at + 2 + 12 * count, at)
    return bytes(changed)


LIES["a directory that leads to itself"] = looping(TILED)


@pytest.mark.parametrize("name", LIES)
def test_a_tiff_that_states_what_cannot_be_is_refused_on_opening(name: str) -> None:
    with Loopback({"scene.tif": LIES[name]}) as server, pytest.raises(SourceDataError, match=r"scene\.tif"):
        RemoteRaster(server.url("scene.tif"))


def test_a_block_that_was_left_out_is_masked_and_not_zero() -> None:
    """GDAL reads such a block as 0 where no nodata is declared: sea level in an elevation tile."""
    profile = {
        "driver": "GTiff", "height": 256, "width": 256, "count": 1, "dtype": "f4", "tiled": True, "blockxsize": 64,
        "blockysize": 64, "SPARSE_OK": True, "crs": "EPSG:32654",
        "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_700_000),
    }  # fmt: skip
    with MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.write(np.ones((128, 256), "f4"), 1, window=Window(0, 0, 256, 128))
        content = bytes(memory.getbuffer())
    with Loopback({"scene.tif": content}) as server, RemoteRaster(server.url("scene.tif")) as raster:
        assert raster.has_mask
        np.testing.assert_array_equal(raster.read_masks() == 0, np.arange(256)[:, None].repeat(256, 1) >= 128)
        part = raster.read_masks(window=Window(10, 120, 30, 20)) == 0
        np.testing.assert_array_equal(part, np.arange(120, 140)[:, None].repeat(30, 1) >= 128)


# servers ----------------------------------------------------------------------------------------------------------


def answering(change: Callable[[Seen, bytes], Reply | None]) -> Iterator[Loopback]:
    with Loopback({"scene.tif": TILED}) as server:
        server.rules.append(lambda seen: change(seen, TILED))
        yield server


def span(seen: Seen, content: bytes) -> tuple[int, int]:
    first, _, last = seen.headers["range"].removeprefix("bytes=").partition("-")
    return int(first), min(int(last) + 1, len(content))


def ranged(content: bytes, begin: int, end: int, body: bytes, **headers: str) -> Reply:
    stated = {"ETag": '"one"', "Content-Range": f"bytes {begin}-{end - 1}/{len(content)}"}
    return Reply(206, stated | {name.replace("_", "-"): value for name, value in headers.items()}, body)


def fewer(seen: Seen, content: bytes) -> Reply:
    begin, end = span(seen, content)
    return ranged(content, begin, begin + (end - begin) // 2, content[begin : begin + (end - begin) // 2])


def elsewhere(seen: Seen, content: bytes) -> Reply:
    begin, end = span(seen, content)
    return ranged(content, begin + 64, end + 64, content[begin + 64 : end + 64])


def short(seen: Seen, content: bytes) -> Reply:
    begin, end = span(seen, content)
    return ranged(content, begin, end, content[begin : end - 1])


def packed(seen: Seen, content: bytes) -> Reply:
    begin, end = span(seen, content)
    return ranged(content, begin, end, content[begin:end], Content_Encoding="gzip")


def unranged(seen: Seen, content: bytes) -> Reply:
    return Reply(200, {"ETag": '"one"'}, content)


def several(seen: Seen, content: bytes) -> Reply:
    return Reply(206, {"ETag": '"one"', "Content-Type": "multipart/byteranges; boundary=x"}, b"--x\r\n")


@pytest.mark.parametrize("change", [fewer, elsewhere, short, packed, unranged, several])
@pytest.mark.parametrize("after", [0, 1])
def test_a_server_that_sends_other_bytes_than_asked_for_is_refused(
    change: Callable[[Seen, bytes], Reply | None], after: int
) -> None:
    asked = 0

    def later(seen: Seen, content: bytes) -> Reply | None:
        nonlocal asked
        asked += 1
        return change(seen, content) if asked > after else None

    with pytest.raises(ArchiveError, match=r"scene\.tif|127\.0\.0\.1"):
        for server in answering(later):
            with RemoteRaster(server.url("scene.tif")) as raster:
                raster.read()


def test_more_bytes_than_asked_for_are_not_taken() -> None:
    def more(seen: Seen, content: bytes) -> Reply:
        begin, end = span(seen, content)
        return ranged(content, begin, end, content[begin:end] + b"more")

    for server in answering(more):
        with RemoteRaster(server.url("scene.tif")) as raster:
            np.testing.assert_array_equal(raster.read(), PIXELS)


def test_a_file_that_grows_between_two_reads_is_refused_without_an_etag() -> None:
    def untagged(seen: Seen, content: bytes) -> Reply:
        content = content + bytes(len(seen.headers["range"]) if asked else 0)
        asked.append(1)
        begin, end = span(seen, content)
        return Reply(206, {"Content-Range": f"bytes {begin}-{end - 1}/{len(content)}"}, content[begin:end])

    asked: list[int] = []
    for server in answering(untagged):
        with RemoteRaster(server.url("scene.tif")) as raster, pytest.raises(ArchiveError, match="changed"):
            raster.read()


def test_a_size_beyond_any_raster_is_refused_before_a_copy_is_made() -> None:
    def vast(seen: Seen, content: bytes) -> Reply:
        begin, _end = span(seen, content)
        return Reply(
            206, {"Content-Range": f"bytes {begin}-{begin + 65535}/{10**17}"}, content[begin : begin + 65536]
        )

    for server in answering(vast):
        with pytest.raises(ArchiveError, match=str(10**17)):
            RemoteRaster(server.url("scene.tif"))


def test_no_copy_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Loopback({"scene.tif": TILED}) as server, RemoteRaster(server.url("scene.tif")) as raster:
        raster.read(window=Window(0, 0, 9, 9))
        assert list(tmp_path.rglob("*")) == []
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
        with pytest.raises(DiskError, match="TMPDIR"):
            raster.read()


def test_another_size_than_the_catalogue_saw_is_refused() -> None:
    with Loopback({"scene.tif": TILED}) as server:
        asset = Asset(href=server.url("scene.tif"), etag='"one"', size_bytes=len(TILED) + 1)
        with pytest.raises(ArchiveError, match="changed"):
            open_asset(asset)


@pytest.mark.parametrize("how", ["rewritten", "cut"])
def test_a_local_file_that_changes_between_two_reads_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "scene.tif"
    path.write_bytes(TILED)
    with open_asset(local_asset(str(path))) as raster:
        np.testing.assert_array_equal(raster.read(window=Window(0, 0, 9, 9)), PIXELS[:9, :9])
        if how == "cut":
            os.truncate(path, len(TILED) // 2)
        else:
            path.write_bytes(bytes(len(TILED)))
        with pytest.raises(SourceDataError, match=r"scene\.tif"):
            raster.read()


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    for path in (tmp_path / "pipe.tif", tmp_path, Path("/dev/zero")):
        with pytest.raises(ArchiveError, match=path.name):
            RemoteRaster(str(path))


def test_local_files_are_read_only_where_the_user_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLIDECUBE_LOCAL_ITEMS")
    settings.cache_clear()
    path = tmp_path / "scene.tif"
    path.write_bytes(TILED)
    for href in (
        str(path),
        path.as_uri(),
        f"file://localhost{path}",
        "/vsicurl/http://127.0.0.1:1/scene.tif",
    ):
        with pytest.raises(ArchiveError, match="SLIDECUBE_LOCAL_ITEMS"):
            RemoteRaster(href)


VRT = b"""<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"
 subClass="VRTRawRasterBand"><SourceFilename>/etc/passwd</SourceFilename></VRTRasterBand></VRTDataset>"""


@pytest.mark.parametrize(
    "content", [VRT, b"CDF\x01" + bytes(99), b"\x89HDF\r\n\x1a\n" + bytes(99), b"II*", b""]
)
def test_nothing_but_a_tiff_is_opened(content: bytes) -> None:
    with Loopback({"scene.tif": content}) as server, pytest.raises(SlidecubeError, match=r"scene\.tif"):
        RemoteRaster(server.url("scene.tif"))


def test_memory_is_bounded_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_directories, "MOST_BLOCK_BYTES", 64 * 64 * 4 - 1)
    with Loopback({"scene.tif": TILED}) as server, pytest.raises(SourceDataError, match="64 rows"):
        RemoteRaster(server.url("scene.tif"))


def test_random_bytes_in_the_directories_are_an_error_or_other_pixels() -> None:
    drawn = np.random.default_rng(8)
    cog = tiff(PIXELS[:100, :90], driver="COG", compress="deflate", blocksize=64)
    for _ in range(150):
        content = bytearray(cog)
        for at in drawn.integers(0, 1500, 3):
            content[at] = drawn.integers(256)
        try:
            layout = tiff_directories.read_layout(
                lambda offset, length, source=bytes(content): source[offset : offset + length],
                len(content),
                bytes(content[:512]),
            )
        except tiff_directories.TiffError:
            continue
        assert layout.image.lengths.sum() <= len(content) * len(layout.image.lengths)
    assert io.BytesIO(cog).read(2) == b"II"
