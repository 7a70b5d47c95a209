"""An edited file comes back: verdicts, outlines, deleted and new polygons, another CRS; nothing where one is wrong."""

from __future__ import annotations

import shutil

import geopandas as gpd
import pandas as pd
import pytest
from shapely import affinity
from shapely.geometry import MultiPolygon, Point, Polygon, box

from model.reviews.review_store import read_reviews
from model.reviews.reviewed_polygons import UNREVIEWED
from pipeline.errors import ModelError, SlidecubeError, SourceDataError
from tests.unit.model.reviews.conftest import edited, say, states

X, Y = 500_000.0, 4_700_000.0


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copy(folder / "landslides.gpkg", tmp_path / "edited.gpkg")


def shown(folder):
    return gpd.read_file(folder / "landslides.gpkg", layer="landslides").set_index("id")


def hand_in(folder, file, **request):
    return say(folder, handed_in=file, **request)


def test_a_file_without_a_change_says_nothing(folder, copy):
    record = hand_in(folder, copy)
    assert not record.given and not record.remarks and not (folder.parent / "reviews.json").exists()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32653", "EPSG:3035"])
def test_another_crs_moves_nothing(folder, copy, crs):
    def change(frame):
        frame.loc[frame.id == 1, ["review", "review_note"]] = [" Accepted ", "from the air"]
        return frame.to_crs(crs)

    record = hand_in(folder, edited(copy, change))
    assert record.given == {"accepted": 1} and shown(folder).loc[1, "review_note"] == "from the air"


def test_a_geojson_of_the_release_comes_back(folder, tmp_path):
    frame = gpd.read_file(folder / "landslides.geojson")
    frame.loc[frame.id == 2, "review"] = "rejected"
    frame.to_file(tmp_path / "edited.geojson", driver="GeoJSON")
    record = hand_in(folder, tmp_path / "edited.geojson")
    assert record.given == {"rejected": 1} and states(record)[2] == "rejected"


def test_a_changed_outline_stands_in_the_map(folder, copy):
    before = shown(folder).loc[1]

    def change(frame):
        frame.loc[frame.id == 1, "geometry"] = frame.geometry[frame.id == 1].buffer(15)
        frame.loc[frame.id == 1, ["review_who", "review_note"]] = ["Ben", "wider"]

    record = hand_in(folder, edited(copy, change))
    after = shown(folder).loc[1]
    assert record.given == {"edited": 1} and after["review"] == "edited" and after["review_who"] == "Ben"
    assert (
        after["area_m2"] == pytest.approx(after.geometry.area, rel=1e-6)
        and after["area_m2"] > 1.2 * before["area_m2"]
    )
    assert after["mean_score"] == before["mean_score"] and pd.isna(after["det_method"])
    again = hand_in(folder, shutil.copy(folder / "landslides.gpkg", copy))
    assert not again.given and len(read_reviews("quiet").verdicts) == 1


def test_a_deleted_polygon_is_rejected_and_most_of_them_need_a_word(folder, copy, tmp_path):
    few = edited(shutil.copy(copy, tmp_path / "few.gpkg"), lambda frame: frame[frame.id != 4])
    record = hand_in(folder, few)
    assert record.given == {"rejected": 1} and states(record)[4] == "rejected" and record.remarks
    most = edited(copy, lambda frame: frame[frame.id == 1])
    with pytest.raises(ModelError):
        hand_in(folder, most)
    assert not hand_in(folder, most, deleted="keep").given
    assert hand_in(folder, most, deleted="reject").given == {"rejected": 3}, "of which one was before"


def test_a_new_polygon_is_in_this_map_and_in_the_next(folder, copy, made_map):
    from model import api

    new = box(X + 200, Y - 700, X + 260, Y - 640)

    def change(frame):
        row = gpd.GeoDataFrame({"review_note": ["missed"]}, geometry=[new], crs=frame.crs)
        return pd.concat([frame, row], ignore_index=True)

    record = hand_in(folder, edited(copy, change))
    assert record.given == {"edited": 1} and record.summary.drawn == 1 and states(record)[6] == "edited"
    row = shown(folder).loc[6]
    assert (
        row.geometry.symmetric_difference(new).area < 1
        and pd.isna(row["mean_score"])
        and row["review_note"] == "missed"
    )
    later = api.map(str(made_map.parent / "quiet.zarr"), out=folder.parent / "v2-detector").record
    assert later.review.drawn == 1 and later.polygons == 5
    stale = say(folder, handed_in=folder / "landslides.geojson")
    assert not stale.given, "its own drawn polygon is no second one"
    assert say(folder, withdraw=(6,)).summary is None


def test_a_merge_and_a_split(folder, copy, tmp_path):
    """QGIS keeps the number of the first of merged polygons, and of both halves of a split one."""
    halves = tmp_path / "split.gpkg"
    shutil.copy(copy, halves)

    def merge(frame):
        both = frame.geometry[frame.id.isin([1, 2])].union_all().convex_hull
        frame.loc[frame.id == 1, "geometry"] = both
        return frame[frame.id != 2]

    def split(frame):
        row = frame[frame.id == 5]
        left, bottom, right, top = row.total_bounds
        middle = (left + right) / 2
        parts = [box(left, bottom, middle, top), box(middle, bottom, right, top)]
        pieces = [row.set_geometry(row.intersection(part)) for part in parts]
        return pd.concat([frame[frame.id != 5], *pieces], ignore_index=True)

    record = hand_in(folder, edited(copy, merge))
    assert record.given == {"edited": 1} and len(record.polygons) == 4 and states(record)[1] == "edited"
    assert read_reviews("quiet").verdicts[0].replaces.__len__() == 2
    halved = hand_in(folder, edited(halves, split), deleted="keep")
    assert halved.given["edited"] == 2 and halved.summary.edited >= 2


def test_several_parts_are_several_polygons(folder, copy):
    def change(frame):
        polygon = frame.geometry[frame.id == 3].iloc[0]
        frame.loc[frame.id == 3, "geometry"] = MultiPolygon(
            [polygon.buffer(20), box(X + 30, Y - 660, X + 80, Y - 610)]
        )

    record = hand_in(folder, edited(copy, change))
    assert record.given == {"edited": 2} and record.summary.drawn == 1


def test_an_older_file_withdraws_nothing(folder, copy):
    say(folder, accept=(1,), reject=(2,))
    record = hand_in(folder, copy)
    assert not record.given and states(record)[1] == "accepted"

    edited(copy, lambda frame: frame.loc.__setitem__((frame.id == 2, "review"), "accepted"))
    assert states(hand_in(folder, copy))[2] == "accepted", "the later verdict counts"


def test_a_bow_is_repaired_and_said(folder, copy):
    def change(frame):
        left, bottom, right, top = frame.geometry[frame.id == 1].iloc[0].bounds
        bow = Polygon([(left, bottom), (right, top), (right, bottom), (left, top)])
        frame.loc[frame.id == 1, "geometry"] = bow

    record = hand_in(folder, edited(copy, change))
    assert "repaired" in " ".join(record.remarks) and record.given["edited"] >= 1
    assert shown(folder).geometry.is_valid.all()


def test_other_columns_are_not_taken_and_named(folder, copy):
    record = hand_in(folder, edited(copy, lambda frame: frame.__setitem__("mean_score", 99.0)))
    assert not record.given and "mean_score" in " ".join(record.remarks)
    assert shown(folder)["mean_score"].max() < 99


def test_a_shapefile_without_numbers_is_matched_by_place(folder, copy, tmp_path):
    frame = gpd.read_file(copy, layer="landslides")[["review", "geometry"]]
    frame.loc[0, "review"] = "accepted"
    frame.to_file(tmp_path / "edited.shp")
    assert states(hand_in(folder, tmp_path / "edited.shp"))[1] == "accepted"


def far(frame):
    frame.loc[0, "geometry"] = affinity.translate(frame.geometry[0], 90_000)


def on_two_continents(frame):
    return frame.set_crs("EPSG:32719", allow_override=True)


def points(frame):
    return frame.set_geometry([Point(X, Y)] * len(frame))


def odd_word(frame):
    frame.loc[0, "review"] = "maybe'); DROP TABLE landslides; --"


def nothing_left(frame):
    frame.loc[0, "geometry"] = None


@pytest.mark.parametrize("change", [far, on_two_continents, points, odd_word, nothing_left])
def test_one_wrong_feature_and_nothing_is_taken(folder, copy, change):
    def both(frame):
        frame.loc[frame.id == 3, "review"] = "accepted"
        return change(frame) if change in (on_two_continents, points) else (change(frame), frame)[1]

    page = (folder / "index.html").read_bytes()
    with pytest.raises(SlidecubeError) as refused:
        hand_in(folder, edited(copy, both))
    assert isinstance(refused.value, ModelError | SourceDataError)
    assert not (folder.parent / "reviews.json").exists() and (folder / "index.html").read_bytes() == page


@pytest.mark.parametrize(
    "content",
    [b"", b"no map", b"SQLite format 3\0" + b"\xff" * 4000, b"PK\x03\x04rest", b"<OGRVRTDataSource/>"],
)
def test_a_file_that_is_none(folder, tmp_path, content):
    (tmp_path / "edited.gpkg").write_bytes(content)
    with pytest.raises(SlidecubeError):
        hand_in(folder, tmp_path / "edited.gpkg")


def test_a_file_without_a_projection_is_refused(folder, copy, tmp_path):
    frame = gpd.read_file(copy, layer="landslides")[["id", "review", "geometry"]]
    frame.to_file(tmp_path / "edited.shp")
    (tmp_path / "edited.prj").unlink()
    with pytest.raises(SourceDataError):
        hand_in(folder, tmp_path / "edited.shp")


def test_nobody_is_named(folder, copy):
    file = edited(copy, lambda frame: frame.loc.__setitem__((frame.id == 3, "review"), "accepted"))
    with pytest.raises(ModelError):
        hand_in(folder, file, who="")
    file = edited(copy, lambda frame: frame.loc.__setitem__((frame.id == 3, "review_who"), "Ben"))
    assert hand_in(folder, file, who="").given == {"accepted": 1}
    assert set(states(say(folder)).values()) == {"accepted", UNREVIEWED}
