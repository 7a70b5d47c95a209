"""How others hear of a release: the pointer to the newest map of an area, the feed of all."""
