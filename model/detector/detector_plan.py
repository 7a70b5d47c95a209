"""The settings of the detector."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.records import Frozen

MINIMUM_BEFORE = 3
"""A track with fewer passes before the event is not used: its spread before the event, and what its quiet passes would
have been mapped as, are not known."""


class DetectorPlan(Frozen):
    """How change becomes a score, a class and a status. The defaults are those that `docs/detector.md` compares."""

    smoothing_m: float = Field(
        20.0, ge=0, le=200, description="standard deviation of the Gaussian mean of each pass in decibels, m"
    )
    prior_passes: float = Field(
        8.0,
        ge=0,
        le=1000,
        description="weight of the scene's spread in each pixel's own, as so many passes before the event",
    )
    classes: bool = Field(
        True,
        description="remove each pass's own steps by slope, aspect and elevation; False: its median alone",
    )
    smallest_slope_deg: float = Field(5.0, ge=0, lt=90, description="flatter terrain has the score 0")
    gentle_weight: float = Field(
        0.8,
        gt=0,
        le=1,
        exclude_if=lambda weight: weight == 0.8,
        description="scores are multiplied by this where the slope is at most gentle_slope_deg; 1: slopes are alike",
    )
    gentle_slope_deg: float = Field(10.0, ge=0, lt=90, exclude_if=lambda degrees: degrees == 10.0)
    steep_slope_deg: float = Field(
        25.0,
        gt=0,
        lt=90,
        exclude_if=lambda degrees: degrees == 25.0,
        description="from here on scores are not changed; in between the weight rises evenly",
    )
    false_km2_per_1000: float = Field(
        1.0,
        gt=0,
        le=100,
        description="the threshold: so many km² of 1000 km² of the scene's quiet passes lie above it, before the "
        "smallest mapped unit is applied",
    )
    edge_km2_per_1000: float = Field(
        5.0,
        gt=0,
        le=200,
        description="an object grows from the threshold down to the score of this false area",
    )
    again_km2_per_1000: float = Field(
        100.0, gt=0, le=500, description="a pass sees an object above the score of this false area"
    )
    confirmed_after: int = Field(3, ge=2, le=20, description="passes that must see what is confirmed")
    gone_after: int = Field(
        2, ge=1, le=20, description="newest passes of a track that no longer see what is gone"
    )

    @model_validator(mode="after")
    def _slopes_in_order(self) -> DetectorPlan:
        if self.steep_slope_deg <= self.gentle_slope_deg:
            raise ValueError("steep_slope_deg must exceed gentle_slope_deg")
        return self
