"""How layers look in QGIS: their styles, and the project that opens them."""
