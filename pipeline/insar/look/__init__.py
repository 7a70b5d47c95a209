"""From where the radar looks at each pixel: local incidence, layover, shadow."""
