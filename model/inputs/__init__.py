"""What a network sees of a cube: channels, passes, tracks, statistics."""
