"""Benchmarks of time and memory (`make bench`), side by side with what a user would otherwise use, and experiments on
simulated and recorded events (`make experiments`)."""

import os
from pathlib import Path

SHARED = Path(os.environ.get("BENCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
"""Recorded series and elevation models, beside the checkout."""
