"""Counts of events by score, and what maps are worth by them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import expit, logit
from scipy.stats import t

from model.scores.case_evidence import CaseEvidence, landslide_area
from model.scores.event_evidence import CLASSES, CountedEvent, EventEvidence
from model.scores.mapped_objects import labelled
from model.scores.prevalence_shift import shifted_prevalence
from model.scores.probability_calibration import Calibration
from pipeline.errors import ModelError

PLAIN = Calibration(pixels=1, error_before=0, error_after=0)
SIZE = 160
SMALLEST_M2 = 400.0


def scene(seed: int, prevalence: float = 0.05, contrast: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) log-odds, calibrated at 0.05 but for the scene's own prevalence, and labels"""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 3)
    truth = field > np.quantile(field, 1 - prevalence) if prevalence else np.zeros_like(field, dtype=bool)
    score = rng.normal(np.where(truth, contrast, 0.0), 1.0)
    log_odds = contrast * score - contrast**2 / 2 + logit(0.05)
    return log_odds, truth.astype(np.uint8)


def counted(seed: int, **how: float) -> EventEvidence:
    log_odds, labels = scene(seed, **how)
    event = CountedEvent(area=f"event {seed}", cube=f"{seed:064d}", simulated=True, part="left-out event")
    return EventEvidence.of(event, [(expit(log_odds).astype(np.float32), labels)], 100.0, SMALLEST_M2)


def case(*events: EventEvidence) -> CaseEvidence:
    return CaseEvidence(before=4, after=1, smallest_m2=SMALLEST_M2, events=events)


def by_hand(seed: int, threshold: float) -> tuple[float, float, float]:
    """False share of polygons and of area, missed share of area, of the map with this threshold."""
    log_odds, labels = scene(seed)
    numbers, count = labelled(log_odds >= logit(threshold))
    kept = [n for n in range(1, count + 1) if (numbers == n).sum() >= 4]
    mapped = np.isin(numbers, kept)
    false = sum(not labels[numbers == n].any() for n in kept)
    hits = (mapped & (labels == 1)).sum()
    return false / len(kept), 1 - hits / mapped.sum(), 1 - hits / (labels == 1).sum()


def test_the_shares_at_an_edge_are_those_of_the_map_itself():
    threshold = float(expit(-3.0))  # an edge of the classes: nothing is interpolated
    shares = counted(1).at(-3.0)
    polygons, area, missed = by_hand(1, threshold)
    assert shares.false_polygons == pytest.approx(polygons) and 0 < polygons < 1
    assert shares.false_area == pytest.approx(area)
    assert shares.missed_area == pytest.approx(missed)
    found = case(counted(1), counted(2), counted(3)).accuracy(threshold, PLAIN)
    values = [by_hand(seed, threshold)[1] for seed in (1, 2, 3)]
    assert found.false_area.mean == pytest.approx(np.mean(values))
    assert (found.false_area.lowest, found.false_area.highest) == pytest.approx((min(values), max(values)))
    reach = t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    assert found.false_area.upper == pytest.approx(min(np.mean(values) + reach, 1))


def test_one_event_has_no_range_and_an_event_without_landslides_misses_nothing():
    alone = case(counted(1)).accuracy(0.5, PLAIN)
    assert (alone.false_area.lower, alone.false_area.upper, alone.false_area.events) == (None, None, 1)
    assert landslide_area(1.0, alone.area_ratios).lower is None
    empty = counted(7, prevalence=0.0)
    assert empty.at(-3.0).false_polygons == 1.0 and empty.at(-3.0).missed_area is None
    both = case(counted(1), empty).accuracy(float(expit(-3.0)), PLAIN)
    assert both.missed_area.events == 1 and both.false_area.events == 2 and len(both.area_ratios) == 1
    nothing = case(counted(1)).accuracy(1.0 - 1e-7, PLAIN)
    assert nothing.false_polygons is None and nothing.unmapped_events == 1 and nothing.missed_area.mean == 1.0


def test_a_threshold_is_chosen_by_precision_or_recall_in_the_mean_over_events():
    evidence = case(*(counted(seed) for seed in range(4)))
    calibration = Calibration(slope=0.5, intercept=-1.0, pixels=1, error_before=0, error_after=0)
    for wanted in (0.5, 0.8):
        threshold = evidence.threshold_for(calibration, recall=wanted)
        assert 1 - evidence.accuracy(threshold, calibration).missed_area.mean >= wanted
        higher = expit(logit(threshold) + 0.5 * 0.13)  # the next threshold that was tried
        assert 1 - evidence.accuracy(higher, calibration).missed_area.mean < wanted
    threshold = evidence.threshold_for(calibration, precision=0.8)
    assert 1 - evidence.accuracy(threshold, calibration).false_area.mean >= 0.8
    assert 1 - evidence.accuracy(expit(logit(threshold) - 0.07), calibration).false_area.mean < 0.8
    with pytest.raises(ModelError, match="precision") as error:
        case(counted(5, contrast=0.3)).threshold_for(calibration, precision=0.95)
    assert "--precision" in error.value.remedy
    best = evidence.best_threshold(calibration)
    f1 = [np.mean([one.at(value).f1 for one in evidence.events]) for value in np.arange(-4, 4, 0.125)]
    at_best = np.mean([one.at((logit(best) + 1) / 0.5).f1 for one in evidence.events])
    assert at_best == pytest.approx(max(f1))


def test_the_calibration_over_events_gives_each_the_same_part_whatever_its_size():
    small = counted(1)
    log_odds, labels = scene(2, prevalence=0.2)
    wide = (expit(log_odds).astype(np.float32), labels)
    event = small.event.model_copy(update={"cube": "9" * 64})
    large = EventEvidence.of(event, [wide] * 9, 100.0, SMALLEST_M2)
    once = EventEvidence.of(event, [wide], 100.0, SMALLEST_M2)
    found = case(small, large)
    assert sum(large.pixels) == 9 * sum(small.pixels)
    assert found.prior == pytest.approx((0.05 + 0.2) / 2, abs=2e-3)
    calibration = found.calibration()
    assert calibration.intercept == pytest.approx(case(small, once).calibration().intercept, abs=1e-4)
    assert calibration.error_after < calibration.error_before


@pytest.mark.parametrize("prevalence", [0.0, 0.002, 0.05, 0.2])
def test_the_prevalence_of_a_scene_is_found_without_labels(prevalence):
    log_odds, labels = scene(3, prevalence=prevalence)
    found = shifted_prevalence(log_odds.ravel(), np.ones(log_odds.size), 0.05)
    assert found == pytest.approx(labels.mean(), abs=0.002 + 0.1 * prevalence)
    if prevalence:
        (by_classes,) = case(counted(3, prevalence=prevalence)).prevalences(PLAIN)
        assert by_classes > 0


def test_the_landslide_area_has_the_interval_of_the_next_event():
    ratios = (0.5, 1.0, 2.0)
    found = landslide_area(3.0, ratios)
    spread = np.std(np.log(ratios), ddof=1) * np.sqrt(1 + 1 / 3)
    assert found.km2 == pytest.approx(3.0)
    assert found.upper == pytest.approx(3.0 * np.exp(t.ppf(0.975, 2) * spread))
    assert found.lower == pytest.approx(9.0 / found.upper)
    assert landslide_area(3.0, ()) is None


def test_counts_that_contradict_themselves_are_refused():
    good = counted(1).model_dump()
    for name, value in (
        ("pixels", [0] * CLASSES),
        ("landslides", [1] * (CLASSES - 1)),
        ("hits", [1 << 40] * CLASSES),
        ("false_polygons", [-1] * CLASSES),
    ):
        with pytest.raises(ValueError):
            EventEvidence.model_validate(good | {name: value})
    with pytest.raises(ValueError, match="twice"):
        case(counted(1), counted(1))
    tested = counted(2).model_dump() | {"event": counted(2).event.model_copy(update={"part": "test area"})}
    with pytest.raises(ValueError, match="mixed"):
        case(counted(1), EventEvidence.model_validate(tested))
