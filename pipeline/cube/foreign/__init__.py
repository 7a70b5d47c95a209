"""Cubes from elsewhere: how they may be stored, the contract they must meet, and how to make one of GeoTIFFs."""
