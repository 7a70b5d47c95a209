"""Look geometry of the radar at each pixel: local incidence, layover, shadow."""
