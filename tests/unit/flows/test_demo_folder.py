"""The demo removes only what a demo made."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import demo
from flows.demo_folder import FOLDERS, MARK, claim, remove_results, remove_run
from pipeline.errors import SlidecubeError
from pipeline.settings import settings

MADE = (
    "world/world.json",
    "cubes/sandbox/latest",
    "insar/sandbox/job/done",
    "models/sandbox/v1/bundle.json",
    "models/sandbox/v2.refused.json",
    "maps/sandbox/v1-sandbox-v1-0a1b2c3d/report.json",
    "maps/sandbox/v1-log-ratio/report.json",
    "logs/worker.log",
    "prefect/prefect.db",
)
KEPT = (
    "cubes/hokkaido/latest",
    "models/hokkaido/v1/bundle.json",
    "models/sandbox/v1-mine/bundle.json",
    "maps/sandbox/v1-sandbox-v1-mine-0a1b2c3d/landslides.gpkg",
    "maps/hokkaido/v1-log-ratio/report.json",
    "thesis/chapter",
)


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def fill(root: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("years of work")
    return root


def test_what_a_demo_made_is_removed_and_nothing_else(tmp_path: Path) -> None:
    claim(tmp_path)
    claim(tmp_path)
    fill(tmp_path, (*MADE, *KEPT))
    remove_run(tmp_path)
    assert {"world/world.json", "cubes/sandbox/latest"} < files(tmp_path) and not (tmp_path / "logs").exists()
    remove_results(tmp_path, "sandbox")
    assert files(tmp_path) == {MARK, *KEPT}


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    elsewhere = fill(tmp_path / "elsewhere", ("v1/bundle.json",))
    root = tmp_path / "demo"
    claim(root)
    (root / "models").mkdir()
    (root / "models" / "sandbox").symlink_to(elsewhere)
    (root / "world").symlink_to(elsewhere)
    remove_results(root, "sandbox")
    assert files(elsewhere) == {"v1/bundle.json"} and not (root / "world").exists()


@pytest.mark.parametrize("name", [*FOLDERS, MARK])
@pytest.mark.parametrize("fresh", [(), ("--fresh",)])
def test_a_folder_that_holds_what_no_demo_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fresh: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("flows.cli.signal.signal", lambda *args: None)
    fill(tmp_path, (name if name == MARK else f"{name}/mine",))
    before = files(tmp_path)
    answer = CliRunner().invoke(demo, ["--folder", str(tmp_path), *fresh])
    settings.cache_clear()
    assert answer.exit_code == 1 and name in answer.stderr and "--folder" in answer.stderr
    assert files(tmp_path) == before
    with pytest.raises(SlidecubeError):
        remove_results(tmp_path, "sandbox")
    assert files(tmp_path) == before
