"""The landslide inventory with mapping errors: displaced, incomplete, with a duplicate and a bow-tie."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from shapely import Polygon, affinity

from pipeline.areas.area import Inventory
from pipeline.areas.inventory_rules import ClassRange
from pipeline.sandbox.earth.images import stamp
from pipeline.sandbox.earth.realism.mapping_errors import mapped_outlines
from pipeline.sandbox.earth.scene import Scene

if TYPE_CHECKING:
    import geopandas

EXAMPLE_HOST = "inventories.slidecube.example"
_WRITERS = {
    ".gpkg": "GPKG",
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
    ".fgb": "FlatGeobuf",
    ".zip": "ESRI Shapefile",
}
_DAY = datetime(2020, 1, 1, tzinfo=UTC)


def map_slides(scene: Scene) -> geopandas.GeoDataFrame:
    """Polygons as mapped, in the grid's projection, with the class field that the area's inventory names.

    Some are missing and each is displaced by about a pixel, with the other errors that the parameters ask for; the last
    two rows are a duplicate of the first and a polygon that crosses itself.
    """
    parameters = scene.parameters
    rng = np.random.default_rng([parameters.seed, 7])
    field, names = inventory_classes(scene.area.inventory)
    sd_m = parameters.label_jitter_px * scene.grid.resolution_m
    shapes: list[Polygon] = []
    classes: list[str | float] = []
    drawn: dict[str, list[Polygon]] = {"new": [], "old": []}
    mapping = parameters.realism.mapping
    missing = parameters.labels_missing if mapping is None else 0.0
    for kind, outlines in (("new", scene.slides.new), ("old", scene.slides.old)):
        for outline in outlines:
            dx, dy = rng.normal(0, sd_m, 2)
            if rng.uniform() >= missing:
                drawn[kind].append(affinity.translate(outline, dx, dy))
    if mapping is not None:
        drawn["new"], drawn["old"] = mapped_outlines(drawn["new"], drawn["old"], mapping, rng)
    for kind, found in drawn.items():
        shapes += found
        classes += [names[kind]] * len(found)
    if shapes:
        shapes.append(shapes[0])
        classes.append(classes[0])
        x, y, s = shapes[0].centroid.x, shapes[0].centroid.y, 2 * scene.grid.resolution_m
        shapes.append(Polygon([(x - s, y - s), (x + s, y + s), (x + s, y - s), (x - s, y + s)]))
        classes.append(names["new"])
    import geopandas  # half a second, as pyogrio takes: a server of a finished world needs neither

    return geopandas.GeoDataFrame(
        {"id": np.arange(1, len(shapes) + 1), field: classes, "area_m2": [round(s.area, 1) for s in shapes]},
        geometry=shapes,
        crs=scene.grid.epsg,
    )


def inventory_classes(inventory: Inventory | None) -> tuple[str, dict[str, str | float]]:
    """The area's class field, and its values for new and old landslides."""
    if inventory is None or inventory.class_field is None:
        return "class", {"new": "new", "old": "old"}
    new = inventory.classes.get("new") or next(iter(inventory.classes.values()))
    old = inventory.classes.get("old")
    # a class that the area file does not name is not labelled
    first = _example(new[0])
    unknown: str | float = "old" if isinstance(first, str) else -1
    return inventory.class_field, {"new": first, "old": _example(old[0]) if old else unknown}


def _example(value: bool | float | str | ClassRange) -> str | float:
    """An attribute that is of the class value."""
    if not isinstance(value, ClassRange):
        return value
    (low, low_in), (high, high_in) = value.ends
    found = (
        low if low_in else high if high_in else low + 1 if np.isinf(high) else (max(low, high - 2) + high) / 2
    )
    return date.fromordinal(int(found)).isoformat() if value.of_days else found


def inventory_targets(scene: Scene) -> tuple[list[tuple[str, str]], list[str]]:
    """(host, path) pairs at which the inventory is served, and notes about it.

    They are the example host and, if it is a URL of a known format, the address of the area's own inventory.
    """
    targets = [(EXAMPLE_HOST, f"{scene.area.name}.gpkg")]
    notes: list[str] = []
    inventory = scene.area.inventory
    if inventory is None or inventory.url is None or "://" not in inventory.url:
        return targets, notes
    parts = urlsplit(inventory.url)
    target = (parts.hostname or "", parts.path.lstrip("/"))
    if Path(parts.path).suffix.lower() not in _WRITERS:
        notes.append(f"the inventory's URL ends in no format that can be simulated ({Path(parts.path).name})")
        return targets, notes
    if inventory.sha256 is not None:
        notes.append("the area file states a sha256 of the real inventory; the simulated one cannot match it")
    return [target] if target == targets[0] else [*targets, target], notes


def simulated_inventory(scene: Scene) -> dict[str, Any]:
    """The part `inventory` of the area file that fits the simulated inventory."""
    field, names = inventory_classes(scene.area.inventory)
    host, path = inventory_targets(scene)[0][-1]
    found: dict[str, Any] = {} if scene.slides.new else {"may_be_empty": True}
    return found | {
        "name": "Simulated landslides",
        "url": f"https://{host}/{path}",
        "citation": "slidecube sandbox, simulated from a seed",
        "licence": "CC0-1.0",
        "class_field": field,
        "classes": {kind: [name] for kind, name in names.items()},
        "extent_assumed": "the simulation covers the whole area",
    }


def write_inventory(slides: geopandas.GeoDataFrame, path: Path, layer: str | None) -> None:
    """Write the polygons in the format of the path's suffix; the same bytes every time."""
    import pyogrio

    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix.lower()
    name = Path(layer).stem if layer else "landslides"
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _DAY.strftime("%Y-%m-%dT%H:%M:%S.000Z")})
    try:
        if suffix == ".zip":
            _write_zip(slides, path, name)
        elif suffix in {".geojson", ".json"}:
            slides.to_crs(4326).to_file(path, driver="GeoJSON", engine="pyogrio")
        else:
            slides.to_file(path, driver=_WRITERS[suffix], layer=name, engine="pyogrio")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
    stamp(path, _DAY)


def _write_zip(slides: geopandas.GeoDataFrame, path: Path, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        slides.to_file(
            Path(folder) / f"{name}.shp",
            driver="ESRI Shapefile",
            engine="pyogrio",
            DBF_DATE_LAST_UPDATE=_DAY.strftime("%Y-%m-%d"),
        )
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for part in sorted(Path(folder).iterdir()):
                archive.writestr(zipfile.ZipInfo(part.name, _DAY.timetuple()[:6]), part.read_bytes())
    path.write_bytes(packed.getvalue())


def write_extent(area_geojson: dict[str, Any], path: Path) -> None:
    """Write the mapped extent, which is the whole area, as GeoJSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    feature = {"type": "Feature", "properties": {}, "geometry": area_geojson}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), encoding="utf-8")
    stamp(path, _DAY)
