"""Real bursts of OPERA RTC-S1 over California: names, passes of several bursts, and pixels, as a build reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from pipeline.archives.geotiff.rasters import open_asset
from pipeline.archives.opera import NAME, stac_item
from pipeline.areas.area import AreaOfInterest
from pipeline.areas.backscatter_sources import OPERA_RTC
from pipeline.catalogue.granules import kept
from pipeline.catalogue.passes import Pass, group_passes
from pipeline.cube.layers import LayerData
from pipeline.grid import Grid
from pipeline.layers.rtc_mosaic import read_backscatter
from pipeline.sandbox.folder_world import FolderSources, make_folder_world
from pipeline.sandbox.opera.opera_index import FOLDER, HOST, read_opera_index
from pipeline.sandbox.posing.asf.opera_umm import opera_item
from pipeline.settings import settings

SPAN = {"start": "2021-11-01T00:00:00Z", "end": "2025-02-01T00:00:00Z"}


@pytest.fixture(scope="module")
def files(shared_data: Path) -> list[Path]:
    found = sorted((shared_data / "rtc_california_opera/cropped").rglob("OPERA_*.tif"))
    if not found:
        pytest.skip("real bursts over California are not present beside the checkout")
    return found


@pytest.fixture(scope="module")
def passes(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Pass, ...]:
    """What ASF would list of the files, read, and led to them on this disk."""
    root = tmp_path_factory.mktemp("california")
    make_folder_world(FolderSources(opera=tuple(files)), root)
    items: list[dict[str, Any]] = []
    for burst in read_opera_index(root):
        listed = opera_item(burst)
        item = stac_item(kept(listed["meta"], listed["umm"]))
        for asset in item["assets"].values():
            asset["href"] = str(root / "blobs" / HOST / FOLDER / asset["href"].rpartition("/")[2])
        items.append(item)
    area = AreaOfInterest.model_validate(
        {
            "name": "california",
            "bbox": (-121.5, 33.9, -119.5, 35.6),
            "event": {"kind": "other", "source": "none", "start": SPAN["start"], "end": SPAN["start"]},
            "sources": [OPERA_RTC],
            **SPAN,
        }
    )
    found = group_passes(items, area)
    assert not found.left_out
    return found.passes


def test_every_real_name_is_read(files: list[Path], passes: tuple[Pass, ...]) -> None:
    assert len({file.name[:-7] for file in files}) == 105
    for file in files:
        named = NAME.fullmatch(file.name[:-7])
        assert named is not None and named["track"] == "137"


def test_the_bursts_of_a_date_are_one_pass(passes: tuple[Pass, ...]) -> None:
    assert len(passes) == 21
    assert {len(one.slices) for one in passes} == {5}
    assert {one.relative_orbit for one in passes} == {137}
    assert {one.platform for one in passes} == {"sentinel-1a", "sentinel-1b"}
    assert {one.source for one in passes} == {OPERA_RTC}
    assert {piece.epsg for one in passes for piece in one.slices} == {32610, 32611}


@pytest.mark.parametrize("index", [0, 1, 20])
def test_pixels_are_those_of_the_files(
    passes: tuple[Pass, ...], index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a grid around each burst, read from all bursts of the pass together: bit for bit, NaN beyond the file."""
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    settings.cache_clear()
    one, checked = passes[index], 0
    for piece in one.slices:
        with rasterio.open(piece.assets["vv"].href) as source:
            values, at, epsg = source.read(1), source.transform, source.crs.to_epsg()
        grid = Grid(
            epsg=epsg, resolution_m=30, left=at.c - 300, top=at.f + 300,
            width=values.shape[1] + 20, height=values.shape[0] + 20,
        )  # fmt: skip
        layer = LayerData.of(read_backscatter(one, "vv", grid, open_asset, 0), grid.shape).arrays["vv"]
        inside = layer[10:-10, 10:-10]
        valid = np.isfinite(values) & (values > 0)
        np.testing.assert_array_equal(inside, np.where(valid, values, np.nan))
        checked += int(valid.sum())
    assert checked > 40_000
