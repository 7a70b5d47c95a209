"""Scenarios: what happens in each, and that nothing but the event tells where its landslides are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from pipeline.areas.area import AreaOfInterest, load_area
from pipeline.layers.label_rasters import rasterise_labels, read_inventory
from pipeline.sandbox.cli import sandbox
from pipeline.sandbox.earth.inventory import map_slides
from pipeline.sandbox.earth.parameters import SandboxError, WorldParameters
from pipeline.sandbox.earth.radar import observe, slice_masks
from pipeline.sandbox.earth.scenarios import SCENARIOS, scenario
from pipeline.sandbox.earth.scene import Scene
from pipeline.sandbox.statistics import coarser, describe
from pipeline.sandbox.world import World, make_world
from tests.bench.acceptance import Sample, scene_of

SIDE_PX = 256
TINY = (
    "name: tiny\nbbox: [142.30, 42.30, 142.312, 42.309]\nevent: {kind: earthquake, "
    "start: 2018-09-05T18:07:59Z, end: 2018-09-05T18:07:59Z, source: simulated}\n"
    "start: 2018-06-01T00:00:00Z\nend: 2018-12-01T00:00:00Z\n"
)


def small(name: str, seed: int = 1, **changes: object) -> Scene:
    parameters = scenario(name).model_copy(update={"seed": seed, **changes})
    return scene_of(parameters, SIDE_PX)


@pytest.fixture(scope="module")
def forest() -> Scene:
    return small("quiet", prevalence=0.09)


def test_every_scenario_is_a_world_of_its_own_and_others_are_refused() -> None:
    worlds = [scenario(name) for name in SCENARIOS]
    assert len({world.model_dump_json() for world in worlds}) == len(SCENARIOS)
    assert all(WorldParameters.model_validate_json(world.model_dump_json()) == world for world in worlds)
    with pytest.raises(SandboxError, match="no scenario"):
        scenario("desert")


@pytest.mark.parametrize("name", ["no-landslides", "logging-only"])
def test_without_landslides_the_inventory_is_empty(name: str) -> None:
    scene = small(name)
    assert len(map_slides(scene)) == 0
    assert not scene.slides.id_map.any()
    assert not scene.change_db(scene.swaths[0].track, "vh").any()
    if name == "logging-only":
        felled = scene.felled_at_event
        assert 0.02 < felled.mean() < 0.08
        last, first = scene.flights[3], scene.flights[4]
        assert not last.slid and first.slid
        images = [np.maximum(observe(scene, flight, "vh"), 1e-4) for flight in (last, first)]
        change = 10 * np.log10(images[1] / images[0])
        inner = ndimage.binary_erosion(felled, iterations=2)
        around = ndimage.binary_dilation(felled, iterations=8) & ~felled
        assert change[inner].mean() - change[around].mean() < -1.8


def test_a_world_without_landslides_has_an_inventory_that_labels_everything_0(tmp_path: Path) -> None:
    few = scenario("no-landslides").model_copy(
        update={"dem_collections": ("nasadem",), "tracks": WorldParameters().tracks[:1], "slices": 1}
    )
    scene = scene_of(few, 64)
    world = make_world(AreaOfInterest.model_validate(scene.area.model_dump()), tmp_path / "world", few)
    area = load_area(world.root / "aoi" / f"{scene.area.name}.yaml")
    assert area.inventory is not None and area.inventory.url is not None
    file = world.root / "blobs" / area.inventory.url.removeprefix("https://")
    layer = rasterise_labels(read_inventory(file, area.inventory), area.inventory, scene.grid, None)
    assert not layer.arrays["landslides"].any() and layer.arrays["landslides"].shape == scene.grid.shape


def test_the_season_is_seen_without_landslides() -> None:
    scene = small("no-landslides")
    levels = [10 * np.log10(np.median(observe(scene, flight, "vv"))) for flight in scene.flights]
    still = [
        10 * np.log10(np.median(observe(small("forest", prevalence=0.0), flight, "vv")))
        for flight in scene.flights
    ]
    assert np.ptp(levels) > np.ptp(still)


def test_landslides_of_dry_land_brighten_and_are_larger(forest: Scene) -> None:
    arid = small("quiet-arid", prevalence=0.09)
    changes = {}
    for name, scene in (("forest", forest), ("arid", arid)):
        slid = scene.slides.id_map > 0
        changes[name] = [scene.change_db(scene.swaths[0].track, pol)[slid].mean() for pol in ("vv", "vh")]
    assert max(changes["forest"]) < 0 < min(changes["arid"])
    sizes = [np.mean([outline.area for outline in s.slides.new]) for s in (forest, arid)]
    assert sizes[1] > 1.2 * sizes[0]


def test_images_before_the_event_hold_no_trace_of_its_landslides(forest: Scene) -> None:
    """The same world in which nothing slides is the same to the last bit before the event."""
    unmoved = scenario("quiet").model_copy(update={"seed": 1, "prevalence": 0.0})
    still = scene_of(unmoved, SIDE_PX)
    assert not forest.slides.old_map.all()
    kept = ~forest.slides.old_map
    for moved, quiet in zip(forest.flights, still.flights, strict=True):
        for pol in ("vv", "vh"):
            one, other = observe(forest, moved, pol)[kept], observe(still, quiet, pol)[kept]
            # the old scars hang on the number of the new ones, and are left out
            assert np.array_equal(one, other) is not moved.slid


@pytest.mark.parametrize("name", ["quiet", "forest"])
def test_what_is_seen_before_adds_nothing_to_the_terrain(name: str) -> None:
    """Trained on one world, tested on another: the area under the ROC curve with images from before, and without."""
    train, test = (
        Sample(scene_of(scenario(name).model_copy(update={"seed": s, "prevalence": 0.09}), SIDE_PX))
        for s in (4, 1)
    )
    scores = {}
    for seen in ("terrain", "both"):
        rows = [
            np.stack(
                [
                    f.ravel()
                    for f in s.dem()
                    + (s.before_only("vv", 4) + s.before_only("vh", 4) if seen == "both" else [])
                ],
                axis=1,
            )
            for s in (train, test)
        ]
        model = HistGradientBoostingClassifier(max_iter=40, early_stopping=False, random_state=0)
        model.fit(rows[0], train.labels.ravel())
        scores[seen] = roc_auc_score(test.labels.ravel(), model.predict_proba(rows[1])[:, 1])
    assert scores["terrain"] > 0.53
    assert scores["both"] < scores["terrain"] + 0.03


def test_speckle_differs_from_pass_to_pass_and_between_polarisations(forest: Scene) -> None:
    land = ~forest.relief.water
    departures = []
    for flight in forest.flights[:3]:
        for pol in ("vv", "vh"):
            db = 10 * np.log10(np.maximum(observe(forest, flight, pol), 1e-6))
            departures.append((db - forest.quiet_db(flight.track, pol))[land])
    together = np.corrcoef(departures) - np.eye(len(departures))
    assert np.abs(together).max() < 0.15  # fields and weather are shared a little, speckle is not


def test_borders_and_zeros_do_not_follow_the_landslides(forest: Scene) -> None:
    """Fringes are those of another event on the same ground; zeros lie in water, where nothing slides."""
    other = small("quiet", seed=2, prevalence=0.0)
    for here, there in zip(forest.flights, other.flights, strict=True):
        for number in here.slices:
            masks = zip(slice_masks(forest, here, number), slice_masks(other, there, number), strict=True)
            assert all(np.array_equal(one, same) for one, same in masks)
    zeros = observe(forest, forest.flights[0], "vv") == 0
    assert zeros.any()
    assert not zeros[~forest.relief.water].any()
    assert not (forest.slides.id_map > 0)[forest.relief.water].any()


def test_statistics_of_a_known_stack_are_found() -> None:
    rng = np.random.default_rng(0)
    power = (0.2 * rng.gamma(4.4, 1 / 4.4, (8, 120, 120))).astype(np.float32)
    power[:, :10] = 0.0
    found = describe(power)
    assert found.mean_db == pytest.approx(10 * np.log10(0.2) - 0.51, abs=0.05)
    assert found.sd_db == pytest.approx(2.19, abs=0.05)
    assert found.neighbour_correlation == pytest.approx(0.0, abs=0.02)
    assert found.temporal_sd_db == pytest.approx(2.1, abs=0.15)
    assert 3.9 < found.looks < 5.2
    assert coarser(power, 3).shape == (8, 40, 40)


def test_the_command_makes_a_scenario_and_tells_its_statistics(tmp_path: Path) -> None:
    area = tmp_path / "tiny.yaml"
    area.write_text(TINY)
    world = tmp_path / "world"
    arguments = [
        "make",
        str(area),
        "--out",
        str(world),
        "--scenario",
        "arid",
        "--before",
        "2",
        "--after",
        "1",
    ]
    made = CliRunner().invoke(sandbox, arguments, catch_exceptions=False)
    assert made.exit_code == 0, made.output
    passes = World.open(world).document["passes"]
    assert [sum(p["after"] is when for p in passes) for when in (False, True)] == [4, 2]
    told = CliRunner().invoke(sandbox, ["statistics", str(world)], catch_exceptions=False)
    assert "Kaikoura published VV" in told.output
    assert "simulated track 46 VV" in told.output
    assert "| VH largest |" in told.output and "0.37 to 1" in told.output


@pytest.mark.parametrize(
    ("options", "land"),
    [
        (["--land", "snow"], "snow"),
        (["--scenario", "random", "--land", "tropical", "--seed", "4"], "tropical"),
    ],
)
def test_a_kind_of_land_is_made_by_name(options: list[str], land: str, tmp_path: Path) -> None:
    area = tmp_path / "tiny.yaml"
    area.write_text(TINY)
    world = tmp_path / "world"
    arguments = ["make", str(area), "--out", str(world), "--before", "1", "--after", "1", *options]
    made = CliRunner().invoke(sandbox, arguments, catch_exceptions=False)
    assert made.exit_code == 0, made.output
    parameters = World.open(world).document["parameters"]
    assert parameters["land"] == land and parameters["realism"]["rain"] is not None
    with rasterio.open(world / "truth" / "landslide_shown.tif") as shown:
        assert set(np.unique(shown.read(1))) <= {0.0, 0.5, 1.0}
    with rasterio.open(world / "truth" / "landslide_zone.tif") as zones:
        assert zones.read(1).max() <= 3


@pytest.mark.parametrize("other", [["--scenario", "forest"], ["--scenario", "quiet"]])
def test_a_land_is_refused_where_the_scenario_has_one(other: list[str], tmp_path: Path) -> None:
    arguments = ["make", "sandbox", "--out", str(tmp_path / "world"), "--land", "arid", *other]
    assert CliRunner().invoke(sandbox, arguments).exit_code == 2
    assert not (tmp_path / "world").exists()
    with pytest.raises(SandboxError):
        scenario(other[1], land="arid")


def test_a_world_of_the_defaults_is_what_it_was(tmp_path: Path) -> None:
    """The landscape is not written where it is the default, so that worlds made before it are reused."""
    scene = scene_of(WorldParameters(), 64)
    area = AreaOfInterest.model_validate(scene.area.model_dump())
    few = WorldParameters(dem_collections=("nasadem",), tracks=WorldParameters().tracks[:1], slices=1)
    world = make_world(area, tmp_path / "world", few)
    assert "landscape" not in world.document["parameters"]
    assert make_world(area, tmp_path / "world", few).digest == world.digest
