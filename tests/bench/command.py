"""`python -m tests.bench.command build AREA`: the command line, which then notes its own peak memory."""

from __future__ import annotations

import atexit
import json
import os
from pathlib import Path


def note_peak() -> None:
    """Write the peak resident memory of this process (MiB) to the file that BENCH_REPORT names."""
    target = os.environ.get("BENCH_REPORT")
    if target:
        # not ru_maxrss, which begins with the size of the process that started this one
        status = Path("/proc/self/status").read_text()
        peak_mib = int(status.split("VmHWM:")[1].split()[0]) / 1024
        Path(target).write_text(json.dumps({"peak_mib": round(peak_mib)}))


if __name__ == "__main__":
    atexit.register(note_peak)
    from pipeline.cli import main

    main()
