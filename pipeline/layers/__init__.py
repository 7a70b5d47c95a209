"""The layers of a cube: which are wanted, and how each is derived."""
