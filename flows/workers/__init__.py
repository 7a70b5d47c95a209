"""The tasks that build layers, and the Dask workers that run tasks."""
