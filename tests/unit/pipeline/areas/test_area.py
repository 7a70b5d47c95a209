"""Area files: the shipped ones load; a wrong one is refused, and the field and the remedy are named."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.areas.area import AreaOfInterest, area_files, load_area, parse_area
from pipeline.errors import AreaError
from pipeline.grid import Grid

VALID: dict[str, Any] = {
    "name": "somewhere",
    "bbox": [141.9, 42.6, 142.1, 42.8],
    "event": {
        "kind": "earthquake",
        "start": "2018-09-05T18:07:59Z",
        "end": "2018-09-05T18:07:59Z",
        "source": "a test",
    },
    "start": "2018-08-01T00:00:00Z",
    "end": "2018-10-01T00:00:00Z",
}
RING = [[141.9, 42.6], [142.1, 42.6], [142.1, 42.8], [141.9, 42.8], [141.9, 42.6]]


class WithoutAliases(yaml.SafeDumper):
    """Writes every value out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def changed(**fields: Any) -> str:
    """The valid area as YAML with some fields changed; None removes a field."""
    data = {**VALID, **fields}
    return yaml.dump({key: value for key, value in data.items() if value is not None}, Dumper=WithoutAliases)


def refusal(raw: str, path: Path = Path("somewhere.yaml")) -> str:
    with pytest.raises(AreaError) as caught:
        parse_area(raw, path)
    return str(caught.value)


def test_a_valid_area_is_accepted() -> None:
    area = parse_area(changed(), Path("x.yaml"))
    assert area.utm_epsg == 32654
    assert 350 < area.area_km2 < 380
    assert AreaOfInterest.model_validate_json(area.model_dump_json()) == area


@pytest.mark.parametrize("name", ["hokkaido", "kaikoura", "puerto-rico", "talakmau"])
def test_shipped_areas_load_and_state_their_sources(name: str) -> None:
    area = load_area(name)
    assert area.name == name
    assert area.event.source
    assert area.inventory is not None
    assert area.inventory.url is not None or area.inventory.page is not None
    assert area.inventory.citation and area.inventory.licence
    assert area.inventory.extent != "area" or area.inventory.extent_assumed
    if area.event.kind == "earthquake":
        assert area.event.start == area.event.end
        assert area.event.usgs_id


def test_the_shipped_areas_ask_for_the_pairs_of_the_paper() -> None:
    for name in ("hokkaido", "kaikoura", "puerto-rico", "talakmau", "sandbox"):
        wanted = load_area(name).interferometry
        assert wanted is not None
        assert (wanted.pairs, wanted.polarisation) == ("consecutive", "vv")
        assert (wanted.azimuth_looks, wanted.range_looks, wanted.fetch) == (1, 5, "bursts")


def test_hokkaido_has_the_size_of_the_published_cube() -> None:
    grid = Grid.of_area(load_area("hokkaido"))
    assert (grid.width, grid.height) == (4398, 5382)
    assert grid.epsg == 32654


def test_shipped_facts() -> None:
    assert load_area("hokkaido").event.start == datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC)
    assert load_area("kaikoura").event.start == datetime(2016, 11, 13, 11, 2, 56, tzinfo=UTC)
    assert load_area("talakmau").event.start == datetime(2022, 2, 25, 1, 39, 27, tzinfo=UTC)
    maria = load_area("puerto-rico")
    assert maria.event.end > maria.event.start
    assert maria.inventory is not None and maria.inventory.point_radius_m
    assert [load_area(n).utm_epsg for n in ("kaikoura", "puerto-rico", "talakmau")] == [32759, 32619, 32647]


def test_hokkaido_pass_two_hours_after_is_after_although_the_date_is_the_same() -> None:
    area = load_area("hokkaido")
    assert area.when(datetime(2018, 9, 5, 20, 25, tzinfo=UTC)) == "after"
    assert area.when(datetime(2018, 9, 5, 12, 0, tzinfo=UTC)) == "before"
    assert load_area("puerto-rico").when(datetime(2017, 9, 20, 22, 0, tzinfo=UTC)) == "during"


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no place": ({"bbox": None}, ["geometry", "bbox", "either"]),
    "two places": ({"geometry": {"type": "Polygon", "coordinates": [RING]}}, ["not both"]),
    "bbox across the antimeridian": ({"bbox": [179.5, -18, -179.5, -17]}, ["antimeridian", "split into two"]),
    "bbox upside down": ({"bbox": [141, 43, 142, 42]}, ["south < north"]),
    "bbox too short": ({"bbox": [141, 42, 142]}, ["bbox"]),
    "bbox not finite": ({"bbox": [141, 42, 142, float("inf")]}, ["bbox.3", "not finite"]),
    "bbox nan": ({"bbox": [float("nan"), 42, 142, 43]}, ["bbox.0", "not finite"]),
    "bbox with a truth value": ({"bbox": [True, 42, 142, 43]}, ["bbox.0", "not a number"]),
    "latitude first": ({"bbox": [42.6, 141.9, 42.8, 142.1]}, ["longitude first"]),
    "beyond UTM": ({"bbox": [10, 84.1, 10.2, 84.3]}, ["UTM"]),
    "too large": ({"bbox": [130, 30, 140, 40]}, ["km²", "SLIDECUBE_MAX_AREA_KM2"]),
    "geometry across": (
        {
            "bbox": None,
            "geometry": {
                "type": "MultiPolygon",
                "coordinates": [
                    [[[179, 0], [180, 0], [180, 1], [179, 0]]],
                    [[[-180, 0], [-179, 0], [-180, 1], [-180, 0]]],
                ],
            },
        },
        ["antimeridian", "split"],
    ),
    "geometry empty": (
        {"bbox": None, "geometry": {"type": "Polygon", "coordinates": []}},
        ["geometry is empty"],
    ),
    "geometry a line": (
        {"bbox": None, "geometry": {"type": "LineString", "coordinates": RING}},
        ["LineString", "Polygon or MultiPolygon"],
    ),
    "geometry crossing itself": (
        {
            "bbox": None,
            "geometry": {"type": "Polygon", "coordinates": [[RING[0], RING[2], RING[1], RING[3], RING[0]]]},
        },
        ["crosses itself", "make_valid"],
    ),
    "geometry not finite": (
        {
            "bbox": None,
            "geometry": {"type": "Polygon", "coordinates": [[RING[0], RING[1], [float("nan"), 42], RING[0]]]},
        },
        ["geometry", "not finite"],
    ),
    "geometry no coordinates": ({"bbox": None, "geometry": {"type": "Polygon"}}, ["geometry", "GeoJSON"]),
    "geometry words": (
        {
            "bbox": None,
            "geometry": {"type": "Polygon", "coordinates": [[["a", "b"], ["c", "d"], ["e", "f"]]]},
        },
        ["geometry", "GeoJSON"],
    ),
    "event outside": ({"start": "2018-09-10T00:00:00Z"}, ["event", "outside", "widen"]),
    "event backwards": (
        {"event": {**VALID["event"], "end": "2018-09-04T00:00:00Z"}},
        ["event", "before", "exchange"],
    ),
    "event of no kind": ({"event": {**VALID["event"], "kind": "flood"}}, ["event.kind", "earthquake"]),
    "event without source": (
        {"event": {k: v for k, v in VALID["event"].items() if k != "source"}},
        ["event.source", "is missing; add it"],
    ),
    "no event": ({"event": None}, ["event: is missing; add it"]),
    "range backwards": ({"start": "2018-10-02T00:00:00Z"}, ["end is not after start"]),
    "instant without zone": ({"start": "2018-08-01T00:00:00"}, ["start", "no time zone", "append Z"]),
    "instant as a number": ({"start": 20180801}, ["start", "20180801", "2018-09-05T18:07:59Z"]),
    "instant as a date": ({"start": datetime(2018, 8, 1).date()}, ["start", "is no instant"]),
    "instant as a truth value": ({"start": True}, ["start", "is no instant"]),
    "epsg of nothing": ({"epsg": 4326}, ["epsg 4326", "32601..32660"]),
    "epsg words": ({"epsg": "EPSG:32654"}, ["epsg", "not a whole number"]),
    "epsg truth": ({"epsg": True}, ["epsg", "not a whole number"]),
    "epsg far away": ({"epsg": 32619}, ["epsg 32619", "leave epsg out"]),
    "resolution truth": ({"resolution_m": True}, ["resolution_m", "not a number"]),
    "resolution nil": ({"resolution_m": 0}, ["resolution_m", "greater than or equal to 1"]),
    "offset nan": ({"lattice_offset_m": [float("nan"), 0]}, ["lattice_offset_m.0", "not finite"]),
    "tracks none of them": ({"tracks": []}, ["tracks", "at least 1"]),
    "track beyond": ({"tracks": [176]}, ["tracks.0", "175"]),
    "polarisations none": ({"polarisations": []}, ["polarisations", "at least 1"]),
    "polarisation twice": ({"polarisations": ["vv", "vv"]}, ["polarisations", "once"]),
    "unknown key": ({"colour": "red"}, ["colour: unknown key; remove it or correct its spelling"]),
    "unknown inner key": ({"dem": {"colection": "nasadem"}}, ["dem.colection: unknown key"]),
    "unknown dem": ({"dem": {"collection": "srtm"}}, ["dem.collection", "cop-dem-glo-30"]),
    "name in capitals": ({"name": "Some Where"}, ["name", "must match"]),
    "classes without field": (
        {"inventory": {"name": "i", "citation": "c", "licence": "l", "classes": {"new": ["a"]}}},
        ["inventory", "class_field"],
    ),
    "count without class": (
        {"inventory": {"name": "i", "citation": "c", "licence": "l", "class_field": "f", "count": ["old"]}},
        ["inventory", "old"],
    ),
    "inventory without licence": (
        {"inventory": {"name": "i", "citation": "c"}},
        ["inventory.licence: is missing"],
    ),
    "pairs by no rule": ({"interferometry": {"pairs": "every"}}, ["interferometry.pairs", "consecutive"]),
    "pairs of no length": ({"interferometry": {"most_days": 0}}, ["interferometry.most_days", "1"]),
    "pairs of half a day": ({"interferometry": {"most_days": 0.5}}, ["most_days", "not a whole number"]),
    "pairs in another polarisation": ({"interferometry": {"polarisation": "hh"}}, ["polarisation", "vv"]),
    "looks of none": ({"interferometry": {"range_looks": 0}}, ["interferometry.range_looks"]),
    "pairs by a truth value": ({"interferometry": True}, ["interferometry"]),
    "unknown key of pairs": ({"interferometry": {"looks": 5}}, ["interferometry.looks: unknown key"]),
    "bad checksum": (
        {"inventory": {"name": "i", "citation": "c", "licence": "l", "sha256": "abc"}},
        ["inventory.sha256", "must match"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_field_is_named_with_its_remedy(case: str) -> None:
    fields, words = WRONG[case]
    text = refusal(changed(**fields))
    for word in words:
        assert word in text
    assert "aoi/README.md" in text


def test_what_is_no_yaml_mapping_is_refused() -> None:
    assert "not valid YAML" in refusal("a: [1, 2")
    assert "not valid YAML" in refusal("start: 2018-13-45")
    assert "no mapping" in refusal("- a\n- b\n")
    assert "no mapping" in refusal("")
    assert "not valid YAML" in refusal("a: !!python/object/apply:os.system ['true']")
    assert "not valid YAML" in refusal("[" * 5000)
    assert "no name of a field" in refusal("1: a\n")


SECRET = "hunter2-x7"
FOREIGN = {
    "shadow": f"root:$6${SECRET}:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
    "ini": f"[default]\npassword = {SECRET}\n",
    "env": f"API_KEY: {SECRET}\n{SECRET} 1: x\n",
    "key": f"-----BEGIN KEY-----\n{SECRET}\n-----END KEY-----\n",
    "tag": f"a: !{SECRET} b\n",
    "twice": f"{SECRET}!: 1\n{SECRET}!: 2\n",
    "list": f"- {SECRET}\n",
    "anchor": f"a: &{SECRET} b\nc: *{SECRET}\n",
    "quote": f'a: "{SECRET}\n',
    "int": f"a: !!int {SECRET}\n",
    "float": f"a: !!float {SECRET}\n",
    "binary": f"a: !!binary {SECRET}\n",
    "json": f'{{"{SECRET} .": "{SECRET}"}}',
    "tab": f"a:\n\t{SECRET}: b\n",
}


@pytest.mark.parametrize("case", FOREIGN)
def test_no_line_of_another_file_is_shown(tmp_path: Path, case: str) -> None:
    message = refusal(FOREIGN[case])
    assert SECRET not in message
    (tmp_path / "secrets").write_text(FOREIGN[case])
    with pytest.raises(AreaError, match="secrets") as caught:
        load_area(tmp_path / "secrets")
    assert SECRET not in str(caught.value)
    (tmp_path / "outline.geojson").write_text(FOREIGN[case])
    assert SECRET not in refusal(changed(bbox=None, geometry="outline.geojson"), tmp_path / "x.yaml")


def test_only_a_regular_file_with_the_suffix_of_an_area_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    for name in ("pipe.yaml", "folder.yaml", "zero.yaml", "area.txt"):
        with pytest.raises(AreaError, match=name):
            load_area(tmp_path / name)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_half_a_million_keys_are_refused_in_bounded_time(form: str) -> None:
    keys = {f"k{n}": n for n in range(500_000)}
    raw = json.dumps(keys) if form == "json" else "".join(f"{key}: 1\n" for key in keys)
    assert len(refusal(raw)) < 500


def test_of_many_wrong_fields_the_first_are_named() -> None:
    message = refusal(changed(**{f"field_{n:03}": 1 for n in range(300)}))
    assert "field_000" in message and "field_009" in message and "field_010" not in message
    assert "290 more" in message


def test_a_misspelt_area_suggests_the_nearest() -> None:
    with pytest.raises(AreaError, match=r"mean 'hokkaido'"):
        load_area("hokaido")
    with pytest.raises(AreaError) as caught:
        load_area("atlantis")
    assert "mean" not in str(caught.value)


def test_aliases_and_duplicate_keys_are_refused() -> None:
    nested = "a: &a [x, x]\n" + "\n".join(
        f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "alias" in refusal(nested)
    assert "twice" in refusal(changed() + "epsg: 32654\nepsg: 32655\n")


def test_absent_large_and_binary_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AreaError, match=r"no area 'atlantis'.*hokkaido"):
        load_area("atlantis")
    with pytest.raises(AreaError, match=r"absent\.yaml"):
        load_area(tmp_path / "absent.yaml")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("title: Kaikōura".encode("utf-16"))
    with pytest.raises(AreaError, match=r"latin\.yaml"):
        load_area(latin)
    monkeypatch.setattr("pipeline.areas.area_file.MOST_FILE_BYTES", 100)
    large = tmp_path / "large.yaml"
    large.write_text(changed())
    with pytest.raises(AreaError, match="larger than"):
        load_area(large)


def test_name_comes_from_the_file_and_json_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "by-file.yaml").write_text(changed(name=None))
    assert load_area(tmp_path / "by-file.yaml").name == "by-file"
    (tmp_path / "as.json").write_text(json.dumps(VALID))
    assert load_area(tmp_path / "as.json").name == "somewhere"
    assert {"hokkaido", "kaikoura", "puerto-rico", "talakmau"} <= set(area_files())


def test_a_licence_is_read_in_both_spellings_and_given_once() -> None:
    inventory = {"name": "i", "citation": "c", "license": "CC-BY-4.0"}
    area = parse_area(changed(inventory=inventory, license="open"), Path("x.yaml"))
    assert area.inventory is not None
    assert (area.licence, area.inventory.licence) == ("open", "CC-BY-4.0")
    assert AreaOfInterest.model_validate_json(area.model_dump_json()) == area
    assert "licen" in refusal(changed(license="open", licence="closed"))


def test_outline_from_a_file(tmp_path: Path) -> None:
    polygon = {"type": "Polygon", "coordinates": [[[*xy, 12.0] for xy in RING]]}
    feature = {"type": "Feature", "properties": {}, "geometry": polygon}
    documents = {
        "plain": polygon,
        "feature": feature,
        "collection": {"type": "FeatureCollection", "features": [feature]},
    }
    for name, document in documents.items():
        (tmp_path / f"{name}.geojson").write_text(json.dumps(document))
        area = parse_area(changed(bbox=None, geometry=f"{name}.geojson"), tmp_path / "x.yaml")
        assert not area.footprint.has_z
        assert area.footprint.bounds == (141.9, 42.6, 142.1, 42.8)
    two = {"type": "FeatureCollection", "features": [feature, feature]}
    for name, document, word in (
        ("two", two, "holds 2 features"),
        ("null", None, "no GeoJSON object"),
        ("list", [1], "no GeoJSON object"),
        ("odd", {"type": "FeatureCollection"}, "no features"),
    ):
        (tmp_path / f"{name}.geojson").write_text(json.dumps(document))
        assert word in refusal(changed(bbox=None, geometry=f"{name}.geojson"), tmp_path / "x.yaml")
    assert "cannot be read" in refusal(changed(bbox=None, geometry="absent.geojson"), tmp_path / "x.yaml")


def test_inventory_paths_are_relative_to_the_area_file(tmp_path: Path) -> None:
    inventory = {
        "name": "i",
        "citation": "c",
        "licence": "l",
        "url": "slides.gpkg",
        "extent": "outline.geojson",
    }
    area = parse_area(changed(inventory=inventory), tmp_path / "x.yaml")
    assert area.inventory is not None
    assert area.inventory.url == str(tmp_path.resolve() / "slides.gpkg")
    assert area.inventory.extent == str(tmp_path.resolve() / "outline.geojson")
    home = parse_area(changed(inventory={**inventory, "url": "~/slides.gpkg"}), tmp_path / "x.yaml")
    assert home.inventory is not None and home.inventory.url == str(Path.home() / "slides.gpkg")
    for key in ("url", "extent"):
        wrong = changed(inventory={**inventory, key: "~nobody-here/slides.gpkg"})
        assert f"inventory.{key}" in refusal(wrong, tmp_path / "x.yaml")
    remote = parse_area(
        changed(inventory={**inventory, "url": "https://example.org/a.zip"}), tmp_path / "x.yaml"
    )
    assert remote.inventory is not None and remote.inventory.url == "https://example.org/a.zip"


@given(
    west=st.floats(-179, 178),
    south=st.floats(-79, 83),
    width=st.floats(0.01, 0.9),
    height=st.floats(0.01, 0.9),
)
def test_any_small_box_has_a_zone_that_holds_its_centre(
    west: float, south: float, width: float, height: float
) -> None:
    area = AreaOfInterest.model_validate({**VALID, "bbox": [west, south, west + width, south + height]})
    meridian = area.utm_epsg % 100 * 6 - 183
    assert abs(area.footprint.centroid.x - meridian) <= 3 + 1e-9
    assert (area.utm_epsg // 100 == 326) == (area.footprint.centroid.y >= 0)


@settings(deadline=None)
@given(st.timedeltas(timedelta(days=-20), timedelta(days=20)))
def test_before_during_after_divide_time(offset: timedelta) -> None:
    area = load_area("puerto-rico")
    instant = area.event.start + offset
    expected = "before" if offset < timedelta(0) else "after" if instant > area.event.end else "during"
    assert area.when(instant) == expected
