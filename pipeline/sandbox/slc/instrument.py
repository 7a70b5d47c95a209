"""Numbers of the instrument and of its processor, in the IW mode of Sentinel-1, sub-swath IW2.

Sources: Sentinel-1 Product Specification (S1-RS-MDA-52-7441), "Definition of the TOPS SLC deramping function"
(COPE-GSEG-EOPG-TN-14-0025), and the range sampling, steering and bandwidths that products state.
"""

from __future__ import annotations

LIGHT_M_S = 299792458.0
RADAR_FREQUENCY_HZ = 5.405000454334350e9
WAVELENGTH_M = LIGHT_M_S / RADAR_FREQUENCY_HZ
RANGE_SAMPLING_HZ = 64.345238125714e6
SAMPLE_M = LIGHT_M_S / 2 / RANGE_SAMPLING_HZ
"""Slant range from sample to sample: 2.33 m."""
RANGE_BANDWIDTH_HZ, RANGE_WINDOW = 48.3e6, 0.75
AZIMUTH_BANDWIDTH_HZ, AZIMUTH_WINDOW = 313.0, 0.75
"""Processed bandwidths, and the coefficients of their Hamming windows."""
LINE_S = 2.0555563e-3
"""Zero-Doppler time from line to line, on the ground 14 m."""
STEERING_DEG_S = 0.979863325
"""How fast the beam is turned forward during a burst."""
PULSE_HZ = 1451.627112193990
PULSE_S, CHIRP_HZ_S = 6.199592966536363e-05, 7.792817275120481e11
SWATH = "IW2"
SWATH_NUMBER = 11
MOST_LINES = 1519
"""Lines of a burst in real products; the beam's steering would not reach farther."""
INVALID_LINES = 20
"""Lines at each end of a burst that hold nothing."""
INVALID_SAMPLES = 10
OVERLAP_LINES = 180
"""Lines from the start of a burst to the end of the one before."""
