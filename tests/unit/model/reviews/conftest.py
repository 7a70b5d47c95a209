"""A map of five landslides in a data folder of its own, made once; each test works on a copy of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas as gpd
import pytest

from model import api
from model.maps.review.map_review import ReviewRecord, ReviewRequest, review_map
from pipeline.settings import settings
from tests.quiet_cube import changed, ellipse, later, quiet_cube
from tests.small_cube import write

SIZE = 128
SLIDES = ((30, 30, 9, 5), (30, 90, 9, 5), (80, 30, 8, 6), (80, 90, 10, 4), (110, 60, 7, 7))


def data_folder(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setenv("SLIDECUBE_DATA_DIR", str(folder))
    settings.cache_clear()


@pytest.fixture(scope="session")
def made_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder with the map; read only."""
    root = tmp_path_factory.mktemp("review")
    cube = quiet_cube(SIZE, after=2)
    for slide in SLIDES:
        cube = changed(cube, ellipse(SIZE, *slide), later(cube), 7.0, -4.0)
    event = json.loads(cube.attrs["event"]) | {"epicentre": [141.0, 42.5], "magnitude": 6.6, "depth_km": 35.0}
    cube.attrs |= {"area": "quiet", "event": json.dumps(event)}
    write(cube, root / "quiet.zarr")
    with pytest.MonkeyPatch.context() as patch:
        data_folder(patch, root / "data")
        assert api.map(str(root / "quiet.zarr")).record.polygons == len(SLIDES)
    settings.cache_clear()
    return root / "data"


@pytest.fixture
def folder(made_map: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the map, in a copy of the data folder that the settings name."""
    shutil.copytree(made_map, tmp_path / "data", symlinks=True)
    data_folder(monkeypatch, tmp_path / "data")
    yield tmp_path / "data/maps/quiet/unversioned-detector"
    settings.cache_clear()


def say(folder: Path, **request: object) -> ReviewRecord:
    return review_map(folder, ReviewRequest.model_validate({"who": "Ana", **request}))


def edited(
    file: Path, change: Callable[[gpd.GeoDataFrame], gpd.GeoDataFrame | None], **options: object
) -> Path:
    """The polygons as a person saves them: the layer alone, in the same file."""
    frame = gpd.read_file(file, layer="landslides")
    found = change(frame)
    (frame if found is None else found).to_file(file, layer="landslides", engine="pyogrio", **options)
    return file


def states(record: ReviewRecord) -> dict[int, str]:
    return {one.number: one.review for one in record.polygons}
