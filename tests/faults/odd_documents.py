"""Documents in which one value after the other is replaced by an odd one: areas, items, manifests, bundles, vectors."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from model.bundle.bundle import read_document
from pipeline.areas.area import AreaOfInterest, Inventory, parse_area
from pipeline.catalogue.passes import group_passes
from pipeline.catalogue.snapshots import parse_catalogue
from pipeline.cube.manifest import parse_manifest
from pipeline.grid import Grid
from pipeline.layers.outlines.polygons import counted_polygons
from pipeline.layers.outlines.vectors import read_inventory
from tests.faults.corpus import RING, WHOLE, geojson, polygon
from tests.faults.made_bundle import as_json, write_bundle
from tests.faults.mutations import places
from tests.faults.outcomes import WrongValueError
from tests.unit.pipeline.catalogue.test_passes import area as small_area
from tests.unit.pipeline.catalogue.test_passes import item

ODD: dict[str, Any] = {
    "null": None,
    "true": True,
    "negative": -1,
    "negative-zero": -0.0,
    "infinite": float("inf"),
    "nan": float("nan"),
    "huge": 10**400,
    "list": [],
    "nested": {"a": [{"b": None}]},
    "empty": "",
    "path": "../../../etc/passwd",
    "device": "file:///dev/zero",
    "lookalike": "ѕеntinel-1a\u202e",
    "surrogate": "\ud800",
    "zero-byte": "a\0b",
    "digits": "²",
    "long": "9" * 5000,
}
"""Values that no field expects."""

DATES = (
    "06/09/2018", "2018-W36-4", "20180906", "6 Sept 2018", "1536192000", "٢٠١٨-٠٩-٠٦", "0000-00-00", "now",
)  # fmt: skip

Action = Callable[[Path], object]
"""Reads one hostile input, in a folder of its own."""


def changed(document: Any, odd: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The document with each of its values replaced by each odd one."""
    count = len(places(document))
    for number in range(count):
        for name, value in odd.items():
            made = copy.deepcopy(document)
            home, key = places(made)[number]
            home[key] = copy.deepcopy(value)
            yield f"{number}-{str(key)[:30]}-{name}", made


def some(names: str) -> dict[str, Any]:
    return {name: ODD[name] for name in names.split()}


def read_area(text: str) -> AreaOfInterest:
    found = parse_area(text, Path("hostile.yaml"))
    Grid.of_area(found)
    return found


def areas() -> Iterator[tuple[str, Action]]:
    for name, document in changed(WHOLE, ODD):
        text = yaml.safe_dump(document, allow_unicode=True)
        yield name, lambda folder, text=text: read_area(text)  # type: ignore[misc]
    whole = yaml.safe_dump(WHOLE)
    for name, text in {
        "anchor": whole.replace("title: x", "title: &t x"),
        "alias": whole.replace("title: x", "title: &t x\nname: *t"),
        "duplicate-key": whole + "\nname: other\n",
        "merge-key": whole + "\n<<: {name: other}\n",
        "binary-tag": whole.replace("title: x", "title: !!binary aGVsbG8="),
        "python-tag": whole.replace("title: x", "title: !!python/name:os.system"),
        "set": whole.replace("title: x", "title: !!set {a, b}"),
        "number-1e400": whole.replace("142.03", "1e400"),
        "number-.inf": whole.replace("142.03", ".inf"),
        "number-.nan": whole.replace("142.03", ".nan"),
        "number-octal": whole.replace("142.03", "0o17"),
        "number-sexagesimal": whole.replace("142.03", "1:30:00"),
        "number-underscore": whole.replace("142.03", "1_4_2.03"),
        "fullwidth-digits": whole.replace("142.03", "１４２"),
        "fullwidth-key": whole.replace("bbox", "ｂｂｏｘ"),
        "norway": whole.replace("name: hostile", "name: no"),
        "tab": whole.replace("  -", "\t-"),
        "bom": "\ufeff" + whole,
        "crlf": whole.replace("\n", "\r\n"),
        "line-separator": whole.replace("\n", "\u2028"),
        "directive": "%YAML 9.9\n---\n" + whole,
        "comment-only": "# nothing",
        "timestamp-13th-month": whole.replace("2018-06-01", "2018-13-01"),
        "timestamp-leap": whole.replace("2018-06-01", "2018-02-30"),
    }.items():
        yield name, lambda folder, text=text: read_area(text)  # type: ignore[misc]


def items() -> Iterator[tuple[str, Action]]:
    """A sound item beside the hostile one is read in any case."""
    sound, where = item(name="S1A_sound", **{"sat:absolute_orbit": 30000}), small_area()

    def read(hostile: Any) -> None:
        found = group_passes([hostile, sound], where)
        ids = {piece.id for one in found.passes for piece in one.slices}
        if "S1A_sound" not in ids:
            raise WrongValueError("the sound item is lost")

    few = some("null true infinite nan huge nested empty path lookalike surrogate digits long")
    for name, document in changed(item(), few):
        yield name, lambda folder, document=document: read(document)  # type: ignore[misc]
    for platform in (
        "sentinel-1a",
        "S1-A",
        "Sentinel 1A",
        "SENTINEL1A",
        "s1a",
        "S1Z",
        "ERS-2",
        "ѕ1а",
        1,
        ["S1A"],
    ):
        for orbit in ("DESCENDING", "Desc", "↓", 7):
            hostile = item(platform=platform, **{"sat:orbit_state": orbit})
            yield f"{platform}-{orbit}", lambda folder, hostile=hostile: read(hostile)  # type: ignore[misc]


@cache
def catalogue_document() -> dict[str, Any]:
    from pipeline.catalogue.catalogue import area_digest

    where = small_area()
    return {
        "area": where.name, "area_digest": area_digest(where), "searched_at": "2020-01-01T00:00:00Z",
        "endpoint": "https://example.org", "rtc_items": [item()], "dem_items": [],
        "probes": {"https://example.org/a.tif": {"href": "https://example.org/a.tif", "size_bytes": 5, "etag": "x"}},
    }  # fmt: skip


def catalogues() -> Iterator[tuple[str, Action]]:
    for name, document in changed(catalogue_document(), some("null negative nan huge nested path surrogate")):
        raw = json.dumps(document).encode()
        yield name, lambda folder, raw=raw: parse_catalogue(raw, "hostile", small_area())  # type: ignore[misc]


@cache
def manifest_document() -> dict[str, Any]:
    from tests.faults.writer import write

    with TemporaryDirectory() as folder:
        write(Path(folder) / "cube")
        path = Path(folder) / "cube" / "versions" / "2.zarr" / "manifest.json"
        found: dict[str, Any] = json.loads(path.read_text())
    return found


def manifests() -> Iterator[tuple[str, Action]]:
    for name, document in changed(manifest_document(), some("null negative huge path digits")):
        raw = json.dumps(document).encode()
        yield name, lambda folder, raw=raw: parse_manifest(raw, "hostile").stacks  # type: ignore[misc]
    sound = json.dumps(manifest_document())
    for name, text in {
        "duplicate-key": sound[:-1] + ', "area": "../.."}',
        "nan": sound.replace("10.0", "NaN", 1),
        "1e400": sound.replace("10.0", "1e400", 1),
        "trailing": sound + "{}",
        "bom": "\ufeff" + sound,
    }.items():
        raw = text.encode()
        yield name, lambda folder, raw=raw: parse_manifest(raw, "hostile").stacks  # type: ignore[misc]


def bundles() -> Iterator[tuple[str, Action]]:
    for name, document in changed(as_json(), some("null negative nan huge path surrogate")):

        def read(folder: Path, document: Any = document) -> object:
            return read_document(write_bundle(folder / "bundle", document, b"weights"))

        yield name, read


def vectors() -> Iterator[tuple[str, Action]]:
    sound = json.loads(geojson(polygon(RING), polygon(RING)))
    sound["features"][0]["properties"] |= {"date": "2018-09-06", "kind": 3}
    inventory = Inventory.model_validate({"name": "x", "citation": "x", "licence": "x", "url": "x.geojson"})
    grid = Grid.of_area(read_area(yaml.safe_dump(WHOLE)))

    def read(folder: Path, document: Any) -> object:
        path = folder / "x.geojson"
        path.write_bytes(json.dumps(document).encode("utf-8", "surrogatepass"))
        return counted_polygons(read_inventory(path, inventory), inventory, grid)

    for name, document in changed(sound, some("null true nan huge nested empty surrogate")):
        yield name, lambda folder, document=document: read(folder, document)  # type: ignore[misc]
    for date in DATES:
        made = copy.deepcopy(sound)
        for feature in made["features"]:
            feature["properties"]["date"] = date
        yield f"date-{date}", lambda folder, made=made: read(folder, made)  # type: ignore[misc]
