"""Benchmarks: side by side with what a user would otherwise use, as ratios of one run. `make bench` runs them."""
