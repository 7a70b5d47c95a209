"""The hosts that state earthquakes: the USGS and GDACS."""
