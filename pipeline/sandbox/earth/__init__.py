"""One simulated event: terrain, landslides, passes, elevation tiles, inventory."""
