"""The hosts of the Alaska Satellite Facility and of Earthdata."""
