"""From a map to a release: every product that is not yet in the folder of the map."""

from __future__ import annotations

from model.releases.exchange_files import write_exchange_files
from model.releases.exposure import CSV, table
from model.releases.finished_map import FinishedMap
from model.releases.geopackage import write_geopackage
from model.releases.kept_map import keep
from model.releases.raster_styles import write_raster_styles
from model.releases.stac_catalog import write_stac
from model.releases.vector_layers import layers_of
from model.releases.web_page.page import write_page

POLYGONS = "landslides.gpkg"


def add_products(finished: FinishedMap) -> None:
    """Write what the release keeps, and every product, into the folder of the map.

    Raises:
        OSError, or an error of GDAL: the disk takes no more.
    """
    keep(finished)
    write_products(finished)


def write_products(finished: FinishedMap) -> None:
    """Write styles, polygons in every format, the page and the catalogue into the folder; older ones are replaced.

    Raises:
        OSError, or an error of GDAL: the disk takes no more.
    """
    layers = layers_of(finished)
    tags = {**finished.tags, "REVIEW": finished.record.review_state}
    of_classes = write_raster_styles(finished, layers[0])
    write_geopackage(layers, finished.folder / POLYGONS, tags)
    write_exchange_files(finished, layers[0])
    if finished.exposure:
        (finished.folder / CSV).write_text(table(finished.exposure), encoding="utf-8")
    write_page(finished, layers[0])
    write_stac(finished, of_classes)
