"""Entry point of the child process."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.insar.pygmtsar.worker import main

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
