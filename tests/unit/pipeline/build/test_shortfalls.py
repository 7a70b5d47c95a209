"""What the archives list and a build does not get: named, never in silence, and never at the cost of what was there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from shapely.geometry import box

from pipeline.archives.inventories import inventory_fingerprint
from pipeline.build import run as build
from pipeline.build.shortfalls import falls_short
from pipeline.catalogue.assets import Asset, local_asset
from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.snapshots import save_catalogue
from pipeline.cli import build as command
from pipeline.cube.local_store import LocalStore
from pipeline.cube.manifest import Manifest, Timestep
from pipeline.cube.read import open_cube
from pipeline.cube.verify import verify_cube
from pipeline.cube.versions import publish as publish_version
from pipeline.cube.versions import read_manifest, version_numbers
from pipeline.errors import IncompleteError
from pipeline.layers.backscatter import Backscatter
from pipeline.layers.labels import Labels
from pipeline.layers.terrain import Terrain
from tests.unit.pipeline.build.test_build_pairs import catalogue_of, here, hills_tile, installed, rtc
from tests.unit.pipeline.catalogue.test_passes import item

__all__ = ["installed", "rtc"]

KINDS = (Backscatter(), Terrain(), Labels())
PLACE = {"bbox": (142.3, 42.69, 142.31, 42.70), "interferometry": None}


class Archive:
    """An area, and what its archive lists and has. Everything is on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.searches = folder, 0
        self.items: list[dict[str, Any]] = []
        self.tiles: list[dict[str, Any]] = []
        self.gone: set[str] = set()
        """hrefs of files that are listed and that no server has"""
        self.fields: dict[str, Any] = {}

    def scene(self, name: str, start: str, values: float, west: float = 142.0, east: float = 143.0) -> str:
        """List a slice of constant backscatter between two meridians; returns the address of its file."""
        path = self.folder / f"{name}.tif"
        grid = build.Grid.of_area(here(**PLACE))
        left, right = (
            grid.left - 500 if west <= 142.0 else grid.left + grid.width * 5,
            grid.bounds[2] + 500 if east >= 143.0 else grid.left + grid.width * 5,
        )
        width = round((right - left) / 10)
        with rasterio.open(
            path, "w", driver="GTiff", width=width, height=300, count=1, dtype="float32",
            crs=f"EPSG:{grid.epsg}", transform=Affine(10, 0, left, 0, -10, grid.top + 500),
        ) as file:  # fmt: skip
            file.write(np.full((300, width), values, "float32"), 1)
        listed = item(start, west=west, east=east, name=name)
        listed["properties"]["proj:epsg"] = grid.epsg
        listed["assets"] = {"vv": {"href": str(path), "file:size": path.stat().st_size}}
        self.items.append(listed)
        return str(path)

    def inventory(self, name: str, *, sound: bool = True) -> None:
        """Make the area name an inventory of one square."""
        path = self.folder / f"{name}.geojson"
        if sound:
            geopandas.GeoDataFrame(geometry=[box(142.304, 42.694, 142.306, 42.696)], crs=4326).to_file(path)
        else:
            path.write_text("no vector file")
        self.fields["inventory"] = {
            "name": name,
            "url": str(path),
            "citation": f"{name} 2018",
            "licence": "CC0-1.0",
        }

    @property
    def area(self) -> Any:
        return here(**PLACE, **self.fields)

    def search(self, *notes: str) -> Catalogue:
        files = [asset["href"] for one in (*self.items, *self.tiles) for asset in one["assets"].values()]
        probes: dict[str, Asset | None] = {href: local_asset(href) for href in files if href not in self.gone}
        inventory, remarks = inventory_fingerprint(self.area.inventory)
        plain = catalogue_of(self.area, self.items[0], None, *notes, *remarks)
        update = {"rtc_items": tuple(self.items), "dem_items": tuple(self.tiles), "probes": probes}
        return plain.model_copy(update={**update, "inventory": inventory})

    def build(self) -> build.Published:
        self.searches += 1
        replay = save_catalogue(self.search(), LocalStore(self.folder / f"search-{self.searches}"))
        return build.build(self.area, Path(replay), kinds=KINDS)

    @property
    def manifest(self) -> Manifest:
        store = build.store_of(self.area)
        return read_manifest(store, version_numbers(store)[-1])


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """One pass of two slices, west and east."""
    made = Archive(tmp_path)
    made.scene("west", "2018-09-05 20:31:00+00:00", 0.2, east=142.305)
    made.scene("east", "2018-09-05 20:31:25+00:00", 0.3, west=142.305)
    return made


def test_a_build_that_gets_everything_is_complete(archive: Archive) -> None:
    archive.tiles.append(hills_tile(archive.folder))
    archive.inventory("NIED")
    published = archive.build()
    assert (published.complete, published.undelivered, published.failed) == (True, (), ())
    assert archive.manifest.missing == ()
    assert b"undelivered" not in archive.manifest.to_bytes()


def test_a_pass_without_any_data_is_named(archive: Archive) -> None:
    archive.scene("dark", "2018-09-17 20:31:00+00:00", 0.0)
    archive.items[-1]["properties"]["sat:absolute_orbit"] += 175
    published = archive.build()
    (line,) = published.undelivered
    assert line in published.missing and line.startswith("vv 2018-09-17 20:31")
    assert not published.complete
    again = archive.build()
    assert (again.new, again.undelivered) == (False, published.undelivered)


@pytest.mark.parametrize("how", ["gone", "dark"])
def test_a_pass_of_which_half_is_absent_is_named(archive: Archive, how: str) -> None:
    if how == "gone":
        archive.gone.add(archive.items[1]["assets"]["vv"]["href"])
    else:
        archive.items.pop()
        archive.scene("east", "2018-09-05 20:31:25+00:00", 0.0, west=142.305)
    published = archive.build()
    (line,) = published.undelivered
    assert line in published.missing and line.startswith("vv 2018-09-05 20:31")
    with open_cube(published.uri) as cube:
        assert 0.4 < float(cube["vv_coverage"][0]) < 0.6


def test_a_pass_that_was_whole_is_not_replaced_by_half_of_it(archive: Archive) -> None:
    archive.build()
    before = archive.manifest.timesteps
    archive.gone.add(archive.items[1]["assets"]["vv"]["href"])
    published = archive.build()
    assert archive.manifest.timesteps == before
    (line,) = published.undelivered
    assert before[0].pass_id in line and line in published.missing
    assert verify_cube(build.store_of(archive.area).uri).sound
    assert not archive.build().new, "the same state again is no new version"
    archive.gone.clear()
    assert archive.build().complete


def later(archive: Archive, name: str = "later", day: int = 17) -> str:
    """List a further pass; returns the id of its item."""
    archive.scene(name, f"2018-09-{day} 20:31:00+00:00", 0.2)
    archive.items[-1]["properties"]["sat:absolute_orbit"] += 175 * day
    return str(archive.items[-1]["id"])


def with_a_pass_lost(archive: Archive) -> tuple[str, tuple[Timestep, ...], dict[str, Any]]:
    """Build, and take the later pass out of the archive's list: its item, the passes before, its item's content."""
    item_id = later(archive)
    assert archive.build().complete
    return item_id, archive.manifest.timesteps, archive.items.pop()


@pytest.mark.parametrize("how", ["not listed", "a bad record"])
def test_a_pass_that_the_archive_no_longer_lists_is_kept_and_named(archive: Archive, how: str) -> None:
    _, before, lost = with_a_pass_lost(archive)
    if how == "a bad record":
        lost["properties"]["sat:relative_orbit"] = None
        archive.items.append(lost)
    plan = build.make_plan(archive.area, archive.search(), kinds=KINDS)
    published = archive.build()
    assert archive.manifest.timesteps == before
    (line,) = [line for line in published.missing if before[-1].pass_id in line]
    assert line in plan.missing and line in archive.manifest.missing
    # what an archive does not list, or lists as a record that nobody can read, makes no version incomplete
    assert published.complete and published.undelivered == () == archive.manifest.undelivered
    assert verify_cube(build.store_of(archive.area).uri).sound
    assert not archive.build().new
    # listed again, nothing is named and nothing is read
    archive.items = [one for one in archive.items if one is not lost]
    lost["properties"]["sat:relative_orbit"] = 46
    archive.items.append(lost)
    healed = archive.build()
    assert healed.layers_built == 0 and not any(before[-1].pass_id in line for line in healed.missing)


@pytest.mark.parametrize("why", ["the item excluded", "the pass excluded", "another time range"])
def test_a_pass_that_the_area_no_longer_wants_is_left_out_by_name(archive: Archive, why: str) -> None:
    item_id, before, _ = with_a_pass_lost(archive)
    if why.endswith("excluded"):
        archive.fields["exclude"] = (item_id if "item" in why else before[-1].pass_id,)
    else:
        archive.fields["end"] = "2018-09-10T00:00:00Z"
    plan = build.make_plan(archive.area, archive.search(), kinds=KINDS)
    assert any(before[-1].pass_id in note for note in plan.notes)
    assert not any(before[-1].pass_id in line for line in plan.missing)
    archive.build()
    assert len(archive.manifest.timesteps) == 1


def test_a_pass_of_another_collection_does_not_stay_beside_those_of_the_area(archive: Archive) -> None:
    _, before, _ = with_a_pass_lost(archive)
    store = build.store_of(archive.area)
    old = archive.manifest
    other = old.model_copy(
        update={"attributes": {**old.attributes, "sources": ["backscatter: opera-rtc at https://x.example"]}}
    )
    publish_version(store, other)
    plan = build.make_plan(archive.area, archive.search(), kinds=KINDS)
    assert any(before[-1].pass_id in note and "collection" in note for note in plan.notes)


def test_a_pass_of_which_a_slice_is_no_longer_listed_stays_whole(archive: Archive) -> None:
    archive.build()
    before = archive.manifest.timesteps
    east = archive.items.pop()
    published = archive.build()
    assert archive.manifest.timesteps == before and published.complete
    assert [line for line in published.missing if east["id"] in line]
    assert not archive.build().new
    # the area can say that it does not want it
    archive.fields["exclude"] = (east["id"],)
    assert not any(east["id"] in line for line in archive.build().missing)
    with open_cube(build.store_of(archive.area).uri) as cube:
        assert 0.4 < float(cube["vv_coverage"][0]) < 0.6


def test_terrain_whose_tile_is_no_longer_listed_is_kept_and_named(archive: Archive) -> None:
    archive.tiles.append(hills_tile(archive.folder))
    archive.build()
    before = archive.manifest.static
    archive.tiles.clear()
    published = archive.build()
    assert archive.manifest.static == before and published.complete
    assert [line for line in published.missing if line.startswith("terrain")]


@pytest.mark.parametrize("existing", [True, False])
def test_a_pass_of_which_every_file_is_gone_is_named_and_kept_where_it_was(
    archive: Archive, existing: bool
) -> None:
    if existing:
        archive.scene("later", "2018-09-17 20:31:00+00:00", 0.2)
    else:
        archive.scene("later", "2018-09-17 20:31:00+00:00", 0.2)
        archive.gone.add(archive.items[-1]["assets"]["vv"]["href"])
    archive.items[-1]["properties"]["sat:absolute_orbit"] += 175
    archive.build()
    archive.gone.add(archive.items[-1]["assets"]["vv"]["href"])
    published = archive.build()
    (line,) = published.undelivered
    assert "sentinel-1a_023743" in line and line in published.missing
    assert len(archive.manifest.timesteps) == (2 if existing else 1)


def test_terrain_whose_tile_is_gone_is_kept_and_named(archive: Archive) -> None:
    archive.tiles.append(hills_tile(archive.folder))
    archive.build()
    before = archive.manifest.static
    archive.gone.add(archive.tiles[0]["assets"]["elevation"]["href"])
    published = archive.build()
    (line,) = published.undelivered
    assert line.startswith("terrain") and line in published.missing
    assert archive.manifest.static == before and "dem" in before
    assert verify_cube(build.store_of(archive.area).uri).sound


def test_the_first_build_without_its_tile_names_it(archive: Archive) -> None:
    archive.tiles.append(hills_tile(archive.folder))
    archive.gone.add(archive.tiles[0]["assets"]["elevation"]["href"])
    (line,) = archive.build().undelivered
    assert line.startswith("terrain") and "dem" not in archive.manifest.static


@pytest.mark.parametrize("other", [False, True], ids=["the same inventory", "another inventory"])
@pytest.mark.parametrize("how", ["absent", "damaged"])
def test_labels_are_kept_under_the_name_of_their_own_inventory(
    archive: Archive, other: bool, how: str
) -> None:
    archive.inventory("NIED")
    archive.build()
    before = archive.manifest
    archive.inventory("other" if other else "NIED", sound=False)
    if how == "absent":
        Path(archive.fields["inventory"]["url"]).unlink()
    published = archive.build()
    after = archive.manifest
    assert after.static == before.static and "landslides" in after.static
    assert after.attributes["inventory"] == before.attributes["inventory"] == "NIED: NIED 2018 (CC0-1.0)"

    assert any(
        line in published.missing and archive.fields["inventory"]["name"] in line
        for line in published.undelivered
    )
    with open_cube(published.uri) as cube:
        assert cube["landslides"].attrs["inventory"] == "NIED"


def test_a_cube_whose_only_inventory_failed_names_none(archive: Archive) -> None:
    archive.inventory("NIED", sound=False)
    published = archive.build()
    assert not published.complete
    assert archive.manifest.attributes["inventory"] == "none"


def test_labels_go_where_the_area_names_no_inventory_any_more(archive: Archive) -> None:
    archive.inventory("NIED")
    archive.build()
    archive.fields.clear()
    published = archive.build()
    assert published.complete and "landslides" not in archive.manifest.static


def test_builds_that_fail_push_no_good_version_out(archive: Archive) -> None:
    for day in (17, 29):
        archive.scene(f"later-{day}", f"2018-09-{day} 20:31:00+00:00", 0.2)
        archive.items[-1]["properties"]["sat:absolute_orbit"] += 175 * day
        assert archive.build().complete
    store = build.store_of(archive.area)
    assert version_numbers(store) == [1, 2]
    for number in range(4):
        archive.scene(f"dark-{number}", f"2018-08-{10 + number} 20:31:00+00:00", 0.0)
        archive.items[-1]["properties"]["sat:absolute_orbit"] -= 100 + number
        assert not archive.build().complete
    assert version_numbers(store) == [1, 2, 5, 6]
    for number in (1, 2, 5, 6):
        assert verify_cube(store.uri_of(f"versions/{number}.zarr")).sound


def test_the_command_ends_with_its_own_status_and_names_what_is_missing(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.gone.add(archive.items[1]["assets"]["vv"]["href"])
    monkeypatch.setattr("pipeline.areas.area.load_area", lambda name: archive.area)
    monkeypatch.setattr("pipeline.build.run.find_catalogue", lambda area, replay: archive.search())
    result = CliRunner().invoke(command, ["here", "--json", "--no-quicklook"])
    assert result.exit_code == IncompleteError.exit_code == 6
    (line,) = json.loads(result.stdout)["undelivered"]
    assert line.rstrip(".") in result.stderr


@pytest.mark.parametrize(
    ("found", "promised", "short"),
    [
        (0.45, 0.99, True),
        (0.66, 0.99, True),
        (0.90, 0.99, False),
        (0.0, 0.01, True),
        (0.01, 0.04, False),
        (0.0, 0.0, False),
        (0.0, None, True),
        (0.3, None, False),
    ],
)
def test_when_a_layer_falls_short(found: float, promised: float | None, short: bool) -> None:
    assert falls_short(found, promised) is short


def test_the_event_of_a_manifest_before_completeness_was_recorded_is_read(archive: Archive) -> None:
    archive.build()
    plain = json.loads(archive.manifest.to_bytes())
    assert Manifest.model_validate(plain).undelivered == ()
