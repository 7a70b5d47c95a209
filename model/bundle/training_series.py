"""The simulated events that a prior was trained on, in numbers."""

from __future__ import annotations

from pydantic import Field

from pipeline.records import Frozen


class TrainingSeries(Frozen):
    """Many simulated events, each of which its land and its seed determine (`pipeline.sandbox.event_series`)."""

    events: int = Field(ge=1, description="that were trained on")
    unused: int = Field(0, ge=0, description="that were made and not used: too few landslides, or none")
    lands: dict[str, int] = Field(description="number of events by kind of land")
    seeds: tuple[int, int] = Field(description="the first and the last one")
    pixels_m: dict[str, int] = Field(description="number of events by size of a pixel, as in '10 m'")
    prevalence: tuple[float, float] = Field(description="lowest and highest share of landslide pixels")
    passes_before: tuple[int, ...] = Field(min_length=1, description="numbers of passes before the events")
    left_out: tuple[str, ...] = Field(
        description="land and seed of the events that were tested, as in 'arid-4'"
    )
    rounds: int = Field(ge=1, description="of training")
    best_round: int = Field(ge=1, description="whose weights these are")
    steps: int = Field(ge=1, description="of all rounds up to that one")
    minutes: float = Field(ge=0, description="that the rounds took in all, one process of one thread")
