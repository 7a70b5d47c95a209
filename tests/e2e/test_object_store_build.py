"""A build whose cubes are in an object store, by the command and the clouds' own variables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.cube.read import open_cube
from pipeline.object_storage.bucket import Bucket
from pipeline.sandbox.posing.server import Sandbox
from tests.e2e.conftest import AREA, SmallWorld, command_for
from tests.s3_server import ACCESS_KEY, SECRET_KEY, variables


def test_a_build_into_an_object_store_a_second_one_and_a_map(
    archive: Sandbox, small_world: SmallWorld, tmp_path: Path, s3_bucket: str, s3_endpoint: str
) -> None:
    data = f"{s3_bucket}/data"
    slidecube = command_for(
        archive, small_world, tmp_path / "unused", **variables(s3_endpoint), SLIDECUBE_DATA_DIR=data,
        SLIDECUBE_WORK_DIR=str(tmp_path / "work"),
    )  # fmt: skip
    built = json.loads(slidecube.run("build", AREA, "--json"))
    assert (built["version"], built["new"], built["failed"]) == (1, True, [])
    assert built["uri"] == f"{data}/cubes/{AREA}/versions/1.zarr"
    assert "sound" in slidecube.run("verify", AREA)
    archive.reset()
    again = json.loads(slidecube.run("build", AREA, "--json"))
    assert (again["version"], again["new"], again["layers_built"]) == (1, False, 0)
    assert [r for r in archive.log if "blob" in r.host and r.method == "GET"] == []
    with open_cube(built["uri"]) as cube:
        assert np.isfinite(cube["vv"][0].values).any() and cube.sizes["timestep"] >= 5
    assert not (tmp_path / "work" / "cubes" / AREA / "versions").exists()
    made = json.loads(slidecube.run("map", AREA, "--json"))
    stored = Bucket(s3_bucket)
    keys = [one.key for one in stored.states("")]
    assert any(key.startswith(f"data/maps/{AREA}/v1-detector") for key in keys), made
    contents = {key: content.data for key in keys if (content := stored.get(key)) is not None}
    contents |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    secrets = (SECRET_KEY.encode(), ACCESS_KEY.encode(), b"X-Amz-")
    assert [key for key, data in contents.items() if any(secret in data for secret in secrets)] == []


def test_a_store_that_is_away_ends_a_build_with_its_own_status(
    archive: Sandbox, small_world: SmallWorld, tmp_path: Path, s3_bucket: str, s3_endpoint: str
) -> None:
    slidecube = command_for(
        archive, small_world, tmp_path, **variables(s3_endpoint),
        SLIDECUBE_DATA_DIR=f"{s3_bucket}-is-not-there/data", SLIDECUBE_WORK_DIR=str(tmp_path),
    )  # fmt: skip
    said = slidecube.run("build", AREA, code=9)
    assert "Traceback" not in said and SECRET_KEY not in said


@pytest.mark.parametrize("address", ["s3://key:s3cret@bucket/x", "s3://bucket/x?X-Amz-Signature=s3cret"])
def test_a_secret_in_the_address_is_refused_and_not_shown(
    archive: Sandbox, small_world: SmallWorld, tmp_path: Path, address: str
) -> None:
    slidecube = command_for(archive, small_world, tmp_path, SLIDECUBE_DATA_DIR=address)
    assert "s3cret" not in slidecube.run("build", AREA, code=2)
