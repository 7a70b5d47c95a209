"""Products of a processor on the cube's grid: warped once, joined without a seam, told of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer

from pipeline.errors import InterferometryError
from pipeline.grid import Grid
from pipeline.insar.job import Esd, JobMetadata, JobProducts, Step
from pipeline.insar.products.products import to_grid
from pipeline.insar.products.warp import warp_products

GRID = Grid(epsg=32654, resolution_m=10, left=560_000, top=4_730_000, width=120, height=90)
DEGREES = Affine(20 / 82_000, 0, 141.72, 0, -20 / 111_000, 42.73)
"""about 20 m in degrees, and a corner west and north of the grid"""
SHAPE = (110, 190)


def lon_lat(transform: Affine, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    columns, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    return transform.c + transform.a * columns, transform.f + transform.e * rows


def write(path: Path, values: np.ndarray, transform: Affine = DEGREES, crs: str = "EPSG:4326") -> Path:
    height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype=values.dtype, crs=crs,
        transform=transform, nodata=None,
    ) as file:  # fmt: skip
        file.write(values, 1)
    return path


def job(
    folder: Path, coherence: np.ndarray, phasor: np.ndarray, *, part: int = 0, **where: Any
) -> JobProducts:
    (folder / "products").mkdir(parents=True)
    write(folder / "products" / "coherence.tif", coherence.astype("float32"), **where)
    write(folder / "products" / "interferogram.tif", phasor.astype("complex64"), **where)
    metadata = JobMetadata(
        pair="T046_20180824_20180905",
        part=part,
        backend="pygmtsar",
        versions={"insardev-pygmtsar": "1"},
        parameters={
            "estimator": "boxcar",
            "window": "5x5",
            "range_looks": 5,
            "odd": float("nan"),
            "coherence_window_m": [70, 20],
            "interferogram": "not filtered",
            "incidence": "at the ellipsoid",
        },
        steps=(Step(name="all", seconds=1.5),),
        bursts=("046_098765_IW2",),
        orbits={"reference": "precise", "secondary": "restituted"},
        esd=Esd(applied=False, reason="one burst"),
        products={},
        valid_fraction=1.0,
        coherence_mean=0.5,
        peak_memory_bytes=12345,
    )
    return JobProducts(job=folder, metadata=metadata)


def wrapped(angle: np.ndarray) -> np.ndarray:
    return np.angle(np.exp(1j * angle))


def footprint(valid: np.ndarray, transform: Affine = DEGREES) -> np.ndarray:
    """Whether the product's pixel that holds the centre of a grid's pixel is valid, computed pixel by pixel."""
    x, y = np.meshgrid(GRID.x, GRID.y)
    lon, lat = Transformer.from_crs(GRID.epsg, 4326, always_xy=True).transform(x, y)
    columns, rows = ~transform @ (lon, lat)
    r, c = np.floor(rows).astype(int), np.floor(columns).astype(int)
    inside = (r >= 0) & (r < valid.shape[0]) & (c >= 0) & (c < valid.shape[1])
    return inside & valid[np.clip(r, 0, valid.shape[0] - 1), np.clip(c, 0, valid.shape[1] - 1)]


def test_a_constant_stays_constant_up_to_every_edge(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    coherence = np.full(SHAPE, 0.625)
    phasor = np.full(SHAPE, 3 * np.exp(1.25j))
    hollow = rng.random(SHAPE) < 0.3
    hollow[:, :75] = True
    coherence[hollow] = np.nan
    phasor[hollow] = np.nan
    data = to_grid([job(tmp_path / "job", coherence, phasor)], GRID)
    expected = footprint(~hollow)
    assert 0.2 < expected.mean() < 0.8
    for name, value in (("coherence", 0.625), ("interferogram", 1.25)):
        np.testing.assert_array_equal(~np.isnan(data.arrays[name]), expected)
        np.testing.assert_allclose(data.arrays[name][expected], value, atol=1e-6)
        assert data.arrays[name].dtype == np.float32
    assert data.report["coverage"] == expected.mean()


def test_it_is_the_bilinear_of_the_exact_position(tmp_path: Path) -> None:
    lon, lat = lon_lat(DEGREES, SHAPE)
    plane = 0.5 + 3 * (lon - lon.mean()) - 2 * (lat - lat.mean())
    data = to_grid([job(tmp_path / "job", plane, np.exp(1j * plane))], GRID)
    x, y = np.meshgrid(GRID.x, GRID.y)
    there = Transformer.from_crs(GRID.epsg, 4326, always_xy=True).transform(x, y)
    truth = 0.5 + 3 * (there[0] - lon.mean()) - 2 * (there[1] - lat.mean())
    inside = footprint(np.pad(np.ones((SHAPE[0] - 2, SHAPE[1] - 2), bool), 1))
    assert inside.mean() > 0.9
    np.testing.assert_allclose(data.arrays["coherence"][inside], truth[inside], atol=1e-6)


def test_a_ramp_of_many_fringes_keeps_its_phase(tmp_path: Path) -> None:
    lon, lat = lon_lat(DEGREES, SHAPE)

    def ramp(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        # a fringe in 9 pixels, so that the angle jumps by 2 pi on every side
        return 2 * np.pi * ((lon - DEGREES.c) / DEGREES.a / 9 + (lat - DEGREES.f) / DEGREES.e / 14)

    data = to_grid([job(tmp_path / "job", np.full(SHAPE, 0.5), 7 * np.exp(1j * ramp(lon, lat)))], GRID)
    x, y = np.meshgrid(GRID.x, GRID.y)
    truth = ramp(*Transformer.from_crs(GRID.epsg, 4326, always_xy=True).transform(x, y))
    inside = footprint(np.pad(np.ones((SHAPE[0] - 2, SHAPE[1] - 2), bool), 1))
    error = wrapped(data.arrays["interferogram"] - truth)[inside]
    assert np.abs(error).max() < 0.05
    # angles that are sampled instead of complex numbers are wrong by radians at every jump
    assert np.abs(data.arrays["interferogram"][inside]).max() > 3


def test_the_result_does_not_depend_on_how_the_work_is_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    coherence = rng.random(SHAPE)
    coherence[rng.random(SHAPE) < 0.1] = np.nan
    made = job(tmp_path / "job", coherence, rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE))
    products = made.product("coherence"), made.product("interferogram")
    whole = warp_products(*products, GRID)
    for points in (1, 120 * 7, 120 * 64):
        cut = warp_products(*products, GRID, points)
        np.testing.assert_array_equal(cut.coherence, whole.coherence)
        np.testing.assert_array_equal(cut.interferogram, whole.interferogram)
    smaller = Grid(epsg=32654, resolution_m=10, left=560_300, top=4_729_800, width=40, height=30)
    part = warp_products(*products, smaller)
    np.testing.assert_array_equal(part.coherence, whole.coherence[20:50, 30:70])


def test_a_finer_product_is_averaged(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    shape, transform = (360, 480), Affine(2.5, 0, GRID.left, 0, -2.5, GRID.top)
    coherence = rng.random(shape)
    phasor = np.exp(1j * rng.normal(0.7, 0.4, shape))
    coherence[:4, :3] = np.nan
    coherence[:4, 4:6] = np.nan
    made = job(tmp_path / "job", coherence, phasor, transform=transform, crs="EPSG:32654")
    data = to_grid([made], GRID)
    assert "mean of 4 x 4" in data.report["resampling"]
    assert np.isnan(data.arrays["coherence"][0, 0]), "a quarter valid is too little"
    blocks = coherence.astype("float32").reshape(90, 4, 120, 4)
    expected = np.nanmean(blocks.astype("float64"), axis=(1, 3))
    assert data.arrays["coherence"][0, 1] == pytest.approx(expected[0, 1], abs=1e-6), "half valid is enough"
    np.testing.assert_allclose(data.arrays["coherence"][1:], expected[1:], atol=1e-6)
    mean = phasor.reshape(90, 4, 120, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(wrapped(data.arrays["interferogram"] - np.angle(mean)), 0, atol=1e-5)


def test_parts_are_joined_without_a_seam(tmp_path: Path) -> None:
    lon, lat = lon_lat(DEGREES, SHAPE)
    phase = 2 * np.pi * (lon - DEGREES.c) / DEGREES.a / 40
    coherence = 0.5 + 0.2 * np.sin(lat * 3000)
    jobs = []
    # a part of its own scale, its phase off by a constant, and a neighbour on both sides
    for part, (left, right, turn, scale) in enumerate(
        [(110, 190, 0.0, 1.0), (0, 85, -1.0, 9.0), (70, 130, 2.0, 0.1)]
    ):
        mine = np.zeros(SHAPE, bool)
        mine[:, left:right] = True
        jobs.append(
            job(
                tmp_path / str(part),
                np.where(mine, coherence, np.nan),
                np.where(mine, scale * np.exp(1j * (phase + turn)), np.nan),
                part=part,
            )
        )
    whole = to_grid([job(tmp_path / "whole", coherence, np.exp(1j * phase))], GRID)
    joined = to_grid(jobs, GRID)
    np.testing.assert_allclose(joined.arrays["coherence"], whole.arrays["coherence"], atol=0.01)
    difference = wrapped(joined.arrays["interferogram"] - whole.arrays["interferogram"])
    assert np.abs(difference - difference[0, 0]).max() < 0.01
    told = [part["phase_offset_rad"] for part in joined.report["parts"]]
    assert told == pytest.approx([0.0, -1.0, 2.0], abs=0.02)
    again = to_grid(list(reversed(jobs)), GRID)
    np.testing.assert_array_equal(again.arrays["interferogram"], joined.arrays["interferogram"])


def test_a_blend_has_no_step_where_parts_disagree(tmp_path: Path) -> None:
    jobs = []
    for part, (left, right, value) in enumerate([(0, 110, 0.4), (80, 190, 0.6)]):
        level = np.full(SHAPE, np.nan)
        level[:, left:right] = value
        jobs.append(job(tmp_path / str(part), level, np.where(np.isnan(level), np.nan, 1 + 0j), part=part))
    row = to_grid(jobs, GRID).arrays["coherence"][45]
    assert (row[0], row[-1]) == (pytest.approx(0.4), pytest.approx(0.6))
    assert np.abs(np.diff(row)).max() < 0.02


def test_parts_that_share_nothing_keep_their_phase(tmp_path: Path) -> None:
    jobs = []
    for part, (left, right) in enumerate([(0, 90), (100, 190)]):
        level = np.full(SHAPE, np.nan)
        level[:, left:right] = 0.5
        jobs.append(job(tmp_path / str(part), level, level * np.exp(1j * part), part=part))
    data = to_grid(jobs, GRID)
    assert [part["phase_offset_rad"] for part in data.report["parts"]] == [0.0, None]
    np.testing.assert_allclose(np.nanmax(data.arrays["interferogram"]), 1.0, atol=1e-5)


def test_what_the_processor_said_is_kept_and_what_differs_from_run_to_run_is_not(tmp_path: Path) -> None:
    data = to_grid([job(tmp_path / "job", np.full(SHAPE, 0.5), np.ones(SHAPE))], GRID)
    (part,) = data.report["parts"]
    assert part["versions"] == {"insardev-pygmtsar": "1"}
    assert part["orbits"] == {"reference": "precise", "secondary": "restituted"}
    assert part["esd"]["reason"] == "one burst"
    assert part["parameters"]["odd"] is None
    assert not {"steps", "peak_memory_bytes"} & set(part)
    attributes = data.attributes["coherence"]
    assert (attributes["estimator"], attributes["window"], attributes["range_looks"]) == ("boxcar", "5x5", 5)
    assert attributes["coherence_window_m"] == [70, 20]
    assert not {"interferogram", "incidence"} & set(attributes)
    assert data.attributes["interferogram"]["interferogram"] == "not filtered"
    assert "coherence_window_m" not in data.attributes["interferogram"]
    assert (attributes["backend"], attributes["resampling"]) == ("pygmtsar", "bilinear")
    assert 19 < data.report["product_pixel_m"][0] < 21


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda made: made.product("coherence").write_bytes(b"II*\0 no picture"), "product-unreadable"),
        (lambda made: made.product("interferogram").unlink(), "product-unreadable"),
        (lambda made: write(made.product("coherence"), np.ones((5, 5), "float32")), "product-misfit"),
        (lambda made: write(made.product("interferogram"), np.ones(SHAPE, "float32")), "product-misfit"),
        (
            lambda made: made.product("coherence").write_text(
                "<VRTDataset rasterXSize='1' rasterYSize='1'/>"
            ),
            "product-unreadable",
        ),
    ],
    ids=["damaged", "absent", "another grid", "real", "no GeoTIFF"],
)
def test_a_product_that_cannot_be_used_is_an_error_by_name(tmp_path: Path, spoil: Any, code: str) -> None:
    made = job(tmp_path / "job", np.full(SHAPE, 0.5), np.ones(SHAPE))
    spoil(made)
    with pytest.raises(InterferometryError) as caught:
        to_grid([made], GRID)
    assert caught.value.code == code
    assert caught.value.remedy


def test_a_product_beside_the_grid_is_an_error(tmp_path: Path) -> None:
    far = Affine(DEGREES.a, 0, 10.0, 0, DEGREES.e, 42.73)
    with pytest.raises(InterferometryError) as caught:
        to_grid([job(tmp_path / "job", np.full(SHAPE, 0.5), np.ones(SHAPE), transform=far)], GRID)
    assert caught.value.code == "product-off-grid"


def test_a_product_across_the_date_line(tmp_path: Path) -> None:
    grid = Grid(epsg=32701, resolution_m=10, left=170_000, top=8_150_000, width=60, height=40)
    x, y = np.meshgrid(grid.x, grid.y)
    lon, lat = Transformer.from_crs(grid.epsg, 4326, always_xy=True).transform(x, y)
    assert lon.min() > 179
    transform = Affine(DEGREES.a, 0, lon.min() - 360 - 0.002, 0, DEGREES.e, lat.max() + 0.002)
    made = job(tmp_path / "job", np.full(SHAPE, 0.5), np.ones(SHAPE), transform=transform)
    assert to_grid([made], grid).report["coverage"] == 1.0
