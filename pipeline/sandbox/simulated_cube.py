"""Simulated cubes in memory, without files, archives or a build: for training on many events."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio import DatasetReader
from rasterio.io import MemoryFile

from pipeline.areas.area import AreaOfInterest, Inventory
from pipeline.areas.backscatter_sources import PLANETARY_RTC
from pipeline.cube.schema import LABELS, SCHEMA_VERSION, TERRAIN, VARIABLES
from pipeline.grid import Grid
from pipeline.layers.dem_derivatives import derive_terrain
from pipeline.layers.label_rasters import rasterise_labels, read_inventory
from pipeline.sandbox.earth.dem_files import VOID, Tile, make_tiles
from pipeline.sandbox.earth.inventory import map_slides, simulated_inventory, write_inventory
from pipeline.sandbox.earth.overflights import Flight
from pipeline.sandbox.earth.parameters import WorldParameters
from pipeline.sandbox.earth.radar import observe, slice_masks
from pipeline.sandbox.earth.rtc_passes import REPROCESSED_GAIN, is_reprocessed
from pipeline.sandbox.earth.scene import Scene, make_scene

Image = NDArray[np.float32]
_EVENT = "2018-09-05T18:07:59Z"
_WEST, _SOUTH = 142.3, 42.3
_METRES_A_DEGREE = 111_100.0


def simulated_cube(area: AreaOfInterest | int, parameters: WorldParameters) -> xr.Dataset:
    """The cube that a build of the simulated world would give, made in memory.

    Args:
        area: the area, or the side in pixels of a square one at 42.3 degrees north, in pixels of 10 m.
        parameters: the event, for example `random_event(seed)`.

    Returns:
        Dataset in the schema of a built cube: `vv`, `vh` (timestep, y, x) linear gamma0, NaN where invalid; `dem` in
        metres and what is derived from it, `landslides`, `landslide_fraction` and `landslide_id` (y, x), with the
        coordinates and attributes of a cube. The attribute `simulated_event` is the JSON of the parameters. In memory;
        a square of 512 pixels with 14 passes takes some seconds.

    It differs from a build in this: no pixels are removed along the border of a pass (`border_erosion_px`); a slice in
    another zone is not resampled; there are no pairs, no look geometry, and no digests of layers. An event without a
    landslide in the area has labels of 0.

    Raises:
        SourceDataError: the elevation or the inventory cannot be used, as in a build.
        GridError: the area is smaller than a pixel.
    """
    place = square_area(area) if isinstance(area, int) else area
    scene = make_scene(place, parameters)
    inventory = Inventory.model_validate({**simulated_inventory(scene), "may_be_empty": True})
    grid = scene.area_grid
    layers = {**_backscatter(scene), **_terrain(scene), **_labels(scene, inventory)}
    made = xr.Dataset(
        {
            name: xr.Variable(VARIABLES[name].dims, values, VARIABLES[name].attributes())
            for name, values in layers.items()
        },
        coords=_coordinates(scene.flights, grid),
    )
    for pol in place.polarisations:
        share = made[pol].notnull().mean(("y", "x")).astype("float64")
        made.coords[f"{pol}_coverage"] = ("timestep", share.values)
    return made.assign_attrs(_attributes(scene, inventory))


def simulated_cubes(events: Iterable[WorldParameters], side_px: int = 512) -> Iterator[xr.Dataset]:
    """One cube after another, a square of `side_px` for each event; only the one in use is in memory."""
    for event in events:
        yield simulated_cube(side_px, event)


def square_area(side_px: int) -> AreaOfInterest:
    """The square of `side_px` pixels that `simulated_cube` covers where it is given no area."""
    side_deg = side_px * 10.0 / _METRES_A_DEGREE
    return AreaOfInterest.model_validate(
        {
            "name": "simulated-square",
            "bbox": (
                _WEST,
                _SOUTH,
                _WEST + side_deg / np.cos(np.radians(_SOUTH)),
                _SOUTH + side_deg,
            ),
            "event": {"kind": "earthquake", "start": _EVENT, "end": _EVENT, "source": "simulated"},
            "start": "2018-01-01T00:00:00Z",
            "end": "2019-06-01T00:00:00Z",
        }
    )


def _window(scene: Scene) -> tuple[slice, slice]:
    """Where the area's grid lies in the scene's."""
    step, (height, width) = scene.grid.resolution_m, scene.area_grid.shape
    row = round((scene.grid.top - scene.area_grid.top) / step)
    column = round((scene.area_grid.left - scene.grid.left) / step)
    return slice(row, row + height), slice(column, column + width)


def _backscatter(scene: Scene) -> dict[str, Image]:
    """(timestep, y, x) by polarisation, NaN outside the slices, in their fringes and where nothing came back."""
    window, count = _window(scene), len(scene.flights)
    found: dict[str, Image] = {
        pol: np.full((count, *scene.area_grid.shape), np.nan, np.float32) for pol in scene.area.polarisations
    }
    for at, flight in enumerate(scene.flights):
        gain = np.full(scene.area_grid.shape, np.nan, dtype=np.float32)
        for number in flight.slices:
            inside, fringe = slice_masks(scene, flight, number)
            part = (inside & ~fringe)[window]
            gain[part] = REPROCESSED_GAIN if is_reprocessed(scene, flight, number) else 1.0
        for pol, stack in found.items():
            values = observe(scene, flight, pol)[window] * gain
            values[~(values > 0)] = np.nan
            stack[at] = values
    return found


def _terrain(scene: Scene) -> dict[str, Image]:
    """Elevation and its derivatives from the tiles, by the code of a build."""
    collection = scene.area.dem.collection
    with ExitStack() as stack:
        tiles = [_opened(tile, stack) for tile in make_tiles(scene, collection)]
        data = derive_terrain(tiles, scene.area_grid, collection=collection)
    return {name: data.arrays[name] for name in TERRAIN}


def _opened(tile: Tile, stack: ExitStack) -> DatasetReader:
    file = stack.enter_context(MemoryFile())
    height, width = tile.values.shape
    with file.open(
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype=tile.values.dtype,
        crs="EPSG:4326",
        transform=Affine(*tile.raster.transform),
        nodata=VOID,
    ) as dataset:
        dataset.write(tile.values, 1)
    return stack.enter_context(file.open())


def _labels(scene: Scene, inventory: Inventory) -> dict[str, NDArray[Any]]:
    """The inventory's rasters, by the code of a build; through a file, so that its reader's rules hold."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inventory.gpkg"
        write_inventory(map_slides(scene), path, None)
        frame = read_inventory(path, inventory)
    extent = gpd.GeoSeries([scene.area.footprint], crs=4326)
    data = rasterise_labels(frame, inventory, scene.area_grid, extent)
    return {name: data.arrays[name] for name in LABELS}


def _coordinates(flights: tuple[Flight, ...], grid: Grid) -> dict[str, Any]:
    words = np.dtypes.StringDType()
    axis = "timestep"
    instants = [
        np.datetime64(flight.span(flight.slices[0])[0].replace(tzinfo=None), "ns") for flight in flights
    ]
    platforms = [f"sentinel-{flight.platform[1:].lower()}" for flight in flights]
    ids = [
        f"{platform}_{flight.absolute_orbit:06d}_{flight.datatake}"
        for platform, flight in zip(platforms, flights, strict=True)
    ]
    numbers = {
        "relative_orbit": [flight.track.relative_orbit for flight in flights],
        "absolute_orbit": [flight.absolute_orbit for flight in flights],
    }
    texts = {
        "sat:orbit_state": [flight.track.direction for flight in flights],
        "platform": platforms,
        "pass_id": ids,
        "source": [PLANETARY_RTC] * len(flights),
    }
    mapping = dict(CRS.from_epsg(grid.epsg).to_cf())
    a = grid.affine
    mapping["GeoTransform"] = " ".join(repr(float(v)) for v in (a.c, a.a, a.b, a.f, a.d, a.e))
    mapping["spatial_ref"] = mapping["crs_wkt"]
    return {
        "y": ("y", grid.y),
        "x": ("x", grid.x),
        "timestep": (axis, np.array(instants)),
        **{name: (axis, np.array(values, dtype="int64")) for name, values in numbers.items()},
        **{name: (axis, np.array(values, dtype=words)) for name, values in texts.items()},
        "spatial_ref": ((), np.int64(grid.epsg), mapping),
    }


def _attributes(scene: Scene, inventory: Inventory) -> dict[str, Any]:
    area, grid = scene.area, scene.area_grid
    return {
        "Conventions": "CF-1.11",
        "title": f"{area.title or area.name} (simulated)",
        "area": area.name,
        "event": json.dumps(area.event.model_dump(mode="json"), sort_keys=True),
        "schema": SCHEMA_VERSION,
        "proj:code": f"EPSG:{grid.epsg}",
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": [grid.resolution_m, 0.0, grid.left, 0.0, -grid.resolution_m, grid.top],
        "spatial:shape": list(grid.shape),
        "spatial:bbox": list(grid.bounds),
        "spatial:registration": "pixel",
        "missing": "",
        "sources": "slidecube sandbox",
        "license": "simulated data, CC0-1.0",
        "attribution": "simulated by slidecube's sandbox, no real place",
        "inventory": f"{inventory.name}: {inventory.citation} ({inventory.licence})",
        "software": f"slidecube {version('slidecube')}",
        "simulated": 1,
        "simulated_event": scene.parameters.model_dump_json(),
    }
