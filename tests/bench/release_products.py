"""What a release adds to a map: seconds, memory and sizes of its products, one process.

`python -m tests.bench.release_products [HEIGHT WIDTH POLYGONS]`; by default 4398 x 5382 pixels and 4000 polygons, on a
made-up map in a temporary folder: smooth scores, ellipses of 1200 m² to some hectares.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import xarray as xr
from pyproj import CRS
from rasterio.features import shapes
from scipy.ndimage import zoom
from shapely.geometry import shape

from model.bundle.summaries import ReleaseRecord
from model.inputs.cubes import CubeFacts, georeference
from model.inputs.inputs import EventSpan
from model.inputs.selection import PassUsed, Selection, View
from model.inputs.windows import Box
from model.maps.map_picture import Thumbnail
from model.maps.map_rasters import RowRaster
from model.maps.validity import MEANINGS
from model.releases import exchange_files, geopackage, raster_styles, stac_catalog
from model.releases.categories import palette, score_ramp
from model.releases.finished_map import FinishedMap, PageImages
from model.releases.kept_map import keep
from model.releases.mailed_zip import write_zip
from model.releases.polygon_attributes import described, reviewed
from model.releases.vector_layers import layers_of
from model.releases.web_page import page
from model.releases.web_page.page_images import pictures_of

THRESHOLD = 3.7


def main() -> None:
    """Make the map, then time each product."""
    height, width, count = (int(word) for word in sys.argv[1:4]) if len(sys.argv) > 3 else (4398, 5382, 4000)
    with tempfile.TemporaryDirectory() as root:
        finished = made_up(Path(root) / "map", height, width, count)
        print(
            f"{height} x {width} pixels, {len(finished.frame)} polygons; before: {_memory():.0f} MB at most"
        )
        begun, used = time.monotonic(), time.process_time()
        layers = _timed("layers", lambda: layers_of(finished))
        classes = _timed("raster styles", lambda: raster_styles.write_raster_styles(finished, layers[0]))
        _timed(
            "GeoPackage", lambda: geopackage.write_geopackage(layers, finished.folder / "landslides.gpkg", {})
        )
        _timed("GeoJSON, KML, PMTiles", lambda: exchange_files.write_exchange_files(finished, layers[0]))
        _timed("page", lambda: page.write_page(finished, layers[0]))
        _timed("what a review needs", lambda: keep(finished))
        _timed("STAC", lambda: stac_catalog.write_stac(finished, classes))
        spent, used = time.monotonic() - begun, time.process_time() - used
        print(f"all: {spent:.1f} s, {used:.1f} s of the processor; after: {_memory():.0f} MB at most")
        (finished.folder / "report.json").write_text(
            json.dumps({"format": "slidecube-map-1", "map": {"area": "a"}})
        )
        _timed("zip", lambda: write_zip(finished.folder, Path(root) / "map.zip"))
        for file in sorted(finished.folder.iterdir()):
            if file.is_file():
                print(f"{file.stat().st_size / 1e6:9.2f} MB  {file.name}")


def _timed(name, action):
    begun, used = time.monotonic(), time.process_time()
    found = action()
    print(f"{time.monotonic() - begun:8.1f} s, {time.process_time() - used:5.1f} s of the processor  {name}")
    return found


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def made_up(folder: Path, height: int, width: int, count: int) -> FinishedMap:
    """A detector's map of smooth noise with ellipses."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    smooth = zoom(rng.normal(0, 1, (height // 40 + 2, width // 40 + 2)), 40, order=1)[:height, :width]
    score = np.abs(smooth).astype(np.float32)
    classes = np.zeros((height, width), dtype=np.uint8)
    rows, columns = np.mgrid[-12:13, -12:13]
    for _ in range(count):
        top, left = rng.integers(0, height - 25), rng.integers(0, width - 25)
        a, b = rng.uniform(2, 11, 2)
        window = classes[top : top + 25, left : left + 25]
        window[(rows / a) ** 2 + (columns / b) ** 2 <= 1] = 1
    score[classes == 1] += THRESHOLD
    validity = np.where(smooth < -2.2, 32, 0).astype(np.uint8)
    cube = xr.Dataset(
        {
            "vv": (("timestep", "y", "x"), np.zeros((0, height, width), dtype=np.float32)),
            "dem": (("y", "x"), (500 + 100 * smooth).astype(np.float32)),
            "dem_slope_radians": (("y", "x"), np.abs(smooth).astype(np.float32)),
        },
        coords={
            "y": 4_700_000.0 - 10 * (0.5 + np.arange(height)),
            "x": 500_000.0 + 10 * (0.5 + np.arange(width)),
            "spatial_ref": ((), 0, CRS.from_epsg(32654).to_cf()),
        },
    )
    reference = georeference(cube)
    for name, values in (
        ("score", score), ("landslides", classes), ("status", 3 * classes), ("validity", validity),
        ("change_db", smooth.astype(np.float32)),
    ):  # fmt: skip
        kind = "float32" if values.dtype == np.float32 else "uint8"
        with RowRaster(
            folder / f".{name}", (height, width), reference, kind, palette=palette(name, MEANINGS)
        ) as raster:
            raster.write(Box(top=0, left=0, height=height, width=width), values)
            raster.publish(folder / f"{name}.tif")
        (folder / f".{name}").unlink()
    small = Thumbnail((height, width))
    small.add(Box(top=0, left=0, height=height, width=width), score)
    image, record = small.image, _record(folder)
    images = PageImages(image * 3 - 12, image * 3 - 11, 100 * image, image, small.factor)
    mapped = described(_polygons(classes, score, reference), cube, reference, record)
    finished = FinishedMap(
        folder=folder,
        record=record,
        variables=tuple(sorted(str(name) for name in cube.data_vars)),
        facts=CubeFacts(
            uri="cube.zarr", area="made-up", version=1, digest="0" * 64, shape=(height, width), simulated=True
        ),
        selection=_selection(),
        reference=reference,
        mapped=mapped,
        frame=mapped,
        pictures=pictures_of(images, 10.0, score_ramp(THRESHOLD, 3 * THRESHOLD)),
        backscatter="vv",
        highest=8.0,
        warning="SIMULATED AREA: no real area, no real landslides",
        flag_meanings=MEANINGS,
    )
    return reviewed(finished, None)


def _polygons(classes: np.ndarray, score: np.ndarray, reference) -> gpd.GeoDataFrame:
    found = [shape(one) for one, _ in shapes(classes, mask=classes > 0, transform=reference.affine)]
    number = len(found)
    texts = {"first_seen": "2018-09-05T20:30:41+00:00", "last_seen": "2018-10-15T08:30:41+00:00",
             "newest_pass": "2018-10-15T08:30:41+00:00", "status_words": "confirmed", "review": "unreviewed",
             "track": "track 46 (descending) and track 68 (ascending)"}  # fmt: skip
    columns = {name: [text] * number for name, text in texts.items()}
    return gpd.GeoDataFrame(
        {
            "id": np.arange(1, number + 1), "mean_score": np.full(number, 5.0), "max_score": np.full(number, 8.0),
            "area_m2": [one.area for one in found], "status": np.full(number, 3), **columns,
        },
        geometry=found, crs=reference.crs.to_wkt(),
    )  # fmt: skip


def _selection() -> Selection:
    event = EventSpan.model_validate({"start": "2018-09-05T18:07:59Z", "end": "2018-09-05T18:07:59Z"})
    before = PassUsed(index=0, instant="2018-08-24T20:30:41Z", id="a", platform="sentinel-1a", valid=1.0)
    after = PassUsed(index=1, instant="2018-09-05T20:30:41Z", id="b", platform="sentinel-1b", valid=1.0)
    view = View(
        track="track 46 (descending)",
        direction="descending",
        relative_orbit=46,
        before=(before,),
        after=(after,),
    )
    return Selection(event=event, track=view.track, before=(before,), after=(after,), rule="", views=(view,))


def _record(folder: Path) -> ReleaseRecord:
    return ReleaseRecord(
        path=folder, kind="detector", area="made-up", cube="cube.zarr", cube_version=1, model=None,
        track="track 46 (descending)", passes_before=1, passes_after=1, days_since_event=0.1, polygons=1,
        mapped_km2=1.0, threshold=THRESHOLD, no_data_share=0.0, auprc=None, prevalence=None, scored_on="",
        smallest_m2=1200.0, picture=folder / "quicklook.png", report=folder / "report.json", simulated=True,
        seconds=1.0,
    )  # fmt: skip


if __name__ == "__main__":
    main()
