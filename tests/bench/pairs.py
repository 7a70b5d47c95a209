"""Pairs from ASF into the cube: time and memory per burst, two pairs side by side, bytes of either fetch mode.

`python -m tests.bench pairs`. A simulated world with single look complex data of one track, three passes, served on
loopback. All layers but the pairs are built before, so that a build measured here searches, fetches, processes and
commits two pairs and nothing else.

- Seconds and memory per burst are those that the jobs' metadata state. isce2 takes part where a topsApp.py is on the
  PATH, with whole granules and one pair. Simulated bursts are small: `samples` says how small.
- Two pairs at once compared with one after the other: each round does both, in turns; the ratio is taken in a round.
- Bytes are those that the archive's server sent. A simulated granule holds six short bursts of one swath in one
  polarisation, a real one 27 in two: for what real granules cost see `asf_bytes`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import yaml

from pipeline.areas.area import SHIPPED_AREAS, load_area
from pipeline.insar.job import METADATA, JobMetadata
from pipeline.insar.pygmtsar.pygmtsar_backend import PACKAGE
from pipeline.sandbox.earth.parameters import SlcPlan, TrackPlan, WorldParameters
from pipeline.sandbox.posing.faults import Fault
from pipeline.sandbox.posing.server import Sandbox
from pipeline.sandbox.world import make_world

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
AREA = "sandbox"
BBOX = (142.0, 42.73, 142.11, 42.75)
"""The part of the world that is built: a third, so that a granule holds bursts that are not needed."""
PARAMETERS = WorldParameters(
    tracks=(TrackPlan(relative_orbit=46, direction="descending", before=2, after=1, incidence_deg=35.9),),
    slices=1,
    missing_pass=False,
    partial_pass=False,
    slc=SlcPlan(before=2, after=1, bursts=6),
)
NEWEST = "*SLC*20180905*.zip"
WHOLE, PART = 0, 6
"""Exit status of a build, and of one that had to leave something out."""


@dataclass(frozen=True)
class Build:
    """One build: its wall time, what was sent meanwhile, and what the jobs say of themselves."""

    wall_s: float
    sent_bytes: int
    jobs: tuple[JobMetadata, ...]


@dataclass(frozen=True)
class Bench:
    """The archive, the settings that lead there, and the data folder that holds all but the pairs."""

    root: Path
    sandbox: Sandbox

    @property
    def without_pairs(self) -> Path:
        return self.root / "without_pairs"

    def hold_the_rest(self) -> None:
        """Build while no burst can be had."""
        self.sandbox.add_fault(Fault(action="status", host="sentinel1-burst*", status=404, times=None))
        self._slidecube(self.without_pairs, PART, {"SLIDECUBE_INSAR_BACKEND": "pygmtsar"})

    def build(self, status: int = WHOLE, fault: Fault | None = None, **settings: str) -> Build:
        """Build the pairs; what they leave is deleted."""
        data = self.root / "data"
        shutil.copytree(self.without_pairs, data)
        self.sandbox.reset()
        if fault:
            self.sandbox.add_fault(fault)
        started = time.monotonic()
        self._slidecube(data, status, settings)
        wall_s = time.monotonic() - started
        jobs = tuple(
            JobMetadata.model_validate_json(path.read_bytes())
            for path in sorted((data / "insar" / AREA / "jobs").glob(f"*/products/{METADATA}"))
        )
        if len(jobs) != (2 if status == WHOLE else 1):
            raise RuntimeError(f"{len(jobs)} jobs were done with {settings}")
        shutil.rmtree(data)
        return Build(wall_s, self.sandbox.bytes_sent, jobs)

    def _slidecube(self, data: Path, status: int, settings: dict[str, str]) -> None:
        environment = {
            **os.environ,
            **self.sandbox.environment,
            "SLIDECUBE_AOI_DIR": str(self.root / "aoi"),
            "SLIDECUBE_DATA_DIR": str(data),
            **settings,
        }
        command = [sys.executable, "-m", "tests.bench.command", "build", AREA, "--no-quicklook", "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != status:
            raise RuntimeError(f"{settings}: {done.returncode}: {done.stderr[-3000:]}")


def main() -> None:
    """Make the world, build its pairs in every way, print the figures."""
    if find_spec(PACKAGE) is None:
        print(f"{PACKAGE} is not installed: pairs are left out (pip install 'slidecube[insar]')")
        return
    root = Path(tempfile.mkdtemp(prefix="slidecube-bench-", dir=os.environ.get("BENCH_DIR")))
    try:
        print("making the world ...", flush=True)
        world = make_world(load_area(SHIPPED_AREAS / f"{AREA}.yaml"), root / "world", PARAMETERS)
        (root / "aoi").mkdir()
        document = yaml.safe_load((SHIPPED_AREAS / f"{AREA}.yaml").read_text(encoding="utf-8"))
        document["bbox"] = list(BBOX)
        (root / "aoi" / f"{AREA}.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        sizes = [
            b["size_bytes"] for b in json.loads((world.root / "slc" / "index.json").read_text())["bursts"]
        ]
        with Sandbox(world.root) as sandbox:
            bench = Bench(root, sandbox)
            bench.hold_the_rest()
            _run(bench, samples=sizes[0] // 4)
    finally:
        # inputs of unfinished jobs are read-only
        subprocess.run(["chmod", "-R", "u+w", str(root)], check=False)
        shutil.rmtree(root, ignore_errors=True)


def _run(bench: Bench, samples: int) -> None:
    # first, and not timed: it fills the caches of the system
    granules = bench.build(SLIDECUBE_INSAR_BACKEND="pygmtsar", SLIDECUBE_SLC_FETCH="granules")
    rounds = []
    for number in range(ROUNDS):
        order = ("1", "2") if number % 2 == 0 else ("2", "1")
        done = {
            many: bench.build(SLIDECUBE_INSAR_BACKEND="pygmtsar", SLIDECUBE_INSAR_CONCURRENCY=many)
            for many in order
        }
        rounds.append((done["1"], done["2"]))
        print(f"round {number + 1}: {done['1'].wall_s:.1f} s, {done['2'].wall_s:.1f} s", flush=True)
    print(f"\n{samples} samples a burst\n{'':12}{'jobs':>6}{'bursts':>8}{'s a burst':>11}{'peak GB':>9}")
    _print_jobs("pygmtsar", [job for alone, _ in rounds for job in alone.jobs])
    if shutil.which("topsApp.py"):
        isce2 = bench.build(
            PART,
            # one pair is enough
            Fault(action="status", host="*.asf.alaska.edu", path=NEWEST, status=404, times=None),
            SLIDECUBE_INSAR_BACKEND="isce2",
            SLIDECUBE_CONTAINER_ENGINE="none",
            SLIDECUBE_SLC_FETCH="granules",
        )
        _print_jobs("isce2", list(isce2.jobs))
        if steps := sorted(isce2.jobs[0].steps, key=lambda step: -step.seconds)[:4]:
            print("   of which " + ", ".join(f"{step.name} {step.seconds:.1f} s" for step in steps))
    else:
        print("isce2 is left out: no topsApp.py is on the PATH")
    one, two = (float(np.median([pair[index].wall_s for pair in rounds])) for index in (0, 1))
    ratio = np.median([side.wall_s / alone.wall_s for alone, side in rounds])
    print(
        f"\ntwo pairs: one after the other {one:.1f} s, side by side {two:.1f} s; ratio {ratio:.2f} "
        f"(median of {ROUNDS} paired rounds, {len(os.sched_getaffinity(0))} cores)"
    )
    bursts = rounds[0][0]
    print(
        f"bytes sent for the two pairs: bursts {bursts.sent_bytes / 1e6:.1f} MB, whole granules "
        f"{granules.sent_bytes / 1e6:.1f} MB; ratio {bursts.sent_bytes / granules.sent_bytes:.2f}"
    )


def _print_jobs(name: str, jobs: list[JobMetadata]) -> None:
    """Medians over the jobs; what a job does once counts to its bursts."""
    each = [sum(step.seconds for step in job.steps) / len(job.bursts) for job in jobs]
    peaks = [
        max([job.peak_memory_bytes or 0, *(s.peak_memory_bytes or 0 for s in job.steps)]) for job in jobs
    ]
    print(
        f"{name:12}{len(jobs):6}{len(jobs[0].bursts):8}{np.median(each):11.1f}{np.median(peaks) / 1e9:9.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
