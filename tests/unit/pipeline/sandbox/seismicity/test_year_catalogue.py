"""A year's catalogue: magnitudes, depths, places and products have the stated distributions; a seed repeats it."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from pipeline.catalogue.item_fields import ITEM_PROPERTY
from pipeline.sandbox.seismicity.scripted_events import landslide_alert
from pipeline.sandbox.seismicity.usgs_documents import milliseconds
from pipeline.sandbox.seismicity.year_catalogue import total_landslide_area_km2, year_catalogue
from tests.unit.pipeline.sandbox.posing.feeds.told_world import START

SEVERAL = range(1, 5)


@pytest.fixture(scope="module")
def years() -> list[dict]:
    return [year_catalogue(2025, seed) for seed in SEVERAL]


def magnitudes(catalogue: dict) -> np.ndarray:
    return np.array([one["properties"]["mag"] for one in catalogue["features"]])


def test_a_year_has_some_1500_events_by_gutenberg_and_richter(years: list[dict]) -> None:
    for year in years:
        assert 1350 < len(year["features"]) < 1650
        assert year["metadata"]["count"] == len(year["features"])
    found = np.concatenate([magnitudes(year) for year in years])
    assert found.min() >= 5.0
    assert found.max() <= 8.8
    # Aki (1965): b = log10(e) / (mean - (least - half a step)); magnitudes are rounded to tenths from 5.0 on
    b = np.log10(np.e) / (found.mean() - 4.95)
    assert b == pytest.approx(1.0, abs=0.05)
    assert 0.07 < (found >= 6).mean() < 0.13


def test_events_are_in_the_year_at_places_on_the_earth(years: list[dict]) -> None:
    (features,) = (years[0]["features"],)
    times = [one["properties"]["time"] for one in features]
    assert times == sorted(times, reverse=True)
    assert min(times) >= milliseconds(START.replace(2025, 1, 1, 0, 0, 0))
    assert max(times) < milliseconds(START.replace(2026, 1, 1, 0, 0, 0))
    places = np.array([one["geometry"]["coordinates"] for one in features])
    assert (np.abs(places[:, 0]) <= 180).all()
    assert (np.abs(places[:, 1]) < 80).all()
    classes = np.histogram(places[:, 2], [0, 70, 300, 700])[0] / len(places)
    assert classes == pytest.approx([0.83, 0.14, 0.03], abs=0.04)
    assert len({one["id"] for one in features}) == len(features)
    assert all(one["properties"][ITEM_PROPERTY] is True for one in features)


def test_products_are_those_of_magnitude_6_and_more(years: list[dict]) -> None:
    alerts: Counter[str] = Counter()
    for year in years:
        for one in year["features"]:
            products = one["properties"].get("products")
            assert (products is not None) == (one["properties"]["mag"] >= 6)
            if products:
                stated = products["ground-failure"][0]["properties"]
                hazard, people = (
                    float(stated[f"landslide-{what}-alert-value"]) for what in ("hazard", "population")
                )
                assert stated["landslide-alert"] == landslide_alert(hazard, people)
                west, east = (float(stated[f"landslide-{side}-longitude"]) for side in ("minimum", "maximum"))
                assert west < east
                alerts[stated["landslide-alert"]] += 1
    assert alerts["green"] > alerts["yellow"] > alerts["orange"] >= alerts["red"] > 0


@pytest.mark.parametrize(("magnitude", "km2"), [(6.0, 0.38), (7.0, 7.4), (8.0, 144.0)])
def test_the_total_landslide_area_is_that_of_the_paper(magnitude: float, km2: float) -> None:
    assert total_landslide_area_km2(magnitude) == pytest.approx(km2, rel=0.02)


@pytest.mark.parametrize(
    ("hazard", "people", "level"),
    [
        (0.9, 99, "green"),
        (1.0, 0, "yellow"),
        (0, 100, "yellow"),
        (10, 0, "orange"),
        (1, 10_000, "red"),
        (100, 0, "red"),
    ],
)
def test_alert_bins(hazard: float, people: float, level: str) -> None:
    assert landslide_alert(hazard, people) == level


def test_a_seed_repeats_it() -> None:
    first, again, other = (json.dumps(year_catalogue(2025, seed, 50)) for seed in (1, 1, 2))
    assert first == again != other
    assert len(json.loads(first)["features"]) == 50
