"""How many faults a test makes: few by default, more by the environment."""

from __future__ import annotations

import os


def budget(name: str, default: int) -> int:
    """The number in SLIDECUBE_TESTS_<name>, else the default, which keeps the suite short."""
    return int(os.environ.get(f"SLIDECUBE_TESTS_{name}", default))
