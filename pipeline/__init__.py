"""From an area file to an aligned Sentinel-1 cube: a plain library, without Prefect and without torch."""
