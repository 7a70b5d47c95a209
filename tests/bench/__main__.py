"""Run every benchmark, or the named ones: `python -m tests.bench [hokkaido]`."""

from __future__ import annotations

import sys

from tests.bench import hokkaido

BENCHES = {"hokkaido": hokkaido.main}


def main() -> None:
    """Run the named benchmarks."""
    for name in sys.argv[1:] or BENCHES:
        BENCHES[name]()


if __name__ == "__main__":
    main()
