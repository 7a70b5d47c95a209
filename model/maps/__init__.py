"""From a cube and a bundle to a map: probability, validity, polygons, report, picture."""
