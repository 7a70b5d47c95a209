"""GeoTIFF of the archives: directories, local copies of the bytes that a window needs, pixels."""
