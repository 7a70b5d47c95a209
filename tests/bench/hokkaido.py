"""A build of Hokkaido's size compared with odc-stac: wall time, CPU time, peak memory, bytes read over bytes needed.

4398 x 5382 pixels, 18 passes, VV and VH, served on loopback through TLS as compressed COGs; the archive server, which
shares the machine, runs in a process of its own and is not counted in CPU time or memory. slidecube's build includes
the search, probing every file, terrain, reading each layer back and publishing; odc-stac's includes the search and
the same pixels in the same Zarr layout. The floor program reads the same bytes through the same server, decodes them
and encodes the same shards, and does nothing else: no mosaic, no check, no terrain, no digest.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml

from pipeline.areas.area import SHIPPED_AREAS, AreaOfInterest, load_area
from pipeline.grid import Grid
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.server import Sandbox
from tests.bench.scenes import PASSES, bytes_needed, write_scenes

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
LATENCIES_S = tuple(float(v) for v in os.environ.get("BENCH_LATENCIES_S", "0,0.1").split(","))
"""The archive's server waits this long before each answer: 0 shows what the processors bound, 0.1 a far archive."""


def main() -> None:
    """Run both `ROUNDS` times, one after the other, and print the medians and ratios."""
    root = Path(tempfile.mkdtemp(prefix="slidecube-bench-", dir=os.environ.get("BENCH_DIR")))
    try:
        _run(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _run(root: Path) -> None:
    areas = root / "aoi"
    areas.mkdir()
    area = write_area(areas)
    grid = Grid.of_area(area)
    print(f"making {PASSES} passes of {grid.width} x {grid.height} pixels ...", flush=True)
    cogs = write_scenes(root / "world", area)
    needed = bytes_needed(cogs, grid)
    for latency_s in LATENCIES_S:
        rounds = []
        with Sandbox(root / "world") as sandbox:
            if latency_s:
                wait = Fault(action="delay", host="*.blob.core.windows.net", delay_s=latency_s, times=None)
                sandbox.add_fault(wait)
            environment = {**os.environ, **sandbox.environment, "SLIDECUBE_AOI_DIR": str(areas)}
            for number in range(ROUNDS):
                rounds.append(_round(root, environment, sandbox, check=number == 0))
                print(f"round {number + 1} at {latency_s:g} s: {json.dumps(rounds[-1])}", flush=True)
        _report(rounds, needed, latency_s)


def write_area(folder: Path, **changes: Any) -> AreaOfInterest:
    """The shipped area of Hokkaido in `folder`, without labels and with every track."""
    document = yaml.safe_load((SHIPPED_AREAS / "hokkaido.yaml").read_text(encoding="utf-8"))
    document |= {"inventory": None, "tracks": None, **changes}
    (folder / "hokkaido.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return load_area(folder / "hokkaido.yaml")


def _round(
    root: Path, environment: dict[str, str], sandbox: Sandbox, check: bool
) -> dict[str, dict[str, float]]:
    """One build by each, the second build, and what is left removed."""
    data, other = root / "data", root / "odc.zarr"
    environment = {**environment, "SLIDECUBE_DATA_DIR": str(data)}
    ours = [sys.executable, "-m", "tests.bench.command", "build", "hokkaido", "--no-quicklook"]
    theirs = [sys.executable, "-m", "tests.bench.odc_build", "hokkaido", str(other)]
    floor = [sys.executable, "-m", "tests.bench.floor", "hokkaido", str(root / "floor")]
    found = {
        "slidecube": measure(ours, environment, sandbox),
        "odc-stac": measure(theirs, environment, sandbox),
        "floor": measure(floor, environment, sandbox),
        "second build": measure(ours, environment, sandbox),
        "areas": measure([*ours[:3], "areas"], environment, sandbox),
        "--help": measure([*ours[:3], "--help"], environment, sandbox),
    }
    if check:
        _compare(data / "cubes" / "hokkaido" / "versions" / "1.zarr", other)
    shutil.rmtree(data)
    shutil.rmtree(other)
    shutil.rmtree(root / "floor")
    return found


def measure(command: list[str], environment: dict[str, str], sandbox: Sandbox) -> dict[str, float]:
    """Wall and CPU time (s) of a command, its peak memory (MiB, if it notes it) and the MB that were sent to it."""
    before = sandbox.bytes_sent
    started, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.NamedTemporaryFile("r") as report:
        # GNU-time-like: the child measures itself, since RUSAGE_CHILDREN keeps the largest of all children
        done = subprocess.run(
            command,
            env={**environment, "BENCH_REPORT": report.name},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command} failed: {done.stderr[-3000:]}")
        wall = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        peak = json.loads(Path(report.name).read_text() or "{}").get("peak_mib", float("nan"))
    return {
        "wall_s": round(wall, 1),
        "cpu_s": round(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime, 1),
        "peak_mib": peak,
        "read_mb": round((sandbox.bytes_sent - before) / 1e6, 1),
    }


def _compare(ours: Path, theirs: Path) -> None:
    """The two must hold the same pixels, else the times mean nothing."""
    mine, other = xr.open_zarr(ours), xr.open_zarr(theirs, consolidated=False)
    for index in (0, PASSES - 1):
        a = mine["vv"].isel(timestep=index, y=slice(1000, 3000)).values
        b = other["vv"].isel(time=index, y=slice(1000, 3000)).values
        b = np.where(b == -32768, np.nan, b)
        share = float(np.mean((a == b) | (np.isnan(a) & np.isnan(b))))
        print(f"pass {index}: {100 * share:.4f} % of pixels equal", flush=True)
        if share < 0.999:
            raise RuntimeError("slidecube and odc-stac do not hold the same pixels")


def _report(rounds: list[dict[str, dict[str, float]]], needed: int, latency_s: float) -> None:
    print(
        f"\nlatency {latency_s:g} s per answer\n{'':14}{'wall s':>10}{'CPU s':>10}{'peak MiB':>10}{'read / needed':>15}"
    )
    median: dict[str, dict[str, Any]] = {}
    for name in rounds[0]:
        median[name] = {key: float(np.median([r[name][key] for r in rounds])) for key in rounds[0][name]}
        m = median[name]
        print(
            f"{name:14}{m['wall_s']:10.1f}{m['cpu_s']:10.1f}{m['peak_mib']:10.0f}{m['read_mb'] * 1e6 / needed:15.3f}"
        )
    for other in ("odc-stac", "floor"):
        for what, of in (("wall_s", "wall time"), ("cpu_s", "CPU time")):
            ratio = np.median([r["slidecube"][what] / r[other][what] for r in rounds])
            print(f"{of} over that of {other}: {ratio:.2f} (median of {len(rounds)} paired rounds)")
