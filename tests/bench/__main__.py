"""`python -m tests.bench`: every benchmark; or the named ones; or, with `--experiments`, every experiment.

A benchmark measures time and memory, all of them in less than half an hour. An experiment measures what is found in
simulated or recorded events, and may take hours. Each runs in a process of its own, whose peak memory is its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module

BENCHES = {
    "asf_bytes": "tests.bench.asf_bytes",
    "look": "tests.bench.look",
    "learning": "tests.bench.learning",
    "detector_speed": "tests.bench.detector_speed",
    "cube_chips": "tests.bench.cube_chips",
    "pairs": "tests.bench.pairs",
    "first_pass": "tests.bench.first_pass",
    "dask_build": "tests.bench.dask_build",
    "hokkaido": "tests.bench.hokkaido",
}
"""Name to module with a `main`; the longest last."""
EXPERIMENTS = {
    "shadow": "tests.bench.shadow",
    "detector": "tests.bench.detector",
    "prior": "tests.bench.prior",
    "acceptance": "tests.bench.acceptance",
}
MODULES = {**BENCHES, **EXPERIMENTS}


def run_here(name: str) -> None:
    """The `main` of one, in this process."""
    main_of: Callable[[], None] = import_module(MODULES[name]).main
    main_of()


def run_each(commands: Mapping[str, list[str]]) -> dict[str, int]:
    """Run each command to its end, whether or not the one before failed, and say how long it took; its exit status.

    What a command prints is seen as it prints it.
    """
    status: dict[str, int] = {}
    began = time.monotonic()
    for number, (name, command) in enumerate(commands.items(), start=1):
        print(f"\n== {name} ({number} of {len(commands)})", flush=True)
        started = time.monotonic()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        status[name] = subprocess.run(command, env=environment, check=False).returncode
        words = "done" if status[name] == 0 else f"FAILED ({_cause(status[name])})"
        print(f"== {name}: {words}, {time.monotonic() - started:.0f} s", flush=True)
    failed = [name for name, code in status.items() if code]
    print(f"\n{len(status)} run, {time.monotonic() - began:.0f} s; failed: {', '.join(failed) or 'none'}")
    return status


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"status {code}"


def main() -> None:
    """Run what the command line names; ends with 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODULES)}")
    parser.add_argument("--experiments", action="store_true", help="every experiment")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in MODULES]:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(MODULES)}")
    names = asked.names or (EXPERIMENTS if asked.experiments else BENCHES)
    if asked.here:
        for name in names:
            run_here(name)
        return
    status = run_each({name: [sys.executable, "-m", "tests.bench", "--here", name] for name in names})
    sys.exit(1 if any(status.values()) else 0)


if __name__ == "__main__":
    main()
