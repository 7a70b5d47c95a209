"""From a new pass in the archive to a released map, of Hokkaido's size: what each step takes.

4398 x 5382 pixels, VV and VH. The cube of the nine passes before the earthquake is there; the first one after it
comes. The build reads the new pass, and the training-free detector maps, with everything that a release holds. Each is
a command of its own, as a flow runs it; what Prefect adds (it starts a process a run) is not in it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from pipeline.sandbox.posing.server import Sandbox
from tests.bench.hokkaido import measure, write_area
from tests.bench.scenes import write_scenes

BEFORE, AFTER = "2018-09-06T00:00:00Z", "2018-09-09T00:00:00Z"
"""ends of the time range without and with the first pass after the event"""


def main() -> None:
    """Build before the event, then measure the new pass: its build, its map, and the second look that finds nothing."""
    root = Path(tempfile.mkdtemp(prefix="slidecube-bench-", dir=os.environ.get("BENCH_DIR")))
    try:
        _run(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _run(root: Path) -> None:
    areas = root / "aoi"
    areas.mkdir()
    write_scenes(root / "world", write_area(areas))
    command = [sys.executable, "-m", "tests.bench.command"]
    build, draw = [*command, "build", "hokkaido"], [*command, "map", "hokkaido"]
    with Sandbox(root / "world") as sandbox:
        environment = {
            **os.environ,
            **sandbox.environment,
            "SLIDECUBE_AOI_DIR": str(areas),
            "SLIDECUBE_DATA_DIR": str(root / "data"),
            "SLIDECUBE_SEARCH_INTERVAL_S": "0",
        }
        write_area(areas, end=BEFORE)
        steps = {"cube before the event": measure(build, environment, sandbox)}
        write_area(areas, end=AFTER)
        steps["new pass into the cube"] = measure(build, environment, sandbox)
        steps["map and release"] = measure(draw, environment, sandbox)
        steps["a look without a new pass"] = measure(build, environment, sandbox)
    print(f"{'':28}{'wall s':>10}{'CPU s':>10}{'peak MiB':>10}{'read MB':>10}")
    for name, found in steps.items():
        print(
            f"{name:28}{found['wall_s']:10.1f}{found['cpu_s']:10.1f}{found['peak_mib']:10.0f}{found['read_mb']:10.1f}"
        )
    minutes = (steps["new pass into the cube"]["wall_s"] + steps["map and release"]["wall_s"]) / 60
    print(f"from a published pass to its release: {minutes:.1f} minutes, without Prefect")
