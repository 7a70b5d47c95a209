"""The published experiment: its chips, its split, its defects by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from model.experiments.ablations.ablation import run_ablation
from model.experiments.ablations.ablation_plan import AblationPlan, trials_of
from model.experiments.ablations.ablation_tables import FinishedRow, orderings
from model.experiments.paper import chips_of, published_inputs, split_chips
from model.experiments.results.results import OtherEvents, Trial, TrialTask
from model.experiments.trial_runs import FinishedTrial, digest_of, run_trial
from model.inputs import cubes
from model.inputs.inputs import EventSpan, Inputs
from model.inputs.windows import Box
from model.network.torch_guard import torch
from model.network.training_plan import NetworkSpec, PaperPlan, PaperSwitches
from pipeline.errors import ModelError
from tests.small_cube import small_cube, write, write_published

NETWORK = NetworkSpec(encoder_depth=3, decoder_channels=(32, 16, 8), in_channels=1, classes=2)
PLAN = PaperPlan(epochs=2, batch=8, chip_px=32)
TRIAL = Trial(
    label="small", inputs=Inputs(terrain=("aspect",), before=1, after=1), network=NETWORK, paper=PLAN,
    protocol="paper", seed=0,
)  # fmt: skip
EVENT = EventSpan(start="2018-09-05T18:07:59Z", end="2018-09-05T18:07:59Z")


def run(cube, trial, out=None, event=None):
    return run_trial(TrialTask(cube=str(cube), trial=trial, event=event), out)


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return str(write(small_cube(256, before=4, after=3), tmp_path_factory.mktemp("cubes") / "one.zarr"))


def test_309_chips_are_split_as_published():
    chips = tuple(Box(top=128 * i, left=0, height=128, width=128) for i in range(309))
    split = split_chips(chips)
    assert (len(split.train), len(split.validation), len(split.test)) == (216, 61, 32)
    assert set(split.train) | set(split.validation) | set(split.test) == set(chips)
    # torch's own random_split with these lengths and this seed
    parts = torch.utils.data.random_split(
        range(309), [216, 61, 32], generator=torch.Generator().manual_seed(42)
    )
    assert [chips.index(chip) for chip in split.validation] == list(parts[1].indices)
    with pytest.raises(ModelError, match="too few"):
        split_chips(chips[:4])


def test_chips_hold_a_landslide_fill_their_window_and_run_down_the_columns():
    labels = np.zeros((70, 100), np.uint8)
    labels[5, 40] = labels[40, 5] = labels[40, 40] = labels[69, 99] = 1
    assert [(c.top, c.left) for c in chips_of(labels, 32)] == [(32, 0), (0, 32), (32, 32)]


def test_every_switch_changes_what_it_names():
    published = published_inputs(Inputs(), PaperSwitches())
    assert (published.newest_before, published.compare) == ("dropped", "dates")
    assert (published.track, published.aspect) == ("descending", "degrees")
    mended = PaperSwitches.model_validate(dict.fromkeys(PaperSwitches.model_fields, "corrected"))
    corrected = published_inputs(Inputs(), mended)
    assert (corrected.newest_before, corrected.compare, corrected.track, corrected.aspect) == (
        "used", "instants", "both", "direction",
    )  # fmt: skip


def test_the_defects_show_in_the_passes_and_a_result_says_how_each_stood(cube):
    published = run(cube, TRIAL)
    assert published.switches["dropped_newest_before"] == "as published"
    # the newest pass of the track is two hours after the event on its UTC day: by date it counts as before; it is the
    # newest "before" and so dropped, and the first "after" is 12 days later
    assert published.selection.before[0].instant < EVENT.start
    assert published.selection.after[0].instant.date().isoformat() == "2018-09-17"
    mended = PLAN.model_copy(
        update={
            "switches": PaperSwitches(
                dropped_newest_before="corrected",
                date_string_slicing="corrected",
                validation_as_test="corrected",
            )
        }
    )
    corrected = run(cube, TRIAL.model_copy(update={"paper": mended}))
    assert corrected.selection.after[0].instant.date().isoformat() == "2018-09-05"
    assert corrected.evaluation.scene.pixels != published.evaluation.scene.pixels
    assert corrected.protocol_digest != published.protocol_digest
    assert any("chips never used" in note for note in corrected.notes)


def test_the_auprc_is_that_of_torchmetrics_over_all_pixels_of_the_split(cube, tmp_path):
    from torchmetrics.functional.classification import binary_average_precision

    result = run(cube, TRIAL, tmp_path)
    with np.load(next(tmp_path.glob("*.npz"))) as stored:
        counted = stored["labels"] != 255
        exact = binary_average_precision(
            torch.from_numpy(stored["score"][counted]),
            torch.from_numpy((stored["labels"][counted] == 1).astype(np.int64)),
        )
    assert result.evaluation.scene.auprc == pytest.approx(float(exact), abs=1e-6)
    assert counted.sum() == result.evaluation.scene.pixels
    assert run(cube, TRIAL, tmp_path) == result


def test_random_weights_never_answer_for_the_imagenet_ones_that_could_not_be_had(cube, monkeypatch, tmp_path):
    from model.network import network, paper_training

    build, online, started = network.build, [False], []

    def hub(spec, **options):
        if spec.initial_weights == "imagenet" and not online[0]:
            raise ModelError("The ImageNet weights of resnet18 are not available (OSError).")
        return build(spec.model_copy(update={"initial_weights": "random"}), **options)

    def training(spec, **options):
        started.append(spec.initial_weights)
        return hub(spec, **options)

    monkeypatch.setattr(network, "build", hub)
    monkeypatch.setattr(paper_training, "build", training)
    wanted = TRIAL.model_copy(update={"network": NETWORK.model_copy(update={"initial_weights": "imagenet"})})
    offline = run(cube, wanted, tmp_path)
    assert offline.trial.network.initial_weights == "random"
    assert any("resnet18" in note for note in offline.notes)
    again = run(cube, wanted, tmp_path)
    assert (again, started) == (offline, ["random"]), "the substitute is not trained twice"
    random = run(cube, TRIAL, tmp_path)
    assert started == ["random"] and not any("resnet18" in note for note in random.notes)
    online[0] = True
    fetched = run(cube, wanted, tmp_path)
    assert started == ["random", "imagenet"] and fetched.trial == wanted
    assert not any("random weights" in note for note in fetched.notes)
    online[0] = False
    assert run(cube, wanted, tmp_path) == fetched, "what was trained from them is answered without them"


def test_a_result_under_the_name_of_another_trial_is_not_answered(cube, tmp_path):
    first = TRIAL.model_copy(update={"method": "random", "network": None})
    run(cube, first, tmp_path)
    (result,) = tmp_path.glob("*.json")
    second = first.model_copy(update={"seed": 7})
    facts = cubes.load(cube)[1]
    name = digest_of(TrialTask(cube=cube, trial=second), facts)
    for suffix in (".json", ".npz"):
        result.with_suffix(suffix).rename(tmp_path / f"{name}{suffix}")
    assert run(cube, second, tmp_path).trial == second


@pytest.mark.parametrize(
    "change", [{"members": 3}, {"pretraining_steps": 5}, {"label_share": 0.5}, {"fold": 1}]
)
def test_what_the_published_code_does_not_have_is_refused(cube, change):
    with pytest.raises(ModelError, match=next(iter(change))):
        run(cube, TRIAL.model_copy(update=change))


def test_a_cube_without_the_published_direction_does_not_count_as_published(tmp_path):
    small = small_cube(256, before=4, after=3)
    states = np.where(small["sat:orbit_state"].values == "descending", "ascending", "descending")
    turned = small.assign_coords({"sat:orbit_state": ("timestep", states.astype(object))})
    result = run(write(turned, tmp_path / "turned.zarr"), TRIAL)
    assert "best track" in result.switches["one_direction"]
    assert any("best track" in note for note in result.notes)


def test_a_published_cube_serves_as_it_is(tmp_path):
    path = write_published(small_cube(256, before=4, after=3), tmp_path / "hokkaido_japan.zarr")
    result = run(path, TRIAL, event=EVENT)
    assert result.cube.label_nan_assumed == "background (0)"
    assert 0 < result.evaluation.scene.auprc < 1


def test_an_ablation_is_resumable_and_ends_in_table_figures_and_report(cube, tmp_path, monkeypatch):
    plan = AblationPlan(
        network=NETWORK,
        rows=("VV", "VV+VH+DEM", "DEM", "boosting", "log-ratio", "random"),
        passes=(1, 2),
        seeds=(0, 1),
        paper=PLAN,
    )
    wanted = trials_of(cube, plan)
    assert len(wanted) == 2 * (2 * 3 + 2) + 2  # the log-ratio does not depend on the seed
    assert tuple(dict.fromkeys(one.task.trial.label for one in wanted)) == (
        "VV, 1",
        "VV+VH+DEM, 1",
        "DEM",
        "boosting, 1",
        "log-ratio, 1",
        "random",
        "VV, 2",
        "VV+VH+DEM, 2",
        "boosting, 2",
        "log-ratio, 2",
    )
    first = run_trial(wanted[0].task, tmp_path / "trials")
    reported = []
    results = run_ablation(
        cube, plan, tmp_path, progress=lambda stage, done, total, word: reported.append((done, total))
    ).results
    assert results[0] == first and reported[-1] == (18, 18)
    for name in ("trials.csv", "trials.parquet", "summary.csv", "figure4.png", "figure5.png", "report.md"):
        assert (tmp_path / name).stat().st_size > 200, name
    report = (tmp_path / "report.md").read_text()
    assert "SIMULATED" in report and "raw aspect: as published" in report and "| VV+VH+DEM | 2 |" in report
    # methods without a network are scored on the same chips
    assert len({result.scored_digest for result in results}) == 1
    means = pd.read_csv(tmp_path / "summary.csv").set_index(["row", "passes"]).auprc
    assert means["boosting", 2] > 2 * means["random", 0]
    assert "| log-ratio | 2 |" in report and {
        r.parameters for r in results if r.trial.method != "network"
    } == {None}
    # a second call trains nothing
    monkeypatch.setattr(
        "model.experiments.paper.run", lambda *args: pytest.fail("a finished trial was run again")
    )
    assert run_ablation(cube, plan, tmp_path).results == results
    rows = [
        FinishedRow(one, FinishedTrial(task=one.task, result=result))
        for one, result in zip(wanted, results, strict=True)
    ]
    (found,) = orderings(rows, tmp_path)
    assert (found.better, found.worse) == ("DEM", "random") and found.difference.endswith("of 2")


def test_a_report_has_orderings_and_chips_only_if_its_rows_allow_them(cube, tmp_path):
    plan = AblationPlan(network=NETWORK, rows=("log-ratio", "random"), passes=(1,), seeds=(0,), paper=PLAN)
    run_ablation(cube, plan, tmp_path)
    report = (tmp_path / "report.md").read_text()
    assert "| log-ratio | 1 |" in report and "| ordering |" not in report and "figure5" not in report
    run_ablation(cube, plan.model_copy(update={"rows": ("DEM", "random")}), tmp_path)
    report = (tmp_path / "report.md").read_text()
    assert "| ordering |" in report and "| DEM > random |" in report


def test_a_protocol_of_one_event_refuses_other_events(cube):
    with pytest.raises(ModelError, match="one event"):
        run_trial(TrialTask(cube=cube, trial=TRIAL, other_events=OtherEvents(cubes=(cube,))))


def test_an_unknown_row_is_refused(cube):
    with pytest.raises(ModelError, match="no row HH"):
        trials_of(cube, AblationPlan(network=NETWORK, rows=("HH",)))
