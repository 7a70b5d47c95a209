"""The figures of a training: a CSV file always, other loggers by name, nothing elsewhere."""

from __future__ import annotations

import csv
import importlib.util
import logging

import pytest
from pydantic import ValidationError

from model.network.trainer.lightning_guard import lightning
from model.network.training import train
from pipeline.errors import ModelError
from tests.unit.model.network.test_training import SPEC, plan, scene


def test_the_csv_file_has_each_evaluation_and_nothing_lies_elsewhere(tmp_path, monkeypatch, capfd):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    level = logging.getLogger(lightning.__name__).level
    trained = train(scene(), SPEC, plan(checkpoints=tmp_path / "kept", steps=4, validate_every=3), 0)
    (folder,) = (tmp_path / "kept").iterdir()
    assert sorted(each.name for each in folder.iterdir()) == ["hparams.yaml", "metrics.csv"]
    with (folder / "metrics.csv").open() as file:
        found = [
            (int(row["step"]), float(row["loss"]), float(row["validation_auprc"]))
            for row in csv.DictReader(file)
        ]
    assert found == [(check.step, check.loss, check.validation_auprc) for check in trained.history]
    train(scene(), SPEC, plan(steps=1), 0)
    assert not list((tmp_path / "here").iterdir())
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger(lightning.__name__).level == level


def test_tensorboard_by_name(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    train(scene(), SPEC, plan(checkpoints=tmp_path, logger="tensorboard", steps=1), 0)
    assert (
        len(list(tmp_path.glob("*/events.out.tfevents.*"))) == 1
        and len(list(tmp_path.glob("*/metrics.csv"))) == 1
    )


def test_an_absent_package_names_the_extra(tmp_path):
    if importlib.util.find_spec("mlflow") is not None:
        pytest.skip("mlflow is installed")
    with pytest.raises(ModelError) as error:
        train(scene(), SPEC, plan(checkpoints=tmp_path, logger="mlflow", steps=1), 0)
    assert "slidecube[mlflow]" in error.value.remedy


def test_a_logger_needs_a_folder_and_is_not_in_documents(tmp_path):
    with pytest.raises(ValidationError):
        plan(logger="tensorboard")
    assert "logger" not in plan(logger="tensorboard", checkpoints=tmp_path).model_dump(mode="json")
