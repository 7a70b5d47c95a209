"""Hostile files, made by functions of a path: areas, vector files, and changes of a cube."""

from __future__ import annotations

import gzip
import io
import json
import os
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Maker = Callable[[Path], None]
MIB = 2**20
SECRET = "root:the-line-that-nobody-may-see"
"""content of a file that no area may read"""
RING = [[142.031, 42.721], [142.033, 42.721], [142.033, 42.723], [142.031, 42.721]]
WHOLE = {
    "name": "hostile",
    "title": "x",
    "bbox": [142.03, 42.72, 142.042, 42.729],
    "start": "2018-06-01T00:00:00Z",
    "end": "2018-11-01T00:00:00Z",
    "references": ["x"],
    "licence": "CC0-1.0",
    "event": {
        "kind": "earthquake",
        "start": "2018-09-05T18:07:59Z",
        "end": "2018-09-05T18:07:59Z",
        "source": "x",
    },
}


def text(content: str) -> Maker:
    return lambda path: path.write_text(content, encoding="utf-8") and None


def raw(content: bytes) -> Maker:
    return lambda path: path.write_bytes(content) and None


def area(**fields: Any) -> Maker:
    """A sound area but for these fields."""
    return text(yaml.safe_dump(WHOLE | fields))


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(8 * 2**30)


def linked(target: str) -> Maker:
    return lambda path: path.symlink_to(target)


def alias_bomb(path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path.write_text("\n".join(lines))


AREAS: dict[str, Maker] = {
    "empty": text(""),
    "binary": raw(bytes(range(256)) * 20),
    "secret-lines": text(f"{SECRET}\n{SECRET}:x: [\n"),
    "secret-mapping": text(yaml.safe_dump({SECRET: SECRET})),
    "alias-bomb": alias_bomb,
    "many-keys": text("\n".join(f"k{n}: 1" for n in range(300_000))),
    "deep": text("a: " + "[" * 50_000),
    "deep-json": text('{"a":' * 20_000),
    "python-object": text("name: !!python/object/apply:os.system ['touch owned']"),
    "list": text("- a\n- b\n"),
    "two-documents": text("a: 1\n---\nb: 2\n"),
    "not-utf-8": raw(b"name: \xff\xfe\n"),
    "utf-16": raw("name: x\n".encode("utf-16")),
    "folder": lambda path: path.mkdir(),
    "pipe": lambda path: os.mkfifo(path),
    "endless-device": linked("/dev/zero"),
    "loop-of-links": lambda path: path.symlink_to(path.name),
    "dangling-link": linked("nowhere"),
    "gigabytes": sparse,
    "name-that-is-a-path": area(name="../../outside"),
    "name-absolute": area(name="/tmp/outside"),
    "name-with-markup": area(name="[red]x[/red]"),
    "bbox-nan": area(bbox=[float("nan")] * 4),
    "bbox-world": area(bbox=[-180, -90, 180, 90]),
    "bbox-huge-numbers": area(bbox=[10**400, 1, 10**401, 2]),
    "bbox-swapped": area(bbox=[142.042, 42.72, 142.03, 42.729]),
    "resolution-tiny": area(resolution_m=1e-300),
    "resolution-negative": area(resolution_m=-10),
    "geometry-deep": area(bbox=None, geometry={"type": "Polygon", "coordinates": [[[[[[[[1]]]]]]]]}),
    "geometry-crossing": area(
        bbox=None, geometry={"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1], [1, 0], [0, 0]]]}
    ),
    "dates-senseless": area(start="0000-00-00", end="99999-01-01"),
    "end-before-start": area(start="2019-01-01T00:00:00Z", end="2018-01-01T00:00:00Z"),
    "geometry-file-is-a-secret": area(bbox=None, geometry="secret.txt"),
    "inventory-url-of-loopback": area(
        inventory={"name": "x", "url": "http://127.0.0.1:9/x.gpkg", "citation": "x", "licence": "x"}
    ),
}
"""Area files by what is wrong."""


def geojson(*geometries: Any, **more: Any) -> bytes:
    features = [{"type": "Feature", "properties": {"class": "new"}, "geometry": each} for each in geometries]
    return json.dumps({"type": "FeatureCollection", "features": features} | more).encode()


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def zipped(*members: tuple[str, bytes]) -> Maker:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)

    return make


def zip_bomb(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.geojson", "w", force_zip64=True) as file,
    ):
        for _ in range(300):
            file.write(bytes(16 * MIB))


def nested_zip(path: Path) -> None:
    content = geojson(polygon(RING))
    for level in range(20):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(f"{level}.zip" if level else "x.geojson", content)
        content = buffer.getvalue()
    path.write_bytes(content)


def zip_with_link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("x.geojson")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")


def geopackage(script: str) -> Maker:
    """A GeoPackage of one layer whose table is what the script makes."""

    def make(path: Path) -> None:
        base = sqlite3.connect(path)
        base.executescript(
            f"""
            PRAGMA application_id = 1196444487; PRAGMA user_version = 10300;
            CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT, srs_id INTEGER PRIMARY KEY, organization TEXT,
                organization_coordsys_id INTEGER, definition TEXT, description TEXT);
            INSERT INTO gpkg_spatial_ref_sys VALUES ('WGS 84', 4326, 'EPSG', 4326, 'undefined', NULL);
            CREATE TABLE gpkg_contents (table_name TEXT PRIMARY KEY, data_type TEXT, identifier TEXT, description TEXT,
                last_change TEXT, min_x REAL, min_y REAL, max_x REAL, max_y REAL, srs_id INTEGER);
            INSERT INTO gpkg_contents VALUES ('landslides', 'features', 'landslides', '', '2018-01-01T00:00:00Z',
                142, 42, 143, 43, 4326);
            CREATE TABLE gpkg_geometry_columns (table_name TEXT, column_name TEXT, geometry_type_name TEXT,
                srs_id INTEGER, z INTEGER, m INTEGER);
            INSERT INTO gpkg_geometry_columns VALUES ('landslides', 'geom', 'GEOMETRY', 4326, 0, 0);
            {script}
            """
        )
        base.commit()
        base.close()

    return make


ENDLESS_VIEW = """
CREATE VIEW landslides AS WITH RECURSIVE n(fid) AS (SELECT 1 UNION ALL SELECT fid + 1 FROM n)
SELECT fid, NULL AS geom, 'new' AS class FROM n;
"""
HUGE_BLOB = """
CREATE TABLE landslides (fid INTEGER PRIMARY KEY, geom BLOB, class TEXT);
INSERT INTO landslides VALUES (1, zeroblob(200000000), 'new');
"""
VRT = (
    b'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer>'
    b"</OGRVRTDataSource>"
)
ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE k [<!ENTITY a "'
    + b"x" * 1000
    + b'">'
    + b"".join(b'<!ENTITY %c "%b">' % (c, b"&%c;" % (c - 1) * 20) for c in range(ord("b"), ord("j")))
    + b']><kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>&i;</name></Document></kml>'
)
OUTSIDE_ENTITY = (
    b'<?xml version="1.0"?><!DOCTYPE k [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    b'<kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>&a;</name></Document></kml>'
)
SHAPEFILE = struct.pack(">7i", 9994, 0, 0, 0, 0, 0, 2**30) + struct.pack("<2i8d", 1000, 5, *[0.0] * 8)

LISTS = geojson(polygon(RING), polygon(RING)).replace(b'"new"', b"[1, 2]")
DEEP_GEOMETRY = geojson({"type": "GeometryCollection", "geometries": []}).replace(
    b"[]", b"[" * 5000 + b"]" * 5000
)

VECTORS: dict[str, tuple[str, Maker]] = {
    "empty": ("x.geojson", raw(b"")),
    "sign-in-page": ("x.geojson", raw(b"<!DOCTYPE html><html><title>Sign in</title></html>")),
    "folder": ("x.geojson", lambda path: path.mkdir()),
    "pipe": ("x.geojson", lambda path: os.mkfifo(path)),
    "endless-device": ("x.geojson", linked("/dev/zero")),
    "secret": ("x.geojson", text(SECRET)),
    "gigabytes": ("x.gpkg", sparse),
    "gzip": ("x.geojson", raw(gzip.compress(geojson(polygon(RING))))),
    "deep-json": ("x.geojson", raw(b'{"type":"FeatureCollection","features":' + b"[" * 200_000)),
    "deep-geometry": ("x.geojson", raw(DEEP_GEOMETRY)),
    "lists-as-classes": ("x.geojson", raw(LISTS)),
    "null-geometry": ("x.geojson", raw(geojson(None))),
    "not-finite": ("x.geojson", raw(geojson(polygon([[float("nan"), 1], [1e999, 2], [3, 3], [0, 0]])))),
    "huge-coordinates": (
        "x.geojson",
        raw(geojson(polygon([[1e300, 1e300], [-1e300, 1e300], [0, -1e300], [1e300, 1e300]]))),
    ),
    "one-point-ring": ("x.geojson", raw(geojson(polygon(RING[:1])))),
    "empty-hole": ("x.geojson", raw(geojson(polygon(RING, [])))),
    "all-empty": ("x.geojson", raw(geojson(polygon([]), {"type": "MultiPolygon", "coordinates": [[]]}))),
    "spiral": (
        "x.geojson",
        raw(
            geojson(
                polygon(
                    [[142.03 + (n % 2) * 0.01, 42.72 + n * 1e-7] for n in range(20_000)] + [[142.03, 42.72]]
                )
            )
        ),
    ),
    "many-points": (
        "x.geojson",
        raw(geojson({"type": "MultiPoint", "coordinates": [[142.031, 42.721]] * 100_000})),
    ),
    "crs-senseless": (
        "x.geojson",
        raw(geojson(polygon(RING), crs={"type": "name", "properties": {"name": "EPSG:999999"}})),
    ),
    "vrt": ("x.geojson", raw(VRT)),
    "vrt-by-name": ("x.vrt", raw(VRT)),
    "kml-entities": ("x.kml", raw(ENTITIES)),
    "kml-outside-entity": ("x.kml", raw(OUTSIDE_ENTITY)),
    "shapefile-head": ("x.shp", raw(SHAPEFILE)),
    "zip-empty": ("x.zip", zipped()),
    "zip-outside": ("x.zip", zipped(("../../outside.geojson", geojson(polygon(RING))))),
    "zip-absolute": ("x.zip", zipped(("/tmp/outside.geojson", geojson(polygon(RING))))),
    "zip-link": ("x.zip", zip_with_link),
    "zip-bomb": ("x.zip", zip_bomb),
    "zip-nested": ("x.zip", nested_zip),
    "zip-many-members": ("x.zip", zipped(*((f"{n}.geojson", b"{}") for n in range(5000)))),
    "zip-cut": ("x.zip", raw(b"PK\x03\x04" + bytes(100))),
    "gpkg-head": ("x.gpkg", raw(b"SQLite format 3\0" + bytes(84))),
    "gpkg-endless-view": ("x.gpkg", geopackage(ENDLESS_VIEW)),
    "gpkg-no-table": ("x.gpkg", geopackage("")),
    "gpkg-huge-blob": ("x.gpkg", geopackage(HUGE_BLOB)),
}
"""Inventories by what is wrong: their file name and what makes them."""


def of_json(name: str, change: Callable[[Any], None]) -> Maker:
    """Change one JSON file of a cube."""

    def make(cube: Path) -> None:
        path = cube / name
        document = json.loads(path.read_text())
        change(document)
        path.unlink()
        path.write_text(json.dumps(document))

    return make


def replaced(name: str, maker: Maker) -> Maker:
    """Make something else in place of one file of a cube."""

    def make(cube: Path) -> None:
        (cube / name).unlink()
        maker(cube / name)

    return make


VERSION = "versions/2.zarr"
SHARD = f"{VERSION}/vv/c/0/0/0"
PICKLE = {"name": "numcodecs.pickle", "configuration": {}}
CUBES: dict[str, Maker] = {
    "latest-outside": replaced("latest", text('{"version": "../../../outside"}')),
    "latest-huge": replaced("latest", text('{"version": ' + "9" * 4000 + "}")),
    "latest-deep": replaced("latest", text("[" * 100_000)),
    "latest-pipe": replaced("latest", lambda path: os.mkfifo(path)),
    "manifest-deep": replaced(f"{VERSION}/manifest.json", text('{"records":' * 50_000)),
    "manifest-empty": replaced(f"{VERSION}/manifest.json", text("{}")),
    "manifest-device": replaced(f"{VERSION}/manifest.json", linked("/dev/zero")),
    "manifest-secret": replaced(f"{VERSION}/manifest.json", text(SECRET)),
    "area-outside": of_json(f"{VERSION}/manifest.json", lambda found: found.update(area="../../outside")),
    "grid-of-a-planet": of_json(
        f"{VERSION}/manifest.json", lambda found: found["grid"].update(width=10**9, height=10**9)
    ),
    "grid-negative": of_json(f"{VERSION}/manifest.json", lambda found: found["grid"].update(width=-1)),
    "no-records": of_json(f"{VERSION}/manifest.json", lambda found: found.update(records={})),
    "file-outside": of_json(
        f"{VERSION}/manifest.json", lambda found: found["files"].update({"../../../secret.txt": "0" * 64})
    ),
    "shape-of-a-planet": of_json(
        f"{VERSION}/vv/zarr.json", lambda found: found.update(shape=[3, 10**9, 10**9])
    ),
    "codec-unknown": of_json(
        f"{VERSION}/vv/zarr.json", lambda found: found.update(codecs=[{"name": "x", "configuration": {}}])
    ),
    "codec-pickle": of_json(f"{VERSION}/vv/zarr.json", lambda found: found["codecs"].insert(0, PICKLE)),
    "type-unknown": of_json(f"{VERSION}/vv/zarr.json", lambda found: found.update(data_type="object")),
    "group-without-metadata": replaced(f"{VERSION}/zarr.json", text("{}")),
    "shard-empty": replaced(SHARD, raw(b"")),
    "shard-pipe": replaced(SHARD, lambda path: os.mkfifo(path)),
    "shard-device": replaced(SHARD, linked("/dev/zero")),
    "shard-gigabytes": replaced(SHARD, sparse),
    "shard-of-another": replaced(SHARD, linked("/etc/passwd")),
}
"""Changes of a cube of two versions."""
