"""The commands of experiments as a person types them."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from model.cli.bundles import train
from model.cli.experiments import ablate, ladder
from model.cli.options import parsed_event
from model.experiments.ablations.ablation_plan import ROWS
from tests.small_cube import small_cube, write


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return str(write(small_cube(256, before=4, after=3), tmp_path_factory.mktemp("cubes") / "one.zarr"))


def run(command, *words):
    return CliRunner().invoke(command, [str(word) for word in words])


def test_ablate_prints_its_summary_and_says_where_the_report_is(cube, tmp_path):
    words = ("--rows", "VH,DEM,random", "--passes", "1", "--seeds", "1", "--epochs", "1", "--chip", "32")
    answer = run(ablate, cube, "--out", tmp_path, *words)
    assert answer.exit_code == 0, answer.output
    assert "VH,1," in answer.output and str(tmp_path / "report.md") in answer.output
    assert "raw aspect: as published" in (tmp_path / "report.md").read_text()


def test_the_help_of_ablate_names_every_row():
    words = " ".join(run(ablate, "--help").output.split())
    assert f"commas: {', '.join(ROWS)}." in words


def baselines(output):
    """AUPRC by method, as printed after a network's."""
    return {name: float(value) for name, value in re.findall(r"on the same pixels: (\S+) ([0-9.]+)", output)}


def test_train_under_a_protocol_gives_scores_with_all_they_depend_on(cube, tmp_path):
    words = ("--network", "small", "--epochs", "1", "--chip", "32", "--before", "1", "--after", "1")
    answer = run(train, cube, "--protocol", "paper", "--out", tmp_path / "a", *words)
    assert answer.exit_code == 0, answer.output
    assert "at prevalence" in answer.output and "dropped newest before: as published" in answer.output
    assert "SIMULATED" in answer.output
    assert baselines(answer.output).keys() == {"log-ratio", "boosting"}
    words = ("--network", "small", "--steps", "2", "--chip", "32")
    answer = run(train, cube, "--protocol", "strict", "--out", tmp_path / "b", *words)
    assert answer.exit_code == 0, answer.output
    assert "fold 3: AUPRC" in answer.output and "never pooled" in answer.output
    # only VV changes in this cube, and the log-ratio takes VH
    assert baselines(answer.output)["boosting"] > 2 * baselines(answer.output)["log-ratio"]
    assert run(train, cube, "--protocol", "strict").exit_code == 2
    for name in ("--members", "--processes"):
        refused = run(train, cube, "--protocol", "paper", "--out", tmp_path / "c", name, "2")
        assert refused.exit_code == 2 and name in refused.output


def test_ladder_prints_the_table(cube, tmp_path):
    answer = run(ladder, cube, "--out", tmp_path, "--steps", "2", "--folds", "0", "--recipe", "plain")
    assert answer.exit_code == 0, answer.output
    assert "| plain |" in answer.output and "| boosting |" in answer.output


@pytest.mark.parametrize("words", [("--passes", "one"), ("--rows", "HH"), ("--seeds", "0"), ("--chip", "33")])
def test_wrong_words_are_refused(cube, tmp_path, words):
    answer = run(ablate, cube, "--out", tmp_path, *words)
    assert answer.exit_code != 0 and "Traceback" not in answer.output


@pytest.mark.parametrize(
    "text", ["2018-09-05T18:07:59", "2018-13-01T00:00:00Z", "2018-09-06T00:00Z/2018-09-05T00:00Z"]
)
def test_an_event_that_is_no_instant_in_utc_names_the_option(text: str) -> None:
    with pytest.raises(click.UsageError, match="--event"):
        parsed_event(text)
