"""Every example of the public API, and the notebook of the documentation, on a small sandbox."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.areas.area import load_area
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.world import make_world
from tests.e2e.conftest import PARAMETERS

PROJECT = Path(__file__).resolve().parents[2]
IN_ORDER = (
    "areas", "plan", "build", "verify", "open_cube", "ChipDataset", "train", "load_bundle", "export_bundle", "map",
    "run_strict", "register_network", "register_loss", "register_channel",
)  # fmt: skip
EXAMPLES = f"""
import doctest, slidecube
failed = 0
for name in {IN_ORDER}:
    function = getattr(slidecube, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name, globs={{"slidecube": slidecube}})
    assert example.examples, name
    failed += doctest.DocTestRunner().run(example).failed
raise SystemExit(failed)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A sandbox of 2.5 km whose area is named as in the documentation, and a data folder without a cube."""
    folder = tmp_path_factory.mktemp("api")
    shipped = yaml.safe_load((PROJECT / "aoi" / "sandbox.yaml").read_text())
    shipped |= {"bbox": [142.03, 42.72, 142.06, 42.742]}
    del shipped["interferometry"]
    (folder / "aoi").mkdir()
    (folder / "aoi" / "sandbox.yaml").write_text(yaml.safe_dump(shipped))
    make_world(load_area(folder / "aoi" / "sandbox.yaml"), folder / "world", PARAMETERS)
    with Sandbox(folder / "world") as sandbox:
        yield {
            **os.environ,
            **sandbox.environment,
            "SLIDECUBE_AOI_DIR": str(folder / "aoi"),
            "SLIDECUBE_DATA_DIR": str(folder / "data"),
            "PYTHONPATH": str(PROJECT),
        }


@pytest.mark.slow
def test_the_examples_of_the_public_functions_run(environment: dict[str, str]) -> None:
    import slidecube

    assert dir(slidecube) == sorted(slidecube.__all__)
    functions = {name for name in dir(slidecube) if not isinstance(getattr(slidecube, name), type)}
    assert functions <= set(IN_ORDER)
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES],
        env=environment | {"MPLBACKEND": "agg"},
        cwd=Path(environment["SLIDECUBE_AOI_DIR"]).parent,  # an example writes a file
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_the_page_on_models_of_ones_own_runs(environment: dict[str, str]) -> None:
    """After the examples, which built the cube and trained the bundle."""
    page = (PROJECT / "docs" / "models.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 6
    file = Path(environment["SLIDECUBE_AOI_DIR"]).parent / "page.py"
    file.write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(file)],
        env=environment, cwd=file.parent, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "under the protocol" in done.stdout


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the examples, which built the cube."""
    import nbformat
    from nbclient import NotebookClient

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel's own puts pictures into the notebook
    notebook = nbformat.read(PROJECT / "docs" / "first_cube.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(PROJECT / "docs")}}
    ).execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 3
