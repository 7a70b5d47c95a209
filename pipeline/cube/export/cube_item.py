"""A STAC item of an exported cube, and the papers beside it: citation, licence, checksums."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import shapely
import xarray as xr
from affine import Affine
from pyproj import Transformer
from pystac.extensions.datacube import DatacubeExtension, Dimension, Variable
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import DataType, RasterBand, RasterExtension
from pystac.extensions.sar import FrequencyBand, ObservationDirection, Polarization, SarExtension
from pystac.extensions.sat import OrbitState, SatExtension
from rasterio.crs import CRS

from pipeline.cube.encoding.portable import lines_of
from pipeline.cube.export.cogs import NO_CODE, PALETTES
from pipeline.cube.export.cube_layer import CubeLayer, instant_words, raster_variables

ITEM, CITATION, LICENCE, CHECKSUMS = "item.json", "CITATION.txt", "LICENSE.txt", "SHA256SUMS"
CONTROL = str.maketrans(dict.fromkeys(map(chr, range(32)), " "))


def cube_item(cube: xr.Dataset, place: tuple[CRS, Affine], name: str) -> pystac.Item:
    """The item without its assets: where, when, dimensions and variables, radar and orbits.

    Args:
        place: reference system and transform.
    """
    crs, affine = place
    shape = (cube.sizes["y"], cube.sizes["x"])
    ground = _footprint(crs, affine, shape)
    times = [_instant(one) for one in cube["timestep"].values] if cube.sizes.get("timestep") else []
    item = pystac.Item(
        id=name,
        geometry=shapely.geometry.mapping(ground),
        bbox=list(ground.bounds),
        datetime=times[-1] if times else datetime.now(UTC),
        start_datetime=times[0] if times else None,
        end_datetime=times[-1] if times else None,
        properties={
            "title": _line(cube.attrs.get("title", name)),
            "description": f"Sentinel-1 cube of {len(times)} passes on one grid",
            "constellation": "sentinel-1",
            "instruments": ["c-sar"],
            "gsd": round(abs(affine.a), 3),
            "license": "other",
            "slidecube:licence": _line(cube.attrs.get("license", "not stated")),
            "slidecube:attribution": _line(cube.attrs.get("attribution", "not stated")),
            "slidecube:simulated": bool(cube.attrs.get("simulated", 0)),
        },
    )
    _add_radar(item, cube)
    epsg = crs.to_epsg()
    ProjectionExtension.ext(item, add_if_missing=True).apply(
        code=f"EPSG:{epsg}" if epsg else None,
        wkt2=None if epsg else crs.to_wkt(),
        shape=list(shape),
        transform=list(affine)[:6],
    )
    DatacubeExtension.ext(item, add_if_missing=True).apply(
        dimensions=_dimensions(cube, epsg), variables=_variables(cube)
    )
    return item


def add_file(
    item: pystac.Item, key: str, path: Path, title: str, kind: str, roles: list[str]
) -> pystac.Asset:
    """Add a file beside the item, with its size and checksum; its address is relative."""
    root = Path(item.get_self_href() or "item.json").parent
    asset = pystac.Asset(f"./{path.relative_to(root).as_posix()}", title, media_type=kind, roles=roles)
    item.add_asset(key, asset)
    if path.is_file():
        FileExtension.ext(asset, add_if_missing=True).apply(
            size=path.stat().st_size, checksum=f"1220{sha256_of(path)}"
        )
    return asset


def describe_cog(asset: pystac.Asset, layer: CubeLayer) -> None:
    """Add to the asset of one layer when and how it was seen, and what its band holds."""
    facts = layer.facts
    asset.extra_fields["slidecube:variable"] = layer.variable
    if when := facts.get("PASS_TIME"):
        asset.extra_fields["datetime"] = when
        asset.extra_fields["platform"] = _line(facts.get("PLATFORM", "unknown"))
    if facts.get("ORBIT_STATE") in [state.value for state in OrbitState]:
        SatExtension.ext(asset, add_if_missing=True).apply(
            orbit_state=OrbitState(facts["ORBIT_STATE"]),
            relative_orbit=int(facts["RELATIVE_ORBIT"]) if "RELATIVE_ORBIT" in facts else None,
            absolute_orbit=int(facts["ABSOLUTE_ORBIT"]) if "ABSOLUTE_ORBIT" in facts else None,
        )
    whole = layer.array.dtype.kind in "iu"
    codes = layer.variable in PALETTES
    RasterExtension.ext(asset, add_if_missing=True).apply(
        bands=[
            RasterBand.create(
                nodata=NO_CODE if codes else 0 if whole else "nan",
                data_type=DataType.UINT8 if codes else DataType.INT32 if whole else DataType.FLOAT32,
                unit=str(layer.array.attrs["units"]) if layer.array.attrs.get("units") else None,
            )
        ]
    )


def citation(cube: xr.Dataset) -> str:
    """How to cite the cube, in words."""
    attributes = cube.attrs
    simulated = ["SIMULATED: no real place, or no real landslides."] if attributes.get("simulated") else []
    event = f"Area: {_line(attributes['area'])}" if attributes.get("area") else ""
    stated = [
        _line(attributes.get("title", "Sentinel-1 landslide cube")),
        *simulated,
        event,
        f"Attribution: {_line(attributes.get('attribution', 'not stated'))}",
        *(f"Source: {_line(one)}" for one in lines_of(attributes.get("sources"))),
        f"Landslides: {_line(attributes['inventory'])}" if attributes.get("inventory") else "",
        f"Made with {_line(attributes['software'])}" if attributes.get("software") else "",
    ]
    return "\n".join(one for one in stated if one) + "\n"


def licence(cube: xr.Dataset) -> str:
    """The licence that the cube states, in words; that of the labels is in the citation."""
    stated = cube.attrs.get("license")
    return f"{_line(stated)}\n" if stated else "The cube states no licence. Ask whoever gave it to you.\n"


def checksums(folder: Path) -> str:
    """sha256 of every file of the folder, as `sha256sum --check` reads it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    return "".join(f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)


def sha256_of(path: Path) -> str:
    """sha256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add_radar(item: pystac.Item, cube: xr.Dataset) -> None:
    polarisations = [one for one in Polarization if one.value.lower() in cube.data_vars]
    if polarisations:
        SarExtension.ext(item, add_if_missing=True).apply(
            instrument_mode="IW",
            frequency_band=FrequencyBand.C,
            polarizations=polarisations,
            product_type="RTC",
            center_frequency=5.405,
            observation_direction=ObservationDirection.RIGHT,
        )
    views = {name: _distinct(cube, name) for name in ("sat:orbit_state", "relative_orbit", "platform")}
    states, orbits, platforms = views["sat:orbit_state"], views["relative_orbit"], views["platform"]
    if len(platforms) == 1:
        item.common_metadata.platform = _line(platforms[0])
    if len(states) == 1 and str(states[0]) in [state.value for state in OrbitState]:
        SatExtension.ext(item, add_if_missing=True).apply(
            orbit_state=OrbitState(str(states[0])),
            relative_orbit=int(orbits[0]) if len(orbits) == 1 else None,
        )


def _distinct(cube: xr.Dataset, name: str) -> list[Any]:
    return sorted(set(cube[name].values.tolist())) if name in cube.coords else []


def _dimensions(cube: xr.Dataset, epsg: int | None) -> dict[str, Dimension]:
    found: dict[str, dict[str, Any]] = {}
    for axis in ("x", "y"):
        values = cube[axis].values
        found[axis] = {
            "type": "spatial", "axis": axis, "extent": [float(values.min()), float(values.max())],
            "step": float(values[1] - values[0]) if values.size > 1 else None,
            **({"reference_system": epsg} if epsg else {}),
        }  # fmt: skip
    if cube.sizes.get("timestep"):
        instants = [instant_words(one) for one in cube["timestep"].values]
        found["timestep"] = {"type": "temporal", "extent": [instants[0], instants[-1]], "values": instants}
    for axis, kind in (("timepair", "pairs"), ("track", "tracks")):
        if cube.sizes.get(axis):
            found[axis] = {"type": kind, "values": [str(one) for one in cube[axis].values]}
    return {name: Dimension.from_dict(one) for name, one in found.items()}


def _variables(cube: xr.Dataset) -> dict[str, Variable]:
    found = {}
    for name in raster_variables(cube):
        attributes = cube[name].attrs
        found[name] = Variable(
            {
                "dimensions": [str(dim) for dim in cube[name].dims],
                "type": "data",
                "description": str(attributes.get("long_name", name)),
                **({"unit": str(attributes["units"])} if attributes.get("units") else {}),
            }
        )
    return found


def _footprint(crs: CRS, affine: Affine, shape: tuple[int, int]) -> shapely.Polygon:
    left, top = affine @ (0, 0) if hasattr(Affine, "__matmul__") else affine * (0, 0)
    right, bottom = affine @ shape[::-1] if hasattr(Affine, "__matmul__") else affine * shape[::-1]
    outline = shapely.segmentize(shapely.box(left, bottom, right, top), max(right - left, top - bottom) / 8)
    to_degrees = Transformer.from_crs(crs.to_wkt(), 4326, always_xy=True)
    return shapely.transform(outline, to_degrees.transform, interleaved=False)


def _instant(value: Any) -> datetime:
    return datetime.fromisoformat(str(np.datetime_as_string(np.datetime64(value, "us")))).replace(tzinfo=UTC)


def _line(value: Any) -> str:
    """One line of a text from outside."""
    return " ".join(str(value).translate(CONTROL).split())[:2000]
