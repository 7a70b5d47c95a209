"""Real files served as the archives would serve them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import rasterio
import requests
from shapely.geometry import Point, shape

from pipeline.sandbox.earth.parameters import SandboxError
from pipeline.sandbox.folder_world import FolderSources, make_folder_world
from pipeline.sandbox.posing.server import Sandbox

SLIDES = "https://inventories.slidecube.example/enga.geojson"


@pytest.fixture
def enga(shared_data: Path) -> FolderSources:
    tests = shared_data / "rtc_enga_opera/tests/test_data"
    slides = (
        shared_data
        / "inventory_enga_2024/external_validation_data_db/papau_new_guinea_landslide_2024.geojson"
    )
    return FolderSources(
        rtc=(tests / "T009_019294_IW2_cropped_tv",),
        dem=(shared_data / "dem_srtm_big_tujunga/srtm_bigtujunga30m_utm11.tif",),
        served={SLIDES: slides},
    )


def test_real_files_keep_every_byte(enga: FolderSources, tmp_path: Path) -> None:
    world = make_folder_world(enga, tmp_path / "w")
    served = {path.read_bytes() for path in (tmp_path / "w" / "blobs").rglob("*") if path.is_file()}
    sources = [*enga.rtc[0].glob("*.tif"), *enga.dem, *enga.served.values()]
    assert served == {path.read_bytes() for path in sources}
    with Sandbox(world) as archives, requests.Session() as session:
        session.trust_env = False
        session.proxies = {"https": archives.environment["HTTPS_PROXY"]}
        session.verify = archives.environment["SSL_CERT_FILE"]
        assert session.get(SLIDES, timeout=30).content == enga.served[SLIDES].read_bytes()


def test_items_tell_what_the_files_say_and_mark_what_is_assumed(enga: FolderSources, tmp_path: Path) -> None:
    world = make_folder_world(enga, tmp_path / "w")
    rtc = [item for item in world.items if item["collection"] == "sentinel-1-rtc"]
    assert len(rtc) == 10
    assert len({item["properties"]["sat:absolute_orbit"] for item in rtc}) == 10
    for item in rtc:
        properties = item["properties"]
        assert set(item["assets"]) == {"vv", "vh"}
        with rasterio.open(
            tmp_path / "w" / "blobs" / item["assets"]["vv"]["href"].removeprefix("https://")
        ) as file:
            assert properties["proj:epsg"] == file.crs.to_epsg() == 32754
            assert properties["proj:transform"] == list(file.transform)
            assert properties["proj:shape"] == list(file.shape) == [100, 150]
        assert properties["sat:relative_orbit"] == 9
        assert properties["sat:orbit_state"] == "ascending"
        assert item["assets"]["vv"]["raster:bands"][0]["nodata"] == "nan"
        assert "sat:absolute_orbit" in properties["slidecube:assumed"]
        assert shape(item["geometry"]).contains(Point(143.366, -5.375))  # the Enga landslide
    starts = sorted(item["properties"]["start_datetime"] for item in rtc)
    assert (starts[0], starts[-1]) == ("2024-01-23 08:47:48.000000+00:00", "2024-05-22 08:47:48.000000+00:00")


def test_a_file_of_one_polarisation_has_one_asset(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "rtc_enga_opera/tests/test_data/T009_019294_IW2_cropped"
    world = make_folder_world(FolderSources(rtc=(folder,)), tmp_path / "w")
    assert all(set(item["assets"]) == {"vh"} for item in world.items)
    assert {tuple(item["properties"]["sar:polarizations"]) for item in world.items} == {("VH",)}


def test_bursts_of_a_pass_share_orbit_and_datatake(shared_data: Path, tmp_path: Path) -> None:
    world = make_folder_world(
        FolderSources(rtc=(shared_data / "rtc_california_opera/cropped",)), tmp_path / "w"
    )
    assert len(world.items) == 105
    passes: dict[str, list[dict]] = {}
    for item in world.items:
        passes.setdefault(item["properties"]["start_datetime"][:10], []).append(item["properties"])
    assert len(passes) == 21
    for bursts in passes.values():
        assert len({(b["sat:absolute_orbit"], b["s1:datatake_id"], b["platform"]) for b in bursts}) == 1
        ordered = sorted(bursts, key=lambda b: int(b["s1:slice_number"]))
        assert [b["start_datetime"] for b in ordered] == sorted(b["start_datetime"] for b in bursts)
    assert {b["platform"] for bursts in passes.values() for b in bursts} == {"SENTINEL-1A", "SENTINEL-1B"}


def test_recorded_items_are_served_as_they_are_and_their_files_may_be_absent(
    shared_data: Path, tmp_path: Path
) -> None:
    recorded = shared_data / "stac_planetary_computer_items/tests/data/sentinel-1-rtc-pc.json"
    world = make_folder_world(FolderSources(items=(recorded,)), tmp_path / "w")
    assert len(world.items) == 4
    assert "sentinel1euwestrtc.blob.core.windows.net" in world.hosts


def test_what_cannot_be_served_is_refused(enga: FolderSources, tmp_path: Path) -> None:
    stranger = tmp_path / "scene.tif"
    stranger.write_bytes(b"")
    cases = {
        "scene.tif": FolderSources(rtc=(stranger,)),
        "absent": FolderSources(served={SLIDES: tmp_path / "absent"}),
        "raster": FolderSources(dem=(stranger,)),
        "ftp://x.example": FolderSources(served={"ftp://x.example/a": stranger}),
        "outside": FolderSources(served={"https://x.example/../../a": stranger}),
        "Two files": FolderSources(dem=(enga.dem[0], enga.dem[0])),
        "given twice": FolderSources(rtc=(enga.rtc[0], enga.rtc[0])),
        "JSON": FolderSources(items=(stranger,)),
    }
    for words, sources in cases.items():
        with pytest.raises(SandboxError, match=words):
            make_folder_world(sources, tmp_path / "w")
        assert not (tmp_path / "w" / "world.json").exists()
        shutil.rmtree(tmp_path / "w", ignore_errors=True)
