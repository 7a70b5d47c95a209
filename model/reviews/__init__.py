"""A person's verdicts on the polygons of maps: kept by area, carried from map to map by overlap, given as labels."""
