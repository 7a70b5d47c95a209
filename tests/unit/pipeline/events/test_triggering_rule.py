"""The shipped rule on known events, and rules that are wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.areas.area import SHIPPED_AREAS, area_files
from pipeline.errors import AreaError
from pipeline.events.detected_event import DetectedEvent, GroundFailure
from pipeline.events.land_mask import km_between, km_to_land, land_share
from pipeline.events.triggering_rule import load_rules, rules_path
from pipeline.settings import settings

AT = datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC)


def event(**changes: Any) -> DetectedEvent:
    stated = {
        "source": "usgs", "id": "us2000h8ty", "updated": AT, "kind": "earthquake", "start": AT, "end": AT,
        "longitude": 141.93, "latitude": 42.686, "magnitude": 6.6, "depth_km": 35.0,
    }  # fmt: skip
    return DetectedEvent.model_validate(stated | changes)


def tier(**changes: Any) -> str:
    return load_rules().decide(event(**changes)).tier


@pytest.mark.parametrize(
    ("what", "changes", "expected"),
    [
        ("Hokkaido 2018, 35 km deep", {}, "build"),
        (
            "Kaikoura 2016",
            {"magnitude": 7.8, "depth_km": 15.1, "longitude": 173.05, "latitude": -42.74},
            "priority",
        ),
        (
            "Tohoku 2011, at sea",
            {"magnitude": 9.1, "depth_km": 29.0, "longitude": 142.37, "latitude": 38.30},
            "build",
        ),
        ("mid-Atlantic", {"longitude": -29.0, "latitude": 1.0}, "none"),
        ("small", {"magnitude": 5.4, "depth_km": 8.0}, "none"),
        ("on the threshold", {"magnitude": 5.5}, "watch"),
        ("deep", {"magnitude": 6.8, "depth_km": 41.0}, "watch"),
        ("very deep", {"magnitude": 7.1, "depth_km": 600.0}, "none"),
        ("depth unknown", {"depth_km": None}, "build"),
        ("magnitude unknown", {"magnitude": None}, "none"),
        ("green alert", {"ground_failure": GroundFailure(alert="green")}, "watch"),
        (
            "green alert of a small one",
            {"magnitude": 5.1, "ground_failure": GroundFailure(alert="green")},
            "none",
        ),
        (
            "yellow alert of a small one",
            {"magnitude": 5.1, "ground_failure": GroundFailure(alert="yellow")},
            "build",
        ),
        ("red alert", {"ground_failure": GroundFailure(alert="red")}, "priority"),
        ("many people", {"ground_failure": GroundFailure(alert="yellow", population=1000.0)}, "priority"),
        ("no alert yet", {"ground_failure": GroundFailure()}, "build"),
        ("PAGER red", {"alert": "red"}, "priority"),
        ("PAGER red of a small one", {"alert": "red", "magnitude": 4.5}, "none"),
        ("retracted", {"status": "retracted"}, "none"),
        ("a storm", {"kind": "hurricane", "alert": "orange"}, "watch"),
        ("a green flood", {"kind": "rainfall", "alert": "green"}, "none"),
        ("something else", {"kind": "other", "alert": "red"}, "none"),
    ],
)
def test_the_shipped_rule(what: str, changes: dict[str, Any], expected: str) -> None:
    assert tier(**changes) == expected


def test_a_decision_states_its_reasons() -> None:
    (reason,) = load_rules().decide(event()).reasons
    assert all(words in reason for words in ("M 6.6", "35 km", "on land", "build"))


def test_the_rule_is_no_area(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "rules" not in area_files() and "hokkaido" in area_files()
    (tmp_path / "mine.yaml").write_text("# a comment\nkind: rules\n")
    (tmp_path / "area.yaml").write_text("event: {kind: earthquake}\n")
    monkeypatch.setenv("SLIDECUBE_AOI_DIR", str(tmp_path))
    settings.cache_clear()
    assert "mine" not in area_files() and "area" in area_files()


def test_the_users_rule_takes_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = yaml.safe_load((SHIPPED_AREAS / "rules.yaml").read_text())
    document["earthquake"]["rows"] = [{"tier": "watch", "magnitude": 9, "deepest_km": 10, "from_land_km": 0}]
    own = tmp_path / "rules.yaml"
    own.write_text(yaml.safe_dump(document))
    monkeypatch.setenv("SLIDECUBE_AOI_DIR", str(tmp_path))
    settings.cache_clear()
    assert rules_path() == own.resolve()
    assert tier() == "none"


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "kind: rules", "kind: area\nearthquake: {rows: []}", "&a [*a]", "kind: rules\nearthquake: {rows: []}",
        "kind: rules\nearthquake: {rows: [{tier: build, magnitude: -1, deepest_km: 1, from_land_km: 1}]}",
        "kind: rules\nearthquake: {rows: [{tier: bild, magnitude: 6, deepest_km: 1, from_land_km: 1}]}",
        "kind: rules\nearthquake: {rows: [{tier: build, magnitude: 6, deepest_km: 1, from_land_km: 1}], typo: 1}",
    ],
)  # fmt: skip
def test_a_wrong_rule_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(AreaError) as caught:
        load_rules(path)
    assert caught.value.exit_code == 2 and "rules.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("place", "most_km", "expected"),
    [
        ((141.93, 42.686), 55, 0.0), ((-29.0, 1.0), 55, None), ((179.95, -16.5), 55, 0.0), ((-179.95, -16.5), 55, 0.0),
        ((0.0, -90.0), 55, 0.0), ((0.0, 90.0), 55, None), ((-180.0, 0.0), 300, None),
    ],
)  # fmt: skip
def test_the_distance_to_land(place: tuple[float, float], most_km: float, expected: float | None) -> None:
    assert km_to_land(*place, most_km) == expected


def test_the_distance_to_land_off_a_coast() -> None:
    # Tohoku 2011: about 70 km from the Oshika peninsula
    found = km_to_land(142.373, 38.297, 200)
    assert found is not None and 55 < found < 85
    assert km_to_land(142.373, 38.297, found - 5) is None


def test_distances_on_the_sphere() -> None:
    assert km_between((0.0, 0.0), (1.0, 0.0)) == pytest.approx(111.195, rel=1e-3)
    assert km_between((179.9, 0.0), (-179.9, 0.0)) == pytest.approx(22.24, rel=1e-3)


@pytest.mark.parametrize(
    ("bounds", "least", "most"),
    [
        ((141.5, 42.6, 142.5, 43.5), 0.95, 1.0),
        ((-30, 0, -28, 2), 0.0, 0.0),
        ((178.0, -18.0, -178.0, -16.0), 0.05, 0.4),
    ],
)
def test_the_share_of_land(bounds: Any, least: float, most: float) -> None:
    assert least <= land_share(bounds) <= most
