"""Digests that must stay: of recipes, layers, versions, interferometric jobs, models and trials.

A digest names what was made. Where one changes, a user's layers and pairs are made again, and results of trials are no
longer found. So a change of the code that is meant to change no result must leave `golden_digests.json` as it is. Where
a rule does change, its commit raises the version of that algorithm (`ALGORITHM`, `ESTIMATORS`, the version in a
protocol's digest), writes this file anew with `python -m tests.unit.test_golden_digests`, and says why.

All is computed from constants and arrays of exact values; nothing is trained or drawn, no file is fetched. Left out is
what depends on libraries or places: the bytes of shards and of Zarr metadata, and with them the finished manifest and
`CubeFacts.digest` of a cube on the disk; the versions and times in manifests and bundles; the fingerprint of topsApp's
state, which holds the job's path. Digests of weights hold safetensors' layout and the names of smp's tensors.
"""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from model.bundle import bundle
from model.bundle.training_event import TrainingEvent
from model.cli.bundles import train
from model.cli.experiments import ablate
from model.cli.experiments import ladder as ladder_command
from model.experiments import ladder, paper, strict, studies, trial_runs
from model.experiments.ablations import ablation, ablation_plan
from model.experiments.baselines import baselines
from model.experiments.results.results import OtherEvents, Trial, TrialTask
from model.inputs import cubes
from model.inputs.channel_statistics import Statistics
from model.inputs.cubes import CubeFacts
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.windows import Box
from model.network import pretraining
from model.network.network import build
from model.network.torch_guard import torch
from model.network.training_plan import InferencePlan, NetworkSpec, PaperPlan, PaperSwitches, TrainingPlan
from model.network.weights import weights_of
from model.scores.probability_calibration import Calibration, CaseCalibration
from model.split.folds import FoldPlan
from model.split.split import Split, SplitPlan
from model.training.experiment import Experiment
from pipeline.build.contents import manifest_of, store_of
from pipeline.build.planning import make_plan
from pipeline.catalogue.catalogue import area_digest, content_digest, slc_dem_tiles_of
from pipeline.cube.layers import LayerData, Recipe, write_layer
from pipeline.cube.local_store import LocalStore
from pipeline.cube.schema import LABELS, VARIABLES
from pipeline.cube.versions import publish, read_manifest
from pipeline.elevation import geoid
from pipeline.grid import Grid
from pipeline.insar.job_parts import parts_of
from pipeline.insar.process import PairOrder, job_name
from pipeline.layers.interferometry import Interferometry, PairTask, pair_tasks, tiles_of_pair
from pipeline.layers.kind import LayerTask
from pipeline.layers.plan_inputs import PlanInputs
from pipeline.records import Frozen
from pipeline.settings import settings
from tests.small_cube import small_cube, write
from tests.unit.made_results import SCORES, SELECTION, made_result
from tests.unit.made_slc import repeats
from tests.unit.pipeline.archives.test_search_area import dem_item, probed, snapshot
from tests.unit.pipeline.catalogue.test_passes import area, item

FILE = Path(__file__).with_name("golden_digests.json")
EVENT = EventSpan.model_validate({"start": "2018-09-05T18:07:59Z", "end": "2018-09-05T18:07:59Z"})
FACTS = CubeFacts(uri="one", area="one", digest="1" * 64, shape=(256, 256), simulated=True)
FACTS_OF_OTHER = FACTS.model_copy(update={"uri": "two", "area": "two", "digest": "2" * 64})
CORRECTED = PaperSwitches.model_validate(dict.fromkeys(PaperSwitches.model_fields, "corrected"))
Named = Iterator[tuple[str, str]]


def sha256(*parts: str | bytes) -> str:
    return hashlib.sha256(b"\n".join(p.encode() if isinstance(p, str) else p for p in parts)).hexdigest()


def of_values(value: Frozen) -> str:
    return sha256(json.dumps(value.model_dump(mode="json"), sort_keys=True))


def exact(shape: tuple[int, int], dtype: str, number: int) -> np.ndarray[Any, Any]:
    """Multiples of 1/64, the first row not a number; or integers."""
    count = np.arange(shape[0] * shape[1]).reshape(shape) + number
    if dtype == "int32":
        return (count % 7).astype(np.int32)
    values = (count % 256 / 64).astype(np.float32)
    values[0] = np.nan
    return values


def layer_data(recipe: Recipe, shape: tuple[int, int], number: int) -> LayerData:
    return LayerData(
        {name: exact(shape, VARIABLES[name].dtype, number) for name in recipe.variables},
        attributes={recipe.variables[0]: {"method": "made"}},
        report={"coverage": 0.5},
        files={"landslides.parquet": b"made"} if recipe.variables == LABELS else {},
    )


def of_cubes(folder: Path, patch: pytest.MonkeyPatch) -> Named:
    """Recipes of every kind that a build wants; the same layers written; the version that they make."""

    def choose(backend: str) -> None:
        patch.setenv("SLIDECUBE_INSAR_BACKEND", backend)
        settings.cache_clear()

    def name(task: LayerTask) -> str:
        variables = task.recipe.variables if task.kind.axis == "timestep" else ()
        backend = task.backend if isinstance(task, PairTask) else None
        words = (task.kind.name, task.key, *variables, backend)
        return " ".join(str(word) for word in words if word is not None)

    def all_pairs() -> tuple[PairTask, ...]:
        inputs = PlanInputs(where, found, plan.grid, previous=None, is_held=lambda recipe: False)
        return pair_tasks(Interferometry(), inputs)

    patch.setenv("SLIDECUBE_DATA_DIR", str(folder / "data"))
    patch.setenv("SLIDECUBE_SLC_FETCH", "bursts")
    choose("isce2")
    inventory = {
        "name": "made", "url": "https://labels.example/made.zip", "citation": "nobody", "licence": "none",
        "class_field": "kind", "classes": {"new": ["n"], "old": [3]}, "point_radius_m": 8,
    }  # fmt: skip
    where = area(bbox=(142.0, 42.69, 142.01, 42.70), interferometry={}, inventory=inventory)
    ascending = {"sat:orbit_state": "ascending", "sat:relative_orbit": 68, "sat:absolute_orbit": 23590}
    items = [item(), item("2018-09-07 08:34:01+00:00", **ascending)]
    tiles = [dem_item(), dem_item("NASADEM_HGT_n42e142", bbox=[142.0, 42.0, 143.0, 43.0])]
    labels = dict(zip(("url", "fingerprint", "extent_url", "extent_fingerprint"), "abcd", strict=True))
    found = snapshot(
        where, rtc_items=items, dem_items=tiles, probes=probed([*items, *tiles]), inventory=labels,
        slc=repeats(3, places=("046_096000_IW2", "046_096001_IW2")),
    )  # fmt: skip
    # that no processor is at hand here changes nothing: pairs are asked for beside the plan
    plan = make_plan(where, found, pairs=False)
    wanted = [*plan.tasks, *all_pairs()]
    assert {task.kind.name for task in wanted} == {
        "backscatter",
        "terrain",
        "labels",
        "interferometry",
        "look",
    }
    yield "grid", plan.grid.digest
    yield "catalogue: area", area_digest(where)
    yield "catalogue: content", content_digest(found)
    yield "geoid: EGM96", geoid.digest("EGM96")
    for number, task in enumerate(wanted):
        yield f"recipe: {name(task)}", task.recipe.digest
        data = layer_data(task.recipe, plan.grid.shape, number)
        record = write_layer(store_of(where), task.recipe, data, plan.grid)
        content = json.dumps([record.content, record.files], sort_keys=True)
        yield f"content: {name(task)}", sha256(content)
        yield f"record: {name(task)}", sha256(json.dumps(record.model_dump(mode="json"), sort_keys=True))
    # now all are held, so that the plan is one of a whole cube
    planned = make_plan(where, found)
    whole = manifest_of(where, planned, found, {})
    assert whole.undelivered, "the made layers have half of the coverage that was promised"
    attributes = {**whole.attributes, "software": "left out"}
    whole = whole.model_copy(update={"attributes": attributes, "missing": planned.missing, "undelivered": ()})
    assert len(whole.timesteps) == 2 and len(whole.timepairs) == 2 and len(whole.looks) == 1
    assert all(pair.perpendicular_baseline_m is None for pair in whole.timepairs), "no rounding is pinned"
    yield "version: substance", whole.substance
    yield "version: manifest without files", sha256(whole.to_bytes())
    assert publish(store_of(where), whole) == (1, True)
    assert read_manifest(store_of(where), 1).substance == whole.substance
    for pair in plan.pairs[:1]:
        order = PairOrder(
            area=where, pair=pair, tiles=tiles_of_pair(pair, slc_dem_tiles_of(found, where).tiles)
        )
        for part in parts_of(pair, order.bbox):
            for backend in ("isce2", "pygmtsar"):
                request: Any = SimpleNamespace(order=order, part=part, backend=backend)
                yield f"job: {pair.id} {part.number} {backend}", job_name(request)
    choose("pygmtsar")
    for task in all_pairs():
        yield f"recipe: {name(task)}", task.recipe.digest
    long = Grid(epsg=32654, resolution_m=10, left=500000, top=4700000, width=16, height=2100)
    recipe = Recipe(
        kind="made", variables=("vv", "landslide_id"), grid=long.digest, sources=(), algorithm="made-1"
    )
    record = write_layer(LocalStore(folder / "long"), recipe, layer_data(recipe, long.shape, 0), long)
    for variable, shards in record.content.items():
        for shard, digest in shards.items():
            yield f"content: {variable} of two shards {shard}", digest


def of_models(folder: Path) -> Named:
    """Bundles of made weights, pretrained weights, and the plans that go into them."""
    inputs = Inputs(terrain=("slope",), change=("log_ratio",), coherence=("before",))
    spec = NetworkSpec(encoder_depth=3, decoder_channels=(8, 8, 8), in_channels=len(inputs.channels))
    count = len(inputs.channels)
    statistics = Statistics(
        channels=inputs.channels,
        mean=tuple(i / 4 for i in range(count)),
        sd=tuple(2.0**i for i in range(count)),
        pixels=64,
    )
    plans = (
        Inputs(), NetworkSpec(in_channels=1), TrainingPlan(), PaperPlan(), InferencePlan(), Experiment(),
        SplitPlan(), FoldPlan(), strict.StrictPlan(), pretraining.PretrainingPlan(), statistics,
    )  # fmt: skip
    for plan in plans:
        yield f"plan: {type(plan).__name__}", of_values(plan)
    yield "plan: inputs chosen", of_values(inputs)
    yield "plan: network of the paper", of_values(paper.PAPER_NETWORK)
    yield "plan: channels", sha256(*Inputs(track="both", aspect="to sensor").channels, *inputs.channels)
    network = build(spec)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.copy_((torch.arange(tensor.numel()) % 251 / 256).reshape(tensor.shape))
    boxes = {
        part: (Box(top=0, left=96 * number, height=64, width=64),)
        for number, part in enumerate(("train", "validation", "test"))
    }
    split = Split(buffer_px=32, **boxes)
    calibration = Calibration(slope=0.5, intercept=-0.25, pixels=64, error_before=0.25, error_after=0.125)
    common = {"grid": None, "split": split, "selection": SELECTION, "statistics": statistics}
    fields: dict[str, Any] = {
        **common, "inputs": inputs, "network": spec, "parameters": 1, "training": TrainingPlan(), "cases": (1,),
        "test_time": "mirrored", "seed": 0, "cube": FACTS, "history": (), "best_step": 1, "validation": SCORES,
        "test": SCORES, "calibration": calibration, "expected": (), "device": "cpu",
    }  # fmt: skip
    one = bundle.new_document(weights_of([network]), **fields)
    fewer = CaseCalibration(after=1, calibration=calibration, threshold=0.25)
    more = {"members": 2, "by_passes": (fewer,), "others": (TrainingEvent(cube=FACTS_OF_OTHER, **common),)}
    two = bundle.new_document(weights_of([network, copy.deepcopy(network)]), **fields, **more)
    for label, document in (("one event", one), ("two events, members, cases", two)):
        yield f"bundle: {label}", document.digest
        yield f"bundle: weights, {label}", document.weights_sha256
    made = pretraining.Pretrained(weights=network.state_dict(), loss=0.5)
    plan = pretraining.PretrainingPlan()
    origin = pretraining.PretrainingOrigin(
        network=spec, channels=inputs.channels, plan=plan, seed=0, cubes=(FACTS,)
    )
    saved = pretraining.save(made, origin, folder / "pretrained")
    yield "pretraining: weights", saved.weights_sha256
    yield "pretraining: document", of_values(saved)
    yield "cube as a model sees it, without its files", cubes.facts(small_cube(64), "made").digest


def of_task(task: TrialTask) -> str:
    """The name of a trial's result on the cube `FACTS`, of which others are `FACTS_OF_OTHER`."""
    return trial_runs.digest_of(task, FACTS, [FACTS_OF_OTHER] if task.other_events else [])


def asked(patch: pytest.MonkeyPatch, module: Any, name: str, command: Any, *words: str) -> list[Any]:
    """The arguments with which a command calls a function that would train; it is called by its module's name."""
    calls: list[Any] = []
    with patch.context() as inner:
        inner.setattr(module, name, lambda *given, **more: calls.append((given, more)) or made_result())
        CliRunner().invoke(command, ["one", *words, "--out", "nowhere"])
    assert calls, f"{' '.join(words)} did not come to {module.__name__}.{name}"
    return calls


def grouped(prefix: str, digests: Iterable[tuple[str, str]]) -> Named:
    """One digest for each name, whatever the order in which trials are made."""
    by_name: dict[str, list[str]] = {}
    for name, digest in digests:
        by_name.setdefault(name, []).append(digest)
    yield from ((f"{prefix}, {name}: {len(all_)}", sha256(*sorted(all_))) for name, all_ in by_name.items())


def of_trials(folder: Path, patch: pytest.MonkeyPatch) -> Named:
    """Protocols; the trials of the commands' defaults: ablation, ladder and its studies, both protocols."""
    for when in (None, EVENT):
        yield f"protocol: strict, event {when is not None}", strict.StrictPlan(event=when).digest
        plain = Trial(label="", inputs=Inputs(), protocol="paper", paper=PaperPlan(), seed=0)
        task = TrialTask(cube="one", trial=plain, event=when)
        yield f"protocol: paper, event {when is not None}", paper.protocol_digest(task)
    plain = plain.model_copy(update={"paper": PaperPlan(switches=CORRECTED)})
    yield "protocol: paper corrected", paper.protocol_digest(TrialTask(cube="one", trial=plain))
    for words in ((), ("--corrected",), ("--protocol", "strict", "--event", "2018-09-05T18:07:59Z")):
        (((cube, plan, _), _),) = asked(patch, ablation, "run_ablation", ablate, *words)
        found = [(one.row, of_task(one.task)) for one in ablation_plan.trials_of(cube, plan)]
        yield from grouped(" ".join(("ablate", *words[:2])), found)
    for study in studies.STUDIES:
        (((recipes, validation, _), _),) = asked(
            patch, ladder, "run_ladder", ladder_command, "--study", study
        )
        trials = [(recipe, recipe.trial) for recipe in recipes]
        trials += [(None, t) for t in baselines(Inputs(before=None, after=recipes[0].trial.inputs.after))]
        found = []
        for recipe, trial in trials:
            if trial.start is not None:  # whichever bundle is shipped
                trial = trial.model_copy(
                    update={"start": trial.start.model_copy(update={"digest": "0" * 64})}
                )
            for task in validation.tasks([trial]):
                if recipe is not None and recipe.training_set != "own scene":
                    own = recipe.training_set != "other events"
                    others = OtherEvents(cubes=("two",), own_scene=own, standardising=recipe.standardising)
                    task = task.model_copy(update={"other_events": others})
                found.append((task.trial.label, of_task(task)))
        yield from grouped(f"ladder {study}", found)
    for protocol in ("strict", "paper"):
        calls = asked(patch, trial_runs, "run_trial", train, "--protocol", protocol)
        found = [(task.trial.label, of_task(task)) for (task, *_), _ in calls]
        yield from grouped(f"train --protocol {protocol}", found)
    whole = Trial(label="", inputs=Inputs(), protocol="strict", seed=0)
    left_out = TrialTask(cube="one", trial=whole, other_events=OtherEvents(cubes=("two",)))
    yield "trial on a scene of which nothing is learned", of_task(left_out)
    given = left_out.model_copy(update={"event": EVENT})
    yield "trial on a scene of which nothing is learned, event given", of_task(given)
    # random scores stand for a network's: which pixels are scored, with which labels, is what is pinned
    place = str(write(small_cube(256, before=4, after=3), folder / "small.zarr"))
    drawn = whole.model_copy(update={"method": "random"})
    for fold in range(4):
        task = TrialTask(cube=place, trial=drawn.model_copy(update={"fold": fold}))
        result = trial_runs.run_trial(task)
        yield f"scored pixels: strict, fold {fold}", result.scored_digest
    for words, switches in (("as published", PaperSwitches()), ("corrected", CORRECTED)):
        plan = PaperPlan(chip_px=32, switches=switches)
        trial = drawn.model_copy(update={"protocol": "paper", "paper": plan})
        result = trial_runs.run_trial(TrialTask(cube=place, trial=trial))
        yield f"scored pixels: paper {words}", result.scored_digest


def computed() -> dict[str, str]:
    """Every digest by name."""
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        folder = Path(place)
        try:
            found = [*of_cubes(folder, patch), *of_models(folder), *of_trials(folder, patch)]
        finally:
            settings.cache_clear()
    assert len(dict(found)) == len(found), "two digests have one name"
    return dict(found)


GOLDEN: dict[str, str] = json.loads(FILE.read_text()) if FILE.exists() else {}


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    return computed()


@pytest.mark.parametrize("name", GOLDEN)
def test_a_digest_is_what_it_was(digests: dict[str, str], name: str) -> None:
    assert digests.get(name) == GOLDEN[name], "see the rule at the top of this file"


def test_every_digest_is_pinned(digests: dict[str, str]) -> None:
    assert sorted(digests) == sorted(GOLDEN)


if __name__ == "__main__":
    FILE.write_text(json.dumps(computed(), indent=1, sort_keys=True) + "\n")
    print(f"{FILE.name}: written anew")
