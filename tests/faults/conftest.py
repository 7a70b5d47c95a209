"""The small world of the end-to-end tests serves the fault tests too."""

from tests.e2e.conftest import archive, served, slidecube, small_world

__all__ = ["archive", "served", "slidecube", "small_world"]
