"""One flipped bit at a random place of a random file of a version: `verify` finds each."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pipeline.cube.local_store import LocalStore
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import version_key
from pipeline.errors import CubeError
from tests.faults.budget import budget
from tests.faults.writer import write

FLIPS = budget("FLIPS", 40)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flips") / "cube"
    write(root)
    assert verify_cube(root).sound
    return root


def test_every_flipped_bit_is_found(cube: Path) -> None:
    """Every file takes its turn, so that small files (metadata, the manifest, the pointer) are hit too."""
    version = LocalStore(cube).path(version_key(2))
    files = [*sorted(path for path in version.rglob("*") if path.is_file()), cube / "latest"]
    chance = random.Random(7)
    unnoticed = []
    for number in range(FLIPS):
        path = files[number % len(files)]
        sound = path.read_bytes()
        damaged = bytearray(sound)
        place, bit = chance.randrange(len(damaged)), chance.randrange(8)
        damaged[place] ^= 1 << bit
        # written in place: the layer's own file is the same one
        path.write_bytes(damaged)
        if not found(cube):
            unnoticed.append((path.relative_to(cube).as_posix(), place, bit))
        path.write_bytes(sound)
    assert unnoticed == []
    assert verify_cube(cube).sound


def found(cube: Path) -> bool:
    """Whether `verify` names a problem, or the cube is refused by an error of its own."""
    try:
        return not verify_cube(cube).sound
    except CubeError:
        return True
