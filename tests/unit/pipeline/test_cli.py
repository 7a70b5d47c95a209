"""The command line: what it prints fits into 80 columns, loses nothing in brackets, and suggests the nearest name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import rich.console
from click.testing import CliRunner, Result
from rich.console import Console

from pipeline import doctor
from pipeline.areas import area as areas
from pipeline.build import run as builder
from pipeline.cli import main
from pipeline.console import plain_console, plain_table, progress_bars
from pipeline.doctor import Finding
from pipeline.settings import settings
from tests.unit.made_slc import repeats
from tests.unit.pipeline.archives.test_search_area import dem_item, probed, snapshot
from tests.unit.pipeline.catalogue.test_passes import area, item


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-xdist sets COLUMNS in its workers."""
    monkeypatch.delenv("COLUMNS", raising=False)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize(("word", "meant"), [("plam", "plan"), ("biuld", "build"), ("docter", "doctor")])
def test_a_misspelt_command_suggests_the_nearest(word: str, meant: str) -> None:
    ended = invoke(word, "hokkaido")
    assert ended.exit_code == 2
    assert word in ended.output and f"'{meant}'" in ended.output


def test_an_unknown_command_without_a_similar_one_suggests_none() -> None:
    ended = invoke("xyzzy")
    assert ended.exit_code == 2 and "mean" not in ended.output


def test_a_misspelt_area_ends_with_the_status_of_an_area() -> None:
    ended = invoke("plan", "hokaido")
    assert ended.exit_code == 2 and "'hokkaido'" in ended.output


def test_brackets_in_a_finding_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    detail = "install slidecube[insar] into [/tmp] [red]x[/red] [link=file:///etc/passwd]y[/link] :warning:"
    finding = Finding(name="a [b] c", state="missing", detail=detail)
    monkeypatch.setattr(doctor, "examine", lambda: [finding])
    printed = invoke("doctor").output
    assert detail in printed and finding.name in printed


def test_brackets_in_an_area_are_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIDECUBE_AOI_DIR", str(tmp_path))
    settings.cache_clear()
    shipped = (areas.SHIPPED_AREAS / "hokkaido.yaml").read_text()
    title = "[insar] of [bold]nothing"
    (tmp_path / "odd.yaml").write_text(
        shipped.replace("title: Hokkaido Eastern Iburi earthquake, Japan, 2018", f"title: '{title}'")
    )
    (tmp_path / "wrong.yaml").write_text("event: {kind: '[red]'}\n")
    printed = invoke("areas").output
    settings.cache_clear()
    assert title in printed
    assert "wrong" in printed


def test_brackets_in_a_progress_bar_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=120)
    monkeypatch.setattr(rich.console, "Console", lambda **options: terminal)
    with progress_bars() as progress:
        progress("labels from [red]NIED[insar]", 1, 2, "[/bold]")
    assert "[red]NIED[insar]" in out.getvalue() and "[/bold]" in out.getvalue()


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    inventory = {
        "name": "made [insar]",
        "url": "https://labels.example/made.zip",
        "citation": "c",
        "licence": "l",
    }
    where = area(bbox=(142.0, 42.69, 142.01, 42.70), interferometry={}, inventory=inventory)
    items, tiles = [item()], [dem_item(), dem_item("NASADEM_HGT_n42e142", bbox=[142.0, 42.0, 143.0, 43.0])]
    found = snapshot(
        where, rtc_items=items, dem_items=tiles, probes=probed([*items, *tiles]),
        inventory={"url": "made.zip", "fingerprint": "a"}, slc=repeats(3, places=("046_096000_IW2",)),
    )  # fmt: skip
    monkeypatch.setattr(areas, "load_area", lambda name: where)
    monkeypatch.setattr(builder, "find_catalogue", lambda area, replay: found)
    yield monkeypatch
    settings.cache_clear()


def test_a_plan_fits_into_80_columns_and_breaks_no_cell(planned: pytest.MonkeyPatch) -> None:
    planned.setattr(builder, "examine_sources", lambda area, plan: ((), ()))
    planned.setenv("COLUMNS", "80")
    ended = invoke("plan", "small")
    assert ended.exit_code == 0, ended.output
    assert max(len(line) for line in ended.output.splitlines()) <= 80
    row = next(line for line in ended.output.splitlines() if line.startswith("2018-"))
    for cell in ("after", "46", "desc", "S1A", "vv vh", "wanted"):
        assert cell in row
    assert "made [insar]" in ended.output


def test_a_source_that_cannot_be_opened_is_a_problem_of_the_plan(planned: pytest.MonkeyPatch) -> None:
    planned.setattr(
        builder, "examine_sources", lambda area, plan: (("labels: no layer 'x'",), ("labels: a remark",))
    )
    ended = invoke("plan", "small")
    assert ended.exit_code == 6
    assert "no layer 'x'" in ended.output and "a remark" in ended.output


def test_tables_in_a_pipe_do_not_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    table = plain_table("name", "detail", wrapped=("detail",))
    table.add_row("a", "word " * 30)
    with plain_console().capture() as captured:
        found = plain_console()
        found.print(table)
    assert found.width >= 150 and captured.get() == ""


def test_an_area_of_the_longest_name_fits_into_80_columns_and_no_cell_is_cut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLIDECUBE_AOI_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    settings.cache_clear()
    name = "usgs-" + "0123456789" * 5 + "abcde"
    (tmp_path / f"{name}.yaml").write_text((areas.SHIPPED_AREAS / "hokkaido.yaml").read_text())
    lines = invoke("areas").output.splitlines()
    settings.cache_clear()
    assert max(len(line) for line in lines) <= 80
    first = next(number for number, line in enumerate(lines) if line.startswith("usgs-"))
    assert "".join(line.split()[0] for line in lines[first : first + 6] if line[:1].strip()).startswith(name)
    assert "2018-09-05T18:07" in lines[first] and "5382 x" in lines[first]
