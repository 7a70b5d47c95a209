"""The bundle that a training started from, as a trial and a bundle record it."""

from __future__ import annotations

from pydantic import Field

from pipeline.records import Frozen


class StartingBundle(Frozen):
    """A bundle whose weights a training starts from."""

    name: str = Field(max_length=4096, description="its folder or its name")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    simulated: bool = Field(description="no real landslide was in its training set")

    @property
    def in_words(self) -> str:
        """As in 'the bundle simulated-prior (3f2a..., trained on SIMULATED events)'."""
        more = ", trained on SIMULATED events" if self.simulated else ""
        return f"the bundle {self.name} ({self.digest[:12]}{more})"
