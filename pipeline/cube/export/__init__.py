"""Cubes written for other programs."""
