"""One bad record of a search stops no layer but its own, and is named in the plan and in the version."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.archives.search_area import SNAPSHOT_NAME
from pipeline.areas.area import AreaOfInterest
from pipeline.build import run as build
from pipeline.catalogue.catalogue import Catalogue
from pipeline.catalogue.snapshots import save_catalogue
from pipeline.cli import main
from pipeline.cube.local_store import LocalStore
from pipeline.cube.versions import read_manifest
from pipeline.errors import ArchiveError
from pipeline.settings import settings
from tests.unit.made_slc import granule_item, repeats
from tests.unit.pipeline.build.test_build_pairs import Site, catalogue_of, here, hills_tile
from tests.unit.pipeline.build.test_build_pairs import rtc as rtc

CASES = {"stac_hh_pc": ("hh", "hv"), "stac_sv_only_vh_wanted": ("vv", "vh")}


@pytest.fixture(autouse=True)
def own_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("SLIDECUBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", "true")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("command", ["plan", "build"])
def test_an_area_of_which_no_pass_has_a_wanted_polarisation_is_refused_by_name(
    shared_data: Path, case: str, command: str
) -> None:
    folder = shared_data / "cases" / case
    arguments = [command, str(folder / "area.yaml"), "--catalogue", str(folder / "catalogue.json")]
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code == ArchiveError.exit_code and isinstance(ended.exception, SystemExit)
    assert all(name in ended.stderr for name in CASES[case])


def bad(rtc: dict[str, Any]) -> dict[str, Any]:
    one = copy.deepcopy(rtc)
    one["id"] = "without_a_track"
    one["properties"].update({"sat:absolute_orbit": 23743, "sat:relative_orbit": None})
    return one


def with_items(found: Catalogue, *items: Any, **fields: Any) -> Catalogue:
    return found.model_copy(update={"rtc_items": (*found.rtc_items, *items), **fields})


def publish(area: AreaOfInterest, found: Catalogue, folder: Path) -> build.Published:
    return build.build(area, Path(save_catalogue(found, LocalStore(folder))))


def test_an_item_without_a_track_is_named_and_the_others_are_built(
    rtc: dict[str, Any], tmp_path: Path
) -> None:
    area = here(interferometry=None)
    found = catalogue_of(area, rtc, None)
    published = publish(area, with_items(found, bad(rtc)), tmp_path / "one")
    assert published.new and published.layers_failed == 0
    (line,) = [line for line in published.missing if "without_a_track" in line]
    assert "sat:relative_orbit" in line
    store = build.store_of(area)
    assert line in read_manifest(store, 1).missing and len(read_manifest(store, 1).timesteps) == 1
    # the same with a cube that exists; an area that excludes the item has nothing to name
    excluding = area.model_copy(update={"exclude": ("WITHOUT_A_TRACK",)})
    plan = build.make_plan(excluding, with_items(found, bad(rtc)))
    assert not any("without_a_track" in line for line in plan.missing)
    assert any("without_a_track".upper() in note for note in plan.notes)


def test_an_elevation_item_that_cannot_be_read_leaves_a_gap_and_no_sea(
    rtc: dict[str, Any], tmp_path: Path
) -> None:
    area = here(interferometry=None, bbox=(142.3, 42.69, 142.31, 42.70))
    hills = hills_tile(tmp_path)
    broken = {**hills, "id": "NASADEM_broken", "assets": {}}
    found = catalogue_of(area, rtc, None)
    plan = build.make_plan(area, found.model_copy(update={"dem_items": (broken,)}))
    assert [task.kind.name for task in plan.tasks] == ["backscatter"]
    assert any(line.startswith("terrain") and "NASADEM_broken" in line for line in plan.missing)
    # where the other tiles cover the area, nothing is lacking
    plan = build.make_plan(area, found.model_copy(update={"dem_items": (broken, hills)}))
    assert "terrain" in [task.kind.name for task in plan.tasks]
    assert any("NASADEM_broken" in line for line in plan.missing)
    # and a tile that certainly lies elsewhere does not matter
    elsewhere = {**broken, "bbox": [10.0, 42.0, 11.0, 43.0]}
    plan = build.make_plan(area, found.model_copy(update={"dem_items": (elsewhere, hills)}))
    assert "terrain" in [task.kind.name for task in plan.tasks]


def test_a_granule_that_cannot_be_read_is_missing_and_the_pairs_of_the_others_are_planned(
    rtc: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "pygmtsar")
    settings.cache_clear()
    site, slc = Site(tmp_path, rtc, look=False), repeats(3)
    broken = granule_item(product="AAAA")
    del broken["umm"]["SpatialExtent"]
    name = broken["umm"]["GranuleUR"].removesuffix("-SLC")
    plan = site.plan(slc.model_copy(update={"granules": (*slc.granules, broken)}))
    assert len(plan.pairs) == 2
    assert any(name in line for line in plan.missing)
    # an elevation item around the bursts that cannot be read postpones the pairs, and nothing else
    plan = site.plan(slc.model_copy(update={"dem_items": ({"id": "NASADEM_broken"},)}))
    assert {task.kind.name for task in plan.tasks} == {"backscatter"}
    assert any("NASADEM_broken" in line for line in plan.missing) and plan.pairs


def test_elevation_that_could_not_be_searched_is_kept_and_named(rtc: dict[str, Any], tmp_path: Path) -> None:
    area = here(interferometry=None, bbox=(142.3, 42.69, 142.31, 42.70))
    found = catalogue_of(area, rtc, None)
    whole = found.model_copy(update={"dem_items": (hills_tile(tmp_path),)})
    first = publish(area, whole, tmp_path / "one")
    assert not any("terrain" in line for line in first.missing)
    failing = found.model_copy(update={"unsearched": {"elevation": "nasadem failed"}})
    second = publish(area, failing, tmp_path / "two")
    assert any("terrain" in line and "nasadem failed" in line for line in second.undelivered)
    manifests = [read_manifest(build.store_of(area), number) for number in (1, second.version)]
    assert manifests[0].static == manifests[1].static != {}


def test_where_nothing_can_be_read_the_error_names_the_items(rtc: dict[str, Any]) -> None:
    area = here(interferometry=None)
    with pytest.raises(ArchiveError) as caught:
        build.make_plan(area, catalogue_of(area, bad(rtc), None))
    assert "without_a_track" in caught.value.message and caught.value.exit_code == 3


def test_a_plan_saves_nothing_but_the_search(rtc: dict[str, Any], tmp_path: Path) -> None:
    area = here(interferometry=None)
    path = Path(
        save_catalogue(with_items(catalogue_of(area, rtc, None), {"id": 5}), LocalStore(tmp_path / "s"))
    )
    assert SNAPSHOT_NAME.match(path.name) and json.loads(path.read_text())["rtc_items"][1] == {"id": 5}
    build.make_plan(area, build.find_catalogue(area, path))
    assert not (tmp_path / "data" / "cubes").exists() or not list(
        (tmp_path / "data" / "cubes").rglob("zarr.json")
    )
