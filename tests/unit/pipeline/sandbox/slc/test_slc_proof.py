"""Simulated passes before an independent processor: coherence and phase against the truth.

insardev_pygmtsar reads what the sandbox writes, as ASF would serve it, with the sandbox's own elevation tiles. It
shares no code with the simulator. Figures are those of seed 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.merge
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import mannwhitneyu

from pipeline.areas.area import load_area
from pipeline.sandbox.earth.dem_files import VOID, make_tiles
from pipeline.sandbox.earth.parameters import SlcPlan, TrackPlan, WorldParameters
from pipeline.sandbox.earth.scene import Scene, make_scene
from pipeline.sandbox.slc.frame import survey_of
from pipeline.sandbox.slc.lattice_ground import footprint_deg
from pipeline.sandbox.slc.slc_world import cover_of, write_slc
from tests.unit.pygmtsar_direct import WAVELENGTH_M, Registered, process, stage

pytestmark = pytest.mark.slow
Raster = NDArray[np.float64]

WINDOW = 5, 15
"""Pixels of 15 m by 5 m over which coherence is estimated: 75 m square, about 50 looks."""
PEAK_M = -0.04


@dataclass(frozen=True)
class Pair:
    """A pair of one burst: its estimate, and the truth on the same pixels."""

    burst: Registered
    valid: NDArray[np.bool_]
    coherence: Raster
    interferogram: NDArray[np.complex128]
    true: Raster
    displacement_m: Raster
    new_slide: NDArray[np.bool_]
    water: NDArray[np.bool_]
    before: Raster

    def flat(self, factor: float) -> NDArray[np.complex128]:
        """The interferogram with `factor` times the true displacement taken off."""
        return self.interferogram * np.exp(4j * np.pi / WAVELENGTH_M * factor * self.displacement_m)


@dataclass(frozen=True)
class Proof:
    scene: Scene
    pairs: dict[str, list[Pair]]


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    pytest.importorskip("insardev_pygmtsar", reason="the in-process processor is not installed")
    folder = tmp_path_factory.mktemp("proof")
    track = TrackPlan(relative_orbit=46, direction="descending", before=2, after=2, incidence_deg=35.9)
    plan = SlcPlan(sub_area=(142.03, 42.715, 142.08, 42.765), peak_displacement_m=PEAK_M)
    scene = make_scene(load_area("sandbox"), WorldParameters(tracks=(track,), missing_pass=False, slc=plan))
    survey = survey_of(scene)
    assert survey is not None
    world = folder / "world"
    write_slc(scene, survey, world)
    heights = _heights(scene, footprint_deg(survey, 0.06), folder)
    stage(world, folder / "bursts")
    bursts = process(folder / "bursts", heights, folder / "zarr", scene.grid.epsg)
    cover = cover_of(scene, survey)
    truths = {
        "before": (0, 1, cover.coherence(12, (False, False)), 0.0),
        "event": (1, 2, cover.coherence(12, (False, True)), 1.0),
        "after": (2, 3, cover.coherence(12, (True, True)), 0.0),
    }
    pairs = {
        name: [
            _pair(scene, burst, i, j, true, cover.before, cover.displacement_m * moved) for burst in bursts
        ]
        for name, (i, j, true, moved) in truths.items()
    }
    return Proof(scene, pairs)


def _heights(scene: Scene, reach: tuple[float, float, float, float], folder: Path) -> Path:
    """The world's elevation tiles as the processor wants them: one lattice, ascending, no voids."""
    paths = []
    for tile in make_tiles(scene, "nasadem", reach):
        tile.write(folder / "dem")
        paths.append(folder / "dem" / tile.host / tile.path)
    values, transform = rasterio.merge.merge([str(path) for path in paths])
    z = values[0].astype(np.float32)
    void = z == VOID
    z = z[tuple(ndimage.distance_transform_edt(void, return_distances=False, return_indices=True))]
    longitude = transform.c + (np.arange(z.shape[1]) + 0.5) * transform.a
    latitude = transform.f + (np.arange(z.shape[0]) + 0.5) * transform.e
    target = folder / "heights.nc"
    xr.Dataset({"z": (("lat", "lon"), z[::-1])}, coords={"lat": latitude[::-1], "lon": longitude}).to_netcdf(
        target
    )
    return target


def _mean(values: NDArray[np.complex128] | Raster, window: tuple[int, int] = WINDOW):  # type: ignore[no-untyped-def]
    if np.iscomplexobj(values):
        return _mean(values.real, window) + 1j * _mean(values.imag, window)
    return ndimage.uniform_filter(values.astype(np.float64), window, mode="constant")


def _pair(
    scene: Scene, burst: Registered, i: int, j: int, true: Raster, before: Raster, displacement: Raster
) -> Pair:
    a, b = burst.images[i].astype(complex), burst.images[j].astype(complex)
    valid = _mean(burst.valid(i, j).astype(float)) > 0.999
    # a running sum of squares may end a little below 0
    power = np.sqrt(np.maximum(_mean(np.abs(a) ** 2), 0) * np.maximum(_mean(np.abs(b) ** 2), 0))
    interferogram = _mean(a * b.conj())
    column, row = ~scene.grid.affine * np.meshgrid(burst.x, burst.y)
    where = row - 0.5, column - 0.5

    def here(raster: NDArray[np.generic], order: int = 1) -> Raster:
        return ndimage.map_coordinates(raster.astype(float), where, order=order, mode="mirror")

    return Pair(
        burst=burst,
        valid=valid,
        coherence=np.where(valid, np.abs(interferogram) / np.maximum(power, 1e-9), 0.0),
        interferogram=interferogram,
        true=_mean(here(true)),
        displacement_m=here(displacement),
        new_slide=_mean(here(scene.slides.id_map > 0, 0)) > 0.9,
        water=here(scene.relief.water, 0) > 0,
        before=_mean(here(before)),
    )


def _auc(high: Raster, low: Raster) -> float:
    """Probability that a value of `high` exceeds one of `low`."""
    return float(mannwhitneyu(high, low).statistic / (high.size * low.size))


def _together(pairs: list[Pair], name: str, mask) -> Raster:  # type: ignore[no-untyped-def]
    return np.concatenate([getattr(pair, name)[pair.valid & mask(pair)] for pair in pairs])


@pytest.mark.parametrize("name", ["before", "event", "after"])
def test_coherence_is_the_truth_where_it_can_be_seen(proof: Proof, name: str) -> None:
    pairs = proof.pairs[name]
    found, true = (_together(pairs, what, lambda p: p.true >= 0) for what in ("coherence", "true"))
    high = true > 0.5
    error = float(np.mean(found[high] - true[high]))
    correlation = float(np.corrcoef(found, true)[0, 1])
    print(f"{name}: correlation {correlation:.3f}, mean error above 0.5 {error:+.3f}")
    assert -0.04 < error < 0.02
    assert correlation > 0.7


def test_coherence_is_lost_over_slides_at_the_event_and_high_after_it(proof: Proof) -> None:
    clear = {
        name: (
            _together(pairs, "coherence", lambda p: p.new_slide & (p.before > 0.38)),
            _together(pairs, "coherence", lambda p: (p.true > 0.38) & ~p.new_slide),
        )
        for name, pairs in proof.pairs.items()
        if name == "event"
    }["event"]
    lost = _auc(clear[1], clear[0])
    after = proof.pairs["after"]
    scars = _together(after, "coherence", lambda p: p.new_slide)
    forest = _together(after, "coherence", lambda p: (p.true < 0.25) & ~p.water)
    risen = _auc(scars, forest)
    floor = float(np.mean(_together(proof.pairs["event"], "coherence", lambda p: p.new_slide)))
    print(f"AUC of loss at the event {lost:.3f}, of bare scars after it {risen:.3f}, over slides {floor:.3f}")
    assert lost > 0.95
    assert risen > 0.95
    assert floor < 0.2


@pytest.mark.parametrize("name", ["before", "event", "after"])
def test_phase_is_flat_where_topography_and_displacement_are_taken_off(proof: Proof, name: str) -> None:
    middles = []
    for pair in proof.pairs[name]:
        held = np.where(pair.valid & (pair.true > 0.4), pair.flat(1.0), 0)
        total = held.sum()
        wide = _mean(held, (15, 45))
        share = _mean((held != 0).astype(float), (15, 45))
        inside = pair.valid & (share > 0.3)
        spread = float(np.std(np.angle(wide[inside] * np.conj(total))))
        parts = [
            np.angle(part.sum() * np.conj(total))
            for axis in (0, 1)
            for part in np.array_split(held[pair.valid.any(axis=1)][:, pair.valid.any(axis=0)], 5, axis=axis)
        ]
        middles.append(float(np.angle(total)))
        print(
            f"{name} {pair.burst.full_id}: mean {middles[-1]:+.3f} rad, spread {spread:.3f}, "
            f"fifths along and across {np.round(parts, 2)}"
        )
        assert spread < 0.2
        assert np.abs(parts).max() < 0.2
    assert np.abs(middles).max() < 0.25
    assert np.ptp(middles) < 0.1


def test_bursts_agree_where_they_overlap(proof: Proof) -> None:
    for name, (first, second) in proof.pairs.items():
        # both lie on one lattice
        columns = np.intersect1d(first.burst.x, second.burst.x)
        rows = np.intersect1d(first.burst.y, second.burst.y)
        views = [
            (np.where(p.valid & (p.true > 0.4), p.interferogram, 0))[
                np.ix_(np.isin(p.burst.y, rows), np.isin(p.burst.x, columns))
            ]
            for p in (first, second)
        ]
        both = (views[0] != 0) & (views[1] != 0)
        step = float(np.angle((views[0][both] * views[1][both].conj()).sum()))
        print(f"{name}: step between the bursts {step:+.3f} rad over {both.sum()} pixels")
        assert both.sum() > 1000
        assert abs(step) < 0.1


def test_the_displacement_is_found_again(proof: Proof) -> None:
    factors = np.linspace(-1.5, 2.5, 161)
    pairs = proof.pairs["event"]
    seen = [(p, p.valid & (p.true > 0.35)) for p in pairs]
    image = np.concatenate([p.interferogram[where] for p, where in seen])
    shape = np.concatenate([p.displacement_m[where] for p, where in seen])
    strength = [abs(np.vdot(np.exp(-4j * np.pi / WAVELENGTH_M * f * shape), image)) for f in factors]
    found = float(factors[int(np.argmax(strength))]) * PEAK_M
    print(f"peak of the bowl {found * 1e3:.1f} mm, true {PEAK_M * 1e3:.1f} mm")
    assert found == pytest.approx(PEAK_M, abs=0.002)
    assert np.ptp(np.concatenate([p.displacement_m[p.valid] for p in pairs])) > WAVELENGTH_M / 2
