"""What a map says of its own scene, and how it compares with labels: values that its record holds."""

from __future__ import annotations

from pydantic import Field

from model.scores.case_evidence import AreaEstimate
from model.scores.input_ranges import FLAGGED_SHARE
from model.scores.scores import Share
from pipeline.records import Frozen


class SceneFindings(Frozen):
    """What a model's map says of its own scene."""

    landslide_km2: AreaEstimate | None = Field(
        description="by what was false and missed on the tested events; None: not known"
    )
    probable_km2: float = Field(ge=0, description="sum of the calibrated probabilities over the scene, km²")
    probable_inside_km2: float = Field(ge=0, description="the part of it inside the polygons")
    estimated_share: Share = Field(description="share of landslides, estimated without labels")
    lowest_known: Share | None = Field(
        description="the lowest such estimate on a tested event with landslides; None: there is none"
    )
    perhaps_nothing: bool = Field(description="whether the estimate is far below that")
    outside_ranges: dict[str, Share] = Field(
        description="share of each channel outside the range that holds 98 % of the training set; empty: not known"
    )

    @property
    def unlike(self) -> tuple[str, ...]:
        """The channels that are flagged, the most unlike first."""
        found = [(share, name) for name, share in self.outside_ranges.items() if share > FLAGGED_SHARE]
        return tuple(name for _, name in sorted(found, reverse=True))


class LabelComparison(Frozen):
    """The polygons of a map beside the labels of its scored area."""

    polygons: int = Field(ge=0, description="polygons with a counted pixel")
    false_polygons: int = Field(ge=0, description="those without a landslide pixel")
    mapped_km2: float = Field(ge=0)
    false_km2: float = Field(ge=0, description="mapped area that is no landslide")
    landslide_km2: float = Field(ge=0)
    missed_km2: float = Field(ge=0, description="landslide area that is not mapped")
