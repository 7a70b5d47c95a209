"""The in-process backend: insardev_pygmtsar (BSD-3-Clause), in a child process of its own.

    python -m pipeline.insar.pygmtsar JOB

The package makes co-registered SLCs on a map lattice from the bursts of two overflights. This room computes
interferogram, coherence, amplitude and incidence from them. `insardev`, a proprietary package of the same author for
that purpose, is not used.
"""

from pipeline.insar.pygmtsar.pygmtsar_backend import PygmtsarBackend

__all__ = ["PygmtsarBackend"]
