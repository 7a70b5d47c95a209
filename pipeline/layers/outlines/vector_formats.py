"""Formats of vector files, told by their first bytes: only these are handed to GDAL, each to its own driver.

GDAL's vector drivers try every format on a file, and some formats point to other files, addresses or programs.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from pipeline.archives.http.bodies import is_page
from pipeline.errors import SourceDataError

FORMATS: Mapping[str, frozenset[str]] = {
    "SQLite": frozenset({"GPKG", "SQLite"}),
    "FlatGeobuf": frozenset({"FlatGeobuf"}),
    "shapefile": frozenset({"ESRI Shapefile"}),
    "JSON": frozenset({"GeoJSON", "GeoJSONSeq", "ESRIJSON", "TopoJSON"}),
    "KML": frozenset({"KML", "LIBKML"}),
    "GML": frozenset({"GML"}),
    "file geodatabase": frozenset({"OpenFileGDB"}),
}
"""Formats whose files hold the features themselves, and the GDAL drivers that may read each."""
READ = "GeoPackage, shapefile (zipped), GeoJSON, FlatGeobuf, KML, or a file geodatabase (zipped)"
SNIFFED_BYTES = 1 << 16
GDAL_OPTIONS = {
    # no address is followed, no SQLite table stands for another file, nothing is written beside the file
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "{none}",
    "OGR_SQLITE_STATIC_VIRTUAL_OGR": "NO",
    "OGR_SQLITE_LOAD_EXTENSIONS": "NONE",
    "GDAL_PAM_ENABLED": "NO",
    "GML_SKIP_RESOLVE_ELEMS": "ALL",
    "GML_SAVE_RESOLVED_TO": "SAME",
}
_POINTERS = re.compile(rb"<OGR\w*DataSource|gdal_streamed_alg|<VRTDataset|<WFS|<GDAL_WMS", re.IGNORECASE)
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "is a zip that ends early or is damaged", "Fetch it again."),
    (b"\x1f\x8b", "is compressed by gzip", "Unpack it."),
    (b"BZh", "is compressed by bzip2", "Unpack it."),
    (b"\xfd7zXZ", "is compressed by xz", "Unpack it."),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive", "Unpack it."),
    (b"Rar!", "is a RAR archive", "Unpack it."),
    (b"%PDF", "is a PDF document", "Give the vector file."),
    (b"II*\x00", "is a TIFF image", "Give outlines, not pixels."),
    (b"MM\x00*", "is a TIFF image", "Give outlines, not pixels."),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file", "Fetch it by `git lfs pull`."),
)
"""first bytes, what they are, what to do"""


def format_of(name: str, head: bytes) -> str:
    """The format that the first bytes of a file show: a key of `FORMATS`.

    Raises:
        SourceDataError: it is empty, of another format, a web page, or points to other sources.
    """
    if not head:
        raise SourceDataError(f"{name} is empty.", "Fetch it again.")
    for magic, kind, remedy in _OTHERS:
        if head.startswith(magic):
            raise SourceDataError(f"{name} {kind}.", remedy)
    if is_page(head):
        raise SourceDataError(
            f"{name} is a web page: of a sign-in, of an error, or one that only links to the file.",
            "Open its address in a browser, and give the address or path of the file itself.",
        )
    if _POINTERS.search(head):
        raise SourceDataError(
            f"{name} does not hold features but points to other sources, which are not followed.",
            "Give the file that holds the features.",
        )
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    shown = {
        "SQLite": head.startswith(b"SQLite format 3\0"),
        "FlatGeobuf": head.startswith(b"fgb\x03"),
        "shapefile": head.startswith(b"\x00\x00\x27\x0a"),
        "JSON": text.startswith((b"{", b"[", b"\x1e")),
        "KML": text.startswith(b"<") and re.search(rb"<(\w+:)?kml[\s>]", head) is not None,
        "GML": text.startswith(b"<") and b"http://www.opengis.net/gml" in head,
    }
    found = next((kind for kind, is_that in shown.items() if is_that), None)
    if found is None:
        raise SourceDataError(f"{name} is none of the vector formats that are read.", f"Give a {READ}.")
    return found


def check_table(file: Path, layer: str, name: str) -> None:
    """Refuse a layer of a GeoPackage or SQLite file that is no table of its own.

    A view can compute without an end, and a virtual table can stand for a file.

    Raises:
        SourceDataError: a view, a virtual table, or a damaged file, called `name`.
    """
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            kinds = dict(
                database.execute("SELECT lower(name), type || ' ' || ifnull(sql, '') FROM sqlite_master")
            )
            table = layer.lower() if layer.lower() in kinds else layer.lower().rpartition("(")[0]
    except sqlite3.Error as error:
        raise SourceDataError(f"{name} is a damaged GeoPackage ({error}).", "Fetch it again.") from None
    if not re.match(r"table CREATE TABLE\b", kinds.get(table, ""), re.IGNORECASE):
        raise SourceDataError(
            f"Layer {layer} of {name} is a view or a virtual table, which is not read.",
            "Write it to a table of its own (ogr2ogr).",
        )
