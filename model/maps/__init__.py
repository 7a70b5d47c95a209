"""Maps of landslides from a cube, with a model or by log-ratio: rasters, polygons, report, picture."""
