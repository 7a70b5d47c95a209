"""The simulated archives on loopback, under the real host names."""
