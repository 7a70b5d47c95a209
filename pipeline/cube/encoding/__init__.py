"""How arrays and attributes are written, so that ordinary tools read them."""
