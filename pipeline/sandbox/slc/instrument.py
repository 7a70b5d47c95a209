"""Constants of the instrument and its processor, for the IW mode of Sentinel-1, sub-swath IW2.

Sources: Sentinel-1 Product Specification (S1-RS-MDA-52-7441), "Definition of the TOPS SLC deramping function"
(COPE-GSEG-EOPG-TN-14-0025), and the range sampling, steering and bandwidths that products state.
"""

from __future__ import annotations

LIGHT_M_S = 299792458.0
RADAR_FREQUENCY_HZ = 5.405000454334350e9
WAVELENGTH_M = LIGHT_M_S / RADAR_FREQUENCY_HZ
RANGE_SAMPLING_HZ = 64.345238125714e6
SAMPLE_M = LIGHT_M_S / 2 / RANGE_SAMPLING_HZ
"""Slant range spacing of the samples: 2.33 m."""
RANGE_BANDWIDTH_HZ, RANGE_WINDOW = 48.3e6, 0.75
AZIMUTH_BANDWIDTH_HZ, AZIMUTH_WINDOW = 313.0, 0.75
"""Processed bandwidths and the coefficients of their Hamming windows."""
LINE_S = 2.0555563e-3
"""Zero-Doppler time between lines; 14 m on the ground."""
STEERING_DEG_S = 0.979863325
"""Steering rate of the beam during a burst."""
PULSE_HZ = 1451.627112193990
PULSE_S, CHIRP_HZ_S = 6.199592966536363e-05, 7.792817275120481e11
SWATH = "IW2"
SWATH_NUMBER = 11
MOST_LINES = 1519
"""Lines of a burst in real products, limited by the beam's steering."""
INVALID_LINES = 20
"""Invalid lines at each end of a burst."""
INVALID_SAMPLES = 10
OVERLAP_LINES = 180
"""Lines from the start of a burst to the end of the previous one."""
