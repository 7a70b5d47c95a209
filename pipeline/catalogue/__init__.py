"""What the items of the archives mean: passes, granules, elevation tiles. Nothing here sends a request."""
