"""Intervals with their stated coverage, and a comparison that refuses results that are not comparable."""

from __future__ import annotations

import numpy as np
import pytest

from model.experiments.results.comparison import Scored, compare
from model.scores.intervals import BlockCounts, counts_of_file, interval, paired_difference
from model.scores.scores import Ranking
from pipeline.errors import ModelError
from tests.unit.made_results import made_result


def scores(seed, strength, size=256, share=0.08):
    """(n,) score, truth, block of a square whose landslides score higher by `strength` sd."""
    rng = np.random.default_rng(seed)
    truth = rng.random((size, size)) < share
    score = rng.standard_normal((size, size)) + strength * truth
    block = (np.arange(size) // 64)[:, None] * 10 + (np.arange(size) // 64)[None, :]
    return score.ravel(), truth.ravel(), block.ravel()


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0, 6.0])
def test_counts_give_the_exact_auprc_to_a_thousandth(strength):
    score, truth, block = scores(0, strength)
    exact = Ranking.of(score, truth).auprc
    assert BlockCounts.of(score, truth, block).auprc()[0] == pytest.approx(exact, abs=1e-3)


def test_a_score_that_is_the_same_everywhere_is_worth_the_prevalence():
    _, truth, block = scores(0, 1.0)
    counts = BlockCounts.of(np.zeros(truth.size), truth, block)
    assert counts.auprc()[0] == pytest.approx(truth.mean())


def test_resampled_blocks_are_counted_as_if_they_stood_there_so_often():
    score, truth, block = scores(1, 1.0)
    counts = BlockCounts.of(score, truth, block)
    numbers = np.unique(block)
    weights = np.zeros((1, numbers.size))
    weights[0, [0, 3]] = 2, 1
    drawn = np.concatenate([np.flatnonzero(block == numbers[i]) for i in (0, 0, 3)])
    assert counts.auprc(weights)[0] == pytest.approx(Ranking.of(score[drawn], truth[drawn]).auprc, abs=3e-3)


def test_the_interval_of_random_scores_holds_the_prevalence():
    units = [BlockCounts.of(*scores(seed, 0.0)) for seed in range(6)]
    found = interval(units)
    assert found.lower < 0.08 < found.upper
    assert found.upper - found.lower < 0.02


def test_a_paired_difference_is_narrower_than_the_results_themselves_and_finds_what_is_there():
    first, second = [], []
    for seed in range(6):
        score, truth, block = scores(seed, 1.5)
        noise = np.random.default_rng(100 + seed).standard_normal(score.size)
        first.append(BlockCounts.of(score, truth, block))
        second.append(BlockCounts.of(score + 0.4 * noise, truth, block))
    found = paired_difference(first, second)
    assert found.excludes_zero and found.mean > 0
    assert found.upper - found.lower < interval(first).upper - interval(first).lower
    none = paired_difference(first, first)
    assert (none.mean, none.lower, none.upper) == (0, 0, 0) and not none.excludes_zero
    with pytest.raises(ModelError, match="same blocks"):
        paired_difference(first[:1], [BlockCounts.of(*scores(0, 1.5, size=128))])


def test_more_seeds_on_one_test_area_do_not_narrow_the_range_that_its_size_sets():
    units = [BlockCounts.of(*scores(seed, 1.5)) for seed in range(3)]
    alone = interval(units, "abc")
    thrice = interval([u for u in units for _ in range(3)], [area for area in "abc" for _ in range(3)])
    assert thrice.mean == pytest.approx(alone.mean) and thrice.units == 9
    width = alone.upper - alone.lower
    assert thrice.upper - thrice.lower == pytest.approx(width, rel=0.15)
    apart = interval([u for u in units for _ in range(3)])
    assert apart.upper - apart.lower < 0.75 * width
    with pytest.raises(ModelError, match="same blocks"):
        interval([units[0], BlockCounts.of(*scores(0, 1.5, size=128))], "aa")


def test_landslides_in_one_block_of_many_still_have_an_interval():
    score, truth, block = scores(0, 1.0)
    counts = BlockCounts.of(score, truth & (block == block[0]), block)
    found = interval([counts])
    assert 0 < found.lower < found.mean < found.upper < 1


def scored(label, strength, seeds=(0, 1), **changes):
    return [
        Scored(made_result(label=label, seed=seed, **changes), BlockCounts.of(*scores(seed, strength)))
        for seed in seeds
    ]


def test_two_methods_are_compared_pair_by_pair():
    found = compare(scored("good", 2.0), scored("bad", 0.5))
    assert found.wins == 2 and found.auprc.units == 2 and found.auprc.lower > 0
    assert found.text.endswith("2 of 2") and found.text.startswith("+0.")
    assert compare(scored("good", 2.0), scored("bad", 0.5)).holds
    assert not compare(scored("bad", 0.5), scored("good", 2.0)).holds
    assert not compare(scored("same", 1.0), scored("same too", 1.0)).holds


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"protocol": "paper"}, "different protocols"),
        ({"protocol_digest": "1" * 64}, "different protocols"),
        ({"scored_digest": "1" * 64}, "different pixels"),
        ({"steps": 7}, "numbers of steps"),
        ({"cube": "2" * 64}, "not tried"),
        ({"fold": 3}, "not tried"),
        ({"seeds": (0, 5)}, "not tried"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(changes, named):
    with pytest.raises(ModelError, match=named):
        compare(scored("one", 1.0), scored("other", 1.0, **changes))
    if "steps" in changes:
        assert compare(scored("one", 1.0), scored("other", 1.0, **changes), same_budget=False).auprc.mean == 0


def test_damaged_scores_are_named(tmp_path):
    file = tmp_path / "a.npz"
    file.write_bytes(b"PK no zip")
    with pytest.raises(ModelError, match="cannot be read"):
        counts_of_file(file)
    score, truth, _ = scores(0, 1.0)
    labels = truth.reshape(256, 256).astype(np.uint8)
    labels[:10] = 255
    np.savez(file, score=score.reshape(256, 256), labels=labels, corner=np.array([64, 0]))
    counts = counts_of_file(file)
    assert counts.blocks == 16 and counts.totals.sum() == 246 * 256
