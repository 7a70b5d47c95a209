"""What a command imports before it does anything: its start is as fast as that is little."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "torch", "prefect", "geopandas", "pandas", "xarray", "matplotlib", "sklearn", "scipy.interpolate", "scipy.optimize",
    "richdem", "pyarrow", "pytorch_lightning", "segmentation_models_pytorch", "dask",
)  # fmt: skip
NOT_FOR_HELP = (
    *HEAVY,
    "numpy",
    "scipy",
    "pydantic",
    "rich",
    "zarr",
    "rasterio",
    "pyproj",
    "shapely",
    "requests",
)
NOT_FOR_AREAS = (*HEAVY, "zarr", "rasterio", "scipy", "requests")

PROGRAM = """
import json, sys
{}
print("loaded", json.dumps(sorted(sys.modules)))
"""
COMMAND = "from pipeline.cli import main\nmain({}, standalone_mode=False)"


def loaded(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(program)], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.rpartition("loaded ")[2]))


@pytest.mark.parametrize(
    ("program", "unwanted"),
    [
        (COMMAND.format('["--help"]'), NOT_FOR_HELP),
        (COMMAND.format('["areas"]'), NOT_FOR_AREAS),
        ("import pipeline.cli, pipeline.build.run", HEAVY),
        ("import pipeline.cli, pipeline.sandbox.posing.proxy", HEAVY),
    ],
    ids=["help", "areas", "a build without a picture", "a sandbox whose world is there"],
)
def test_nothing_heavy_is_imported_that_is_not_needed(program: str, unwanted: tuple[str, ...]) -> None:
    found = loaded(program)
    assert "pipeline.cli" in found
    assert found.isdisjoint(unwanted), sorted(found.intersection(unwanted))
