"""The in-process backend: insardev_pygmtsar (BSD-3-Clause), in a child process of its own.

    python -m pipeline.insar.pygmtsar JOB

The package takes the bursts of two overflights to co-registered SLCs on a map lattice; what follows from those two
(interferogram, coherence, amplitude, incidence) is computed here. `insardev`, a proprietary package of the same author
that would do the latter, is not used.
"""

from pipeline.insar.pygmtsar.pygmtsar_backend import PygmtsarBackend

__all__ = ["PygmtsarBackend"]
