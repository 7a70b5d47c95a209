"""Elevation tiles on a grid, and heights above the ellipsoid."""
