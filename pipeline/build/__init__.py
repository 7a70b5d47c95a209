"""Building a cube: plan, run, publish."""
