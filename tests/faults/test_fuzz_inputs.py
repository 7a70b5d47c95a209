"""Areas, archive items, vectors and manifests with random faults: each is read, or refused by an error that names it.

`SLIDECUBE_TESTS_FUZZ` is the number of examples for each test, drawn at random; without it a small number, always the
same.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.areas.area import AreaOfInterest, load_area, parse_area
from pipeline.catalogue.dem_items import dem_tiles_in
from pipeline.catalogue.passes import group_passes
from pipeline.catalogue.snapshots import parse_catalogue
from pipeline.cube.manifest import parse_manifest
from pipeline.cube.verify import verify_cube
from pipeline.errors import SlidecubeError
from pipeline.grid import Grid
from pipeline.layers.outlines.polygons import counted_polygons
from pipeline.layers.outlines.vectors import read_inventory
from pipeline.sandbox.world import make_world
from tests.faults.budget import budget
from tests.faults.mutations import damaged, mutated
from tests.faults.test_hostile_answers import PARAMETERS
from tests.faults.writer import write

# a warning of a library about a senseless number is no failure of the command
pytestmark = pytest.mark.filterwarnings("default")

EXAMPLES = budget("FUZZ", 0)
fuzz = hypothesis_settings(
    max_examples=EXAMPLES or 40,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
BOUND_S = 20.0
"""longest that one document may take, on a loaded machine"""
PROJECT = Path(__file__).resolve().parents[2]
AREAS = [
    document
    for path in sorted((PROJECT / "aoi").glob("*.yaml"))
    if "kind" not in (document := yaml.safe_load(path.read_text()))
]
T = TypeVar("T")


def read_or_refused(read: Callable[[], T]) -> T | None:
    """What `read` returns, or None where an error of the project names what is wrong."""
    began = time.monotonic()
    try:
        return read()
    except SlidecubeError as error:
        assert error.exit_code > 1 and error.message, error
        assert len(str(error)) < 20_000
        return None
    finally:
        assert time.monotonic() - began < BOUND_S


@dataclass
class Recorded:
    """What an honest archive gives."""

    area: AreaOfInterest
    radar: list[dict[str, Any]]
    tiles: list[dict[str, Any]]
    inventory: bytes


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("fuzz")
    small = yaml.safe_load((PROJECT / "aoi" / "sandbox.yaml").read_text())
    small |= {"name": "small", "bbox": [142.03, 42.72, 142.042, 42.729], "interferometry": None}
    (folder / "small.yaml").write_text(yaml.safe_dump(small))
    area = load_area(folder / "small.yaml")
    make_world(area, folder / "world", PARAMETERS)
    items = [json.loads(path.read_text()) for path in sorted((folder / "world" / "items").glob("*.json"))]
    radar = [item for item in items if item["collection"] == area.rtc_collection]
    tiles = [item for item in items if item["collection"] == "nasadem"]
    assert radar and tiles
    (vector,) = (folder / "world").rglob("inventories.slidecube.example/small.gpkg")
    return Recorded(area, radar, tiles, vector.read_bytes())


@contextmanager
def file_of(content: bytes, path: Path) -> Iterator[Path]:
    path.write_bytes(content)
    yield path
    path.unlink()


@fuzz
@given(st.data())
def test_an_area_of_random_fields(data: st.DataObject) -> None:
    document = data.draw(mutated(AREAS))
    text = yaml.safe_dump(document, allow_unicode=True)
    area = read_or_refused(lambda: parse_area(text, PROJECT / "aoi" / "fuzzed.yaml"))
    if area is not None:
        read_or_refused(lambda: (area.footprint, area.utm_epsg, area.area_km2, Grid.of_area(area)))


@fuzz
@given(st.data())
def test_an_area_of_random_text(data: st.DataObject) -> None:
    text = data.draw(damaged((PROJECT / "aoi" / "sandbox.yaml").read_bytes())).decode("utf-8", "replace")
    read_or_refused(lambda: parse_area(text, PROJECT / "aoi" / "fuzzed.yaml"))


@fuzz
@given(st.data())
def test_items_of_an_archive(recorded: Recorded, data: st.DataObject) -> None:
    items = [data.draw(mutated(recorded.radar)), *recorded.radar]
    found = read_or_refused(lambda: group_passes(items, recorded.area))
    assert found is not None and found.passes, "the sound items are read"


@fuzz
@given(st.data())
def test_elevation_items(recorded: Recorded, data: st.DataObject) -> None:
    items = [data.draw(mutated(recorded.tiles)), *recorded.tiles]
    found = read_or_refused(lambda: dem_tiles_in(items, "nasadem", {}))
    assert found is not None and found.tiles, "the sound items are read"


@fuzz
@given(st.data())
def test_a_saved_catalogue(recorded: Recorded, data: st.DataObject) -> None:
    passes = group_passes(recorded.radar, recorded.area)
    document = {
        "area": recorded.area.model_dump(mode="json"),
        "passes": passes.model_dump(mode="json")["passes"],
    }
    raw = json.dumps(data.draw(mutated([document]))).encode()
    read_or_refused(lambda: parse_catalogue(raw, "fuzzed", recorded.area))


def polygons(path: Path, area: AreaOfInterest) -> int:
    inventory = area.inventory
    assert inventory is not None
    frame = read_inventory(path, inventory)
    return len(counted_polygons(frame, inventory, Grid.of_area(area))[0])


SQUARE = {
    "type": "Feature",
    "properties": {"class": "new", "date": "2018-09-06"},
    "geometry": {
        "type": "Polygon",
        "coordinates": [[[142.031, 42.721], [142.032, 42.721], [142.032, 42.722], [142.031, 42.721]]],
    },
}


@fuzz
@given(st.data())
def test_a_geojson(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    document = data.draw(mutated([{"type": "FeatureCollection", "features": [SQUARE, SQUARE]}]))
    inventory = recorded.area.inventory
    assert inventory is not None
    area = recorded.area.model_copy(update={"inventory": inventory.model_copy(update={"layer": None})})
    path = tmp_path_factory.getbasetemp() / "fuzzed.geojson"
    with file_of(json.dumps(document).encode("utf-8", "surrogatepass"), path):
        read_or_refused(lambda: polygons(path, area))


@fuzz
@given(st.data())
def test_a_geopackage(
    recorded: Recorded, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.gpkg"
    with file_of(data.draw(damaged(recorded.inventory)), path):
        read_or_refused(lambda: polygons(path, recorded.area))


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cube") / "cube"
    write(root)
    return root


@fuzz
@given(st.data())
def test_a_manifest(cube: Path, data: st.DataObject) -> None:
    original = json.loads((cube / "versions" / "2.zarr" / "manifest.json").read_text())
    raw = json.dumps(data.draw(mutated([original]))).encode()
    read_or_refused(lambda: parse_manifest(raw, "fuzzed"))


@fuzz
@given(st.data())
def test_a_cube_whose_manifest_or_metadata_changed_is_not_sound(
    cube: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    copy = tmp_path_factory.getbasetemp() / "fuzzed-cube"
    shutil.copytree(cube, copy)
    try:
        names = ("versions/2.zarr/manifest.json", "versions/2.zarr/zarr.json", "latest")
        path = copy / data.draw(st.sampled_from(names))
        original = json.loads(path.read_text())
        document = data.draw(mutated([original]))
        path.unlink()
        path.write_text(json.dumps(document))
        verdict = read_or_refused(lambda: verify_cube(copy))
        if verdict is not None and json.dumps(document, sort_keys=True) != json.dumps(
            original, sort_keys=True
        ):
            assert not verdict.sound, path.name
    finally:
        shutil.rmtree(copy)
