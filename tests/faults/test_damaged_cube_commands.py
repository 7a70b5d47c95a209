"""Every command that reads a damaged cube says so in one sentence, and leaves nothing behind.

zarr reads chunks at once and raises at the first; what it still reads must not speak when the process ends.
"""

from __future__ import annotations

import json
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
    "train --protocol": ["train", "CUBE", "--protocol", "strict", "--steps", "2", "--out", "OUT"],
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


ONE_AFTER_THE_OTHER = """
import json, sys
from pipeline.cli import main
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as end:
        print("status", end.code, file=sys.stderr, flush=True)
"""


def test_every_command_says_so_in_one_sentence(damaged, tmp_path):
    own = {"PYTHONPATH": str(PROJECT), "SLIDECUBE_DATA_DIR": str(tmp_path / "data"), "OMP_NUM_THREADS": "1"}
    commands = []
    for name, words in COMMANDS.items():
        places = {"CUBE": str(damaged), "OUT": str(tmp_path / f"{name}-out")}
        commands.append([places.get(word, word) for word in words])
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, json.dumps(commands)],
        env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    told = done.stderr.splitlines()
    assert told[1::2] == [f"status {CubeError.exit_code}"] * len(COMMANDS), done.stderr[-3000:]
    assert all(line.startswith("Error: ") and "damaged.zarr" in line for line in told[::2])
    assert len(told) == 2 * len(COMMANDS)  # none comes when the process ends
    left = {name for name in COMMANDS if (tmp_path / f"{name}-out").exists()}
    assert left <= {"ablate", "ladder", "train --protocol"}  # whose folder keeps trials
