"""Errors of decoding, which come long after a cube was opened, name the cube; others stay what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr

from pipeline.cube.read import decoding
from pipeline.errors import CubeError, ModelError


def test_a_chunk_that_cannot_be_decoded_names_the_cube(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "one.zarr", shape=(4,), chunks=(4,), dtype="f4")
    array[:] = 1.0
    (chunk,) = (tmp_path / "one.zarr" / "c").iterdir()
    chunk.write_bytes(b"nothing that was compressed")
    with pytest.raises(CubeError, match=r"one\.zarr") as told, decoding("data/one.zarr"):
        zarr.open_array(tmp_path / "one.zarr")[:]
    assert told.value.exit_code == 5


@pytest.mark.parametrize("error", [ValueError("ours"), ModelError("ours"), OSError(28, "full")])
def test_an_error_of_another_origin_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as told, decoding("data/one.zarr"):
        raise error
    assert told.value is error
