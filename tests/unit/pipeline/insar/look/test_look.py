"""Local incidence, layover and shadow, against closed forms and against a plain walk along every range line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from rasterio.io import MemoryFile
from scipy import ndimage
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import minimize_scalar

from pipeline.catalogue.state_vectors import OrbitFile
from pipeline.elevation.geoid import undulation_m
from pipeline.errors import InterferometryError, SourceDataError
from pipeline.grid import Grid
from pipeline.insar.look.layover import layover_shadow
from pipeline.insar.look.look import Ground, derive_look, local_incidence_deg, look_margin_px, read_ground
from pipeline.insar.look.orbit_geometry import Orbit, earth_fixed, ellipsoidal_incidence_deg
from pipeline.insar.look.range_lines import range_lines
from pipeline.layers.dem_derivatives import derive_terrain
from pipeline.sandbox.earth.parameters import WorldParameters
from pipeline.sandbox.earth.realism.random_fields import fractal_field
from pipeline.sandbox.earth.topography import make_relief
from tests.unit.made_orbits import INSTANT, made_orbit_file

Array = NDArray[np.float64]
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Site:
    """A grid at its zone's meridian, and an orbit that sees its middle under `incidence_deg`."""

    name: str
    latitude_deg: float
    direction: str
    incidence_deg: float = 36.0
    shape: tuple[int, int] = (160, 220)
    resolution_m: float = 10.0

    @property
    def grid(self) -> Grid:
        y = Transformer.from_crs(4326, 32654, always_xy=True).transform(141.0, self.latitude_deg)[1]
        height, width = self.shape
        step = self.resolution_m
        return Grid(
            epsg=32654,
            resolution_m=step,
            left=500_000.0 - width // 2 * step,
            top=round(y / step) * step + height // 2 * step,
            width=width,
            height=height,
        )

    @property
    def orbit_file(self) -> OrbitFile:
        return _orbit_file(self.latitude_deg, self.incidence_deg, self.direction)

    @property
    def orbit(self) -> Orbit:
        return Orbit.of(self.orbit_file.around(INSTANT, INSTANT, margin_s=180))

    def away_from_sensor(self) -> tuple[float, float]:
        """Unit vector in the grid (x, y) that points along increasing range; by the geodesic to the satellite."""
        vector = next(v for v in self.orbit_file.state_vectors if v.time == INSTANT)
        longitude, latitude, _height = Transformer.from_crs(4978, 4979, always_xy=True).transform(
            *vector.position_m
        )
        azimuth = Geod(ellps="WGS84").inv(141.0, self.latitude_deg, longitude, latitude)[0]
        return -np.sin(np.radians(azimuth)), -np.cos(np.radians(azimuth))

    def along_range_m(self) -> Array:
        """(y, x) metres from the grid's middle along increasing range."""
        grid = self.grid
        x, y = np.meshgrid(grid.x, grid.y)
        dx, dy = self.away_from_sensor()
        return (x - grid.x.mean()) * dx + (y - grid.y.mean()) * dy


@cache
def _orbit_file(latitude_deg: float, incidence_deg: float, direction: str) -> OrbitFile:
    return made_orbit_file(141.0, latitude_deg, incidence_deg, direction)  # type: ignore[arg-type]


SITES = [
    Site("descending", 42.7, "descending"),
    Site("ascending", 42.7, "ascending"),
    Site("south", -8.0, "ascending", 31.0),
    Site("oblique", 77.0, "descending", 42.0),
    Site("beyond the diagonal", 79.8, "ascending", 42.0),
]
EACH_SITE = pytest.mark.parametrize("site", SITES, ids=lambda s: s.name)
HOKKAIDO = SITES[0]


def codes_of(site: Site, elevation: Array | Float, block_lines: int = 48) -> Float:
    """(y, x) on the whole grid, no margin."""
    return layover_shadow(elevation.astype(np.float32), range_lines(site.grid, site.orbit), block_lines)


@EACH_SITE
def test_flat_ground_has_the_ellipsoids_incidence_and_neither_layover_nor_shadow(site: Site) -> None:
    grid = site.grid
    ground = Ground(np.full(grid.padded(4).shape, 250.0, np.float32), 4)
    layer = derive_look(ground, grid, site.orbit_file, INSTANT)
    x, y = np.meshgrid(grid.x, grid.y)
    longitude, latitude = Transformer.from_crs(grid.epsg, 4326, always_xy=True).transform(x, y)
    expected = ellipsoidal_incidence_deg(site.orbit, longitude, latitude, 250.0)
    assert np.abs(layer.arrays["local_incidence_deg"] - expected).max() < 1e-4
    assert abs(expected.mean() - site.incidence_deg) < 0.1
    assert not layer.arrays["layover_shadow"].any()
    assert layer.report["layover_share"] == layer.report["shadow_share"] == 0
    assert layer.report["void_pixels"] == 0


def seen_from(orbit_file: OrbitFile, point: Array) -> Array:
    """Position of the satellite nearest to a point, by a search that knows nothing of Doppler.

    Over the turning Earth the nearest place of the earth-fixed orbit is where it passes abeam.
    """
    vectors = orbit_file.state_vectors
    spline = CubicHermiteSpline(
        [(v.time - INSTANT).total_seconds() for v in vectors],
        [v.position_m for v in vectors],
        [v.velocity_m_s for v in vectors],
    )
    found = minimize_scalar(
        lambda t: float(np.linalg.norm(spline(t) - point)),
        bounds=(-100, 100),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return np.asarray(spline(found.x))


@EACH_SITE
@pytest.mark.parametrize("slope", [(0.0, 0.3), (0.3, -0.1), (-0.45, 0.0), (-0.2, -0.2)])
def test_tilted_planes_have_the_angle_to_their_normal(site: Site, slope: tuple[float, float]) -> None:
    grid = site.grid
    x, y = np.meshgrid(grid.padded(1).x, grid.padded(1).y)
    plane = 800.0 + slope[0] * (x - grid.x.mean()) + slope[1] * (y - grid.y.mean())
    found = local_incidence_deg(plane.astype(np.float32), 1, grid, site.orbit)
    to_fixed = Transformer.from_crs(grid.epsg, 4978, always_xy=True)
    for row, column in ((3, 5), (80, 110), (150, 200)):
        px, py = grid.x[column], grid.y[row]
        # three points of the plane in space; PROJ keeps the height when it goes from UTM to earth-fixed
        here, east, north = (
            np.array(
                to_fixed.transform(
                    px + dx, py + dy, plane[row + 1, column + 1] + slope[0] * dx + slope[1] * dy
                )
            )
            for dx, dy in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
        )
        normal = np.cross(east - here, north - here)
        sight = seen_from(site.orbit_file, here) - here
        cosine = normal @ sight / np.linalg.norm(normal) / np.linalg.norm(sight)
        assert abs(found[row, column] - np.degrees(np.arccos(cosine))) < 2e-3


@EACH_SITE
def test_slopes_towards_the_sensor_lessen_the_angle_by_their_own(site: Site) -> None:
    rise = site.along_range_m() * np.tan(np.radians(20.0))
    inner = np.s_[1:-1, 1:-1]
    grid = site.grid
    small = cropped(grid, (1, grid.height - 1), (1, grid.width - 1))
    flat = local_incidence_deg(np.zeros(grid.shape, np.float32), 1, small, site.orbit)
    towards = local_incidence_deg(rise.astype(np.float32), 1, small, site.orbit)
    away = local_incidence_deg((-rise).astype(np.float32), 1, small, site.orbit)
    assert towards.shape == rise[inner].shape
    # the angles add up where the slope lies in the plane of sight, which turns by 0.1 degrees over the grid
    assert np.abs(flat - 20 - towards).max() < 0.1
    assert np.abs(flat + 20 - away).max() < 0.1


def ridge(site: Site, front_deg: float, back_deg: float, height_m: float) -> tuple[Array, float, float]:
    """A straight ridge across the range direction, its crest in the middle; and its feet before and behind."""
    along = site.along_range_m()
    front, back = np.tan(np.radians(front_deg)), np.tan(np.radians(back_deg))
    slopes = np.where(along < 0, height_m + along * front, height_m - along * back)
    return np.maximum(slopes, 0.0), -height_m / front, height_m / back


def expect(codes: Float, along: Array, begin: float, end: float, code: int, edge_m: float) -> None:
    """`code` between begin and end, and nowhere else, `edge_m` around the ends left to the pixels.

    The rim of the grid, where nothing is known of the terrain beyond, is left out along the ridge.
    """
    near = (np.abs(along - begin) < edge_m) | (np.abs(along - end) < edge_m)
    wanted = (along > begin) & (along < end)
    has = np.isin(codes, (code, 3))
    assert wanted[~near].sum() > 300
    wrong = (has != wanted) & ~near & ~np.isnan(codes)
    assert not wrong.any(), (code, along[wrong].min(), along[wrong].max(), wrong.sum())


@EACH_SITE
def test_a_ridge_is_laid_over_as_far_as_reckoned_by_hand(site: Site) -> None:
    """Crest, height H at 0; incidence g. It has the range of level ground at -H / tan g, in front of the foot.

    Ground behind the crest is laid over on the front as long as its range is below that of the foot:
    s (1 + tan back / tan g) = H / tan g - H / tan front.
    """
    height, front_deg, back_deg = 150.0, 60.0, 15.0
    elevation, foot, _behind = ridge(site, front_deg, back_deg, height)
    g = np.tan(np.radians(site.incidence_deg))
    begin = -height / g
    end = (height / g + foot) / (1 + np.tan(np.radians(back_deg)) / g)
    assert begin < foot < 0 < end
    codes = codes_of(site, elevation)
    inner = np.s_[40:-40, 40:-40]
    expect(codes[inner], site.along_range_m()[inner], begin, end, 1, edge_m=1.5 * site.resolution_m)
    assert not np.isin(codes[inner], (2, 3)).any()


@EACH_SITE
def test_a_slope_below_the_incidence_is_not_laid_over(site: Site) -> None:
    elevation, _foot, _behind = ridge(site, site.incidence_deg - 3, 40.0, 150.0)
    assert not codes_of(site, elevation)[20:-20, 20:-20].any()


@EACH_SITE
def test_a_ridge_casts_a_shadow_as_long_as_reckoned_by_hand(site: Site) -> None:
    """The ray over the crest comes down to level ground at H tan g, behind a back slope that is steeper."""
    height = 150.0
    elevation, _foot, behind = ridge(site, 20.0, 75.0, height)
    end = height * np.tan(np.radians(site.incidence_deg))
    assert 0 < behind < end
    codes = codes_of(site, elevation)
    inner = np.s_[40:-40, 40:-40]
    expect(codes[inner], site.along_range_m()[inner], 0.0, end, 2, edge_m=1.5 * site.resolution_m)
    assert not np.isin(codes[inner], (1, 3)).any()


def test_ground_can_lie_in_layover_and_in_shadow() -> None:
    """A low ridge, steep in front, within the shadow of a high one."""
    site = Site("flat look", 42.7, "descending", 45.0)
    along = site.along_range_m()
    high = 200.0 - np.where(along < -150, -(along + 150) * 0.5, (along + 150) * 4.0)
    low = 30.0 - np.where(along < 0, -along * 3.0, along * 0.3)
    both = codes_of(site, np.maximum(np.maximum(high, low), 0.0))[40:-40, 40:-40]
    alone = codes_of(site, np.maximum(low, 0.0))[40:-40, 40:-40]
    # the ray over the high crest is 20 m above the low one and comes down on its back 29 m behind
    inside = np.abs(along[40:-40, 40:-40] + 5) < 12
    assert (alone[inside] == 1).all()
    assert (both[inside] == 3).all()


def rough(shape: tuple[int, int], seed: int, relief_m: float) -> Float:
    """Mountains with slopes on either side of the incidence."""
    field = ndimage.gaussian_filter(fractal_field(shape, 3.0, np.random.default_rng(seed)), 2.0)
    return ((field - field.min()) * (relief_m / np.ptp(field))).astype(np.float32)


def walked(
    site: Site, elevation: Float, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.int_]:
    """Codes of some pixels by walking from each along its range line, all in space, no polynomials.

    The satellite is where it is nearest to the pixel; the ground goes along the straight line in the grid that points
    away from it; points of the line are sampled bilinearly every quarter of a pixel.
    """
    grid = site.grid
    to_fixed = Transformer.from_crs(grid.epsg, 4978, always_xy=True)
    to_degrees = Transformer.from_crs(4978, 4979, always_xy=True)
    to_grid = Transformer.from_crs(4326, grid.epsg, always_xy=True)
    steps = np.arange(-60, 60.01, 0.25)
    steps = steps[np.abs(steps) > 0.6]
    found = []
    for row, column in zip(rows, columns, strict=True):
        here = np.array(to_fixed.transform(grid.x[column], grid.y[row], float(elevation[row, column])))
        satellite = seen_from(site.orbit_file, here)
        # ground towards the satellite: a point of the line of sight, dropped to the ground
        longitude, latitude, _ = to_degrees.transform(*(here + 0.002 * (satellite - here)))
        x, y = to_grid.transform(longitude, latitude)
        towards = np.array([x - grid.x[column], -(y - grid.y[row])])
        towards /= np.hypot(*towards)
        at_rows, at_columns = row - steps * towards[1], column - steps * towards[0]
        heights = ndimage.map_coordinates(
            elevation.astype(np.float64), [at_rows, at_columns], order=1, mode="constant", cval=np.nan
        )
        keep = ~np.isnan(heights)
        x, y = grid.x[0] + at_columns * grid.resolution_m, grid.y[0] - at_rows * grid.resolution_m
        points = np.stack(to_fixed.transform(x[keep], y[keep], heights[keep]), axis=-1)
        ranges = np.linalg.norm(points - satellite, axis=-1)
        down = -satellite / np.linalg.norm(satellite)
        looks = np.arccos((points - satellite) @ down / ranges)
        own_range = np.linalg.norm(here - satellite)
        own_look = np.arccos((here - satellite) @ down / own_range)
        nearer = steps[keep] < 0
        laid = (ranges[nearer] >= own_range).any() or (ranges[~nearer] <= own_range).any()
        found.append(int(laid) + 2 * int((looks[nearer] >= own_look).any()))
    return np.array(found)


@EACH_SITE
def test_mountains_agree_with_a_walk_along_every_line(site: Site) -> None:
    rng = np.random.default_rng(7)
    elevation = rough(site.shape, 3, 700.0)
    codes = codes_of(site, elevation)
    rows, columns = rng.integers(60, 100, 1000), rng.integers(60, 160, 1000)
    plain = walked(site, elevation, rows, columns)
    ours = codes[rows, columns].astype(int)
    assert {0, 1, 2} <= set(plain.tolist())
    # at the edges of an area a fraction of a pixel decides
    assert np.mean((plain & 1) != (ours & 1)) < 0.01
    assert np.mean((plain & 2) != (ours & 2)) < 0.01


@settings(max_examples=6, deadline=None)
@given(block_lines=st.integers(1, 400), site=st.sampled_from(SITES))
def test_blocks_change_nothing(block_lines: int, site: Site) -> None:
    elevation = rough(site.shape, 5, 600.0)
    elevation[30:40, 50:60] = np.nan
    assert np.array_equal(codes_of(site, elevation), codes_of(site, elevation, block_lines), equal_nan=True)


@EACH_SITE
def test_the_grids_edge_equals_the_middle_of_a_larger_grid(site: Site) -> None:
    """With the margin that the relief asks for, nothing depends on where the grid ends."""
    whole = site.grid
    elevation = rough(site.shape, 11, 260.0)
    part = cropped(whole, (60, whole.height - 60), (60, whole.width - 60))
    needed = look_margin_px(260.0, (site.incidence_deg - 0.5, site.incidence_deg + 0.5), whole.resolution_m)
    assert 20 < needed < 60
    cut = np.s_[60 - needed : needed - 60, 60 - needed : needed - 60]
    from_part = derive_look(Ground(elevation[cut], needed), part, site.orbit_file, INSTANT)
    assert from_part.report["margin_that_relief_asks_for_m"] <= needed * whole.resolution_m
    from_whole = codes_of(site, elevation)[60:-60, 60:-60]
    assert (from_whole > 0).any()
    assert np.array_equal(from_part.arrays["layover_shadow"], from_whole)
    larger = local_incidence_deg(elevation, 60, part, site.orbit)
    assert np.abs(from_part.arrays["local_incidence_deg"] - larger).max() < 1e-5


def test_a_margin_too_small_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A wall before the grid hides it; with a margin that does not reach the wall's foot the report says so."""
    site = HOKKAIDO
    elevation, _foot, _behind = ridge(site, 20.0, 75.0, 400.0)  # shadow of 290 m behind the crest
    whole = site.grid
    # the satellite is in the east: the shadow lies west of the middle column
    part = cropped(whole, rows=(60, 100), columns=(88, 100))
    for margin_px, hidden in ((60, True), (3, False)):
        edge = np.s_[60 - margin_px : 100 + margin_px, 88 - margin_px : 100 + margin_px]
        caplog.clear()
        layer = derive_look(
            Ground(elevation[edge].astype(np.float32), margin_px), part, site.orbit_file, INSTANT
        )
        assert (layer.report["shadow_share"] == 1) == hidden
        short = layer.report["margin_m"] < layer.report["margin_that_relief_asks_for_m"]
        assert short != hidden
        assert bool(caplog.records) != hidden


def test_voids_stay_unknown_and_neither_hide_nor_are_laid_over() -> None:
    site = HOKKAIDO
    elevation, _foot, _behind = ridge(site, 60.0, 75.0, 150.0)
    assert codes_of(site, elevation).any()
    elevation[elevation > 0] = np.nan
    codes = codes_of(site, elevation)
    assert np.array_equal(np.isnan(codes), np.isnan(elevation))
    assert not np.nansum(codes)
    inner = cropped(site.grid, (1, site.grid.height - 1), (1, site.grid.width - 1))
    incidence = local_incidence_deg(elevation.astype(np.float32), 1, inner, site.orbit)
    beside = ndimage.binary_dilation(np.isnan(elevation), np.ones((3, 3)))[1:-1, 1:-1]
    assert np.array_equal(np.isnan(incidence), beside)


def test_the_sandbox_sees_the_same_angles() -> None:
    """Its angles are for one incidence and heading all over; its slopes are central differences."""
    parameters = WorldParameters()
    site = Site("sandbox", 42.7, "descending", parameters.tracks[0].incidence_deg, (300, 300))
    relief = make_relief(site.grid, parameters, np.random.default_rng(4))
    ours = local_incidence_deg(
        np.pad(relief.elevation_m, 1, mode="reflect", reflect_type="odd"), 1, site.grid, site.orbit
    )
    theirs = relief.local_incidence_deg(parameters.tracks[0])
    assert np.std(theirs) > 8
    apart = (ours - theirs)[2:-2, 2:-2]
    assert abs(np.median(apart)) < 0.1
    assert np.median(np.abs(apart)) < 0.3
    assert np.quantile(np.abs(apart), 0.99) < 1.5


@EACH_SITE
def test_range_lines_keep_their_range_over_250_km(site: Site) -> None:
    wide = Site(site.name, site.latitude_deg, site.direction, 38.0, (500, 2500), 100.0)
    lines = range_lines(wide.grid, wide.orbit)
    rng = np.random.default_rng(0)
    line = rng.integers(0, len(lines.times_s), 500)
    column = rng.integers(0, lines.view.shape[1], 500)

    def at(coefficients: Array) -> Array:
        return lines.across.at(coefficients, 0, lines.view.shape[1])[line, column]

    x, y = lines.view.xy(at(lines.row), column.astype(float))
    places = Transformer.from_crs(wide.grid.epsg, 4326, always_xy=True).transform(x, y)
    for height in (0.0, 4000.0):
        times, ranges = wide.orbit.zero_doppler(earth_fixed(*places, height))
        squared = at(lines.range2) + height * (height - 2 * at(lines.rise))
        assert np.abs(np.sqrt(squared) - ranges).max() < 1e-3
        assert np.abs(times - lines.times_s[line]).max() * 7000 < 1e-3 + 0.0036 * height


def test_orbits_that_do_not_pass_as_the_satellite_does_are_refused() -> None:
    site = HOKKAIDO
    ground = Ground(np.zeros(site.grid.padded(2).shape, np.float32), 2)
    west = made_orbit_file(130.0, 42.7, 36.0)
    with pytest.raises(InterferometryError) as caught:
        derive_look(ground, site.grid, west, INSTANT)
    assert caught.value.code == "wrong_side"
    east = made_orbit_file(147.0, 42.7, 36.0)
    with pytest.raises(InterferometryError) as caught:
        derive_look(ground, site.grid, east, INSTANT)
    assert caught.value.code == "out_of_swath"
    with pytest.raises(SourceDataError, match="made"):
        derive_look(ground, site.grid, site.orbit_file, INSTANT + timedelta(hours=3))
    far = made_orbit_file(141.0, 10.0, 36.0)
    with pytest.raises(InterferometryError) as caught:
        derive_look(ground, site.grid, far, INSTANT)
    assert caught.value.code == "orbit_short"
    with pytest.raises(InterferometryError) as caught:
        Orbit.of(site.orbit_file.state_vectors[:1])
    assert caught.value.code == "orbit_short"
    with pytest.raises(InterferometryError) as caught:
        Orbit.of(made_orbit_file(141.0, 42.7, 36.0, span_s=1300.0).state_vectors)
    assert caught.value.code == "orbit_long"
    with pytest.raises(ValueError, match="3"):
        derive_look(Ground(ground.elevation_m, 3), site.grid, site.orbit_file, INSTANT)


def test_ground_from_tiles_has_the_geoid_and_the_margin_that_its_relief_asks_for() -> None:
    site = HOKKAIDO
    grid = site.grid
    spacing = 1 / 1200
    longitude, latitude = 140.5 + np.arange(1201) * spacing, 43.2 - np.arange(1201) * spacing
    lon, lat = np.meshgrid(longitude, latitude)
    heights = 300 + 200 * np.sin(lon * 200) * np.cos(lat * 260)
    transform = Affine(spacing, 0, longitude[0] - spacing / 2, 0, -spacing, latitude[0] + spacing / 2)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=1201, height=1201, count=1, dtype="float32", crs="EPSG:4326", transform=transform
        ) as target:  # fmt: skip
            target.write(heights.astype(np.float32), 1)
        with memory.open() as tile:
            ground = read_ground([tile], grid, "nasadem", site.orbit_file, INSTANT)
            terrain = derive_terrain([tile], grid.padded(ground.margin_px), collection="nasadem")
    undulation = ground.elevation_m - terrain.arrays["dem"]
    to_degrees = Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    for row, column in ((0, 0), (80, 110), (159, 219)):
        east, north = to_degrees.transform(grid.x[column], grid.y[row])
        here = undulation[row + ground.margin_px, column + ground.margin_px]
        assert here == pytest.approx(float(undulation_m(north, east)), abs=0.001)
        assert here > 30
    assert np.ptp(undulation) < 1.0
    assert ground.margin_px >= look_margin_px(float(np.ptp(ground.elevation_m)), (35.5, 36.5), 10.0)
    assert ground.margin_px < 120
    layer = derive_look(ground, grid, site.orbit_file, INSTANT)
    assert layer.report["geoid"] and layer.report["collection"] == "nasadem"
    assert layer.report["orbit_kind"] == "precise"
    assert {name: a.dtype for name, a in layer.arrays.items()} == {
        "local_incidence_deg": np.float32,
        "layover_shadow": np.float32,
    }


def cropped(grid: Grid, rows: tuple[int, int], columns: tuple[int, int]) -> Grid:
    """Some rows and columns of a grid."""
    step = grid.resolution_m
    return Grid(
        epsg=grid.epsg,
        resolution_m=step,
        left=grid.left + columns[0] * step,
        top=grid.top - rows[0] * step,
        width=columns[1] - columns[0],
        height=rows[1] - rows[0],
    )
