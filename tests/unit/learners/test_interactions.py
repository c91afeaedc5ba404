"""Pairs of numbers that interact, and switches, beside the slow reference."""

import itertools
import random

import numpy as np
import pytest

from learner import kernels
from learner.layout import MAX_BINNED, N_PAIRS
from learner.model import Model
from tests.unit.streams import SEED, new, pack, reference_of


def stream(seed=3):
    """Yield examples of a product of two numbers, a number whose slope is turned by a switch, and a number that is bent."""
    draw = random.Random(seed)
    while True:
        x = {f"x{k}": draw.gauss(0, 1) for k in range(4)}
        x |= {name: 1.0 for name in ("on", "red") if draw.random() < 0.4}
        yield 2 * x["x0"] * x["x1"] + (x["x2"] if "on" in x else -x["x2"]) + abs(x["x3"]) + draw.gauss(0, 0.1), x


@pytest.mark.skipif(not kernels.JIT, reason="too many examples for plain Python")
@pytest.mark.parametrize(("loss", "outcomes"), [("squared", "late"), ("logistic", "at_once")])
def test_pairs_that_interact_are_found_and_named(loss, outcomes):
    model = new(loss, 2, outcomes=outcomes)
    reference = reference_of(model)
    examples = [(y if loss == "squared" else 1 if y > 0 else -1, x) for y, x in itertools.islice(stream(), 1400)]
    expected = [reference.learn(x, y) for y, x in examples]
    learned = model.learn_packed(pack(*examples))
    np.testing.assert_allclose(learned.scores, expected, rtol=1e-4, atol=1e-4)
    assert {"x1 times x0", "on times x2"} <= model.weights.keys()
    assert dict(model.weights) == pytest.approx(reference.weights(), rel=2e-3, abs=1e-4)
    parts = model.explain_one(examples[-1][1])
    assert sum(part.contribution for part in parts) == pytest.approx(model.score_one(examples[-1][1]), abs=1e-6)


@pytest.mark.skipif(not kernels.JIT, reason="too many examples for plain Python")
def test_numbers_that_do_not_interact_have_no_cells_or_products():
    model, draw = Model("regression", seed=SEED), random.Random(4)
    for _ in range(3000):
        x = {f"x{k}": draw.gauss(0, 1) for k in range(6)}
        model.learn_one(x, x["x0"] - x["x1"] + abs(x["x2"]) + draw.gauss(0, 1))
    assert not [name for name in model.weights if " times " in name or " and " in name]


@pytest.mark.skipif(not kernels.JIT, reason="too many examples for plain Python")
def test_at_most_so_many_pairs_are_derived_and_those_that_gain_most():
    model, draw = Model("regression", seed=SEED), random.Random(5)
    for _ in range(3000):
        x = {f"x{k}": draw.gauss(0, 1) for k in range(MAX_BINNED + 6)}
        y = sum(x[f"x{k}"] * x[f"x{k + 1}"] for k in range(0, 40, 2))
        model.learn_one(x, y + 4 * x["x50"] * x["x51"] + 4 * x[f"x{MAX_BINNED + 1}"] * x[f"x{MAX_BINNED + 2}"])
    products = {name for name in model.weights if " times " in name}
    assert "x51 times x50" in products
    derived = [part.name for part in model.explain_one(x) if " times " in part.name]
    assert 0 < len(derived) <= N_PAIRS
    assert not [name for name in products if any(f"x{k} " in f"{name} " for k in range(MAX_BINNED, MAX_BINNED + 6))]


def test_a_switch_that_gets_other_values_is_one_no_more():
    model, draw = Model("regression", seed=SEED), random.Random(6)
    for k in range(600):
        x = {"x": draw.gauss(0, 1)} | ({"on": 1.0} if draw.random() < 0.4 else {})
        model.learn_one(x, x["x"] if "on" in x else -x["x"])
        if k == 500:
            assert "on times x" in [part.name for part in model.explain_one({"x": 1.0, "on": 1.0})]
            model.learn_one({"x": 1.0, "on": 2.0}, 1.0)
    assert "on times x" not in [part.name for part in model.explain_one({"x": 1.0, "on": 1.0})]
