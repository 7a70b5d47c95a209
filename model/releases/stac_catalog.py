"""`catalog.json`: a static STAC catalogue of a release, with items of the map, its cube and its model, and checksums.

Extensions by pystac where it has them: classification, file, mlm, projection, sar, sat. The fields of `processing` are
those of version 1.2.0 (https://github.com/stac-extensions/processing), those of `earthquake` of version 1.0.0
(https://github.com/stac-extensions/earthquake).
"""

from __future__ import annotations

import copy
import hashlib
import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from pystac.extensions.classification import Bitfield, Classification, ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.sar import FrequencyBand, ObservationDirection, Polarization, SarExtension
from pystac.extensions.sat import OrbitState, SatExtension
from pystac.layout import CustomLayoutStrategy
from shapely.geometry import mapping

from model.bundle.markdown import one_line
from model.bundle.summaries import ReleaseRecord
from model.inputs.cubes import footprint
from model.releases.categories import VALIDITY_NAME, Category
from model.releases.event_facts import EventFacts
from model.releases.exchange_files import GEOJSON, KML, PMTILES
from model.releases.finished_map import FinishedMap
from model.releases.raster_styles import TITLES, rasters_of
from model.releases.web_page.page import PAGE
from pipeline.places import maps_root
from pipeline.settings import settings

CATALOG, MAP, CUBE, MODEL = "catalog.json", "map.stac.json", "cube.stac.json", "model.stac.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
EARTHQUAKE = "https://stac-extensions.github.io/earthquake/v1.0.0/schema.json"
LEAST_MAGNITUDE, LARGEST_MAGNITUDE = 0.0, 20.0
"""that the schema of `earthquake` allows"""
USGS_ID = re.compile(r"(official|iscgem(?:sup)?|[a-z]{2})([a-z0-9_]+)")
"""network and the network's own code (`net` and `code` of the USGS's feeds), of which an id consists"""
COG = str(pystac.MediaType.COG)
FILES = {
    "landslides.gpkg": ("polygons", "Polygons with styles", str(pystac.MediaType.GEOPACKAGE), ("data",)),
    GEOJSON: ("geojson", "Polygons", str(pystac.MediaType.GEOJSON), ("data",)),
    KML: ("kml", "Polygons", str(pystac.MediaType.KML), ("data",)),
    PMTILES: ("tiles", "Polygons as tiles", "application/vnd.pmtiles", ("data",)),
    PAGE: ("page", "Page for people", "text/html", ("overview",)),
    "report.json": ("report", "Report for scripts", str(pystac.MediaType.JSON), ("metadata",)),
    "report.md": ("report-text", "Report", "text/markdown", ("metadata",)),
    "quicklook.png": ("picture", "Picture", str(pystac.MediaType.PNG), ("thumbnail",)),
}
"""files of a release that are no rasters: key, title, type and roles of their assets"""


def write_stac(finished: FinishedMap, of_classes: dict[str, tuple[Category, ...]]) -> None:
    """Write the catalogue and its items beside the map; links are relative, so that the release can be moved.

    Args:
        of_classes: categories of each raster of classes.
    """
    items = {MAP: _map(finished, of_classes), CUBE: _cube(finished)}
    if finished.model_item is not None:
        items[MODEL] = pystac.Item.from_dict(copy.deepcopy(dict(finished.model_item)), preserve_dict=False)
        for asset in items[MODEL].assets.values():
            asset.href = _address(finished, asset.href)
    for name in items.keys() - {MAP}:
        items[MAP].add_link(
            pystac.Link(pystac.RelType.DERIVED_FROM, items[name], media_type=pystac.MediaType.GEOJSON)
        )
    catalog = pystac.Catalog(
        id=_id(finished),
        title=_title(finished),
        description=f"{_title(finished)}: the map, the cube that it is made of"
        + (", and its model." if finished.model_item is not None else "."),
        catalog_type=pystac.CatalogType.SELF_CONTAINED,
    )
    files = {item.id: str(finished.folder / name) for name, item in items.items()}
    catalog.set_self_href(str(finished.folder / CATALOG))
    catalog.add_items(items.values(), CustomLayoutStrategy(item_func=lambda item, _: files[item.id]))
    for item in items.values():
        item.save_object(include_self_link=False)
    catalog.save_object(include_self_link=False)


def _map(finished: FinishedMap, of_classes: dict[str, tuple[Category, ...]]) -> pystac.Item:
    record, facts = finished.record, finished.facts
    item = _item(finished, f"{_id(finished)}-map", _title(finished))
    item.properties |= {
        "description": _described(finished),
        "processing:level": "L3",
        "processing:lineage": "Passes before and after the event are compared; "
        + (f"a network (model {record.model}) " if record.model else "the training-free detector ")
        + "gives each pixel a score, and connected pixels above the threshold become polygons.",
        "processing:software": {"slidecube": _version()},
        "processing:datetime": _now(),
        "slidecube:review": record.review_state,
        **_review(record),
        "slidecube:polygons": record.polygons,
        "slidecube:mapped_km2": record.mapped_km2,
        "slidecube:threshold": record.threshold,
        "slidecube:no_data_share": record.no_data_share,
        "slidecube:expected": one_line(record.expected_words),
        "slidecube:cube": facts.digest,
        "slidecube:model": record.model,
    }
    item.stac_extensions.append(PROCESSING)
    for name in rasters_of(finished):
        asset = pystac.Asset(f"./{name}.tif", TITLES[name], media_type=COG, roles=["data"])
        if name == VALIDITY_NAME:
            asset.roles = ["data", "metadata"]
        _add(item, name, asset, finished.folder / f"{name}.tif")
        asset.extra_fields |= _band(name, of_classes)
        if name in of_classes and name != VALIDITY_NAME:
            ClassificationExtension.ext(asset, add_if_missing=True).apply(
                classes=[_class(one) for one in of_classes[name]]
            )
        elif name == VALIDITY_NAME:
            ClassificationExtension.ext(asset, add_if_missing=True).apply(bitfields=_bits(finished))
    for file, (key, title, kind, roles) in FILES.items():
        if (finished.folder / file).is_file():
            asset = pystac.Asset(f"./{file}", title, media_type=kind, roles=list(roles))
            _add(item, key, asset, finished.folder / file)
    return item


def _review(record: ReleaseRecord) -> dict[str, Any]:
    """What persons said of the polygons, in numbers."""
    if (review := record.review) is None:
        return {}
    counts = ("accepted", "rejected", "edited", "drawn", "unreviewed", "landslide_km2")
    return {
        **{f"slidecube:review_{name}": getattr(review, name) for name in counts},
        "slidecube:review_ambiguous": sorted(review.ambiguous),
        "slidecube:reviewers": [one_line(who) for who in review.reviewers],
        "slidecube:reviewed": None if review.newest is None else review.newest.isoformat(),
    }


def _cube(finished: FinishedMap) -> pystac.Item:
    facts = finished.facts
    item = _item(finished, f"{_slug(facts.area)}-cube-{facts.digest[:12]}", f"Cube of {one_line(facts.area)}")
    item.properties |= {
        "description": "Aligned Sentinel-1 passes, terrain and what else the cube has, as Zarr.",
        "version": "unknown" if facts.version is None else str(facts.version),
        "slidecube:digest": facts.digest,
        "slidecube:missing": [one_line(name) for name in facts.missing],
        "slidecube:variables": list(finished.variables),
    }
    item.add_asset(
        "cube",
        pystac.Asset(
            _address(finished, facts.uri),
            "The cube",
            media_type="application/vnd.zarr; version=3",
            roles=["data"],
        ),
    )
    return item


def _item(finished: FinishedMap, id_: str, title: str) -> pystac.Item:
    """An item of the area and the time of the passes, with what both map and cube have."""
    facts, views = finished.facts, finished.selection.every_view
    used = [one for view in views for one in (*view.before, *view.after)]
    ground = footprint(finished.reference, facts.shape)
    item = pystac.Item(
        id=id_,
        geometry=mapping(ground),
        bbox=list(ground.bounds),
        datetime=max(one.instant for one in used),
        start_datetime=min(one.instant for one in used),
        end_datetime=max(one.instant for one in used),
        properties={
            "title": title,
            "created": _now(),
            "constellation": "sentinel-1",
            "instruments": ["c-sar"],
            "gsd": round(finished.reference.pixel_m[0], 3),
            "license": "other",
            "slidecube:simulated": finished.record.simulated,
            "slidecube:licence": one_line(facts.licence),
            "slidecube:attribution": one_line(facts.attribution),
            "slidecube:event_start": finished.selection.event.start.isoformat(),
            "slidecube:event_end": finished.selection.event.end.isoformat(),
            **_quake(finished),
            "slidecube:passes": [one_line(one.id) for one in used],
        },
    )
    if (quake := _earthquake(finished.event)) is not None:
        item.stac_extensions.append(EARTHQUAKE)
        item.properties |= quake
    platforms = sorted({one_line(one.platform) for one in used if one.platform})
    if len(platforms) == 1:
        item.common_metadata.platform = platforms[0]
    polarisations = [one for one in Polarization if one.value.lower() in finished.variables]
    SarExtension.ext(item, add_if_missing=True).apply(
        instrument_mode="IW",
        frequency_band=FrequencyBand.C,
        polarizations=polarisations,
        product_type="RTC",
        center_frequency=5.405,
        observation_direction=ObservationDirection.RIGHT,
    )
    if len(views) == 1 and views[0].direction in [state.value for state in OrbitState]:
        SatExtension.ext(item, add_if_missing=True).apply(
            orbit_state=OrbitState(views[0].direction), relative_orbit=views[0].relative_orbit
        )
    height, width = facts.shape
    epsg = finished.reference.crs.to_epsg()
    ProjectionExtension.ext(item, add_if_missing=True).apply(
        code=f"EPSG:{epsg}" if epsg else None,
        wkt2=None if epsg else finished.reference.crs_wkt,
        shape=[height, width],
        transform=list(finished.reference.transform),
    )
    return item


def _quake(finished: FinishedMap) -> dict[str, Any]:
    """The earthquake's figures where they are known."""
    event = finished.event
    found = {
        "slidecube:magnitude": event.magnitude,
        "slidecube:depth_km": event.depth_km,
        "slidecube:epicentre": None if event.epicentre is None else list(event.epicentre),
        "slidecube:usgs_id": one_line(event.usgs_id),
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def _earthquake(event: EventFacts) -> dict[str, Any] | None:
    """The fields of the extension `earthquake`; None without those that it requires: a magnitude and a source's id."""
    found = USGS_ID.fullmatch(event.usgs_id)
    size = event.magnitude
    if found is None or size is None or not LEAST_MAGNITUDE <= size <= LARGEST_MAGNITUDE:
        return None
    fields = {
        "eq:magnitude": size,
        "eq:depth": event.depth_km,
        "eq:status": "deleted" if event.status == "retracted" else event.status,
        "eq:sources": [{"name": found[1], "code": found[2], "catalog": "USGS"}],
    }
    return {name: value for name, value in fields.items() if value is not None}


def _address(finished: FinishedMap, uri: str) -> str:
    """From a map in its place below the data folder, the relative path of what lies there too; else as it is."""
    data, maps = settings().data_dir.resolve(), maps_root().resolve()
    path = Path(uri).resolve()
    if "://" in uri or not finished.folder.resolve().is_relative_to(maps) or not path.is_relative_to(data):
        return uri
    # a map lies in maps/<area>/<name>, whatever its folder is called while it is written
    return f"../../../{path.relative_to(data).as_posix()}"


def _add(item: pystac.Item, key: str, asset: pystac.Asset, file: Path) -> None:
    item.add_asset(key, asset)
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    # multihash of a sha256: function 0x12, length 0x20
    FileExtension.ext(asset, add_if_missing=True).apply(checksum=f"1220{digest}", size=file.stat().st_size)


def _band(name: str, of_classes: dict[str, tuple[Category, ...]]) -> dict[str, Any]:
    """The fields of STAC 1.1 on the values of a raster."""
    return {
        "data_type": "uint8" if name in of_classes else "float32",
        "nodata": 255 if name in of_classes else "nan",
    }


def _class(one: Category) -> Classification:
    name = re.sub(r"[^a-z0-9]+", "-", one.name.lower()).strip("-")
    return Classification.create(
        value=one.value,
        name=name,
        title=one.name,
        description=one.name,
        color_hint=one.colour[1:].upper(),
        nodata=True if one.value == 255 else None,
    )


def _bits(finished: FinishedMap) -> list[Bitfield]:
    return [
        Bitfield.create(
            offset=int(np.log2(flag)),
            length=1,
            classes=[
                Classification.create(value=0, name="no", description="no"),
                Classification.create(value=1, name="yes", description=words),
            ],
            description=words,
        )
        for flag, words in sorted(finished.flag_meanings.items())
    ]


def _described(finished: FinishedMap) -> str:
    parts = (
        finished.warning,
        f"{finished.record.polygons} polygons, {finished.record.mapped_km2:.3f} km², {finished.record.review_state}",
        finished.record.expected_words,
    )
    return one_line(". ".join(part for part in parts if part))


def _title(finished: FinishedMap) -> str:
    simulated = " (SIMULATED)" if finished.warning else ""
    return one_line(f"{finished.title}{simulated}")


def _id(finished: FinishedMap) -> str:
    """The same map has the same id."""
    facts, record = finished.facts, finished.record
    number = "unversioned" if facts.version is None else f"v{facts.version}"
    return f"{_slug(facts.area)}-{number}-{record.model[:12] if record.model else 'detector'}"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "area"


def _version() -> str:
    try:
        return version("slidecube")
    except PackageNotFoundError:
        return "unknown"


def _now() -> str:
    return datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
