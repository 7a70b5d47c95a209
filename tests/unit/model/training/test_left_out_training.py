"""Training once more without each event: whole events are counted, and a finished one is not trained again."""

from __future__ import annotations

import pytest

from model import api
from model.bundle.bundle import read_document
from model.network import training
from model.network.training_plan import TrainingPlan
from model.training.experiment import Experiment
from pipeline.errors import ModelError, ReplaceError
from tests.small_cube import small_cube, write

PLAN = TrainingPlan(chip_px=64, stride_px=64, steps=2, batch=2, validate_every=2, device="cpu")


@pytest.fixture(scope="module")
def cubes(tmp_path_factory) -> list[str]:
    root = tmp_path_factory.mktemp("events")
    made = []
    for seed in range(3):
        cube = small_cube(256, seed=seed)
        cube = cube.assign_coords(x=cube.x + 30_000.0 * seed).assign_attrs(area=f"event {seed}")
        made.append(str(write(cube, root / f"{seed}.zarr")))
    return made


def test_whole_events_are_counted_by_networks_that_never_saw_them(cubes, tmp_path, monkeypatch):
    trained: list[int] = []
    train = training.train

    def counted(scenes, *rest, **more):
        trained.append(len({scene.labels.tobytes() for scene in scenes}))
        return train(scenes, *rest, **more)

    monkeypatch.setattr(training, "train", counted)
    plan = PLAN.model_copy(update={"checkpoints": tmp_path / "kept"})
    request = api.TrainingRequest(
        plan=plan, experiment=Experiment(others=tuple(cubes[1:]), test_time="plain", left_out=True)
    )
    out = tmp_path / "bundle"
    api.train(cubes[0], request, out=out)
    assert trained == [3, 2, 2, 2]
    document = read_document(out)
    assert [case.after for case in document.evidence] == [1, 2]
    for case in document.evidence:
        assert [one.event.area for one in case.events] == ["event 0", "event 1", "event 2"]
        assert {one.event.part for one in case.events} == {"left-out event"}
        for one in case.events:  # every labelled pixel with data, not the test area alone
            assert sum(one.pixels) == 256 * (256 - 6 - 8)
    assert document.chosen_threshold == document.threshold
    assert document.prior_for(document.selection) == document.evidence[-1].prior
    api.train(cubes[0], request, out=tmp_path / "again")
    assert trained == [3, 2, 2, 2, 3]  # the events that were left out are kept
    assert read_document(tmp_path / "again").evidence == document.evidence
    plain = request.model_copy(
        update={"experiment": request.experiment.model_copy(update={"left_out": False})}
    )
    with pytest.raises(ReplaceError, match="left_out"):
        api.train(cubes[0], plain, out=out)


def test_two_events_are_too_few(cubes, tmp_path):
    experiment = Experiment(others=(cubes[1],), left_out=True)
    with pytest.raises(ModelError, match="3 events"):
        api.train_bundle(cubes[0], tmp_path / "bundle", plan=PLAN, experiment=experiment)
    assert not (tmp_path / "bundle").exists()
