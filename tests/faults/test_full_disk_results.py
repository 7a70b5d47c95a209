"""A disk that takes no more while a model or a map is written: one sentence, a status of its own, nothing half-written.

The limit is that of the size of a file (`ulimit -f`), which fails as a full disk does, at the write.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from model.cli.bundles import map_landslides, train
from model.cli.experiments import ablate
from tests.small_cube import small_cube, write


@contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    """Let this process write files of at most so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(small_cube(160), tmp_path_factory.mktemp("cube") / "cube.zarr")


TRAIN = ("--steps", "1", "--chip", "32", "--plain")
ABLATE = ("--protocol", "strict", "--rows", "random", "--passes", "1", "--seeds", "1")


@pytest.mark.parametrize(
    ("command", "words", "limit"),
    [
        (map_landslides, ("--log-ratio",), 1_000),
        (map_landslides, ("--log-ratio",), 40_000),
        (map_landslides, ("--log-ratio",), 120_000),
        (train, TRAIN, 40_000),
        (ablate, ABLATE, 2_000),
    ],
)
def test_a_disk_that_takes_no_more_is_one_sentence(cube, tmp_path, command, words, limit):
    out = tmp_path / "results" / "one"
    with files_of_at_most(limit):
        answer = CliRunner().invoke(command, [str(cube), *words, "--out", str(out)])
    assert answer.exit_code == 9, (answer.output, answer.exception)
    assert answer.stderr.count("\n") == 1 and ".partial" not in answer.stderr
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".json", ".npz")]
    assert not left
    if command is train:
        return  # nothing is kept of an unfinished training, and another one takes long
    again = CliRunner().invoke(command, [str(cube), *words, "--out", str(out)])
    assert again.exit_code == 0, again.output
