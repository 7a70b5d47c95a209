"""Cubes in an object store: folders as documents that refer to objects."""
