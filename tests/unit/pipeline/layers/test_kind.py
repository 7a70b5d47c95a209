"""One reason is said once, for however many layers, also where it names another file for each."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.cube.layers import Recipe
from pipeline.layers.backscatter import Backscatter
from pipeline.layers.kind import LayerTask, Lost, failures_by_reason
from pipeline.layers.kinds import KINDS


def tasks(count: int) -> list[LayerTask]:
    made = []
    for number in range(count):
        recipe = Recipe(kind="backscatter", variables=("vv",), grid=f"{number}", sources=(), algorithm="a-1")
        made.append(LayerTask(kind=KINDS[0], recipe=recipe, label=f"vv {number}"))
    return made


@pytest.mark.parametrize(
    "reason",
    [
        "https://a.example/x/{0}.rtc.tiff answered 403. Check the key.",
        "The disk is full.",
        "iw-{0}-vv.tif ends early; the archive serves a damaged file.",
        "/data/{0}/made.gpkg does not exist.",
    ],
)
def test_one_reason_for_all_layers_is_one_reason_of(reason: str) -> None:
    made = tasks(16)
    failed = {task.recipe.digest: reason.format(number) for number, task in enumerate(made)}
    (line,) = failures_by_reason(made, failed)
    assert line.startswith("16 layers: ")
    assert sum(line.count(text) for text in set(failed.values())) <= 1
    assert line.count(reason.split("{0}")[-1].strip(". ")) == 1
    assert ("15 more files" in line) == ("{0}" in reason)


def test_two_reasons_are_two_lines() -> None:
    made = tasks(3)
    reasons = ("https://a.example/1 answered 403.", "https://a.example/2 answered 403.", "The disk is full.")
    lines = failures_by_reason(made, {task.recipe.digest: r for task, r in zip(made, reasons, strict=True)})
    assert len(lines) == 2


def test_passes_that_fail_alike_are_one_line_of_a_version() -> None:
    made = [SimpleNamespace(key=f"pass-{number}") for number in range(3)]
    lost = [Lost(task, f"https://a.example/{task.key}/vv answered 403.", kept=False) for task in made]
    lines = Backscatter().describe_losses([*lost, Lost(made[0], "The disk is full.", kept=True)], 4)  # type: ignore[list-item]
    assert len(lines) == 2
    assert all(task.key in lines[0] for task in made) and lines[0].count("403") == 1
    assert "pass-0" in lines[1] and "disk" in lines[1]
