"""The catalogue: valid by pystac's own schemas, linked, with checksums and classes."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import pystac
import pytest
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.sar import SarExtension
from pystac.extensions.sat import OrbitState, SatExtension
from pystac.validation import validate_dict

from model.maps.validity import MEANINGS
from model.releases.event_facts import EventFacts
from model.releases.raster_styles import occurring
from model.releases.stac_catalog import CATALOG, CUBE, MAP, write_stac


@pytest.fixture(scope="module")
def catalog(folder) -> pystac.Catalog:
    return pystac.Catalog.from_file(str(folder / CATALOG))


def item_of(catalog: pystac.Catalog, word: str) -> pystac.Item:
    (found,) = [item for item in catalog.get_items() if word in item.id]
    return found


def core_is_valid(document: dict) -> None:
    """By the schemas of STAC 1.1 that pystac ships; those of extensions are on the web alone."""
    validate_dict({**document, "stac_extensions": []})


def test_every_document_is_valid(folder):
    for name in (CATALOG, MAP, CUBE):
        core_is_valid(json.loads((folder / name).read_text()))


def test_the_map_is_linked_to_its_cube_and_can_be_moved(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "moved")
    catalog = pystac.Catalog.from_file(str(tmp_path / "moved" / CATALOG))
    (link,) = item_of(catalog, "-map").get_links(pystac.RelType.DERIVED_FROM)
    assert link.resolve_stac_object(root=catalog).target.id == item_of(catalog, "-cube-").id
    for link in item_of(catalog, "-map").links:
        assert not Path(str(link.to_dict()["href"])).is_absolute() or link.rel == "self"
    for asset in item_of(catalog, "-map").get_assets().values():
        assert Path(str(asset.get_absolute_href())).is_file()


def test_assets_have_the_checksums_of_their_files(folder, catalog):
    item = item_of(catalog, "-map")
    assert {"score", "landslides", "status", "validity", "change_db", "polygons", "page", "report"} <= set(
        item.assets
    )
    for asset in item.get_assets().values():
        content = Path(str(asset.get_absolute_href())).read_bytes()
        file = FileExtension.ext(asset)
        assert file.checksum == f"1220{hashlib.sha256(content).hexdigest()}" and file.size == len(content)


def test_classes_and_flags_are_listed(catalog):
    assets = item_of(catalog, "-map").get_assets()
    classes = ClassificationExtension.ext(assets["landslides"]).classes
    assert {one.value: one.title for one in classes} == {0: "no landslide", 1: "landslide", 255: "no data"}
    bits = ClassificationExtension.ext(assets["validity"]).bitfields
    assert {2**one.offset: one.description for one in bits} == dict(MEANINGS)


def test_the_radar_and_the_processing_are_named(catalog, made):
    finished, _ = made
    for item in catalog.get_items():
        assert [one.value for one in SarExtension.ext(item).polarizations] == ["VV", "VH"]
        assert SatExtension.ext(item).orbit_state == OrbitState.DESCENDING
        assert item.properties["slidecube:simulated"] is True
        assert item.datetime == max(p.instant for v in finished.selection.every_view for p in v.after)
    properties = item_of(catalog, "-map").properties
    assert properties["processing:lineage"] and properties["slidecube:review"] == "unreviewed"


def test_two_directions_have_no_single_orbit(made, tmp_path):
    finished, _ = made
    view = finished.selection.every_view[0]
    views = (view, view.model_copy(update={"direction": "ascending", "relative_orbit": 68}))
    both = replace(finished, selection=finished.selection.model_copy(update={"views": views}), exposure=())
    rewritten = replace(both, folder=tmp_path)
    for name in ("validity", "landslides", "status", "score"):
        shutil.copy(finished.folder / f"{name}.tif", tmp_path)
    write_stac(rewritten, occurring(rewritten))
    item = item_of(pystac.Catalog.from_file(str(tmp_path / CATALOG)), "-map")
    assert "sat:orbit_state" not in item.properties


def test_the_model_is_an_item_of_its_own(made, tmp_path):
    finished, _ = made
    model = pystac.Item("slidecube-abc", None, None, finished.selection.event.end, {"mlm:name": "a"})
    model.add_asset("weights", pystac.Asset("/models/weights.safetensors", roles=["mlm:model"]))
    with_model = replace(finished, folder=tmp_path, model_item=model.to_dict())
    shutil.copy(finished.folder / "validity.tif", tmp_path)
    write_stac(with_model, {})
    catalog = pystac.Catalog.from_file(str(tmp_path / CATALOG))
    links = item_of(catalog, "-map").get_links(pystac.RelType.DERIVED_FROM)
    assert {link.resolve_stac_object(root=catalog).target.id for link in links} >= {"slidecube-abc"}
    assert item_of(catalog, "slidecube-abc").properties["mlm:name"] == "a"


def rewritten(finished, tmp_path: Path, **event) -> dict:
    """The item of the map, with other facts of its event."""
    other = replace(finished, folder=tmp_path, event=EventFacts(**event), exposure=())
    shutil.copy(finished.folder / "validity.tif", tmp_path)
    write_stac(other, {})
    return json.loads((tmp_path / MAP).read_text())


OF_THE_EXTENSION = {
    "eq:magnitude": {"type": "number", "minimum": 0, "maximum": 20},
    "eq:depth": {"type": "number"},
    "eq:status": {"enum": ["automatic", "reviewed", "deleted"]},
    "eq:sources": {
        "type": "array",
        "minItems": 1,
        "items": {
            "required": ["name", "code"],
            "properties": {name: {"type": "string"} for name in ("name", "code", "catalog")},
        },
    },
}
"""types and values of the fields that are filled, as the tables of the extension's README state them"""


@pytest.mark.parametrize(
    ("usgs_id", "name", "code"),
    [
        ("us2000h8ty", "us", "2000h8ty"),
        ("usp000jadn", "us", "p000jadn"),
        ("official20041226005853450_30", "official", "20041226005853450_30"),
    ],
)
def test_an_earthquake_has_the_fields_of_its_extension(made, tmp_path, usgs_id, name, code):
    found = rewritten(
        made[0],
        tmp_path,
        magnitude=6.6,
        depth_km=35.0,
        usgs_id=usgs_id,
        status="retracted",
        place="27 km E of X",
    )
    core_is_valid(found)
    assert "https://stac-extensions.github.io/earthquake/v1.0.0/schema.json" in found["stac_extensions"]
    fields = {key: value for key, value in found["properties"].items() if key.startswith("eq:")}
    schema = {"properties": OF_THE_EXTENSION, "required": ["eq:magnitude", "eq:sources"]}
    jsonschema.validate(fields, schema | {"additionalProperties": False})
    assert fields["eq:sources"] == [{"name": name, "code": code, "catalog": "USGS"}]
    assert (fields["eq:magnitude"], fields["eq:depth"], fields["eq:status"]) == (6.6, 35.0, "deleted")


@pytest.mark.parametrize(
    "event", [{}, {"usgs_id": "us2000h8ty"}, {"magnitude": 6.6}, {"magnitude": -1.2, "usgs_id": "us2000h8ty"}]
)
def test_without_what_the_extension_requires_it_is_not_named(made, tmp_path, event):
    found = rewritten(made[0], tmp_path, **event)
    assert not any("earthquake" in each for each in found["stac_extensions"])
    assert not any(key.startswith("eq:") for key in found["properties"])
