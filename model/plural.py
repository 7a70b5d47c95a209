"""Numbers with their nouns, as in '1 cube' and '2 cubes'."""

from __future__ import annotations

IRREGULAR = {"pass": "passes"}


def counted(number: int, noun: str) -> str:
    """The number and the noun, in the plural unless the number is 1."""
    return f"{number:,} {noun if number == 1 else IRREGULAR.get(noun, f'{noun}s')}"
