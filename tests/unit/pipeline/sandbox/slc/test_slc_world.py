"""Simulated single look complex data: orbits, geometry, scatterers, files; read back by code that it does not share."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from lxml import etree
from pyproj import Transformer

from pipeline.archives.slc.burst_files import check_burst_tiff, read_burst_annotation
from pipeline.areas.area import AreaOfInterest, load_area
from pipeline.catalogue.pairs import perpendicular_baseline_m
from pipeline.catalogue.slc import Burst, Granule
from pipeline.catalogue.state_vectors import read_orbit_file
from pipeline.elevation.geoid import undulation_m
from pipeline.insar.look.orbit_geometry import Orbit, earth_fixed, ellipsoidal_incidence_deg, looks_right
from pipeline.sandbox.earth.cover import Bowl, Cover
from pipeline.sandbox.earth.dem_files import VOID, make_tiles
from pipeline.sandbox.earth.mirror import mirrored
from pipeline.sandbox.earth.overflights import Flight
from pipeline.sandbox.earth.parameters import SandboxError, SlcPlan, TrackPlan, WorldParameters
from pipeline.sandbox.earth.scene import Scene, make_scene
from pipeline.sandbox.slc.acquisition import Acquisition
from pipeline.sandbox.slc.frame import Survey, survey_of
from pipeline.sandbox.slc.instrument import INVALID_LINES, INVALID_SAMPLES, LINE_S, SAMPLE_M
from pipeline.sandbox.slc.lattice_ground import (
    PAD_LINES,
    PAD_SAMPLES,
    burst_ground,
    footprint_deg,
    offsets,
    outline_deg,
)
from pipeline.sandbox.slc.orbit import every, find_orbit, heading_deg
from pipeline.sandbox.slc.signal import echoes
from pipeline.sandbox.slc.slc_world import INDEX, cover_of, write_slc
from pipeline.sandbox.slc.survey import middle_of_tube, overflights
from pipeline.sandbox.slc.wgs84 import geodetic, to_ground, zero_doppler
from pipeline.sandbox.world import World, make_world

DESCENDING = TrackPlan(relative_orbit=46, direction="descending", before=1, after=2, incidence_deg=35.9)
ASCENDING = TrackPlan(
    relative_orbit=68, direction="ascending", before=1, after=1, incidence_deg=38.6, offset_days=3
)
SUB_AREA = (142.004, 42.702, 142.016, 42.711)
PARAMETERS = WorldParameters(
    tracks=(DESCENDING, ASCENDING),
    slices=1,
    prevalence=0.1,
    missing_pass=False,
    partial_pass=False,
    dem_collections=("nasadem",),
    slc=SlcPlan(before=1, after=2, sub_area=SUB_AREA),
)


def small_area() -> AreaOfInterest:
    return load_area("sandbox").model_copy(update={"bbox": (142.0, 42.7, 142.02, 42.715)})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(small_area(), tmp_path_factory.mktemp("slc") / "world", PARAMETERS)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(small_area(), PARAMETERS)


@pytest.fixture(scope="module")
def survey(scene: Scene) -> Survey:
    found = survey_of(scene)
    assert found is not None
    return found


def index_of(world: World) -> tuple[list[Granule], list[Burst], list[dict[str, str]]]:
    held = json.loads((world.root / INDEX).read_text(encoding="utf-8"))
    return (
        [Granule.model_validate(one) for one in held["granules"]],
        [Burst.model_validate(one) for one in held["bursts"]],
        held["orbits"],
    )


def blob(world: World, url: str) -> Path:
    return world.root / "blobs" / url.removeprefix("https://")


@pytest.mark.parametrize("track", [DESCENDING, ASCENDING])
def test_the_orbit_sees_the_target_at_the_tracks_incidence_from_its_side(
    track: TrackPlan, survey: Survey
) -> None:
    orbit = find_orbit(track, 142.05, 42.74, survey.orbit.epoch)
    vectors = orbit.vectors(every(10.0, orbit.epoch - timedelta(seconds=100), 21))
    seen = Orbit.of(vectors)
    target = np.array([142.05]), np.array([42.74])
    assert ellipsoidal_incidence_deg(seen, *target)[0] == pytest.approx(track.incidence_deg, abs=1e-3)
    points = earth_fixed(*target, np.array([0.0]))
    t, _range_m = seen.zero_doppler(points)
    assert t[0] == pytest.approx(100.0, abs=1e-4)
    assert looks_right(seen, points)[0]
    # 98.2 degrees of inclination at 42 north; the plan's heading is rounded to what middle latitudes have
    assert heading_deg(orbit) % 360 == pytest.approx(track.heading_deg, abs=4.0)


def test_the_orbit_moves_as_its_velocity_says_and_repeats_after_twelve_days(survey: Survey) -> None:
    t = np.array([-1000.0, 0.0, 1000.0])
    position, velocity, acceleration = survey.orbit.state(t)
    before, after = survey.orbit.state(t - 0.5), survey.orbit.state(t + 0.5)
    # what a central difference over a second errs by
    assert np.abs(after[0] - before[0] - velocity).max() < 1e-3
    assert np.abs(after[1] - before[1] - acceleration).max() < 1e-5
    assert np.abs(survey.orbit.state(t + 12 * 86400.0)[0] - position).max() < 1e-3
    assert np.linalg.norm(velocity, axis=-1) == pytest.approx(7590, abs=60)


def test_points_are_found_again_from_both_sides(survey: Survey) -> None:
    t = np.linspace(-2.0, 2.0, 5)[:, None] + np.zeros(7)
    range_m = survey.frame.near_m + np.linspace(-2e4, 2e4, 7)[None, :] + np.zeros((5, 1))
    height_m = np.full(t.shape, 431.0)
    points = to_ground(survey.orbit, t, range_m, height_m)
    again, seen_m = zero_doppler(survey.orbit, points, np.array(0.0))
    assert np.abs(again - t).max() < 1e-9
    assert np.abs(seen_m - range_m).max() < 1e-5
    assert np.abs(geodetic(points)[2] - height_m).max() < 1e-5


def test_the_ground_lies_where_terrain_and_geoid_put_it(scene: Scene, survey: Survey) -> None:
    ground = burst_ground(scene, survey, 0)
    picked = np.s_[PAD_LINES + 30 :: 97, PAD_SAMPLES + 10 :: 41]
    row, column = ground.row[picked].astype(float), ground.column[picked].astype(float)
    x = scene.grid.left + (column + 0.5) * scene.grid.resolution_m
    y = scene.grid.top - (row + 0.5) * scene.grid.resolution_m
    longitude, latitude = Transformer.from_crs(scene.grid.epsg, 4326, always_xy=True).transform(x, y)
    height = mirrored(scene.relief.elevation_m, row, column, 1) + undulation_m(latitude, longitude)
    # the place is interpolated between the samples of a line
    assert np.abs(height - ground.height_m[picked]).max() < 1.0
    points = earth_fixed(longitude, latitude, ground.height_m[picked].astype(float))
    t, range_m = zero_doppler(survey.orbit, points, np.array(0.0))
    lines = (t - survey.frame.starts_s[0]) / LINE_S
    wanted = np.arange(PAD_LINES + 30, ground.row.shape[0], 97)[:, None] - PAD_LINES
    assert np.abs(lines - wanted).max() < 0.2
    sample = (range_m - survey.frame.near_m) / SAMPLE_M
    off = np.abs(sample - (np.arange(PAD_SAMPLES + 10, ground.row.shape[1], 41)[None, :] - PAD_SAMPLES))
    # but for what leans over
    assert np.quantile(off, 0.9) < 0.2


def test_offsets_are_those_of_the_exact_geometry(scene: Scene, survey: Survey) -> None:
    ground = burst_ground(scene, survey, 1)
    flown = overflights(survey, 1)[1].acquisition
    line, sample, farther_m = offsets(ground, flown)
    nodes = ground.nodes
    points = nodes.points[1]
    t, range_m = zero_doppler(flown.orbit, points, flown.start_s(1) + nodes.lines[:, None] * LINE_S)
    assert np.abs(farther_m).max() < 70
    assert np.allclose(sample, farther_m / SAMPLE_M)
    # between the nodes, at another height than theirs
    column, row = 100, 77
    longitude, latitude, _ = geodetic(
        to_ground(
            survey.orbit,
            np.array([survey.frame.starts_s[1] + (row - PAD_LINES) * LINE_S]),
            np.array([survey.frame.near_m + float(ground.along[row, column]) * SAMPLE_M]),
            np.array([nodes.heights_m[1]]),
        )
    )
    place = earth_fixed(longitude, latitude, np.array([float(ground.height_m[row, column])]))
    near_t, near_m = zero_doppler(survey.orbit, place, np.array(0.0))
    far_t, far_m = zero_doppler(flown.orbit, place, np.array(0.0))
    assert farther_m[row, column] == pytest.approx(float(far_m[0] - near_m[0]), abs=2e-5)
    lines = flown.line(1, far_t) - (near_t - survey.frame.starts_s[1]) / LINE_S
    assert line[row, column] == pytest.approx(float(lines[0]), abs=1e-4)
    assert range_m.shape == t.shape


def test_any_two_passes_have_the_coherence_of_the_ground(scene: Scene, survey: Survey) -> None:
    """Four passes on one orbit: coherence by itself, without geometry, over even ground."""
    shape = scene.grid.shape
    half = np.indices(shape)[1] < shape[1] // 2
    before = np.where(half, 0.7, 0.4).astype(np.float32)
    changed = np.zeros(shape, dtype=bool)
    changed[shape[0] // 2 :] = True
    cover = Cover(before, before, changed, Bowl(0.0, 0.0, 1.0, 0.0))
    ground = burst_ground(scene, survey, 0)
    nominal = middle_of_tube(survey)
    instants = [survey.flights[0].instant + timedelta(days=12 * k) for k in (0, 1, 3, 4)]
    passes = [
        (
            Flight(k, survey.track, instant, 1000 + k, slid=k >= 2, slices=(0,)),
            Acquisition(survey.frame, nominal.orbit.at(instant, 0.0, 0.0), _starts(survey, instant)),
        )
        for k, instant in enumerate(instants)
    ]
    images = [
        echo.counts.astype(np.float32).view(np.complex64)[..., 0]
        for echo in echoes(scene, cover, ground, nominal, passes)
    ]
    inner = np.s_[PAD_LINES:-PAD_LINES, PAD_SAMPLES:-PAD_SAMPLES]
    # pixels well inside a quarter, and of an even amplitude
    true = mirrored(before, ground.row[inner], ground.column[inner], 1)
    gone = mirrored(changed.astype(np.float32), ground.row[inner], ground.column[inner], 1)
    valid = np.all([image != 0 for image in images], axis=0) & (ground.spread[inner] > 0.5)

    def coherence(i: int, j: int, where: np.ndarray) -> float:
        a, b = images[i][where], images[j][where]
        a, b = a / np.abs(a), b / np.abs(b)
        return float(np.abs(np.mean(a * b.conj())))

    # of unit vectors the mean is less than the coherence: pi/4 of it for a small one
    def expected(kept: float) -> float:
        x = kept**2
        return np.pi / 4 * kept * (1 + x / 8 + 3 * x**2 / 64 + 25 * x**3 / 1024)

    for level in (0.7, 0.4):
        part = valid & (np.abs(true - level) < 1e-3)
        stays, goes = part & (gone < 0.01), part & (gone > 0.99)
        assert min(stays.sum(), goes.sum()) > 20_000
        for (i, j), days in {(0, 1): 12, (1, 2): 24, (0, 3): 48, (2, 3): 12}.items():
            kept = float(cover.coherence(days, (False, False))[0, 0 if level == 0.7 else -1])
            assert coherence(i, j, stays) == pytest.approx(expected(kept), abs=0.03), (level, i, j)
        assert coherence(0, 1, goes) == pytest.approx(expected(level), abs=0.03)
        assert coherence(2, 3, goes) == pytest.approx(expected(level), abs=0.03)
        assert coherence(1, 2, goes) < 0.03
        assert coherence(0, 3, goes) < 0.03


def _starts(survey: Survey, instant):  # type: ignore[no-untyped-def]
    return tuple(instant + timedelta(seconds=s) for s in survey.frame.starts_s)


def test_land_covers_keep_what_they_should(scene: Scene, survey: Survey) -> None:
    cover = cover_of(scene, survey)
    water, slid = scene.relief.water, scene.slides.id_map > 0
    assert cover.before[~water].min() >= 0.1
    assert cover.before.max() <= 0.8
    assert np.median(cover.before[~water]) < 0.25
    assert cover.changed[slid & ~water].all()
    assert 0.5 <= cover.after[slid & ~water].min() <= cover.after[slid & ~water].max() <= 0.7
    event = cover.coherence(12, (False, True))
    assert not event[slid].any()
    assert not cover.coherence(12, (True, True))[water].any()
    quiet = ~cover.changed
    assert np.array_equal(event[quiet], cover.coherence(12, (False, False))[quiet])
    assert (cover.coherence(24, (False, False)) <= cover.before + 1e-6).all()


def test_the_index_names_what_is_there(world: World) -> None:
    granules, bursts, orbits = index_of(world)
    assert [granule.relative_orbit for granule in granules] == [46, 46, 46]
    assert len({burst.full_id for burst in bursts}) == 2
    for granule in granules:
        path = blob(world, granule.url)
        assert granule.url.startswith("https://datapool.asf.alaska.edu/SLC/SA/S1A_IW_SLC__1SSV_")
        assert path.stat().st_size == granule.size_bytes
        assert hashlib.md5(path.read_bytes()).hexdigest() == granule.md5
        own = [burst for burst in bursts if burst.granule == granule.name]
        assert [burst.index for burst in own] == [0, 1]
    for burst in bursts:
        assert (
            burst.tiff_url
            == f"https://sentinel1-burst.asf.alaska.edu/{burst.granule}/IW2/VV/{burst.index}.tiff"
        )
        annotation = read_burst_annotation(blob(world, burst.xml_url), burst)
        check_burst_tiff(blob(world, burst.tiff_url), annotation)
        assert annotation.lines * annotation.samples * 4 == burst.size_bytes
        assert abs(annotation.start - burst.start) < timedelta(microseconds=2)
    tracks = world.document["passes"]
    assert len(orbits) == len(tracks)
    assert [orbit["kind"] for orbit in orbits].count("precise") == len(orbits) - sum(
        passed["instant"] >= max(g.start.isoformat() for g in granules)[:10] for passed in tracks
    )


def test_orbit_files_agree_with_the_annotation(world: World) -> None:
    granules, _, orbits = index_of(world)
    for granule in granules:
        (held,) = [o for o in orbits if o["start"] <= granule.start.isoformat() <= o["end"]]
        found = read_orbit_file(world.root / "blobs" / held["file"])
        assert found.covers(granule.start - timedelta(minutes=2), granule.end + timedelta(minutes=2))
        file = Orbit.of(found.around(granule.start, granule.end))
        own = Orbit.of(granule.state_vectors)
        middle = np.linspace(-20.0, 20.0, 9) + file.seconds(granule.start)
        shift = file.seconds(own.epoch)
        # two cubics through vectors of 10 s, at other places
        assert np.abs(file.position_m(middle) - own.position_m(middle - shift)).max() < 2e-3
    newest = max(granules, key=lambda granule: granule.start)
    (held,) = [o for o in orbits if o["start"] <= newest.start.isoformat() <= o["end"]]
    assert held["kind"] == "restituted"


def test_passes_of_a_track_have_baselines_of_some_tens_of_metres(world: World) -> None:
    granules, _, _ = index_of(world)
    for a, b in pairwise(granules):
        found = perpendicular_baseline_m(a.state_vectors, b.state_vectors, 142.01, 42.7065)
        assert found is not None
        assert 20 < abs(found) < 120


def test_the_zipped_product_holds_the_bursts_one_below_the_other(world: World) -> None:
    granules, bursts, _ = index_of(world)
    granule = granules[0]
    with zipfile.ZipFile(blob(world, granule.url)) as held:
        names = held.namelist()
        assert held.testzip() is None
        assert all(name.startswith(f"{granule.name}.SAFE/") for name in names)
        manifest = etree.fromstring(held.read(f"{granule.name}.SAFE/manifest.safe"))
        listed = {
            item.get("href"): (stream.get("size"), stream.findtext("checksum"))
            for stream in manifest.iter("byteStream")
            for item in stream.iter("fileLocation")
        }
        for name in names[1:]:
            raw = held.read(name)
            assert listed[f"./{name.partition('.SAFE/')[2]}"] == (
                str(len(raw)),
                hashlib.md5(raw).hexdigest(),
            )
        (tiff,) = [name for name in names if name.endswith(".tiff")]
        raw = held.read(tiff)
        (text,) = [name for name in names if "/annotation/s1a" in name]
        product = etree.fromstring(held.read(text))
    with rasterio.open(io.BytesIO(raw)) as source:
        whole = source.read(1)
        assert source.dtypes == ("complex_int16",)
    offsets = [int(node.text) for node in product.iter("byteOffset")]
    for burst, offset in zip(bursts[:2], offsets, strict=True):
        with rasterio.open(blob(world, burst.tiff_url)) as source:
            part = source.read(1)
        lines, samples = part.shape
        assert np.array_equal(part, whole[burst.index * lines : (burst.index + 1) * lines])
        counts = np.frombuffer(raw, dtype="<i2", count=lines * samples * 2, offset=offset)
        assert np.array_equal(counts.reshape(lines, samples, 2)[..., 0], part.real)
        assert not part[:INVALID_LINES].any()
        assert not part[:, :INVALID_SAMPLES].any()
        inside = part[INVALID_LINES:-INVALID_LINES, INVALID_SAMPLES:-INVALID_SAMPLES]
        assert (inside != 0).mean() > 0.99
        assert 20 < np.abs(inside).mean() < 300


def test_elevation_reaches_beyond_the_bursts_without_an_edge(scene: Scene, survey: Survey) -> None:
    reach = footprint_deg(survey, 0.06)
    tiles = make_tiles(scene, "nasadem", reach)
    assert min(tile.raster.bounds[0] for tile in tiles) <= reach[0]
    assert max(tile.raster.bounds[2] for tile in tiles) >= reach[2]
    values = np.concatenate([tile.values.ravel() for tile in tiles])
    assert (values == VOID).mean() < 0.01
    plain = {tile.id: tile for tile in make_tiles(scene, "nasadem")}
    for tile in tiles:
        if tile.id not in plain:
            continue
        step = tile.raster.transform[0]
        inside = plain[tile.id]
        column = round((inside.raster.bounds[0] - tile.raster.bounds[0]) / step)
        row = round((tile.raster.bounds[3] - inside.raster.bounds[3]) / step)
        height, width = inside.values.shape
        there = tile.values[row : row + height, column : column + width].astype(int)
        known = (inside.values != VOID) & (there != VOID)
        # GDAL widens its kernel where it coarsens
        off = np.abs(there - inside.values)[known]
        assert off.max() <= 3
        assert off.mean() < 0.7


def test_worlds_without_such_products_have_the_orbits_of_their_flights(tmp_path: Path) -> None:
    plain = PARAMETERS.model_copy(update={"slc": None, "tracks": (DESCENDING,)})
    world = make_world(small_area(), tmp_path / "world", plain)
    granules, bursts, orbits = index_of(world)
    assert (granules, bursts) == ([], [])
    assert len(orbits) == len(world.document["passes"])
    assert {orbit["kind"] for orbit in orbits} == {"precise"}
    assert all((world.root / "blobs" / orbit["file"]).is_file() for orbit in orbits)
    assert "slc" not in world.document["parameters"]
    assert not [host for host in world.hosts if "asf" in host]


def test_the_same_seed_gives_the_same_bytes(
    scene: Scene, survey: Survey, world: World, tmp_path: Path
) -> None:
    write_slc(scene, survey, tmp_path, workers=1)
    again = sorted(path for path in (tmp_path / "blobs").rglob("*") if path.is_file())
    assert len(again) == 3 + 3 * 2 * 2 + len(scene.flights)
    for path in again:
        assert path.read_bytes() == (world.root / path.relative_to(tmp_path)).read_bytes(), path.name
    assert (tmp_path / INDEX).read_bytes() == (world.root / INDEX).read_bytes()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"relative_orbit": 7}, "Track 7 "),
        ({"before": 1, "after": 0}, "selects 1"),
        ({"sub_area": (10.0, 42.7, 10.1, 42.8)}, "outside"),
    ],
)
def test_a_plan_that_fits_nothing_is_refused(change: dict[str, object], named: str) -> None:
    plan = SlcPlan(**{"sub_area": SUB_AREA, **change})
    with pytest.raises(SandboxError, match=named):
        survey_of(make_scene(small_area(), PARAMETERS.model_copy(update={"slc": plan})))


def test_bursts_grow_in_number_where_the_area_is_longer_than_they_are(scene: Scene) -> None:
    plan = SlcPlan(bursts=1, lines_per_burst=420, sub_area=None)
    long = scene.area.model_copy(update={"bbox": (142.0, 42.7, 142.02, 42.8)})
    survey = survey_of(make_scene(long, PARAMETERS.model_copy(update={"slc": plan})))
    assert survey is not None
    assert survey.frame.lines == 420
    assert len(survey.frame.starts_s) == 3
    for height_m in survey.height_m:
        covered = shapely.union_all([shapely.Polygon(outline_deg(survey, b, height_m)) for b in range(3)])
        assert covered.covers(long.footprint)
