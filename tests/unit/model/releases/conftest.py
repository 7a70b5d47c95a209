"""One release of the detector, whose cube has hostile names; and the same map as a model would have made it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from shapely.geometry import LineString, Point, box

from model import api
from model.maps.map_plan import DetectorMapPlan
from model.releases.finished_map import FinishedMap
from model.releases.polygon_attributes import described, reviewed
from tests.quiet_cube import changed, ellipse, later, quiet_cube
from tests.small_cube import write

SIZE = 128
SLIDE = ellipse(SIZE, 50, 70, 14, 7)
LEFT, TOP = 500_000.0, 4_700_000.0
HOSTILE = "<script>alert(1)</script>]]>\"'&\x07\u202ereversed {{ 7*7 }} =cmd"
LICENCE = "<img src=x onerror=alert(2)> licence"
EPICENTRE = (141.0, 42.5)


def hostile_cube() -> xr.Dataset:
    """A landslide that two passes see, no data at the left, flat ground at the bottom, markup in every text."""
    cube = changed(quiet_cube(SIZE, after=2), SLIDE, later(quiet_cube(SIZE, after=2)), 7.0, -4.0)
    for name in ("vv", "vh"):
        cube[name].values[:, :, :5] = np.nan
    cube["dem_slope_radians"].values[90:] = 0.0
    event = json.loads(cube.attrs["event"]) | {"epicentre": EPICENTRE}
    cube.attrs |= {
        "area": HOSTILE, "license": LICENCE, "attribution": HOSTILE, "missing": [HOSTILE], "event": json.dumps(event),
        "simulated": True,
    }  # fmt: skip
    cube["platform"] = ("timestep", np.array([HOSTILE] * cube.sizes["timestep"], dtype=object))
    return cube


def exposure_files(folder: Path) -> tuple[Path, ...]:
    """Houses, a road through the landslide, two administrative units."""
    x, y = LEFT + 705, TOP - 505
    houses = [Point(x, y), Point(x, y + 10), Point(LEFT + 1200, TOP - 1200), Point(LEFT - 9000, TOP)]
    road = LineString([(LEFT + 100, y), (LEFT + 1270, y)])
    west = box(LEFT - 500, TOP - 1500, LEFT + 705, TOP + 500)
    east = box(LEFT + 705, TOP - 1500, LEFT + 2500, TOP + 500)
    frames = {
        "houses.gpkg": gpd.GeoDataFrame(geometry=houses, crs=32654),
        "roads.geojson": gpd.GeoDataFrame(geometry=[road], crs=32654).to_crs(4326),
        "districts.gpkg": gpd.GeoDataFrame({"name": ["=West", HOSTILE]}, geometry=[west, east], crs=32654),
    }
    for name, frame in frames.items():
        frame.to_file(folder / name)
    return tuple(folder / name for name in frames)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[FinishedMap, Path]:
    """What the products were made of, and the folder of the release."""
    root = tmp_path_factory.mktemp("release")
    write(hostile_cube(), root / "cube.zarr")
    kept: list[FinishedMap] = []
    with pytest.MonkeyPatch.context() as patch:
        from model.maps import release

        real = release.add_products
        patch.setattr(release, "add_products", lambda finished: (kept.append(finished), real(finished)))
        plan = DetectorMapPlan(exposure=exposure_files(root))
        record = api.map(str(root / "cube.zarr"), plan=plan, out=root / "map").record
    return replace(kept[0], folder=record.path), record.path


@pytest.fixture(scope="session")
def folder(made: tuple[FinishedMap, Path]) -> Path:
    return made[1]


@pytest.fixture(scope="session")
def by_model(made: tuple[FinishedMap, Path]) -> FinishedMap:
    """The same map as one of a model: probabilities in place of scores, no status."""
    finished, _ = made
    frame = finished.mapped.drop(
        columns=[
            "status",
            "status_words",
            "mean_score",
            "max_score",
            "first_seen",
            "last_seen",
            "score_class",
        ]
    )
    frame["mean_probability"] = pd.Series(np.linspace(0.2, 0.95, len(frame)), index=frame.index)
    record = finished.record.model_copy(
        update={"kind": "model", "model": "ab" * 32, "threshold": 0.4, "statuses": {}}
    )
    mapped = described(frame, hostile_cube(), finished.reference, record)
    return reviewed(replace(finished, mapped=mapped, frame=mapped, record=record), None)
