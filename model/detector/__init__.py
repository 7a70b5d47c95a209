"""Landslides by the change of backscatter in units of each pixel's own spread before the event, without training."""
