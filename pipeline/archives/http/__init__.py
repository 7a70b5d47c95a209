"""HTTP: requests with retries, downloads, ranges of files, sizes without reading."""
