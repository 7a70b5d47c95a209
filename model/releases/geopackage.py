"""`landslides.gpkg`: the layers of a release with their styles, which QGIS takes by itself, and names for people."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from model.releases.styles.qgis_style import qml
from model.releases.vector_layers import Layer

VERSION = "1.2"
"""of the format: later ones make QGIS of a long-term release warn"""
STYLES = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
  f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
  update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))
"""
"""the table by which QGIS keeps styles in a database, as it makes it itself"""
COLUMNS = """
CREATE TABLE IF NOT EXISTS gpkg_data_columns (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, name TEXT, title TEXT, description TEXT, mime_type TEXT,
  constraint_name TEXT, CONSTRAINT pk_gdc PRIMARY KEY (table_name, column_name),
  CONSTRAINT gdc_tn UNIQUE (table_name, name))
"""
"""names of columns for people: the extension `gpkg_schema` (OGC 12-128r19, annex F.9)"""
SCHEMA_EXTENSION = "http://www.geopackage.org/spec121/#extension_schema"


def write_geopackage(layers: Sequence[Layer], target: Path, tags: Mapping[str, str]) -> None:
    """Write the layers, also those without a row; one that is at `target` is replaced.

    Args:
        tags: metadata of each layer.

    Raises:
        pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, sqlite3.Error: it cannot be written.
    """
    target.unlink(missing_ok=True)
    for layer in layers:
        layer.frame.to_file(
            target,
            layer=layer.name,
            driver="GPKG",
            engine="pyogrio",
            mode="a" if target.exists() else "w",
            geometry_type=layer.geometry,
            layer_metadata=dict(tags),
            dataset_options=None if target.exists() else {"VERSION": VERSION},
            layer_options={
                "IDENTIFIER": f"{layer.name} ({layer.ems} of Copernicus EMS)",
                "DESCRIPTION": layer.title,
            },
        )
    with closing(sqlite3.connect(target)) as database, database:
        _add_styles(database, layers)
        _add_aliases(database, layers)


def _add_styles(database: sqlite3.Connection, layers: Sequence[Layer]) -> None:
    database.execute(STYLES)
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', "
        "'layer_styles')"
    )
    database.executemany(
        "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, "
        "styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, 'geom', ?, ?, '', 1, ?, '')",
        [(one.name, one.name, qml(one.style), one.title) for one in layers],
    )


def _add_aliases(database: sqlite3.Connection, layers: Sequence[Layer]) -> None:
    database.execute(COLUMNS)
    database.executemany(
        "INSERT INTO gpkg_data_columns (table_name, column_name, name) VALUES (?, ?, ?)",
        [
            (one.name, column, one.aliases[column])
            for one in layers
            for column in one.frame.columns
            if column in one.aliases
        ],
    )
    database.execute(
        "INSERT INTO gpkg_extensions (table_name, column_name, extension_name, definition, scope) "
        "VALUES ('gpkg_data_columns', NULL, 'gpkg_schema', ?, 'read-write')",
        (SCHEMA_EXTENSION,),
    )
