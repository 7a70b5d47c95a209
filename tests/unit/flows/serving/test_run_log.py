"""The log of the libraries in the pages of a run, and errors without tracebacks."""

from __future__ import annotations

import inspect
import logging
import sys
import threading
import warnings
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import FailedRun
from prefect.logging import handlers
from prefect.states import Completed

from flows.ablate import ablate
from flows.build_datacube import build_datacube
from flows.map_landslides import map_landslides
from flows.serving import prefect_file, run_log
from flows.train_model import train_model
from model.experiments.ablations.ablation_plan import AblationPlan
from model.network.training_plan import TrainingPlan
from pipeline.errors import AreaError

FLOW, TASK = uuid4(), uuid4()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The lines that went to the server, within the flow run FLOW."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(handlers, "emit_api_log", lines.append)
    run = SimpleNamespace(flow_run=SimpleNamespace(id=FLOW))
    main = threading.main_thread()
    monkeypatch.setattr(FlowRunContext, "get", lambda: run if threading.current_thread() is main else None)
    return lines


def test_lines_of_the_libraries_go_to_the_run_from_its_own_and_from_other_threads(sent):
    log = logging.getLogger("pipeline.archives.stac")
    with run_log.library_log():
        log.info("%d items", 3)
        thread = threading.Thread(target=log.warning, args=("again",))
        thread.start()
        thread.join()
        log.debug("too fine")
        logging.getLogger("other.library").info("not ours")
    log.warning("after the run")
    assert [(line["message"], UUID(line["flow_run_id"])) for line in sent] == [
        ("3 items", FLOW),
        ("again", FLOW),
    ]
    assert {line["task_run_id"] for line in sent} == {None}


def test_a_line_of_a_task_names_the_task_and_a_flow_within_a_flow_sends_it_once(sent, monkeypatch):
    task = SimpleNamespace(task_run=SimpleNamespace(id=TASK, flow_run_id=FLOW))
    monkeypatch.setattr(TaskRunContext, "get", lambda: task)
    with run_log.library_log(), run_log.library_log():
        logging.getLogger("model.training").info("epoch 1")
    (line,) = sent
    assert (UUID(line["task_run_id"]), UUID(line["flow_run_id"])) == (TASK, FLOW)


def test_warnings_of_other_libraries_are_shown_without_tokens_and_those_of_prefect_once(sent):
    with run_log.library_log():
        logging.getLogger("urllib3.connectionpool").warning(
            "retry of %s", "https://blob.example/x.tif?sig=SECRET"
        )
        logging.getLogger("urllib3.connectionpool").info("too fine")
        logging.getLogger("prefect.events").warning("shown by Prefect itself")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("no georeference", RuntimeWarning, stacklevel=1)
    assert [line["name"] for line in sent] == ["urllib3.connectionpool", "py.warnings"]
    assert "SECRET" not in sent[0]["message"] and "no georeference" in sent[1]["message"]


DEPLOYED = yaml.safe_load((prefect_file.PROJECT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYED, ids=lambda each: each["name"])
def test_every_deployed_flow_has_the_log_of_the_libraries_in_its_pages(deployment):
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(import_module(module), name)
    # what Prefect calls is the function that `in_pages` made, and the flow's own is within it
    assert Path(flow.fn.__code__.co_filename) == Path(run_log.__file__)
    assert inspect.unwrap(flow.fn).__module__ == flow.fn.__module__


def test_after_the_run_the_loggers_are_as_they_were(sent):
    logger = logging.getLogger("pipeline")
    before = (logger.level, list(logger.handlers))
    with pytest.raises(RuntimeError), run_log.library_log():
        raise RuntimeError
    assert (logger.level, list(logger.handlers)) == before


def test_an_error_of_ours_is_the_state_and_another_one_is_raised():
    error = AreaError("No area is named hokkaidoo.", "Did you mean hokkaido?")

    @run_log.in_pages
    def failing(error: Exception) -> Any:
        raise error

    state = failing(error)
    assert state.is_failed() and state.message == str(error) and state.data is error
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())
    assert run_log.in_pages(lambda: Completed())().is_completed()


@pytest.mark.parametrize(
    ("logger", "error", "passes", "traceback"),
    [
        ("prefect.task_runs", AreaError("a"), True, False),
        ("prefect.flow_runs", AreaError("a"), False, False),
        ("prefect.engine", FailedRun("a"), False, False),
        ("prefect.flow_runs", ZeroDivisionError(), True, True),
        ("prefect.flow_runs", None, True, False),
    ],
)
def test_tracebacks_of_named_errors_are_left_out_and_those_of_faults_are_shown(
    logger, error, passes, traceback
):
    try:
        if error is not None:
            raise error
        info = None
    except Exception:
        info = sys.exc_info()
    record = logging.LogRecord(logger, logging.ERROR, "", 0, "ended", (), info)
    assert bool(logging.getLogger(logger).filter(record)) is passes
    assert bool(record.exc_info) is traceback


@pytest.mark.parametrize(
    ("flow", "given", "field", "kind"),
    [
        (build_datacube, {"aoi": "hokkaido", "pairs": "false"}, "pairs", bool),
        (train_model, {"cube": "hokkaido", "plan": {"steps": 3}}, "plan", TrainingPlan),
        (map_landslides, {"cube": "hokkaido", "replace": True}, "replace", bool),
        (
            ablate,
            {"cube": "hokkaido", "out": "x", "plan": {"network": {"in_channels": 1}}},
            "plan",
            AblationPlan,
        ),
    ],
)
def test_parameters_of_a_flow_are_those_of_its_function(flow, given, field, kind):
    assert set(flow.parameters.required) <= set(given) <= set(flow.parameters.properties)
    assert isinstance(flow.validate_parameters(given)[field], kind)
