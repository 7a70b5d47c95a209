"""Verdicts by number: kept beside the maps, shown by every file of the release, carried to the next map."""

from __future__ import annotations

import json

import geopandas as gpd
import pyogrio
import pytest
from click.testing import CliRunner
from lxml import etree

from model import api
from model.cli.reviews import review
from model.maps.review.map_review import labels_of
from model.origin import changes, read_made
from model.reviews.review_store import read_reviews
from model.reviews.reviewed_polygons import UNREVIEWED
from pipeline.errors import ModelError, ReplaceError
from pipeline.settings import settings
from tests.quiet_cube import quiet_cube
from tests.small_cube import write
from tests.unit.model.reviews.conftest import edited, say, states

NOTE = "<b>seen</b> on Planet"


def layer(folder, name="landslides"):
    return gpd.read_file(folder / "landslides.gpkg", layer=name)


def test_what_is_said_is_in_every_file(folder):
    record = say(folder, accept=(1, 2), reject=(3,), note=NOTE)
    assert record.given == {"accepted": 2, "rejected": 1} and record.shown
    assert states(record) == {1: "accepted", 2: "accepted", 3: "rejected", 4: UNREVIEWED, 5: UNREVIEWED}
    frame = layer(folder).set_index("id")
    assert dict(frame["review"]) == states(record)
    assert (
        frame.loc[3, "review_who"] == "Ana"
        and frame.loc[3, "review_note"] == NOTE
        and frame.loc[3, "review_when"] is not None
    )
    assert layer(folder, "area")["review"].item() == "partly reviewed"
    features = json.loads((folder / "landslides.geojson").read_text())["features"]
    assert {f["properties"]["id"]: f["properties"]["review"] for f in features} == states(record)
    kml = etree.parse(folder / "landslides.kml")
    space = {"k": "http://www.opengis.net/kml/2.2"}
    assert NOTE in {one.text for one in kml.findall(".//k:Data[@name='review_note']/k:value", space)}
    report = json.loads((folder / "report.json").read_text())["map"]["review"]
    assert (report["accepted"], report["rejected"], report["unreviewed"]) == (2, 1, 2)
    item = json.loads((folder / "map.stac.json").read_text())["properties"]
    assert item["slidecube:review"] == "partly reviewed" and item["slidecube:review_rejected"] == 1
    page = (folder / "index.html").read_text()
    assert "Partly reviewed." in page and "<b>seen" not in page
    assert "partly reviewed" in (folder.parents[1] / "feed.atom").read_text()
    assert (
        pyogrio.read_info(folder / "landslides.gpkg", layer="landslides")["layer_metadata"]["REVIEW"]
        == "partly reviewed"
    )
    assert "2 accepted" in (folder / "report.md").read_text()
    without = frame.loc[frame["review"] != "rejected"].geometry.area.sum() / 1e6
    assert report["landslide_km2"] == pytest.approx(without, abs=1e-6)


def test_checksums_name_the_files_as_they_are(folder):
    import hashlib

    say(folder, all="accept")
    assets = json.loads((folder / "map.stac.json").read_text())["assets"]
    for asset in assets.values():
        content = (folder / asset["href"]).read_bytes()
        assert asset["file:checksum"] == f"1220{hashlib.sha256(content).hexdigest()}"


def test_an_unreviewed_map_says_so(folder):
    record = say(folder)
    assert record.summary is None and record.shown and not record.renewed
    assert "Unreviewed." in (folder / "index.html").read_text()
    assert not (folder.parent / "reviews.json").exists()


def test_a_reviewed_map_is_still_the_map_that_was_made(folder):
    rasters = {path.name: path.read_bytes() for path in folder.glob("*.tif")}
    say(folder, accept=(1,))
    made = read_made(folder)
    assert made is not None and not changes(folder, made)
    assert {path.name: path.read_bytes() for path in folder.glob("*.tif")} == rasters
    assert set(made.files) == {path.name for path in folder.iterdir()}


def test_another_map_of_the_area_inherits(folder, made_map):
    say(folder, accept=(1,), reject=(3,), note="first")
    cube = made_map.parent / "quiet.zarr"
    again = api.map(
        str(cube), plan=api.DetectorMapPlan(threshold=5.0), out=folder.parent / "v2-detector"
    ).record
    frame = layer(again.path)
    assert again.review is not None and (again.review.accepted, again.review.rejected) == (1, 1)
    assert set(frame.loc[frame["review"] != UNREVIEWED, "review_note"]) == {"first"}
    kept = say(again.path, withdraw=tuple(frame.loc[frame["review"] == "rejected", "id"]))
    assert kept.summary.rejected == 0 and len(read_reviews("quiet").verdicts) == 3, "none is ever removed"
    assert say(folder).summary.rejected == 0, "of the first map neither"


def test_the_map_that_latest_points_at_is_renewed_too(folder, made_map):
    cube = made_map.parent / "quiet.zarr"
    later = api.map(
        str(cube), plan=api.DetectorMapPlan(threshold=5.0), out=folder.parent / "v2-detector"
    ).record
    (folder.parent / "latest").unlink()
    (folder.parent / "latest").symlink_to("v2-detector")
    record = say(folder, all="reject")
    assert [path.name for path in record.renewed] == [folder.name, "v2-detector"]
    assert set(layer(later.path)["review"]) == {"rejected"}


def test_a_verdict_can_be_changed_and_taken_back(folder):
    say(folder, accept=(1,))
    assert states(say(folder, reject=(1,)))[1] == "rejected"
    assert states(say(folder, withdraw=(1,)))[1] == UNREVIEWED
    assert [one.judgement for one in read_reviews("quiet").verdicts] == ["accepted", "rejected", "withdrawn"]
    assert say(folder).summary is None


def test_all_is_what_is_not_named(folder):
    say(folder, reject=(2,))
    record = say(folder, all="accept", reject=(1,))
    assert states(record) == {1: "rejected", 2: "rejected", 3: "accepted", 4: "accepted", 5: "accepted"}
    assert record.summary.state == "reviewed"


@pytest.mark.parametrize(
    "request_",
    [
        {"accept": (99,)}, {"accept": (1,), "reject": (1,)}, {"withdraw": (1,)}, {"accept": (1,), "who": " "},
        {"accept": (1,), "who": "x" * 201}, {"accept": (1,), "note": "x" * 2001},
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_and_nothing_kept(folder, request_):
    before = (folder / "index.html").read_bytes()
    with pytest.raises(ModelError):
        say(folder, **request_)
    assert not (folder.parent / "reviews.json").exists() and (folder / "index.html").read_bytes() == before


def test_a_dry_run_keeps_nothing(folder):
    record = say(folder, accept=(1,), dry_run=True)
    assert record.given == {"accepted": 1} and not (folder.parent / "reviews.json").exists()


def test_a_damaged_document_is_never_replaced_and_maps_are_still_made(folder, made_map):
    document = folder.parent / "reviews.json"
    document.write_text('{"area": "quiet", "verdicts": [{}]}')
    with pytest.raises(ModelError):
        say(folder, accept=(1,))
    assert document.read_text() == '{"area": "quiet", "verdicts": [{}]}'
    record = api.map(str(made_map.parent / "quiet.zarr"), out=folder.parent / "other").record
    assert record.review is not None and record.review.digest == ""
    assert "could not be read" in (record.path / "index.html").read_text()


def test_work_by_hand_is_not_lost(folder):
    edited(
        folder / "landslides.gpkg", lambda frame: frame.loc.__setitem__((frame.id == 2, "review"), "accepted")
    )
    (folder / "my notes.txt").write_text("mine")
    with pytest.raises(ReplaceError):
        say(folder, accept=(1,))
    assert not (folder.parent / "reviews.json").exists()
    record = say(folder, accept=(1,), handed_in=folder / "landslides.gpkg")
    assert states(record)[1] == states(record)[2] == "accepted"
    assert (folder / "my notes.txt").read_text() == "mine"


def test_a_folder_of_an_earlier_release_is_named(folder):
    (folder / "mapped.parquet").unlink()
    with pytest.raises(ModelError):
        say(folder, accept=(1,))


@pytest.mark.parametrize("name", ["release.json", "mapped.parquet", "page-score.png", "report.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 99, b"[" * 9999])
def test_a_damaged_folder_is_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError):
        say(folder, accept=(1,))


def test_verdicts_become_an_inventory(folder, tmp_path):
    with pytest.raises(ModelError):
        labels_of(folder, tmp_path / "labels.gpkg")
    say(folder, accept=(1, 2), reject=(3,))
    written = labels_of(folder, tmp_path / "labels.gpkg")
    assert (written.landslides, written.without) == (2, 1)
    slides = gpd.read_file(written.inventory["url"], layer=written.inventory["layer"])
    ground = gpd.read_file(written.inventory["extent"], layer=written.inventory["extent_layer"])
    assert len(slides) == 2 and len(ground) == 3 and slides.crs.to_epsg() == 4326
    with pytest.raises(ModelError):
        labels_of(folder, tmp_path / "labels.txt")


def test_the_inventory_labels_a_cube(folder, tmp_path):
    """Accepted is landslide, rejected is mapped ground without one, the rest is not mapped."""
    import numpy as np

    from pipeline.areas.area import Inventory
    from pipeline.grid import Grid
    from pipeline.layers import label_rasters
    from pipeline.layers.outlines.vectors import read_features

    say(folder, accept=(1,), reject=(3,))
    written = labels_of(folder, tmp_path / "labels.gpkg")
    inventory = Inventory.model_validate(written.inventory)
    grid = Grid(epsg=32654, left=500_000.0, top=4_700_000.0, width=128, height=128, resolution_m=10.0)
    extent = read_features(tmp_path / "labels.gpkg", inventory.extent_layer).geometry
    from datetime import date

    frame = label_rasters.read_inventory(tmp_path / "labels.gpkg", inventory)
    made = label_rasters.rasterise_labels(
        frame, inventory, grid, extent, (date(2018, 9, 5), date(2018, 9, 6))
    )
    labels = np.asarray(made.arrays["landslides"])
    shown = layer(folder).set_index("id").geometry.area / 100
    assert (labels == 1).sum() == pytest.approx(shown[1], abs=2)
    assert (labels == 0).sum() == pytest.approx(shown[3], abs=2)
    assert np.isnan(labels).sum() == pytest.approx(128 * 128 - shown[1] - shown[3], abs=4)


def test_a_map_that_a_kill_put_aside_comes_back(folder):
    aside = folder.parent / f".{folder.name}.abcdefgh.old"
    aside.mkdir()
    folder.rename(aside / "old")
    done = CliRunner().invoke(review, ["quiet"])
    assert done.exit_code == 0, done.output
    assert (folder / "index.html").is_file() and not aside.exists()


def test_the_command_lists_and_takes(folder, tmp_path):
    run = lambda *words: CliRunner().invoke(review, list(words))  # noqa: E731
    done = run("quiet", "--accept", "1,3-4", "--who", "Ana", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["summary"]["accepted"] == 3
    listed = run("quiet/unversioned-detector")
    assert listed.exit_code == 0 and listed.stdout.count("accepted") >= 3
    assert all(len(line) <= 80 for line in run("quiet").stdout.splitlines()[:7])
    for words, status in (
        (("nowhere",), 7), (("quiet", "--accept", "1-"), 2), (("quiet", "--accept", "x"), 2),
        (("quiet", "--deleted", "keep"), 2), (("quiet", "--accept", "2"), 7), (("quiet/..",), 7),
    ):  # fmt: skip
        assert run(*words).exit_code == status, words


def test_links_to_cube_and_map_can_move_together(folder):
    """The data folder may be moved: no document of the catalogue names its place, where the cube lies within."""
    data = settings().data_dir
    cube = data / "cubes" / "quiet.zarr"
    cube.parent.mkdir(parents=True)
    write(quiet_cube(64), cube)
    record = api.map(str(cube), replace=True).record
    item = json.loads((record.path / "cube.stac.json").read_text())
    href = item["assets"]["cube"]["href"]
    assert href == "../../../cubes/quiet.zarr" and (record.path / href).resolve() == cube.resolve()
    for name in ("catalog.json", "map.stac.json", "cube.stac.json"):
        assert str(data) not in (record.path / name).read_text(), name
