"""Terrain on synthetic elevation: exactness, locality, voids, sea, missing tiles and hostile files."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.io import DatasetReader, MemoryFile
from rasterio.transform import Affine
from scipy import ndimage

from pipeline.catalogue.dem_items import DEM_MARGIN_M
from pipeline.elevation import dem_on_grid
from pipeline.elevation.dem_spline import margin, surface, void_side
from pipeline.elevation.dem_tiles import Lattice, read_samples
from pipeline.errors import ArchiveError, SourceDataError
from pipeline.grid import Grid
from pipeline.layers import dem_derivatives
from pipeline.layers.dem_derivatives import derive_terrain, quiet_richdem

SPACING = 1 / 1200  # degrees; 3 arc seconds keep the made tiles small
GRID = Grid(epsg=32654, resolution_m=30.0, left=440_010.0, top=4_740_000.0, width=160, height=120)

Open = Callable[..., DatasetReader]
Height = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def hills(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ground between 150 and 450 m, smooth at the scale of a tile's samples."""
    return 300 + 100 * np.sin(longitude * 400) + 50 * np.cos(latitude * 500 + longitude * 90)


@pytest.fixture
def make_tile() -> Iterator[Open]:
    """Opens made tiles: corner in degrees, samples on full degrees as the global collections have them."""
    with ExitStack() as stack:

        def build(
            west: float = 140.0,
            south: float = 42.0,
            height: Height = hills,
            *,
            shared_edge: bool = True,
            dtype: str = "float32",
            nodata: float | None = None,
            patch: Callable[[NDArray[np.float64]], None] | None = None,
            size: int = 1200,
            crs: str | None = "EPSG:4326",
            spacing: tuple[float, float] = (SPACING, SPACING),
            units: str | None = None,
            flip: bool = False,
        ) -> DatasetReader:
            samples = size + (1 if shared_edge else 0)
            longitude = west + np.arange(samples) * spacing[0]
            latitude = south + size * spacing[1] - np.arange(samples) * spacing[1]
            values = height(*np.meshgrid(longitude, latitude))
            if patch is not None:
                patch(values)
            step = spacing[1] if flip else -spacing[1]
            transform = Affine(spacing[0], 0, west - spacing[0] / 2, 0, step, latitude[0] + spacing[1] / 2)
            memory = stack.enter_context(MemoryFile())
            with memory.open(
                driver="GTiff", width=samples, height=samples, count=1, dtype=dtype, crs=crs, transform=transform,
                nodata=nodata,
            ) as target:  # fmt: skip
                target.write(values.astype(dtype), 1)
                if units:
                    target.units = (units,)
            return stack.enter_context(memory.open())

        yield build


def to_degrees(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    transformer = dem_on_grid.Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    return transformer.transform(*np.meshgrid(grid.x, grid.y))


def test_the_spline_is_exact_at_samples_and_close_between_them(make_tile: Open) -> None:
    def gentle(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        return 300 + 100 * np.sin(longitude * 100) * np.cos(latitude * 120)

    layer = derive_terrain([make_tile(height=gentle)], GRID, collection="nasadem")
    truth = gentle(*to_degrees(GRID))
    assert np.abs(layer.arrays["dem"] - truth).max() < 1e-3
    assert {a.dtype for a in layer.arrays.values()} == {np.dtype(np.float32)}
    assert {a.shape for a in layer.arrays.values()} == {GRID.shape}
    assert layer.attributes["dem"]["vertical_datum"] == "EGM96 geoid (EPSG:5773)"
    assert layer.report["void_pixels"] == layer.report["sea_pixels"] == 0


def test_prefilter_is_the_interpolating_spline(make_tile: Open) -> None:
    tile = make_tile()
    lattice = Lattice.of_tiles([tile], middle=140.5)
    row, column = lattice.first_sample(tile) or (0, 0)
    ground = surface(read_samples([tile], lattice, (row, column, row + 300, column + 300)))
    recursive = ndimage.spline_filter(tile.read(1)[:300, :300].astype(np.float64), order=3)
    assert np.allclose(ground.coefficients[30:-30, 30:-30], recursive[30:-30, 30:-30], rtol=0, atol=1e-9)


def test_a_part_equals_the_crop_of_the_whole_bit_for_bit(
    make_tile: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def patch(values: NDArray[np.float64]) -> None:
        values[200:260:4, 330:360] = -32768.0  # narrow voids inside the area and across its edge
        values[230:236, 340:360] = 0.0

    tile = make_tile(dtype="int16", nodata=-32768, patch=patch)
    whole = derive_terrain([tile], GRID, collection="nasadem")
    assert whole.report["void_samples_filled"] > 0
    assert whole.report["sea_pixels"] > 0
    part = Grid(
        epsg=GRID.epsg,
        resolution_m=30.0,
        left=GRID.left + 37 * 30,
        top=GRID.top - 21 * 30,
        width=71,
        height=53,
    )
    monkeypatch.setattr(dem_derivatives, "BLOCK_PIXELS", 7 * part.width)
    monkeypatch.setattr(dem_on_grid, "BLOCK_PIXELS", 7 * part.width)
    cropped = derive_terrain([tile], part, collection="nasadem")
    for name, values in cropped.arrays.items():
        assert np.array_equal(values, whole.arrays[name][21 : 21 + 53, 37 : 37 + 71], equal_nan=True), name


@settings(max_examples=8, deadline=None)
@given(block=st.integers(1, 40_000))
def test_block_size_changes_nothing(block: int) -> None:
    grid = Grid(epsg=32654, resolution_m=30.0, left=440_010.0, top=4_740_000.0, width=60, height=45)
    with MemoryFile() as memory:
        longitude, latitude = 140 + np.arange(1201) * SPACING, 43 - np.arange(1201) * SPACING
        transform = Affine(SPACING, 0, 140 - SPACING / 2, 0, -SPACING, 43 + SPACING / 2)
        with memory.open(
            driver="GTiff", width=1201, height=1201, count=1, dtype="float32", crs="EPSG:4326", transform=transform
        ) as target:  # fmt: skip
            target.write(hills(*np.meshgrid(longitude, latitude)).astype(np.float32), 1)
        with memory.open() as tile, pytest.MonkeyPatch.context() as patch:
            usual = derive_terrain([tile], grid, collection="nasadem")
            patch.setattr(dem_derivatives, "BLOCK_PIXELS", block)
            patch.setattr(dem_on_grid, "BLOCK_PIXELS", block)
            other = derive_terrain([tile], grid, collection="nasadem")
    for name, values in usual.arrays.items():
        assert np.array_equal(values, other.arrays[name], equal_nan=True), name


@pytest.mark.parametrize("shared_edge", [True, False], ids=["overlapping by a sample", "abutting"])
def test_the_seam_of_two_tiles_changes_nothing(make_tile: Open, shared_edge: bool) -> None:
    grid = Grid(epsg=32654, resolution_m=30.0, left=498_000.0, top=4_700_010.0, width=140, height=100)
    assert to_degrees(grid)[0].min() < 141 < to_degrees(grid)[0].max()
    west, east = (make_tile(w, shared_edge=shared_edge, size=1200) for w in (140.0, 141.0))
    both = derive_terrain([west, east], grid, collection="nasadem")
    single = derive_terrain([make_tile(140.0, size=2400, south=41.0)], grid, collection="nasadem")
    turned = derive_terrain([east, west], grid, collection="nasadem")
    for name, values in both.arrays.items():
        assert np.array_equal(values, turned.arrays[name], equal_nan=True)
        # the tiles' longitudes are rounded differently by a few 1e-14 degrees
        if name != "dem_aspect":  # it jumps at north
            assert np.nanmax(np.abs(values - single.arrays[name])) < 1e-3
    assert both.report["overlap_largest_difference_m"] < 1e-3
    assert len(both.report["tiles"]) == 2


def test_plane_has_the_slope_aspect_and_curvature_of_a_plane(make_tile: Open) -> None:
    grid = Grid(epsg=32654, resolution_m=10.0, left=500_000.0, top=4_720_000.0, width=90, height=80)

    def plane(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        transformer = dem_on_grid.Transformer.from_crs(4326, grid.epsg, always_xy=True)
        x, y = transformer.transform(longitude, latitude)
        return 500 - 0.3 * (x - 500_000) + 0.4 * (y - 4_720_000)  # falls to the east and to the south

    layer = derive_terrain(
        [make_tile(141.0 - 0.2, 42.5, plane, size=300, dtype="float64", shared_edge=False)],
        grid,
        collection="made",
        vertical_datum="none",
    )
    assert np.allclose(layer.arrays["dem_slope_radians"], np.arctan(0.5), atol=1e-4)
    assert np.allclose(layer.arrays["dem_aspect"], 180 - np.degrees(np.arctan2(0.3, 0.4)), atol=0.02)
    assert np.abs(layer.arrays["dem_curvature"]).max() < 2e-2


def zero_share(curvature: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of cells without curvature, by column modulo 3."""
    zero = np.abs(curvature) < 1e-3 * np.nanstd(curvature)
    return np.array([zero[:, phase::3].mean() for phase in range(3)])


def test_spline_has_no_pattern_of_zero_curvature_where_bilinear_has(make_tile: Open) -> None:
    """A 30 m DEM on a 10 m lattice: bilinear is flat along one axis between samples, at two of three phases."""
    rng = np.random.default_rng(3)
    rough = ndimage.gaussian_filter(rng.normal(size=(201, 201)), 1.5) * 200

    def ground(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return 500 + rough[: x.shape[0], : x.shape[1]]

    tile = make_tile(
        500_000.0, 4_700_000.0, ground, size=200, crs="EPSG:32654", spacing=(30.0, 30.0), dtype="float64"
    )
    grid = Grid(epsg=32654, resolution_m=10.0, left=501_995.0, top=4_703_995.0, width=180, height=180)
    layer = derive_terrain([tile], grid, collection="made", vertical_datum="none")
    ours = zero_share(layer.arrays["dem_curvature"])

    rows, columns = np.meshgrid(
        (tile.bounds.top - 15 - grid.y) / 30, (grid.x - tile.bounds.left - 15) / 30, indexing="ij"
    )
    z = ndimage.map_coordinates(tile.read(1), [rows, columns], order=1)
    d = (z[1:-1, :-2] + z[1:-1, 2:]) / 2 - z[1:-1, 1:-1]
    e = (z[:-2, 1:-1] + z[2:, 1:-1]) / 2 - z[1:-1, 1:-1]
    bilinear = zero_share((-2 * (d + e) / 100 * 100).astype(np.float32))

    assert bilinear.max() > 0.6
    assert bilinear.max() - bilinear.min() > 0.5
    assert ours.max() < 0.02
    assert ours.max() - ours.min() < 0.01


def test_pixels_coarser_than_samples_are_means(make_tile: Open) -> None:
    def comb(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        return 100.0 + 10.0 * (np.rint(longitude / SPACING) % 2)

    grid = Grid(epsg=32654, resolution_m=1000.0, left=440_000.0, top=4_740_000.0, width=8, height=8)
    layer = derive_terrain([make_tile(height=comb)], grid, collection="nasadem")
    assert np.abs(layer.arrays["dem"] - 105).max() < 1.0


def test_narrow_voids_are_filled_wide_ones_left_and_both_counted(make_tile: Open) -> None:
    side = void_side(Lattice.of_tiles([make_tile()], middle=140.5))[0]

    def patch(values: NDArray[np.float64]) -> None:
        values[200:203, 340:360] = -32768.0
        values[220 : 220 + side, 340 : 340 + side] = -32768.0
        values[240, 345] = 32000.0  # higher than any place on Earth

    layer = derive_terrain(
        [make_tile(patch=patch, dtype="int16", nodata=-32768)], GRID_ON_VOIDS, collection="nasadem"
    )
    assert layer.report["void_samples_filled"] == 3 * 20 + 1
    assert layer.report["void_samples_left"] == side * side
    assert layer.report["implausible_samples"] == 1
    void = np.isnan(layer.arrays["dem"])
    assert layer.report["void_pixels"] == void.sum() > 0
    beside = ndimage.binary_dilation(void, np.ones((3, 3)))
    for name in ("dem_slope_radians", "dem_aspect", "dem_curvature"):
        assert np.array_equal(np.isnan(layer.arrays[name]), beside), name
    truth = hills(*to_degrees(GRID_ON_VOIDS))
    assert np.abs(layer.arrays["dem"] - truth)[~void].max() < 60  # filled elevation is plausible


GRID_ON_VOIDS = Grid(epsg=32654, resolution_m=30.0, left=441_000.0, top=4_744_000.0, width=160, height=200)


def test_zero_is_sea_and_minus_32768_is_void(make_tile: Open) -> None:
    def coast(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(longitude < 140.30, 0.0, hills(longitude, latitude))

    def patch(values: NDArray[np.float64]) -> None:
        values[230:232, 345:348] = -32768.0  # in the sea

    layer = derive_terrain(
        [make_tile(height=coast, dtype="int16", nodata=0, patch=patch)], GRID, collection="nasadem"
    )
    sea = to_degrees(GRID)[0] < 140.30 - 2 * SPACING
    assert layer.report["sea_pixels"] > 0.9 * sea.sum() > 0
    assert layer.report["nodata_of_0_not_believed"]
    assert layer.report["void_samples_filled"] == 6
    assert layer.report["void_pixels"] == 0
    calm = sea & (layer.arrays["dem"] == 0)
    deep = ndimage.binary_erosion(calm, np.ones((3, 3)))
    assert np.all(layer.arrays["dem_slope_radians"][deep] == 0)
    assert np.all(np.isnan(layer.arrays["dem_aspect"][deep]))
    assert layer.report["flat_pixels"] >= deep.sum() > 0


def test_ocean_tile_that_does_not_exist_is_sea(make_tile: Open) -> None:
    grid = Grid(epsg=32654, resolution_m=30.0, left=498_000.0, top=4_700_010.0, width=140, height=100)

    def island(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(longitude > 140.99, 0.0, hills(longitude, latitude))

    layer = derive_terrain([make_tile(height=island)], grid, collection="cop-dem-glo-30")
    assert layer.report["tiles_assumed_sea"] == ["N42E141"]
    east = to_degrees(grid)[0] > 141.0
    assert np.all(layer.arrays["dem"][east] == 0)
    assert np.isfinite(layer.arrays["dem"]).all()
    with pytest.raises(SourceDataError, match="are missing"):
        derive_terrain([make_tile(height=island)], grid, collection="made", vertical_datum="none")


def test_missing_land_tile_is_named(make_tile: Open) -> None:
    grid = Grid(epsg=32654, resolution_m=30.0, left=498_000.0, top=4_700_010.0, width=140, height=100)
    with pytest.raises(SourceDataError, match="N42E141"):
        derive_terrain([make_tile()], grid, collection="cop-dem-glo-30")


def test_no_sea_is_assumed_where_the_collection_ends(make_tile: Open) -> None:
    grid = Grid(epsg=32633, resolution_m=30.0, left=497_000.0, top=6_652_500.0, width=100, height=60)
    assert to_degrees(grid)[1].max() > 60

    def low(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.zeros_like(longitude)

    tiles = [make_tile(14.0, 59.0, low), make_tile(15.0, 59.0, low)]
    with pytest.raises(SourceDataError, match="N60E014"):
        derive_terrain(tiles, grid, collection="nasadem")
    assert derive_terrain(tiles, grid, collection="cop-dem-glo-30").report["tiles_assumed_sea"]


def test_tiles_across_the_antimeridian(make_tile: Open) -> None:
    """The margin of an area in zone 60 lies in tiles at -180."""
    grid = Grid(epsg=32760, resolution_m=30.0, left=818_000.0, top=8_118_000.0, width=60, height=50)
    longitude, _ = to_degrees(grid)
    assert 179.9 < longitude.max() < 180

    def island(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        return hills(longitude % 360, latitude)

    near = [make_tile(179.0, -18.0, island), make_tile(-180.0, -18.0, island)]
    near += [make_tile(179.0, -17.0, island), make_tile(-180.0, -17.0, island)]
    layer = derive_terrain(near, grid, collection="nasadem")
    assert layer.report["margin_samples_without_tile"] == 0
    assert np.isfinite(layer.arrays["dem"]).all()
    assert layer.report["samples"][1] < 400


def test_bounds_for_the_search_hold_the_margin(make_tile: Open) -> None:
    west, south, east, north = GRID.bounds_deg(DEM_MARGIN_M)
    longitude, latitude = to_degrees(GRID)
    samples = margin(Lattice.of_tiles([make_tile(spacing=(1 / 3600, 1 / 3600))], middle=140.5))
    reach = (samples + 3) / 3600
    assert west < longitude.min() - reach and east > longitude.max() + reach
    assert south < latitude.min() - reach and north > latitude.max() + reach


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crs": None}, "no CRS"),
        ({"flip": True}, "not north up"),
        ({"units": "ft"}, "'ft'"),
        ({"dtype": "complex64"}, "no real numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_unusable_tiles_are_refused(make_tile: Open, change: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceDataError, match=words):
        derive_terrain([make_tile(**change)], GRID, collection="nasadem")


def test_tiles_that_do_not_fit_together_are_refused(make_tile: Open) -> None:
    other_crs = make_tile(crs="EPSG:6668")
    with pytest.raises(SourceDataError, match="different CRS"):
        derive_terrain([make_tile(), other_crs], GRID, collection="nasadem")
    with pytest.raises(SourceDataError, match="lattice"):
        derive_terrain(
            [make_tile(), make_tile(spacing=(SPACING * 1.5, SPACING))], GRID, collection="cop-dem-glo-30"
        )
    with pytest.raises(SourceDataError, match="lattice"):
        derive_terrain([make_tile(), make_tile(141.0 + SPACING / 3)], GRID, collection="nasadem")


def test_no_tiles_and_unknown_datum_are_refused(make_tile: Open) -> None:
    with pytest.raises(SourceDataError, match="tiles"):
        derive_terrain([], GRID, collection="nasadem")
    with pytest.raises(SourceDataError, match="vertical datum"):
        derive_terrain([make_tile()], GRID, collection="mine")


def test_a_failed_read_names_the_tile_without_its_signature(make_tile: Open) -> None:
    class Signed:
        name = "https://host.example/dem/N42E140.tif?sig=SECRET"

        def __init__(self, tile: DatasetReader) -> None:
            self._tile = tile

        def __getattr__(self, name: str) -> Any:
            return getattr(self._tile, name)

        def read(self, *_args: object, **_kwargs: object) -> None:
            raise rasterio.errors.RasterioIOError(
                "HTTP 403 for https://host.example/dem/N42E140.tif?sig=SECRET"
            )

    with pytest.raises(ArchiveError, match=r"N42E140\.tif") as caught:
        derive_terrain([Signed(make_tile())], GRID, collection="nasadem")  # type: ignore[list-item]
    assert caught.value.transient
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_only_richdem_output_is_hidden(capfd: pytest.CaptureFixture[str], make_tile: Open) -> None:
    derive_terrain([make_tile()], GRID, collection="nasadem")
    assert capfd.readouterr() == ("", "")
    with quiet_richdem():
        os.write(2, b"\r\x1b[2K[====      ] (40% - 3.2s - 2 threads)a warning of another thread\n\r\x1b[2K")
        logging.getLogger("other").debug("unheard")
    assert capfd.readouterr().err == "a warning of another thread\n"
