"""Interferograms by ISCE2's topsApp: in a container, or on the PATH."""
