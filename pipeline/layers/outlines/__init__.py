"""Outlines of landslides: vector files, which features count, their projection, and the pixels that they cover."""
