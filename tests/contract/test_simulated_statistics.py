"""Simulated scenes compared with real ones by one estimator: levels, spreads, looks, correlation, change in time."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import rasterio

from pipeline.sandbox.earth.radar import observe, speckle
from pipeline.sandbox.earth.scenarios import scenario
from pipeline.sandbox.patch_statistics import (
    HOKKAIDO_PATCHES,
    PatchStatistics,
    describe_patches,
    patches_as_markdown,
)
from pipeline.sandbox.statistics import PUBLISHED, StackStatistics, as_markdown, coarser, describe
from tests.bench.acceptance import scene_of

SIDE_PX = 360


@pytest.fixture(scope="module")
def simulated() -> dict[str, StackStatistics]:
    """At 10 m, as the published cubes are, and averaged to the 30 m of the real stacks."""
    found = {}
    for name in ("quiet", "quiet-arid"):
        scene = scene_of(scenario(name).model_copy(update={"seed": 2}), SIDE_PX)
        for pol in ("vv", "vh"):
            stack = np.stack([observe(scene, f, pol) for f in scene.flights if not f.slid])
            stack[:, scene.relief.water] = 0.0
            found[f"{name} {pol.upper()}, 10 m"] = describe(stack)
            found[f"{name} {pol.upper()}, 30 m"] = describe(coarser(stack, 3))
    return found


def real_stacks(shared_data: Path) -> dict[str, StackStatistics]:
    """OPERA RTC-S1 of four bursts in California and one in Enga; gamma0 in pixels of 30 m. The sea is left out."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted((shared_data / "rtc_california_opera").rglob("*.tif")):
        burst, pol = re.findall(r"T137-(\d+-IW\d)_.*_(V[VH])\.tif", path.name)[0]
        if burst != "292318-IW1":
            files[f"California {burst} {pol}, 30 m"].append(path)
    for path in sorted((shared_data / "rtc_enga_opera").rglob("*_VH_cropped.tif")):
        files["Enga VH, 30 m"].append(path)
    found = {}
    for name, paths in files.items():
        images = []
        for path in paths:
            with rasterio.open(path) as source:
                images.append(source.read(1))
        stack = np.stack(images)
        found[name] = describe(np.where(np.isfinite(stack), stack, 0.0))
    return found


def test_the_built_in_numbers_are_those_of_the_published_cubes(shared_data: Path) -> None:
    for place in ("hokkaido", "kaikoura"):
        facts = json.loads((shared_data / f"published_cube_facts/stats_dict_{place}.json").read_text())
        for pol in ("vv", "vh"):
            known = PUBLISHED[f"{place.capitalize()} published {pol.upper()}"]
            assert known.mean_db == pytest.approx(10 * facts[f"log_mean_{pol}"], abs=0.01)
            assert known.sd_db == pytest.approx(10 * facts[f"log_std_{pol}"], abs=0.01)


@pytest.mark.parametrize(("name", "place"), [("quiet", "Hokkaido"), ("quiet-arid", "Kaikoura")])
@pytest.mark.parametrize("pol", ["VV", "VH"])
def test_level_and_spread_are_those_of_the_published_cubes(
    simulated: dict[str, StackStatistics], name: str, place: str, pol: str
) -> None:
    """Level within 0.6 dB, spread within 0.5 dB."""
    ours, theirs = simulated[f"{name} {pol}, 10 m"], PUBLISHED[f"{place} published {pol}"]
    assert ours.mean_db == pytest.approx(theirs.mean_db, abs=0.6)
    assert ours.sd_db == pytest.approx(theirs.sd_db, abs=0.5)


@pytest.mark.parametrize("name", ["quiet", "quiet-arid"])
def test_looks_and_correlation_are_those_of_the_product(name: str) -> None:
    """Sentinel-1 GRD IW states about 4.4 looks; neighbours correlate by 0.2 to 0.5."""
    noise = speckle((500, 500), scenario(name).looks, np.random.default_rng(0))
    assert noise.mean() ** 2 / noise.var() == pytest.approx(4.4, abs=0.7)
    assert 0.2 < np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] < 0.5


def test_change_in_time_is_that_of_real_stacks(
    simulated: dict[str, StackStatistics], shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each in its own pixel: temporal deviation within 40 per cent of the real median, looks over time within half.

    A real pixel of 30 m is no mean of nine simulated ones: OPERA averages fewer looks, and three years of California
    have wet and dry seasons. Averaged to 30 m the simulation varies about half as much; the table shows both.
    """
    real = real_stacks(shared_data)
    with capsys.disabled():
        print("\n" + as_markdown({**simulated, **PUBLISHED, **real}))
    assert len(real) == 9
    for attribute, factor in (("temporal_sd_db", 1.4), ("temporal_looks", 1.5)):
        usual = float(np.median([getattr(numbers, attribute) for numbers in real.values()]))
        for name in ("quiet VV, 10 m", "quiet VH, 10 m", "quiet-arid VV, 10 m", "quiet-arid VH, 10 m"):
            ratio = getattr(simulated[name], attribute) / usual
            assert abs(math.log(ratio)) < math.log(factor), (name, attribute, ratio)
    correlations = [numbers.neighbour_correlation or 0.0 for numbers in real.values()]
    for numbers in simulated.values():
        assert numbers.neighbour_correlation is not None
        assert min(correlations) < numbers.neighbour_correlation < max(0.5, *correlations)


@pytest.fixture(scope="module")
def patches() -> dict[str, PatchStatistics]:
    """Patches of 1.28 km of the realistic forest, of four seeds together, and of the quiet one."""
    found = {}
    for name, seeds in (("forest", (1, 2, 3, 4)), ("quiet", (1,))):
        rows = []
        for seed in seeds:
            scene = scene_of(scenario(name, seed), 384)
            images = [observe(scene, scene.flights[0], pol) for pol in ("vv", "vh")]
            for image in images:
                image[scene.relief.water] = 0.0
            rows.append(np.stack([*images, scene.relief.elevation_m])[:, :512, :512])
        vv, vh, height = np.concatenate(rows, axis=1)
        numbers = describe_patches(vv, vh, height)
        assert numbers is not None
        found[name] = numbers
    return found


def test_patches_are_like_those_of_hokkaido(
    patches: dict[str, PatchStatistics], shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Medians within the middle nine tenths of the real patches, or near the real median where only that is known."""
    ours, theirs = patches["forest"], HOKKAIDO_PATCHES
    with capsys.disabled():
        real = {name: numbers for name, numbers in real_patches(shared_data).items() if numbers is not None}
        table = {"forest": ours, "quiet": patches["quiet"], "Hokkaido, real": theirs, **real}
        print("\n" + patches_as_markdown(table))
    assert ours.patches >= 40
    for field in ("vv_mean", "vh_mean", "vv_variation", "vh_variation", "vh_largest"):
        spread = getattr(theirs, field)
        assert spread.low < getattr(ours, field).median < spread.high, field
    for field, factor in (
        ("vv_texture_db", 1.15),
        ("vh_texture_db", 1.15),
        ("vv_sd_spread", 1.8),
        ("vv_99_spread", 2.0),
    ):
        ratio = getattr(ours, field) / getattr(theirs, field)
        assert 1 / factor < ratio < factor, (field, ratio)
    assert ours.vv_99.median == pytest.approx(theirs.vv_99.median, rel=0.15)
    assert ours.elevation_mean_m is not None and ours.elevation_sd_m is not None
    assert ours.elevation_mean_m.median == pytest.approx(151, rel=0.25)
    assert ours.elevation_sd_m.median == pytest.approx(30, rel=0.25)


def test_the_quiet_forest_is_not_like_hokkaido(patches: dict[str, PatchStatistics]) -> None:
    """What the effects were added for: without them texture and spread are a half and less."""
    quiet, real = patches["quiet"], HOKKAIDO_PATCHES
    assert quiet.vv_texture_db < 0.6 * real.vv_texture_db and quiet.vv_sd_spread < 0.5 * real.vv_sd_spread


def real_patches(shared_data: Path) -> dict[str, PatchStatistics | None]:
    """One date of each burst of California: 30 m, so that a patch has 43 pixels a side and speckle of other looks."""
    newest: dict[str, Path] = {}
    for path in sorted((shared_data / "rtc_california_opera").rglob("*_VV*.tif")):
        burst = re.findall(r"T137-(\d+-IW\d)_", path.name)[0]
        if burst != "292318-IW1" and path.with_name(path.name.replace("_VV", "_VH")).exists():
            newest[burst] = path
    found: dict[str, PatchStatistics | None] = {}
    for burst, path in newest.items():
        images = []
        for name in (path.name, path.name.replace("_VV", "_VH")):
            with rasterio.open(path.with_name(name)) as source:
                images.append(source.read(1))
        found[f"California {burst}, 30 m"] = describe_patches(images[0], images[1], None, 30.0)
    return found
