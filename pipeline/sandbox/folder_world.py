"""A world of real files, served like the files of the archives.

The files are linked, not copied. Items are given, or made from the files' headers and names.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import rasterio
from affine import Affine
from pydantic import Field
from rasterio import features
from rasterio.errors import RasterioIOError
from shapely import Geometry, box, union_all
from shapely.geometry import mapping, shape

from pipeline.catalogue.identities import Direction
from pipeline.records import Frozen
from pipeline.sandbox.earth.images import file_md5, write_cog
from pipeline.sandbox.earth.overflights import absolute_orbit, datatake_of
from pipeline.sandbox.earth.parameters import DemCollection, SandboxError
from pipeline.sandbox.earth.stac_items import (
    RTC_CONTAINER,
    RTC_HOST,
    BlobFacts,
    Raster,
    RtcFacts,
    dem_item,
    rtc_item,
    to_degrees,
)
from pipeline.sandbox.opera.opera_files import OUTSIDE
from pipeline.sandbox.opera.opera_index import FOLDER, HOST, OperaBurst, OperaFile, write_opera_index
from pipeline.sandbox.world import FORMAT, World, clear, finish

# OPERA RTC-S1 Product Specification: track-burst-subswath, start, processing, platform, spacing, version, layer
_OPERA = re.compile(
    r"(?P<stem>OPERA_L2_RTC-S1_T(?P<track>\d{3})-(?P<burst>\d{6})-(?P<swath>IW\d)_(?P<start>\d{8}T\d{6})Z"
    r"_\d{8}T\d{6}Z_(?P<platform>S1[A-D])_\d+_v[\d.]+)_(?P<pol>VV|VH)(?P<rest>[\w-]*)\.tiff?"
)
_BURST = timedelta(seconds=3)
_ASSUMED = ("sat:absolute_orbit", "s1:datatake_id", "sat:orbit_state", "end_datetime", "s1:slice_number")
_DEM_PLACES: dict[DemCollection, tuple[str, str]] = {
    "nasadem": ("nasademeuwest.blob.core.windows.net", "nasadem-cog/v001"),
    "cop-dem-glo-30": ("elevationeuwest.blob.core.windows.net", "copernicus-dem/COP30_hh"),
}


class FolderSources(Frozen):
    """The files and items that a world serves.

    `rtc`: OPERA RTC-S1 GeoTIFFs, or folders that contain them at any depth, served in `sentinel-1-rtc`. `opera`: the
    same, served under their own names as the bursts that ASF lists, with masks that mark only the outside. `dem`:
    elevation rasters served in `dem_collection`. `items`: JSON files with recorded items (one, a list, or a
    FeatureCollection), served unchanged. `served`: files by their https URL: inventories, extents, and the
    assets of recorded items (an asset without a file is absent, as in the archive).
    """

    rtc: tuple[Path, ...] = ()
    opera: tuple[Path, ...] = ()
    dem: tuple[Path, ...] = ()
    dem_collection: DemCollection = "nasadem"
    items: tuple[Path, ...] = ()
    served: dict[str, Path] = Field(default_factory=dict)


@dataclass(frozen=True)
class _Scene:
    """One burst of one pass: the fields of its name and its files by polarisation."""

    fields: dict[str, str]
    files: dict[str, Path]

    @property
    def start(self) -> datetime:
        return datetime.strptime(self.fields["start"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)

    @property
    def absolute_orbit(self) -> int:
        return absolute_orbit(self.fields["platform"], int(self.fields["track"]), self.start)


def make_folder_world(sources: FolderSources, root: Path) -> World:
    """Make a world of real files: items from headers and names, blobs as links to the files.

    OPERA's names state track, burst, start and platform, but not absolute orbit, datatake, direction, end or slice
    number. These are assumed: the orbit is counted from a recorded overflight of the platform, the datatake follows
    from the orbit, and the direction from the local solar time (Sentinel-1 ascends in the evening). A burst lasts 3 s,
    and slices are numbered in order of time. The item names these properties in `slidecube:assumed`.

    Raises:
        SandboxError: a file is absent, not a raster, or has an unexpected name, or two files have one URL.
    """
    clear(root)
    items = [item for path in sources.items for item in _recorded(path)]
    passes: dict[tuple[str, int], list[_Scene]] = defaultdict(list)
    for scene in _scenes(sources.rtc):
        passes[scene.fields["platform"], scene.absolute_orbit].append(scene)
    for scenes in passes.values():
        scenes.sort(key=lambda scene: (scene.start, scene.fields["stem"], scene.fields["rest"]))
        for number, scene in enumerate(scenes, start=1):
            items.append(_rtc(scene, number, len(scenes), root))
    if sources.opera:
        write_opera_index(root, [_opera(scene, root) for scene in _scenes(sources.opera)])
    items.extend(_dem(path, sources.dem_collection, root) for path in sources.dem)
    for url, path in sources.served.items():
        parts = urlsplit(url)
        if parts.scheme not in {"https", "http"} or not parts.hostname:
            raise SandboxError(f"{url} is not a URL of a file.", "Give one with https and a host name.")
        _link(path, root, parts.hostname, parts.path.lstrip("/"))
    names = [item["id"] for item in items]
    if len(set(names)) != len(names):
        raise SandboxError("Two items have the same id.", "Serve them as two worlds.")
    finish(root, {"format": FORMAT, "simulated": False, "notes": []}, items, names)
    return World.open(root)


def _recorded(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SandboxError(f"{path} is not readable JSON ({error}).", "Give a file of STAC items.") from error
    if isinstance(content, dict):
        content = content.get("features", [content])
    for item in content:
        if (
            not isinstance(item, dict)
            or not {"id", "collection", "geometry", "bbox", "properties"} <= item.keys()
        ):
            raise SandboxError(f"{path} contains JSON that is not a STAC item.", "Give a file of STAC items.")
        if "/" in item["id"]:
            raise SandboxError(f"{path}: the id {item['id']!r} cannot be a file name.", "Give another id.")
    return list(content)


def _scenes(places: tuple[Path, ...]) -> list[_Scene]:
    files: list[Path] = []
    for place in places:
        files.extend(sorted(place.rglob("*.tif")) if place.is_dir() else [place])
    found: dict[tuple[str, str], _Scene] = {}
    for file in files:
        match = _OPERA.fullmatch(file.name)
        if match is None:
            raise SandboxError(f"{file.name} is not a file name of OPERA RTC-S1.", "Give items for it.")
        fields = match.groupdict()
        scene = found.setdefault((fields["stem"], fields["rest"]), _Scene(fields, {}))
        polarisation = fields["pol"].lower()
        if polarisation in scene.files:
            raise SandboxError(f"{file.name} is given twice.", "Give each file once.")
        scene.files[polarisation] = file
    return list(found.values())


def _rtc(scene: _Scene, number: int, total: int, root: Path) -> dict[str, Any]:
    name = scene.fields["stem"] + scene.fields["rest"]
    start = scene.start
    folder = f"{RTC_CONTAINER}/GRD/{start.year}/{start.month}/{start.day}/IW/DV/{name}/measurement"
    rasters: list[Raster] = []
    blobs: dict[str, BlobFacts] = {}
    for polarisation, file in sorted(scene.files.items()):
        raster, nodata = _header(file)
        rasters.append(raster)
        path = f"{folder}/iw-{polarisation}.rtc.tiff"
        _link(file, root, RTC_HOST, path)
        blobs[polarisation] = BlobFacts(
            href=f"https://{RTC_HOST}/{path}",
            size_bytes=file.stat().st_size,
            md5=file_md5(file),
            nodata="nan"
            if nodata is not None and math.isnan(nodata)
            else nodata
            if nodata is not None
            else "none",
            pixel_m=raster.transform[0],
        )
    if any(raster != rasters[0] for raster in rasters):
        raise SandboxError(f"The polarisations of {name} have different grids.", "Serve them as two worlds.")
    footprint = to_degrees(_with_data(scene.files.values()), rasters[0].epsg)
    facts = RtcFacts(
        id=f"{name}_rtc",
        platform=scene.fields["platform"],
        absolute_orbit=scene.absolute_orbit,
        relative_orbit=int(scene.fields["track"]),
        datatake=datatake_of(scene.absolute_orbit),
        direction=_direction(start, footprint),
        start=start,
        end=start + _BURST,
        number=number,
        total=total,
        raster=rasters[0],
        blobs=blobs,
        assumed=_ASSUMED,
    )
    return rtc_item(facts, footprint)


def _direction(start: datetime, footprint: Geometry) -> Direction:
    solar_hour = (start.hour + start.minute / 60 + footprint.centroid.x / 15) % 24
    return "ascending" if 12 <= solar_hour < 24 else "descending"


def _opera(scene: _Scene, root: Path) -> OperaBurst:
    """A burst as ASF lists it; an ending of the files' names, such as `_cropped`, is not in the product's."""
    name, fields = scene.fields["stem"], scene.fields
    sources = {polarisation.upper(): path for polarisation, path in sorted(scene.files.items())}
    raster, _ = _header(next(iter(sources.values())))
    names = {layer: f"{name}_{layer}.tif" for layer in (*sources, "mask")}
    for layer, path in sources.items():
        _link(path, root, HOST, f"{FOLDER}/{names[layer]}")
    with rasterio.open(next(iter(sources.values()))) as dataset:
        mask = np.where(dataset.dataset_mask() > 0, 0, OUTSIDE).astype(np.uint8)
    write_cog(
        root / "blobs" / HOST / FOLDER / names["mask"], mask, Affine(*raster.transform), raster.epsg, OUTSIDE
    )
    footprint = to_degrees(_with_data(scene.files.values()), raster.epsg)
    paths = {layer: root / "blobs" / HOST / FOLDER / file for layer, file in names.items()}
    datatake = datatake_of(scene.absolute_orbit)
    end = scene.start + _BURST
    return OperaBurst(
        name=name,
        absolute_orbit=scene.absolute_orbit,
        relative_orbit=int(fields["track"]),
        direction=_direction(scene.start, footprint),
        granule=(
            f"{fields['platform']}_IW_SLC__1SDV_{scene.start:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}"
            f"_{scene.absolute_orbit:06d}_{datatake:06X}_0000"
        ),
        start=scene.start,
        end=end,
        processed=datetime.strptime(name.split("_")[5], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
        geometry=json.loads(json.dumps(mapping(footprint))),
        files={
            layer: OperaFile(name=path.name, size_bytes=path.stat().st_size, md5=file_md5(path))
            for layer, path in paths.items()
        },
    )


def _with_data(files: Iterable[Path]) -> Geometry:
    """The convex hull of the pixels with data in any of the files, in their CRS: the footprint of an item."""
    hulls = []
    for file in files:
        with rasterio.open(file) as dataset:
            mask = dataset.dataset_mask()
            found = features.shapes(mask, mask=mask > 0, transform=dataset.transform)
            hulls += [shape(outline) for outline, _ in found] or [box(*dataset.bounds)]
    return union_all(hulls).convex_hull


def _dem(file: Path, collection: DemCollection, root: Path) -> dict[str, Any]:
    raster, _ = _header(file)
    host, folder = _DEM_PLACES[collection]
    _link(file, root, host, f"{folder}/{file.name}")
    footprint = to_degrees(box(*raster.bounds), raster.epsg)
    return dem_item(file.stem, collection, f"https://{host}/{folder}/{file.name}", raster, footprint)


def _header(file: Path) -> tuple[Raster, float | None]:
    try:
        with rasterio.open(file) as source:
            epsg = source.crs.to_epsg() if source.crs else None
            if epsg is None:
                raise SandboxError(f"{file.name} states no EPSG projection.", "Give a georeferenced file.")
            return Raster.of(epsg, source.transform, source.shape), source.nodata
    except RasterioIOError as error:
        raise SandboxError(f"{file} is not a readable raster ({error}).", "Give a GeoTIFF.") from error


def _link(file: Path, root: Path, host: str, path: str) -> None:
    if not file.is_file():
        raise SandboxError(f"There is no file {file}.", "Correct the path.")
    target = root / "blobs" / host / path
    if not path or ".." in Path(path).parts or Path(path).is_absolute():
        raise SandboxError(f"{path} lies outside the folder of its host.", "Give a path without `..`.")
    if target.exists():
        raise SandboxError(f"Two files have the URL https://{host}/{path}.", "Serve them as two worlds.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(file.resolve())
