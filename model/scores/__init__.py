"""Figures of a map against labels: precision and recall, calibration, intervals."""
