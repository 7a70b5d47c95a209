"""The items of the archives, read as passes, granules and elevation tiles. This room sends no requests."""
