"""The inputs of a network, read from a cube: channels, passes, tracks, statistics."""
