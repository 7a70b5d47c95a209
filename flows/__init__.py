"""Thin Prefect flows around `pipeline` and `model`."""
