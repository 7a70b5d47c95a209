"""python -m pipeline.insar.isce2.topsapp JOB: process one job folder and exit.

Exit status 0: products/metadata.json exists. 8: the job failed, and the last line on standard output gives the error.
The runner ends with its caller: it stops the job when standard input is closed, except with --alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.errors import InterferometryError
from pipeline.insar.isce2.topsapp.runner import run_job
from pipeline.insar.messages import EXIT_DONE, EXIT_FAILED, send_event, send_failure


def main() -> int:
    """Run the job named on the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="topsapp", description="Process one interferometric job with topsApp."
    )
    parser.add_argument("job", type=Path, help="folder with manifest.json and inputs/")
    parser.add_argument(
        "--alone", action="store_true", help="run without a caller: do not stop when standard input is closed"
    )
    arguments = parser.parse_args()
    try:
        metadata = run_job(arguments.job.resolve(), None if arguments.alone else sys.stdin.fileno())
    except InterferometryError as error:
        send_failure(error)
        print(f"{error.code}: {error}", file=sys.stderr)
        return EXIT_FAILED
    send_event("done", valid_fraction=metadata.valid_fraction)
    return EXIT_DONE


if __name__ == "__main__":
    raise SystemExit(main())
