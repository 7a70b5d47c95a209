"""The interferometric processors by their names in the settings."""

from __future__ import annotations

from pipeline.errors import InterferometryError
from pipeline.insar.processor import InsarBackend


def backend_named(name: str) -> InsarBackend:
    """The backend of that name.

    Raises:
        InterferometryError: `backend-unknown` or `backend-none`.
    """
    if name == "isce2":
        from pipeline.insar.isce2.isce2_backend import Isce2Backend

        return Isce2Backend()
    if name == "pygmtsar":
        from pipeline.insar.pygmtsar import PygmtsarBackend

        return PygmtsarBackend()
    if name == "hyp3":
        from pipeline.insar.hyp3.hyp3_backend import Hyp3Backend

        return Hyp3Backend()
    if name == "none":
        raise InterferometryError(
            "backend-none",
            "No interferometric processor is chosen (SLIDECUBE_INSAR_BACKEND=none).",
            "Set it to isce2, pygmtsar or hyp3, or remove `interferometry` from the area file.",
        )
    raise InterferometryError(
        "backend-unknown",
        f"There is no interferometric processor {name!r}.",
        "Set SLIDECUBE_INSAR_BACKEND to isce2, pygmtsar, hyp3 or none.",
    )
