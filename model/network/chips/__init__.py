"""Chips of a cube for a training loop of one's own: a torch `Dataset`, and a `DataModule` of Lightning."""
