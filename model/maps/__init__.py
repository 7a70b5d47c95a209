"""Maps of landslides from a cube, with a model or by the detector: rasters, polygons, report, picture."""
