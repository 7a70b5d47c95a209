"""Snapshots: saved whole, replayed only for their area, hostile ones refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely.geometry import shape

from pipeline.archives import inventories, search_area
from pipeline.archives.archive import SLC_GRANULES, Query
from pipeline.archives.asf import Asf
from pipeline.archives.stac import StacArchive
from pipeline.areas.area import AreaOfInterest
from pipeline.catalogue import snapshots
from pipeline.catalogue.assets import Asset
from pipeline.catalogue.catalogue import (
    Catalogue,
    area_digest,
    content_digest,
    dem_tiles_of,
    passes_of,
    slc_dem_tiles_of,
)
from pipeline.catalogue.slc import SlcHoldings
from pipeline.catalogue.snapshots import load_catalogue, save_catalogue, snapshot_name
from pipeline.cube.local_store import LocalStore
from pipeline.errors import ArchiveError
from pipeline.settings import settings
from tests.unit.loopback import Loopback
from tests.unit.made_slc import burst_item, granule_item, repeats
from tests.unit.pipeline.catalogue.test_passes import area, item


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLIDECUBE_STAC_URL", "https://stac.example/v1")
    monkeypatch.setenv("SLIDECUBE_SEARCH_INTERVAL_S", "300")
    monkeypatch.setenv("SLIDECUBE_BACKOFF_S", "0.01")
    settings.cache_clear()
    yield
    settings.cache_clear()


def dem_item(name: str = "NASADEM_HGT_n42e141", **changes: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": name,
        "collection": "nasadem",
        "bbox": [141.0, 42.0, 142.0, 43.0],
        "assets": {
            "elevation": {"href": f"https://nasademeuwest.blob.core.windows.net/nasadem-cog/{name}.tif"}
        },
        **changes,
    }


def probed(items: list[dict[str, Any]]) -> dict[str, Asset]:
    hrefs = [asset["href"] for one in items for asset in one["assets"].values()]
    return {href: Asset(href=href, size_bytes=10, etag=f'"{len(href)}"') for href in hrefs}


def snapshot(where: AreaOfInterest | None = None, **changes: Any) -> Catalogue:
    items, tiles = [item()], [dem_item()]
    where = where or area()
    return Catalogue.model_validate(
        {
            "area": where.name,
            "area_digest": area_digest(where),
            "searched_at": datetime.now(UTC),
            "endpoint": "https://stac.example/v1",
            "rtc_items": items,
            "dem_items": tiles,
            "probes": probed([*items, *tiles]),
            **changes,
        }
    )


def test_a_search_asks_once_and_probes_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    far = item(name="far", west=10.0, east=12.0)
    asked: list[tuple[str, datetime | None, datetime | None]] = []
    wanted: list[str] = []

    def search(_archive: StacArchive, collection: str, query: Query) -> list[dict[str, Any]]:
        asked.append((collection, query.start, query.end))
        return [far, item()] if collection == "sentinel-1-rtc" else [dem_item()]

    def probe(hrefs: list[str]) -> tuple[dict[str, Asset], list[str]]:
        wanted.extend(hrefs)
        return {href: Asset(href=href, size_bytes=5, etag='"e"') for href in hrefs}, ["one is gone"]

    monkeypatch.setattr(StacArchive, "search", search)
    monkeypatch.setattr(search_area, "probe", probe)
    found = search_area.search_catalogue(area())
    assert asked == [
        ("sentinel-1-rtc", datetime(2018, 8, 1, tzinfo=UTC), datetime(2018, 10, 1, tzinfo=UTC)),
        ("nasadem", None, None),
    ]
    assert len(wanted) == 3 and not any("far" in href for href in wanted)
    assert "one is gone" in found.notes
    assert any("no labels" in note for note in found.notes)
    (only,) = passes_of(found, area()).passes
    assert only.slices[0].assets["vv"].etag == '"e"'
    (tile,) = dem_tiles_of(found, area()).tiles
    assert tile.asset.etag == '"e"' and tile.bbox == (141.0, 42.0, 142.0, 43.0)


@pytest.mark.parametrize("allowed", ["true", "false"])
@pytest.mark.parametrize("served", [True, False], ids=["beside a served one", "alone"])
def test_a_search_never_leads_to_a_file_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, allowed: str, served: bool
) -> None:
    monkeypatch.setenv("SLIDECUBE_LOCAL_ITEMS", allowed)
    settings.cache_clear()
    path = tmp_path / "private.tif"
    path.write_bytes(b"II*\0")
    hostile = item(name="hostile")
    hostile["assets"] = {"vv": {"href": path.as_uri()}, "vh": {"href": str(path)}}
    with Loopback({"good.tif": b"x"}) as server:
        good = item(name="good")
        good["assets"] = {"vv": {"href": server.url("good.tif")}}
        good["properties"]["sat:absolute_orbit"] += 1
        items = [hostile, good] if served else [hostile]
        monkeypatch.setattr(
            StacArchive, "search", lambda _, kind, __: items if kind == "sentinel-1-rtc" else []
        )
        if not served:
            with pytest.raises(ArchiveError, match="this machine"):
                search_area.search_catalogue(area())
        else:
            found = search_area.search_catalogue(area())
            assert list(found.probes) == [server.url("good.tif")]
            assert any("private.tif" in note for note in found.notes)
            assert [one.absolute_orbit for one in passes_of(found, area()).passes] == [23569]
    settings.cache_clear()


def test_the_answer_is_saved_before_it_is_read_and_not_asked_for_again(
    stac: list[tuple[str, dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_hrefs: list[str]) -> Any:
        raise ArchiveError("the storage refused", transient=True)

    probe, store = search_area.probe, LocalStore(tmp_path)
    monkeypatch.setattr(search_area, "probe", refuse)
    with pytest.raises(ArchiveError):
        search_area.search_catalogue(area(), store)
    (name,) = store.names("catalogues")
    assert search_area.ANSWER_NAME.match(name) and search_area.latest_snapshot(store, area()) is None
    asked = len(stac)
    assert load_catalogue(tmp_path / "catalogues" / name, area()).rtc_items == (item(),)
    # another definition of the area has another answer
    assert search_area.latest_answer(store, area(tracks=(46,))) is None
    monkeypatch.setattr(search_area, "probe", probe)
    found = search_area.search_catalogue(area(), store)
    assert len(stac) == asked and found.probes
    (name,) = store.names("catalogues")
    assert search_area.SNAPSHOT_NAME.match(name) and search_area.latest_snapshot(store, area()) == found


def test_what_is_left_out_is_named_after_a_search_too(
    stac: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an item that cannot be read no file is asked for: that is no reason to pass it over in silence."""
    odd = item("2018-09-17 20:31:00+00:00", name="odd", **{"sat:relative_orbit": None})
    excluded = item("2018-09-29 20:31:00+00:00", name="excluded", **{"sat:absolute_orbit": 23918})

    def search(_archive: StacArchive, collection: str, _query: Query) -> list[dict[str, Any]]:
        return [item(), odd, excluded] if collection == "sentinel-1-rtc" else [dem_item()]

    monkeypatch.setattr(StacArchive, "search", search)
    where = area(exclude=("excluded",))
    found = search_area.search_catalogue(where)
    passes = passes_of(found, where)
    assert len(passes.passes) == 1 and "odd" in passes.left_out[0]
    assert any("excluded" in note.split() for note in passes.notes)
    assert len(passes_of(found, area()).passes) == 2, "its files were asked for"


def saved(catalogue: Catalogue, folder: Path) -> Path:
    return Path(save_catalogue(catalogue, LocalStore(folder)))


def test_saved_and_read_again(tmp_path: Path) -> None:
    made = snapshot()
    path = saved(made, tmp_path / "new" / "folder")
    assert path.name == snapshot_name(made)
    assert search_area.SNAPSHOT_NAME.match(path.name)
    assert load_catalogue(path, area()) == made
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_content_digest_leaves_the_time_out() -> None:
    made = snapshot()
    later = made.model_copy(update={"searched_at": made.searched_at + timedelta(days=1)})
    assert content_digest(made) == content_digest(later)
    other = snapshot(probes={})
    assert content_digest(made) != content_digest(other)


def test_a_snapshot_of_another_area_is_refused(tmp_path: Path) -> None:
    path = saved(snapshot(), tmp_path)
    with pytest.raises(ArchiveError, match=r"'here'.*'there'"):
        load_catalogue(path, area(name="there"))
    for change in (
        {"bbox": (141.9, 42.6, 142.1, 42.81)},
        {"end": "2018-11-01T00:00:00Z"},
        {"tracks": (46,)},
        {"polarisations": ("vv",)},
        {"dem": {"collection": "cop-dem-glo-30"}},
    ):
        with pytest.raises(ArchiveError, match="another definition"):
            load_catalogue(path, area(**change))
    same = area(title="only the words differ", resolution_m=20)
    assert load_catalogue(path, same).area == "here"


def test_the_digest_does_not_depend_on_where_an_inventory_lies() -> None:
    inventory = {"name": "i", "citation": "c", "licence": "l"}
    here = area(inventory={**inventory, "url": "/one/slides.gpkg"})
    there = area(inventory={**inventory, "url": "/two/slides.gpkg"})
    other = area(inventory={**inventory, "url": "/two/other.gpkg"})
    assert area_digest(here) == area_digest(there) != area_digest(other)


HOSTILE: dict[str, tuple[str, str]] = {
    "empty": ("", "is no catalogue"),
    "no json": ("<html>", "is no catalogue"),
    "a list": ("[]", "is no catalogue"),
    "nothing": ("{}", "Field required"),
    "deep": ("[" * 100_000, "is no catalogue"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_by_name(tmp_path: Path, case: str) -> None:
    text, words = HOSTILE[case]
    path = tmp_path / "catalogue.json"
    path.write_text(text)
    with pytest.raises(ArchiveError, match=words) as caught:
        load_catalogue(path)
    assert "catalogue.json" in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize(
    "change",
    [
        {"format": "slidecube-catalogue-9"},
        {"extra": 1},
        {"searched_at": "yesterday"},
        {"searched_at": 5},
        {"rtc_items": [1]},
        {"probes": {"a": 1}},
        {"area": None},
    ],
)
def test_wrong_fields_are_named(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "catalogue.json"
    document = {**snapshot().model_dump(mode="json"), **change}
    path.write_text(json.dumps(document))
    with pytest.raises(ArchiveError, match=next(iter(change))):
        load_catalogue(path)


def test_absent_and_huge_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArchiveError, match=r"absent\.json"):
        load_catalogue(tmp_path / "absent.json")
    with pytest.raises(ArchiveError, match=tmp_path.name):
        load_catalogue(tmp_path)
    path = saved(snapshot(), tmp_path)
    monkeypatch.setattr(snapshots, "MOST_SNAPSHOT_BYTES", 10)
    with pytest.raises(ArchiveError, match="larger than"):
        load_catalogue(path)


def test_only_a_young_answer_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    assert search_area.latest_snapshot(LocalStore(tmp_path / "absent"), area()) is None
    saved(snapshot(searched_at=now - timedelta(seconds=600)), tmp_path)
    assert search_area.latest_snapshot(LocalStore(tmp_path), area()) is None
    young = snapshot(searched_at=now - timedelta(seconds=60))
    saved(young, tmp_path)
    saved(snapshot(searched_at=now + timedelta(days=1)), tmp_path)
    assert search_area.latest_snapshot(LocalStore(tmp_path), area()) == young
    assert search_area.latest_snapshot(LocalStore(tmp_path), area(tracks=(46,))) is None
    (tmp_path / f"catalogue-{now:%Y%m%dT%H%M%SZ}-00000000.json").write_text("damaged")
    (tmp_path / "catalogue-notes.json").write_text("{}")
    assert search_area.latest_snapshot(LocalStore(tmp_path), area()) == young
    monkeypatch.setenv("SLIDECUBE_STAC_URL", "https://other.example/v1")
    settings.cache_clear()
    assert search_area.latest_snapshot(LocalStore(tmp_path), area()) is None
    monkeypatch.setenv("SLIDECUBE_STAC_URL", "https://stac.example/v1")
    monkeypatch.setenv("SLIDECUBE_SEARCH_INTERVAL_S", "0")
    settings.cache_clear()
    assert search_area.latest_snapshot(LocalStore(tmp_path), area()) is None


def test_an_answer_is_not_used_again_when_the_local_inventory_changed(tmp_path: Path) -> None:
    slides = tmp_path / "slides.geojson"
    slides.write_text("one")
    where = area(inventory={"name": "i", "citation": "c", "licence": "l", "url": str(slides)})
    found = inventories.inventory_fingerprint(where.inventory)[0]
    saved(snapshot(where, inventory=found), tmp_path)
    assert search_area.latest_snapshot(LocalStore(tmp_path), where) is not None
    slides.write_text("two")
    assert search_area.latest_snapshot(LocalStore(tmp_path), where) is None


def test_files_that_were_not_there_are_no_part_of_a_slice() -> None:
    both, single, none = item(name="a"), item("2018-09-05 20:31:25+00:00", name="b"), item(name="c")
    none["properties"]["sat:absolute_orbit"] = 1
    probes = {
        **probed([both]),
        **{k: v for k, v in probed([single]).items() if "vv" in k},
    }
    found = passes_of(snapshot(rtc_items=[both, single, none], probes=probes), area())
    (only,) = found.passes
    assert [set(s.assets) for s in only.slices] == [{"vv", "vh"}, {"vv"}]
    assert any("no vh" in note for note in found.notes)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"assets": {}}, "assets.elevation"),
        ({"assets": None}, "assets"),
        ({"assets": {"elevation": {"href": 5}}}, "assets.elevation"),
        ({"bbox": None}, "bbox"),
        ({"bbox": [1, 2, 3]}, "bbox"),
        ({"bbox": [3, 2, 1, 4]}, "bbox"),
        ({"bbox": ["a", 2, 3, 4]}, "bbox"),
        ({"collection": "srtm"}, "srtm"),
        ({"collection": "cop-dem-glo-30"}, "cop-dem-glo-30"),
    ],
)
def test_odd_elevation_items_are_left_out_by_name(change: dict[str, Any], field: str) -> None:
    odd, sound = dem_item(**change), dem_item("NASADEM_HGT_n42e142")
    found = dem_tiles_of(snapshot(dem_items=[odd, sound], probes={}), area())
    assert [tile.id for tile in found.tiles] == ["NASADEM_HGT_n42e142"]
    (line,) = found.left_out
    assert "NASADEM_HGT_n42e141" in line and field in line
    assert found.lost == ((141.0, 42.0, 142.0, 43.0) if "bbox" not in change else None,)


def test_a_collection_may_be_written_in_capitals() -> None:
    found = dem_tiles_of(snapshot(dem_items=[dem_item(collection="NASADEM")]), area())
    assert [tile.id for tile in found.tiles] == ["NASADEM_HGT_n42e141"] and found.left_out == ()


@pytest.fixture
def stac(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """A search that finds an item and a tile everywhere, and records the searched geometries."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def search(_archive: StacArchive, collection: str, query: Query) -> list[dict[str, Any]]:
        asked.append((collection, dict(query.geometry)))
        if collection == "sentinel-1-rtc":
            return [item()]
        return [dem_item(f"NASADEM_{len(asked)}")]

    def probe(hrefs: list[str]) -> tuple[dict[str, Asset], list[str]]:
        return {href: Asset(href=href, size_bytes=5, etag='"e"') for href in hrefs}, []

    monkeypatch.setattr(StacArchive, "search", search)
    monkeypatch.setattr(search_area, "probe", probe)
    return asked


def found_by_asf(monkeypatch: pytest.MonkeyPatch, granules: list[Any], bursts: list[Any]) -> None:
    def search(_archive: Asf, collection: str, _query: Query) -> list[Any]:
        return granules if collection == SLC_GRANULES else bursts

    monkeypatch.setattr(Asf, "search", search)


def wants(**fields: Any) -> AreaOfInterest:
    return area(interferometry={}, **fields)


def test_an_area_that_wants_pairs_has_asf_searched_and_elevation_around_the_bursts(
    stac: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    far = burst_item("046_096009_IW3", box=(150.0, 42.0, 151.0, 43.0))
    found_by_asf(monkeypatch, [granule_item()], [burst_item(), far])
    found = search_area.search_catalogue(wants())
    assert found.slc is not None
    assert (len(found.slc.granules), len(found.slc.bursts)) == (1, 2)
    assert [tile.id for tile in slc_dem_tiles_of(found, wants()).tiles] == ["NASADEM_3"]
    assert [tile.id for tile in dem_tiles_of(found, area()).tiles] == ["NASADEM_2"]
    west, south, east, north = shape(stac[-1][1]).bounds
    assert (south, north) == pytest.approx((42.4, 43.0))
    # a tenth of a degree of latitude in kilometres, also to the sides
    assert west == pytest.approx(141.6 - 0.1 / math.cos(math.radians(42.9)))
    assert east == pytest.approx(142.4 + 0.1 / math.cos(math.radians(42.9)))


def test_elevation_around_bursts_across_the_antimeridian_is_two_boxes(
    stac: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = (179.5, -17.0, -179.5, -16.5)
    found_by_asf(monkeypatch, [granule_item(box=box)], [burst_item(box=box)])
    search_area.search_catalogue(wants(bbox=(179.6, -16.9, 179.9, -16.6)))
    asked = shape(stac[-1][1])
    assert asked.geom_type == "MultiPolygon" and asked.area < 1.5
    assert asked.covers(shapely.Point(179.9, -16.7)) and asked.covers(shapely.Point(-179.9, -16.7))


def test_backscatter_is_catalogued_where_asf_cannot_be_asked(
    stac: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreachable(*_: Any) -> Any:
        raise ArchiveError("cmr.earthdata.nasa.gov could not be reached: its name is not known.", "Wait.")

    monkeypatch.setattr(Asf, "search", unreachable)
    found = search_area.search_catalogue(wants())
    assert found.slc is None and len(found.rtc_items) == 1
    assert any("no pairs: ASF could not be searched (cmr.earth" in note for note in found.notes)
    # the next build searches again instead of replaying it
    saved(found, tmp_path)
    assert search_area.latest_snapshot(LocalStore(tmp_path), wants()) is None
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "none")
    settings.cache_clear()
    assert search_area.latest_snapshot(LocalStore(tmp_path), wants()) == found


@pytest.mark.parametrize(
    "what", ["elevation", "files of elevation", "elevation around the bursts", "inventory"]
)
def test_what_fails_of_an_optional_part_is_noted_and_searched_again(
    stac: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    search, probe = StacArchive.search, search_area.probe

    def failing_search(archive: StacArchive, collection: str, query: Query) -> list[dict[str, Any]]:
        again = sum(name == collection for name, _ in stac) > 0
        if collection == "nasadem" and what in ("elevation", "elevation around the bursts" if again else ""):
            raise ArchiveError("nasadem failed", transient=True)
        return search(archive, collection, query)

    def failing_probe(hrefs: list[str]) -> tuple[dict[str, Asset], list[str]]:
        if what == "files of elevation" and any("nasadem" in href for href in hrefs):
            raise ArchiveError("nasadem failed", transient=True)
        return probe(hrefs)

    def failing_inventory(_url: str) -> Any:
        raise ArchiveError("nasadem failed", transient=True)

    monkeypatch.setattr(StacArchive, "search", failing_search)
    monkeypatch.setattr(search_area, "probe", failing_probe)
    monkeypatch.setattr(inventories, "_remote_fingerprint", failing_inventory)
    found_by_asf(monkeypatch, [granule_item()], [burst_item()])
    address = "https://inventories.example/slides.gpkg" if what == "inventory" else None
    where = wants(inventory={"name": "i", "citation": "c", "licence": "l", "url": address})
    found = search_area.search_catalogue(where)
    assert len(passes_of(found, where).passes) == 1
    assert any("nasadem failed" in note for note in found.notes)
    assert bool(found.unsearched) is (what == "elevation") and (found.slc is None) is (
        what.startswith("elevation")
    )
    saved(found, tmp_path)
    replayed = search_area.latest_snapshot(LocalStore(tmp_path), where)
    assert (replayed is None) is (what in ("elevation", "elevation around the bursts"))


def test_asf_is_not_asked_where_no_processor_is_chosen_or_no_pair_is_wanted(
    stac: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Asf, "search", lambda *_: pytest.fail("asked"))
    assert search_area.search_catalogue(area()).slc is None
    monkeypatch.setenv("SLIDECUBE_INSAR_BACKEND", "none")
    settings.cache_clear()
    found = search_area.search_catalogue(wants())
    assert found.slc is None and not any("ASF" in note for note in found.notes)


def test_an_answer_of_before_pairs_were_wanted_still_serves(tmp_path: Path) -> None:
    old = snapshot(area())
    path = saved(old, tmp_path)
    document = json.loads(path.read_text())
    del document["slc"]
    path.write_text(json.dumps(document))
    assert load_catalogue(path, wants()) == old
    # with pairs in it, it would be of another area
    new = snapshot(wants(), slc=repeats(2))
    plain = saved(new, tmp_path / "new")
    assert load_catalogue(plain, wants()) == new
    for other in (area(), area(interferometry={"polarisation": "vh"})):
        with pytest.raises(ArchiveError, match=f"'{other.name}'"):
            load_catalogue(plain, other)


def test_how_pairs_are_made_is_no_matter_of_the_search() -> None:
    other = area(interferometry={"pairs": "event", "most_days": 12, "esd": False, "range_looks": 9})
    assert area_digest(other) == area_digest(wants())
    assert area_digest(wants()) != area_digest(area())


def test_the_content_digest_takes_the_bursts_into_account() -> None:
    digests = {
        content_digest(snapshot(wants(), slc=holdings)) for holdings in (None, SlcHoldings(), repeats(2))
    }
    assert len(digests) == 3
