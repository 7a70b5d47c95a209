"""Single look complex data: search, bursts, granules, orbit files."""
