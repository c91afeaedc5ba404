"""Quantiles, counts and regressions: in the user's units, and as their definitions say."""

import math
import random
from statistics import NormalDist

import numpy as np
import pytest

from learner import kernels, layout
from tests.unit.records import new, records, target_of


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_the_share_of_targets_below_a_quantile_is_its_level(level):
    """And the prediction is the quantile of the noise beside the truth, whose deviation grows with a feature."""
    model, r = new("quantile", level=level), random.Random(1)
    for _ in range(8000 if kernels.JIT else 2000):
        x = {"a": r.uniform(0, 1)}
        model.learn_one(x, 100 + 10 * x["a"] + (1 + 2 * x["a"]) * r.gauss(0, 1))
    found = model.figures()
    assert found["window_covered"] == pytest.approx(level, abs=0.03)
    assert found["pinball"] < found["constant_pinball"]
    z = NormalDist().inv_cdf(level)
    for a in (0.2, 0.5, 0.8):
        assert model.predict_one({"a": a}) == pytest.approx(100 + 10 * a + (1 + 2 * a) * z, abs=0.8)


def test_the_score_of_a_count_is_the_logarithm_of_its_rate():
    model, r = new("poisson"), np.random.default_rng(1)
    for a, b in r.uniform(-1, 1, (4000, 2)):
        model.learn_one({"a": a, "b": b}, int(r.poisson(math.exp(1 + a - 0.5 * b))))
    for a, b in ((0.5, 0.5), (-0.5, 0.2), (0.0, -0.7)):
        x = {"a": a, "b": b}
        assert model.score_one(x) == pytest.approx(1 + a - 0.5 * b, abs=0.15)
        assert model.predict_one(x) == pytest.approx(math.exp(model.score_one(x)))
    found = model.figures()
    assert found["deviance"] < found["constant_deviance"]
    assert found["mae"] < found["constant_mae"]


def test_rates_are_learned_in_any_unit():
    """After the first thousand, that the mean be made of a 1, too, matters no more."""
    plain, scaled = new("poisson"), new("poisson")
    for x, score in records(1000):
        y = target_of("poisson", score)
        plain.learn_one(x, y)
        scaled.learn_one(x, 1000.0 * y)
    for x, _ in records(20, seed=3):
        assert scaled.predict_one(x) == pytest.approx(1000.0 * plain.predict_one(x), rel=0.05)


@pytest.mark.parametrize(("unit", "shift"), [(1e6, 0), (1e-6, 0), (1, 5000), (-3, 7)])
def test_a_regression_does_not_care_for_the_units_of_its_targets(unit, shift):
    """From the second target on: the first one is judged before any is known."""
    plain, other = new("regression"), new("regression")
    for i, (x, y) in enumerate(records(150)):
        if i:
            assert other.predict_one(x) == pytest.approx(
                plain.predict_one(x) * unit + shift, rel=1e-4, abs=1e-4 * abs(unit)
            )
            assert other.score_one(x) == pytest.approx(
                plain.score_one(x) * unit + shift, rel=1e-4, abs=1e-4 * abs(unit)
            )
        plain.learn_one(x, y)
        other.learn_one(x, y * unit + shift)
    for name, weight in plain.weights.items():
        expected = weight * unit + (shift if name == layout.CONSTANT_NAME else 0)
        assert other.weights[name] == pytest.approx(expected, rel=1e-3, abs=1e-4 * abs(unit))


def test_a_prediction_stays_within_the_targets_seen():
    model = new("regression")
    for i in random.Random(2).sample(range(50), 50):
        model.learn_one({"x": i}, 2 * i)
    assert model.score_one({"x": 10}) == pytest.approx(20, abs=2)
    assert model.predict_one({"x": 1e6}) == 98
    assert model.predict_one({"x": -1e6}) == 0


def test_targets_that_never_change_are_predicted():
    model = new("regression")
    for _ in range(5):
        model.learn_one({"a": 1}, 3.25)
    assert model.predict_one({"a": 1}) == model.score_one({"b": 1}) == 3.25
