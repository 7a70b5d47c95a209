"""Run every benchmark, or the named ones: `python -m tests.bench [acceptance detector hokkaido learning ...]`."""

from __future__ import annotations

import sys

from tests.bench import acceptance, asf_bytes, detector, hokkaido, learning, look, pairs

BENCHES = {
    "acceptance": acceptance.main,
    "asf_bytes": asf_bytes.main,
    "detector": detector.main,
    "hokkaido": hokkaido.main,
    "learning": learning.main,
    "look": look.main,
    "pairs": pairs.main,
}


def main() -> None:
    """Run the named benchmarks."""
    for name in sys.argv[1:] or BENCHES:
        BENCHES[name]()


if __name__ == "__main__":
    main()
