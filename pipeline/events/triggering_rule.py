"""The rule that decides which events are watched and built: data in `rules.yaml`, read and applied here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from pipeline.areas.area import area_folders
from pipeline.areas.area_file import explained_all, mapping_of, text_of
from pipeline.errors import AreaError
from pipeline.events.detected_event import Alert, DetectedEvent
from pipeline.events.land_mask import km_to_land
from pipeline.events.ledger import Decision, Tier
from pipeline.records import Frozen, Number

FILE_NAME = "rules.yaml"
TIERS: tuple[Tier, ...] = get_args(Tier)
"""in ascending order"""
Deciding = Literal["watch", "build", "priority"]


class MagnitudeRow(Frozen):
    """What an earthquake must meet for a tier."""

    tier: Deciding
    magnitude: Annotated[Number, Field(ge=0, le=10, description="at least")]
    deepest_km: Annotated[Number, Field(ge=0, le=800, description="depth, at most")]
    from_land_km: Annotated[
        Number, Field(ge=0, le=500, description="epicentre's distance from land, at most")
    ]


class EarthquakeRule(Frozen):
    """How an earthquake gets its tier; `aoi/rules.yaml` says why."""

    rows: tuple[MagnitudeRow, ...] = Field(min_length=1, max_length=100)
    landslide_alert: dict[Literal["yellow", "orange", "red"], Deciding] = Field(
        {}, description="tier by the landslide alert of the ground-failure product, whatever the rows say"
    )
    green_at_most: Literal["none", "watch", "build", "priority"] = Field(
        "watch", description="limit of the rows' tier where the landslide alert is green"
    )
    priority_people: Annotated[Number, Field(ge=1)] | None = Field(
        None, description="people exposed to landslides from whom on a built event gets priority"
    )
    priority_people_shaken: Annotated[Number, Field(ge=1)] | None = Field(
        None, description="people exposed to strong shaking from whom on a built event gets priority"
    )
    priority_alerts: tuple[Alert, ...] = Field(
        (), description="alerts for the whole event by which a built event gets priority"
    )


class AreaSizes(Frozen):
    """How small and how large the areas of events are."""

    least_side_km: Annotated[
        Number, Field(ge=1, le=1000, description="shortest side of an area whose extent a source states")
    ] = 2.0
    least_radius_km: Annotated[
        Number, Field(ge=1, le=500, description="around an epicentre, where no source states an extent")
    ] = 10.0
    largest_side_km: Annotated[
        Number,
        Field(ge=1, le=1000, description="longest side, around the middle; a person's margin comes on top"),
    ] = 100.0

    @model_validator(mode="after")
    def _ordered(self) -> AreaSizes:
        if max(self.least_side_km, 2 * self.least_radius_km) > self.largest_side_km:
            raise ValueError("largest_side_km must be at least least_side_km and twice least_radius_km")
        return self


class Rules(Frozen):
    """The content of `rules.yaml`."""

    kind: Literal["rules"]
    earthquake: EarthquakeRule
    other_alerts: dict[Literal["hurricane", "rainfall", "other"], dict[Alert, Deciding]] = Field(
        {}, description="tier of other events by the source's alert"
    )
    areas: AreaSizes = AreaSizes()

    def decide(self, event: DetectedEvent) -> Decision:
        """The tier of one revision, with the reasons in words."""
        if event.status == "retracted":
            return Decision(tier="none", reasons=("the source has retracted it",))
        if event.kind == "earthquake":
            return self._of_earthquake(event)
        tier: Tier = "none"
        if event.alert is not None:
            tier = self.other_alerts.get(event.kind, {}).get(event.alert, "none")
        return Decision(tier=tier, reasons=(f"{event.kind}, {_alert(event.alert)} of the source: {tier}",))

    def _of_earthquake(self, event: DetectedEvent) -> Decision:
        rule, product = self.earthquake, event.ground_failure
        alert = None if product is None else product.alert
        if alert is not None and alert != "green" and alert in rule.landslide_alert:
            tier: Tier = rule.landslide_alert[alert]
            area = (
                ""
                if product is None or product.hazard_km2 is None
                else f", {product.hazard_km2:g} km² exposed"
            )
            reasons = [f"landslide alert {alert}{area}: {tier}"]
        else:
            tier, reasons = self._of_rows(event)
            if alert == "green" and TIERS.index(tier) > TIERS.index(rule.green_at_most):
                tier = rule.green_at_most
                reasons.append(f"landslide alert green: at most {tier}")
        if tier == "build" and (why := self._why_priority(event)):
            tier = "priority"
            reasons.append(f"{why}: priority")
        return Decision(tier=tier, reasons=tuple(reasons))

    def _of_rows(self, event: DetectedEvent) -> tuple[Tier, list[str]]:
        if event.magnitude is None:
            return "none", ["no magnitude yet: none"]
        depth = 0.0 if event.depth_km is None else event.depth_km
        stated = "an unknown depth" if event.depth_km is None else f"{event.depth_km:.0f} km depth"
        words = f"M {event.magnitude:.1f} at {stated}"
        met = [r for r in self.earthquake.rows if event.magnitude >= r.magnitude and depth <= r.deepest_km]
        if not met:
            return "none", [f"{words}: none"]
        farthest = max(row.from_land_km for row in met)
        distance = km_to_land(event.longitude, event.latitude, farthest)
        if distance is None:
            return "none", [f"{words}, more than {farthest:g} km from land: none"]
        near = [row for row in met if distance <= row.from_land_km]
        where = "on land" if distance == 0 else f"{distance:.0f} km from land"
        if not near:
            return "none", [f"{words}, {where}: none"]
        best = max(near, key=lambda row: (TIERS.index(row.tier), row.magnitude))
        return best.tier, [
            f"{words}, {where}: {best.tier} (from M {best.magnitude:.1f}, to {best.deepest_km:g} km deep)"
        ]

    def _why_priority(self, event: DetectedEvent) -> str:
        """Why a built event is built first; empty where it is not."""
        people = event.ground_failure.population if event.ground_failure is not None else None
        most = self.earthquake.priority_people
        if people is not None and most is not None and people >= most:
            return f"{people:,.0f} people exposed to landslides"
        most = self.earthquake.priority_people_shaken
        if event.population is not None and most is not None and event.population >= most:
            return f"{event.population:,.0f} people exposed to strong shaking"
        if event.alert in self.earthquake.priority_alerts:
            return _alert(event.alert)
        return ""


def _alert(alert: Alert | None) -> str:
    return "no alert" if alert is None else f"alert {alert}"


def rules_path() -> Path:
    """The file of the rule: the user's (SLIDECUBE_AOI_DIR), else that of the working folder, else the shipped one."""
    candidates = [folder / FILE_NAME for folder in area_folders()]
    return next((path.resolve() for path in candidates if path.is_file()), candidates[-1])


def load_rules(path: Path | None = None) -> Rules:
    """The rule of a file, or that of `rules_path`.

    Raises:
        AreaError: it cannot be read, is no YAML, or a field is wrong (named, with the remedy).
    """
    path = path or rules_path()
    data = mapping_of(text_of(path, f"The rule {path}"), path)
    try:
        return Rules.model_validate(data)
    except ValidationError as error:
        raise AreaError(
            f"{path}: {explained_all(error.errors())}.", "See the shipped aoi/rules.yaml for every field."
        ) from error
