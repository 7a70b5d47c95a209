"""The simulated event: repeatable, statistically like the real thing, and with its faults where they should be."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.warp
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import shape

from pipeline.areas.area import AreaOfInterest, load_area
from pipeline.grid import Grid
from pipeline.sandbox.earth.overflights import REPEAT, absolute_orbit
from pipeline.sandbox.earth.parameters import SandboxError, TrackPlan, WorldParameters
from pipeline.sandbox.earth.radar import NODATA, observe, slice_masks, speckle
from pipeline.sandbox.earth.scene import Scene, make_scene
from pipeline.sandbox.world import UNFINISHED, World, make_world

AREA = AreaOfInterest.model_validate(
    {
        "name": "small",
        "bbox": (142.02, 42.70, 142.06, 42.73),
        "event": {
            "kind": "earthquake",
            "start": "2018-09-05T18:07:59Z",
            "end": "2018-09-05T18:07:59Z",
            "source": "simulated",
        },
        "start": "2018-06-01T00:00:00Z",
        "end": "2018-12-01T00:00:00Z",
    }
)
FEW = WorldParameters(
    seed=3,
    tracks=(
        TrackPlan(relative_orbit=46, direction="descending", before=3, after=2, incidence_deg=35.9),
        TrackPlan(
            relative_orbit=68, direction="ascending", before=2, after=1, incidence_deg=38.6, offset_days=3
        ),
    ),
    neighbour_zone=True,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(AREA, tmp_path_factory.mktemp("world") / "w", FEW)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(AREA, FEW)


def rtc_items(world: World) -> list[dict]:
    return [item for item in world.items if item["collection"] == "sentinel-1-rtc"]


def blob(world: World, item: dict, asset: str) -> Path:
    return world.root / "blobs" / item["assets"][asset]["href"].removeprefix("https://")


def test_the_same_seed_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    again = make_world(AREA, tmp_path / "again", FEW, workers=1)
    assert again.digest == world.digest
    assert [item["id"] for item in again.items] == [item["id"] for item in world.items]
    for path in sorted(p for p in world.root.rglob("*") if p.is_file()):
        assert path.read_bytes() == (again.root / path.relative_to(world.root)).read_bytes(), path.name


def test_another_seed_gives_another_event() -> None:
    other = make_scene(AREA, FEW.model_copy(update={"seed": 4}))
    assert not np.array_equal(other.slides.id_map, make_scene(AREA, FEW).slides.id_map)


def test_a_finished_world_is_reused_and_another_is_refused(world: World) -> None:
    before = (world.root / "world.json").stat().st_mtime_ns
    assert make_world(AREA, world.root, FEW).digest == world.digest
    assert (world.root / "world.json").stat().st_mtime_ns == before
    with pytest.raises(SandboxError, match=world.root.name):
        make_world(AREA, world.root, FEW.model_copy(update={"seed": 9}))


def test_an_unfinished_world_is_made_anew_and_a_stranger_is_left_alone(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.root, tmp_path / "cut")
    (tmp_path / "cut" / "world.json").rename(tmp_path / "cut" / UNFINISHED)
    (tmp_path / "cut" / "items" / "stray.json").write_text("{}")
    assert make_world(AREA, tmp_path / "cut", FEW).digest == world.digest
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(SandboxError, match=r"thesis\.txt"):
        make_world(AREA, tmp_path / "mine", FEW)
    with pytest.raises(SandboxError, match="mine"):
        World.open(tmp_path / "mine")


def test_speckle_has_the_looks_and_the_correlation_of_real_scenes() -> None:
    noise = speckle((600, 600), 4.4, np.random.default_rng(0))
    assert noise.mean() == pytest.approx(1.0, abs=0.01)
    assert noise.mean() ** 2 / noise.var() == pytest.approx(4.4, rel=0.05)
    neighbours = np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]
    assert 0.2 < neighbours < 0.5
    assert np.std(10 * np.log10(noise)) == pytest.approx(2.19, abs=0.1)


@pytest.mark.parametrize(("polarisation", "level_db"), [("vv", -7.3), ("vh", -13.2)])
def test_levels_are_those_of_the_published_cube(scene: Scene, polarisation: str, level_db: float) -> None:
    values = observe(scene, scene.flights[0], polarisation)
    land = ~scene.relief.water
    assert values.dtype == np.float32
    assert (10 * np.log10(values[land])).mean() == pytest.approx(level_db, abs=0.6)
    assert (values[~land] == 0).any()  # zeros inside water
    assert (values[land] > 0).all()


def test_landslides_have_the_prevalence_and_change_the_backscatter_by_their_facing(scene: Scene) -> None:
    slid = scene.slides.id_map > 0
    assert slid.mean() == pytest.approx(FEW.prevalence, rel=0.25)
    assert not (slid & scene.relief.water).any()
    flights = [flight for flight in scene.flights if flight.track.direction == "descending"]
    mean = {
        after: np.mean([observe(scene, f, "vv") for f in flights if f.slid is after], axis=0)
        for after in (False, True)
    }
    change = 10 * np.log10((mean[True] + 1e-4) / (mean[False] + 1e-4))
    land = ~scene.relief.water & (scene.parcels == 0) & ~scene.logged
    towards = scene.relief.local_incidence_deg(flights[0].track) < flights[0].track.incidence_deg - 8
    away = scene.relief.local_incidence_deg(flights[0].track) > flights[0].track.incidence_deg + 8
    assert change[slid].std() > 1.15 * change[land & ~slid].std()
    assert abs(np.median(change[land & ~slid])) < 0.6
    assert change[slid & towards].mean() > change[slid & away].mean() + 1.0


def test_slices_of_a_pass_abut(scene: Scene) -> None:
    flight = scene.flights[0]
    masks = [slice_masks(scene, flight, number)[0] for number in flight.slices]
    count = np.sum(masks, axis=0)
    assert count.max() == 1
    left, _, _, top = scene.area_grid.bounds
    row = round((scene.grid.top - top) / scene.grid.resolution_m)
    column = round((left - scene.grid.left) / scene.grid.resolution_m)
    height, width = scene.area_grid.shape
    inside = np.s_[row : row + height, column : column + width]
    assert (count[inside] == 1).all()
    assert not any(slice_masks(scene, flight, n)[1][inside].any() for n in flight.slices)
    assert flight.span(1)[0] - flight.span(0)[1] < REPEAT / 1e6


def test_files_are_what_their_items_say(world: World) -> None:
    for item in rtc_items(world):
        properties = item["properties"]
        for polarisation in ("vv", "vh"):
            path = blob(world, item, polarisation)
            with rasterio.open(path) as source:
                assert source.crs.to_epsg() == properties["proj:epsg"]
                assert list(source.shape) == properties["proj:shape"] == properties["s1:shape"][::-1]
                assert list(source.transform) == properties["proj:transform"]
                assert list(source.bounds) == properties["proj:bbox"]
                assert (source.nodata, source.dtypes[0]) == (NODATA, "float32")
                assert source.block_shapes[0] == (512, 512)
                assert source.transform.c % 10 == source.transform.f % 10 == 0
                assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                values = source.read(1)
            assert item["assets"][polarisation]["file:size"] == path.stat().st_size
            valid = (values > 0) & np.isfinite(values)
            assert valid.any()
            assert (values == 0).any()
            assert set(np.unique(values[~valid])) <= {0.0, NODATA}
        assert " " in properties["start_datetime"]
        assert properties["platform"] == "SENTINEL-1A"
        assert isinstance(properties["s1:slice_number"], str)


def test_footprints_hold_the_valid_pixels(world: World) -> None:
    item = next(i for i in rtc_items(world) if i["properties"]["proj:epsg"] == AREA.utm_epsg)
    with rasterio.open(blob(world, item, "vv")) as source:
        rows, columns = np.nonzero(source.read(1) > 0)
        x, y = source.transform @ (columns[::97] + 0.5, rows[::97] + 0.5)
        lon, lat = rasterio.warp.transform(source.crs, "EPSG:4326", x, y)
    footprint = shape(item["geometry"])
    assert footprint.convex_hull.buffer(1e-9).contains(geopandas.points_from_xy(lon, lat).union_all())


def test_the_archive_has_the_faults_of_a_real_one(world: World) -> None:
    items = rtc_items(world)
    ids = [item["id"] for item in items]
    assert len(ids) - len(set(ids)) == 1
    assert ids[0] == ids[-1] or world.items[0]["id"] == world.items[-1]["id"]
    instants = [item["properties"]["datetime"] for item in items]
    assert instants != sorted(instants)
    slices: dict[tuple, set[str]] = {}
    for item in items:
        p = item["properties"]
        slices.setdefault((p["sat:absolute_orbit"], p["start_datetime"]), set()).add(item["id"])
    assert sorted(map(len, slices.values()))[-2:] == [1, 2]  # one was processed anew
    assert {i["properties"]["proj:epsg"] for i in items} == {32654, 32655}
    numbers: dict[int, set[str]] = {}
    for item in items:
        p = item["properties"]
        numbers.setdefault(p["sat:absolute_orbit"], set()).add(p["s1:slice_number"])
    assert sorted(map(len, numbers.values()))[:2] == [2, 3]  # one pass lacks a slice
    dates = sorted(p["instant"] for p in world.document["passes"] if p["relative_orbit"] == 46)
    gaps = np.diff([datetime.fromisoformat(text) for text in dates])
    assert sorted({round(gap / REPEAT) for gap in gaps}) == [1, 2]  # one date is missing
    days = [p["instant"][:10] for p in world.document["passes"] if p["after"]]
    assert AREA.event.start.isoformat()[:10] in days  # a pass after the event on the event's own date


@pytest.mark.parametrize(("collection", "asset"), [("nasadem", "elevation"), ("cop-dem-glo-30", "data")])
def test_elevation_tiles_are_the_terrain_seen_dimly(
    world: World, scene: Scene, collection: str, asset: str
) -> None:
    items = [item for item in world.items if item["collection"] == collection]
    assert items
    grid = scene.area_grid
    seen = np.full(grid.shape, np.nan, dtype=np.float32)
    for item in items:
        path = blob(world, item, asset)
        with rasterio.open(path) as source:
            assert source.nodata == -32768
            assert list(source.shape) == item["properties"]["proj:shape"]
            assert source.transform.almost_equals(rasterio.Affine(*item["properties"]["proj:transform"][:6]))
            assert np.allclose(source.bounds, item["bbox"])
            assert (source.read(1) == -32768).any()
            part, _ = rasterio.warp.reproject(
                rasterio.band(source, 1),
                np.full(grid.shape, np.nan, dtype=np.float32),
                dst_transform=grid.affine,
                dst_crs=f"EPSG:{grid.epsg}",
                dst_nodata=np.nan,
                resampling=rasterio.warp.Resampling.bilinear,
            )
        seen = np.where(np.isnan(seen), part, seen)
    left, _, _, top = grid.bounds
    row = round((scene.grid.top - top) / grid.resolution_m)
    column = round((left - scene.grid.left) / grid.resolution_m)
    truth = scene.relief.elevation_m[row : row + grid.height, column : column + grid.width]
    error = (seen - truth)[np.isfinite(seen)]
    assert error.size > 0.98 * truth.size
    assert abs(error.mean()) < 1.0
    assert 1.5 < error.std() < 8.0


@pytest.mark.parametrize("suffix", [".gpkg", ".zip", ".geojson"])
def test_the_inventory_lies_where_the_area_says_and_in_that_format(suffix: str, tmp_path: Path) -> None:
    inventory = {
        "name": "x",
        "url": f"https://example.org/data/slides{suffix}?download=1",
        "sha256": "0" * 64,
        "citation": "c",
        "licence": "l",
        "class_field": "kind",
        "classes": {"new": [1], "old": [3]},
    }
    area = AreaOfInterest.model_validate(AREA.model_dump() | {"inventory": inventory})
    tiny = WorldParameters(
        tracks=(TrackPlan(relative_orbit=46, direction="descending", before=1, after=0, incidence_deg=36),),
        resolution_m=40,
        dem_collections=(),
    )
    world = make_world(area, tmp_path / "w", tiny)
    table = geopandas.read_file(world.root / "blobs" / "example.org" / "data" / f"slides{suffix}")
    assert set(table["kind"]) == {1, 3}
    assert (~table.geometry.is_valid).sum() == 1
    assert table.geometry.to_wkb().duplicated().sum() == 1
    assert table.to_crs(4326).geometry.make_valid().union_all().intersects(AREA.footprint)
    assert any("sha256" in note for note in world.notes)
    assert any("40 m instead of 10 m" in note for note in world.notes)
    assert {item["properties"]["proj:transform"][0] for item in world.items} == {40.0}
    assert "example.org" in world.hosts


def test_a_world_brings_the_area_file_that_fits_it(world: World) -> None:
    fitting = load_area(world.root / "aoi" / f"{AREA.name}.yaml")
    assert fitting.simulated
    assert fitting.resolution_m == world.document["resolution_m"]
    assert (fitting.bbox, fitting.event, fitting.tracks) == (AREA.bbox, AREA.event, AREA.tracks)
    assert fitting.inventory is not None and fitting.inventory.url is not None
    host, _, path = fitting.inventory.url.removeprefix("https://").partition("/")
    assert (world.root / "blobs" / host / path).is_file()


def test_a_big_area_gets_coarser_pixels() -> None:
    scene = make_scene(AREA, FEW.model_copy(update={"max_side_px": 150}))
    assert scene.grid.resolution_m == 30.0
    assert max(scene.area_grid.shape) <= 150
    full = Grid.of_area(AREA)
    assert abs(scene.area_grid.left - full.left) < 30


def test_a_long_event_has_passes_in_its_midst() -> None:
    event = AREA.event.model_copy(update={"start": datetime.fromisoformat("2018-08-20T00:00:00+00:00")})
    scene = make_scene(AREA.model_copy(update={"event": event}), FEW)
    when = [AREA.model_copy(update={"event": event}).when(flight.instant) for flight in scene.flights]
    assert when.count("before") == 5
    assert when.count("during") >= 1
    assert when == sorted(when, key=["before", "during", "after"].index)


@given(
    platform=st.sampled_from(["S1A", "S1B"]),
    relative=st.integers(1, 175),
    instant=st.datetimes(datetime(2016, 6, 1), datetime(2026, 1, 1)),
)
def test_absolute_orbits_belong_to_their_track(platform: str, relative: int, instant: datetime) -> None:
    number = absolute_orbit(platform, relative, instant.astimezone())
    offset = {"S1A": 73, "S1B": 27}[platform]  # the relation of each satellite's own numbering
    assert (number - offset) % 175 + 1 == relative
    assert absolute_orbit(platform, relative, instant.astimezone() + REPEAT) == number + 175


def test_recorded_items_have_the_same_properties(world: World, shared_data: Path) -> None:
    recorded = json.loads(
        (shared_data / "stac_planetary_computer_items/tests/data/sentinel-1-rtc-pc.json").read_text()
    )
    ours = rtc_items(world)[0]
    assert set(ours["properties"]) == set(recorded[0]["properties"])
    assert set(ours["assets"]["vv"]) == set(recorded[0]["assets"]["vv"])
    for key, value in recorded[0]["properties"].items():
        assert type(ours["properties"][key]) is type(value), key
