"""A simulated pair from the search to products, in-process and through a kill, against the truth."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject
from scipy import ndimage

from pipeline.archives import search_area
from pipeline.areas.area import load_area
from pipeline.catalogue.catalogue import slc_dem_tiles_of
from pipeline.catalogue.pairs import choose_pairs
from pipeline.catalogue.slc_passes import slc_passes
from pipeline.insar.job import JobProducts
from pipeline.insar.process import PairOrder, process_pair
from pipeline.layers.interferometry import tiles_of_pair
from pipeline.places import insar_root
from pipeline.sandbox.earth.parameters import SlcPlan, TrackPlan, WorldParameters
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.world import make_world
from pipeline.settings import settings

pytestmark = pytest.mark.slow

WAVELENGTH_M = 0.05546576
CALLER = """
import sys
from pathlib import Path
from pipeline.insar.process import PairOrder, process_pair
process_pair(PairOrder.model_validate_json(Path(sys.argv[1]).read_text()))
"""
Image = NDArray[np.float32]


@dataclass(frozen=True)
class Run:
    """What came of one pair."""

    order: PairOrder
    truth: Path
    products: JobProducts
    killed_after: str
    """the burst that was done when the caller was killed"""
    burst_made: float
    """when it was done"""
    killed: float
    left_running: list[int]
    again_s: float

    def read(self, name: str) -> NDArray[np.generic]:
        with rasterio.open(self.products.product(name)) as image:
            return np.asarray(image.read(1))

    def true(self, pattern: str) -> Image:
        """A raster of the truth on the products' grid."""
        (path,) = self.truth.glob(pattern)
        with rasterio.open(self.products.product("coherence")) as grid, rasterio.open(path) as source:
            out = np.full(grid.shape, np.nan, np.float32)
            reproject(
                source.read(1).astype(np.float32), out, src_transform=source.transform, src_crs=source.crs,
                dst_transform=grid.transform, dst_crs=grid.crs, resampling=Resampling.average,
                src_nodata=np.nan, dst_nodata=np.nan,
            )  # fmt: skip
        return out


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    pytest.importorskip("insardev_pygmtsar", reason="the in-process processor is not installed")
    folder = tmp_path_factory.mktemp("pair")
    area = load_area("sandbox")
    track = TrackPlan(relative_orbit=46, direction="descending", before=2, after=1, incidence_deg=35.9)
    plan = SlcPlan(before=1, after=1, sub_area=(142.03, 42.715, 142.08, 42.765))
    world = folder / "world"
    make_world(area, world, WorldParameters(tracks=(track,), slices=1, missing_pass=False, slc=plan))
    with Sandbox(world) as sandbox, pytest.MonkeyPatch.context() as patch:
        for name, value in {
            **sandbox.environment,
            "SLIDECUBE_DATA_DIR": str(folder / "data"),
            "SLIDECUBE_INSAR_BACKEND": "pygmtsar",
        }.items():
            patch.setenv(name, value)
        settings.cache_clear()
        catalogue = search_area.search_catalogue(area)
        (pair,) = choose_pairs(area, slc_passes(catalogue, area).passes).pairs
        tiles = tiles_of_pair(pair, slc_dem_tiles_of(catalogue, area).tiles)
        order = PairOrder(area=area, pair=pair, tiles=tiles)
        burst, made, killed, left = _kill(order, folder)
        (products,) = process_pair(order)
        begin = time.monotonic()
        assert process_pair(order) == (products,)
        yield Run(order, world / "truth", products, burst, made, killed, left, time.monotonic() - begin)
    settings.cache_clear()


def _kill(order: PairOrder, folder: Path) -> tuple[str, float, float, list[int]]:
    """Process in another process, and kill that once the first burst is done."""
    path = folder / "order.json"
    path.write_text(order.model_dump_json())
    caller = subprocess.Popen([sys.executable, "-c", CALLER, str(path)], start_new_session=True)
    jobs = insar_root("sandbox") / "jobs"
    until = time.monotonic() + 120
    while not (done := [p for p in jobs.glob("T*/scratch/bursts/*") if p.name[0] != "."]):
        assert caller.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    assert _working(jobs)
    os.kill(caller.pid, signal.SIGKILL)
    caller.wait()
    killed, until = time.time(), time.monotonic() + 5
    while (left := _working(jobs)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not list(jobs.glob("T*/products/metadata.json"))
    return done[0].name, done[0].stat().st_mtime, killed, left


def _working(jobs: Path) -> list[int]:
    """Living processes that have a job of `jobs` in their command."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "pipeline.insar.pygmtsar" in words and any(word.startswith(str(jobs)) for word in words):
            found.append(int(entry.name))
    return found


def test_nothing_outlives_a_killed_caller_and_the_job_goes_on(run: Run) -> None:
    assert run.left_running == []
    steps = {step.name: step for step in run.products.metadata.steps}
    assert run.killed_after in steps
    assert run.burst_made < run.killed
    # the burst was taken over: the job as it went on has no log of it
    assert list(steps) == ["prepare", *run.products.metadata.bursts, "mosaic"]


def test_a_finished_job_is_at_hand_at_once(run: Run) -> None:
    assert run.again_s < 2
    kept = sorted(path.name for path in run.products.job.iterdir())
    assert kept == ["manifest.json", "products"]


def test_coherence_is_the_truth(run: Run) -> None:
    found, true = run.read("coherence"), run.true("coherence_*.tif")
    both = np.isfinite(found) & np.isfinite(true)
    high = both & (true > 0.5)
    error = float((found - true)[high].mean())
    floor = float(found[both & (true < 0.1)].mean())
    smooth = [ndimage.uniform_filter(np.where(both, a, 0), 5)[both] for a in (found, true)]
    correlation = float(np.corrcoef(*smooth)[0, 1])
    print(
        f"mean error above 0.5 {error:+.3f}, over 5 x 5 pixels correlation {correlation:.3f}, floor {floor:.3f}"
    )
    assert -0.08 < error < 0.02
    assert correlation > 0.7
    # 18 weighted samples, correlated as the radar's are: read high where there is no coherence
    assert 0.25 < floor < 0.4


def test_phase_is_the_displacement_and_nothing_else(run: Run) -> None:
    interferogram, true = run.read("interferogram"), run.true("coherence_*.tif")
    displacement = run.true("displacement_los_m_*.tif")
    seen = np.isfinite(interferogram) & (true > 0.4)
    phasor = np.where(seen, interferogram, 0) * np.exp(
        4j * np.pi / WAVELENGTH_M * np.nan_to_num(displacement)
    )
    phasor /= np.maximum(np.abs(phasor), 1e-9)
    middle = phasor[seen].mean()
    wide = ndimage.uniform_filter(phasor.real, 15) + 1j * ndimage.uniform_filter(phasor.imag, 15)
    inside = seen & (ndimage.uniform_filter(seen.astype(float), 15) > 0.5)
    spread = float(np.angle(wide[inside]).std())
    fringes = float((4 * np.pi / WAVELENGTH_M * np.abs(displacement[seen])).max())
    print(
        f"offset {np.angle(middle):+.3f} rad, spread {spread:.3f} rad, of {fringes:.1f} rad of displacement"
    )
    assert fringes > 6
    assert abs(np.angle(middle)) < 0.05
    assert spread < 0.15
    # the other sign, or no displacement at all, would not do
    assert abs(middle) > 0.6
    unmoved = np.where(seen, interferogram, 0)
    assert abs((unmoved / np.maximum(np.abs(unmoved), 1e-9))[seen].mean()) < 0.8 * abs(middle)


def test_what_was_done_is_said(run: Run) -> None:
    metadata = run.products.metadata
    assert metadata.backend == "pygmtsar" and not metadata.esd.applied and metadata.esd.reason
    assert metadata.versions["insardev_pygmtsar"] == "2026.3.21"
    assert metadata.parameters["coherence_window_samples"] == [5, 5]
    assert metadata.parameters["pixel_m"] == [14.0, 20.0]
    assert metadata.bursts == run.order.pair.burst_ids
    incidence = run.read("incidence")
    assert float(np.nanmean(incidence)) == pytest.approx(35.9, abs=0.5)
    for step in metadata.steps:
        print(f"{step.name}: {step.seconds:.1f} s, {(step.peak_memory_bytes or 0) / 1e9:.2f} GB")
    assert metadata.peak_memory_bytes is not None and metadata.peak_memory_bytes < 2e9
