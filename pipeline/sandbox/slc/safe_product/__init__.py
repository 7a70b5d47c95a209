"""The files of a SAFE product: manifest, annotation, calibration."""
