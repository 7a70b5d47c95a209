"""A person's review of a map, and the map's folder written again with it."""
