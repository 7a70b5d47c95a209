"""Every command that reads a damaged cube says so in one sentence, and leaves nothing behind.

zarr reads chunks at once and raises at the first; what it still reads must not speak when the process ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CubeError
from tests.small_cube import small_cube

PROJECT = Path(__file__).resolve().parents[2]
CHUNK = 16
COMMANDS = {
    "map": ["map", "CUBE", "--out", "OUT"],
    "log-ratio": ["map", "CUBE", "--log-ratio", "--out", "OUT"],
    "train": ["train", "CUBE", "--steps", "2", "--out", "OUT"],
    "ablate": ["ablate", "CUBE", "--steps", "2", "--jobs", "1", "--out", "OUT"],
    "ladder": ["ladder", "CUBE", "--steps", "2", "--jobs", "1", "--out", "OUT"],
    "export": ["export", "CUBE", "--published", "OUT"],
}


@pytest.fixture(scope="module", params=["found when it is opened", "found when it is read"])
def damaged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube of many chunks, of which those at one place cannot be decoded, in all passes or in one."""
    cube = small_cube(128)
    path = tmp_path_factory.mktemp("cubes") / "damaged.zarr"
    encoding = {
        name: {"chunks": (*[1] * (variable.ndim - 2), CHUNK, CHUNK)}
        for name, variable in cube.data_vars.items()
        if variable.ndim >= 2
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strings in Zarr v3 have no specification yet
        cube.to_zarr(path, zarr_format=3, mode="w", encoding=encoding)
    center = 128 // CHUNK // 2
    later = request.param == "found when it is read"
    first_after = cube.sizes["timestep"] - 2  # of which the contract samples nothing
    for name in ("vv", "vh"):
        for file in (path / name / "c").rglob("*"):
            place = tuple(int(part) for part in file.parts[-3:]) if file.is_file() else ()
            if place and (
                place[1:] == (1, 6) and place[0] == first_after if later else place[1:] == (center, center)
            ):
                file.write_bytes(b"\xff" * file.stat().st_size)
    assert np.isfinite(cube.vv.values).any()
    return path


def test_every_command_says_so_in_one_sentence(damaged, tmp_path):
    own = {"PYTHONPATH": str(PROJECT), "SLIDECUBE_DATA_DIR": str(tmp_path / "data"), "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **own}
    python = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    running = {}
    for name, words in COMMANDS.items():
        places = {"CUBE": str(damaged), "OUT": str(tmp_path / f"{name}-out")}
        running[name] = subprocess.Popen(
            [*python, *(places.get(word, word) for word in words)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    wrong = {}
    for name, process in running.items():
        _, told = process.communicate(timeout=300)
        lines = told.strip().splitlines()
        if process.returncode != CubeError.exit_code or len(lines) != 1 or "damaged.zarr" not in lines[0]:
            wrong[name] = (process.returncode, told[-2000:])
        if (tmp_path / f"{name}-out").exists() and name not in ("ablate", "ladder"):
            wrong[name] = (process.returncode, "it left a result")
    assert wrong == {}
