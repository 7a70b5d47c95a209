"""How a scene is divided for training, validation and test, and cut into chips."""
