"""A review killed at any operation on the disk: the map is the old or the new one, and no verdict is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import pytest

from model import api
from model.maps.review.map_review import ReviewRequest, review_map
from pipeline.settings import settings
from tests.faults.budget import budget
from tests.quiet_cube import changed, ellipse, later, quiet_cube
from tests.small_cube import write

REVIEWER = Path(__file__).parent / "reviewer.py"
POINTS = budget("REVIEW_KILLS", 6)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cube = quiet_cube(96, after=2)
    for slide in ((30, 30, 9, 5), (60, 60, 9, 5)):
        cube = changed(cube, ellipse(96, *slide), later(cube), 7.0, -4.0)
    write(cube, tmp_path / "quiet.zarr")
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    settings.cache_clear()
    assert (api.map(str(tmp_path / "quiet.zarr")).record.polygons or 0) >= 2
    yield tmp_path / "data"
    settings.cache_clear()


def shown(folder: Path) -> dict[int, str]:
    frame = gpd.read_file(folder / "landslides.gpkg", layer="landslides")
    return dict(zip(frame["id"], frame["review"], strict=True))


def test_a_kill_leaves_the_old_or_the_new(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, str(REVIEWER), str(data / "maps/quiet"), str(POINTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    new = shown(data.with_name("data.undisturbed") / "maps/quiet/unversioned-detector")
    old = dict.fromkeys(new, "unreviewed")
    assert (new[1], new[2]) == ("accepted", "rejected")
    met = set()
    for deadly in json.loads(done.stdout):
        root = data.with_name(f"data.{deadly}")
        monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(root))
        settings.cache_clear()
        folder, document = root / "maps/quiet/unversioned-detector", root / "maps/quiet/reviews.json"
        kept = document.exists()
        if folder.exists():  # for an instant neither has its name; the next call brings the old one back
            assert shown(folder) in ((old, new) if kept else (old,))
        state = review_map(folder, ReviewRequest())
        assert {one.number: one.review for one in state.polygons} == (new if kept else old)
        assert state.shown == (shown(folder) == (new if kept else old))
        met.add((kept, state.shown))
        review_map(
            folder, ReviewRequest(renew=True) if kept else ReviewRequest(accept=(1,), reject=(2,), who="Ana")
        )
        assert shown(folder) == new
        assert not [
            path for path in folder.parent.iterdir() if path.name.endswith((".partial", ".old", ".part"))
        ]
    assert {(False, True), (True, False)} <= met
