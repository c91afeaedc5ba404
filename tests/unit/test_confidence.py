"""Confidence sequences hold at all times."""

import math
import random

import numpy as np
import pytest

from learner.confidence import FIRST, Differences, margin

ALPHA = 0.05


def intervals(x):
    """Where the interval of each row of values lies after every column: (means, halves), by the formula of `Differences`."""
    n = np.arange(1, x.shape[1] + 1)
    mean = np.cumsum(x, axis=1) / n
    deviation = np.sqrt(np.maximum(np.cumsum(x * x, axis=1) / n - mean * mean, 0.0))
    farthest = np.maximum(np.maximum.accumulate(x, axis=1) - mean, mean - np.minimum.accumulate(x, axis=1))
    return mean, deviation * margin(n, ALPHA) + math.log(2 / ALPHA) * farthest / n


def rare(r, shape):
    """A small gain nearly always, and one time in fifty a loss that makes up for it."""
    return 0.01 * r.normal(size=shape) - 0.02 + (r.random(shape) < 0.02)


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda r, shape: r.normal(size=shape), 0.0),
        (lambda r, shape: r.exponential(size=shape), 1.0),
        (lambda r, shape: np.exp(1.5 * r.normal(size=shape)), math.exp(1.125)),
        (lambda r, shape: r.standard_t(3, size=shape), 0.0),
        (rare, 0.0),
    ],
)
def test_the_interval_covers_the_mean_at_all_times(draw, mean):
    """In at least 95% of the runs, at every one of 10,000 moments."""
    runs, n = 300, 10_000
    means, halves = intervals(draw(np.random.default_rng(1), (runs, n)))
    missed = (np.abs(means - mean) > halves)[:, FIRST - 1 :].any(axis=1)
    assert missed.mean() <= ALPHA


def test_an_interval_for_a_fixed_number_of_examples_would_not_hold_at_all_times():
    n = np.arange(1, 10_001)
    means = np.cumsum(np.random.default_rng(1).normal(size=(300, len(n))), axis=1) / n
    assert (np.abs(means) > 1.96 / np.sqrt(n))[:, FIRST - 1 :].any(axis=1).mean() > 3 * ALPHA


def test_the_interval_covers_a_mean_that_drifts():
    """Then it is about the average of the means so far; the spread grows tenfold meanwhile."""
    runs, n = 200, 10_000
    centre = np.sin(np.arange(n) / 500)
    x = centre + np.random.default_rng(1).normal(size=(runs, n)) * np.linspace(0.3, 3.0, n)
    means, halves = intervals(x)
    target = np.cumsum(centre) / np.arange(1, n + 1)
    assert (np.abs(means - target) > halves)[:, FIRST - 1 :].any(axis=1).mean() <= ALPHA


def test_the_interval_is_the_formula_whatever_the_batches():
    x = np.random.default_rng(2).exponential(size=(1, 3 * FIRST))
    means, halves = intervals(x)
    differences = Differences()
    r, start = random.Random(3), 0
    while start < x.shape[1]:
        stop = min(start + r.randrange(1, 700), x.shape[1])
        differences.add(x[0, start:stop], np.ones(stop - start))
        found = differences.interval(ALPHA)
        assert found.mean == pytest.approx(means[0, stop - 1])
        half = halves[0, stop - 1] if stop >= FIRST else math.inf
        assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))
        start = stop


def test_importances_weigh_differences_and_examples_that_one_did_not_learn_are_left_out():
    differences = Differences()
    differences.add(np.array([1.0, math.nan, 5.0]), np.array([3.0, math.nan, 1.0]))
    differences.add(np.array([math.nan]), np.array([2.0]))
    assert differences.interval(ALPHA).mean == 2.0
    assert math.isnan(Differences().interval(ALPHA).mean)
