"""Places of numbers that no longer come are given to those that do."""

import math
import random

import numpy as np
import pytest

from learner import kernels, layout
from learner.kernels.places import EXAMPLES_BETWEEN
from learner.model import Model
from tests.unit.learners.consistency import check_dict
from tests.unit.streams import SEED, new, pack, reference_of

pytestmark = pytest.mark.skipif(not kernels.JIT, reason="too many examples for plain Python")


def strange(n, width, seed=1):
    """Yield examples of many numbers that never come again."""
    r = random.Random(seed)
    for _ in range(n):
        yield r.randrange(2), {f"s{k}": r.gauss(0, 1) for k in range(width)}


def wanted(n, seed=2):
    """Yield examples of two numbers whose targets are an interaction of both."""
    r = random.Random(seed)
    for _ in range(n):
        a, b = r.uniform(-3, 3), r.uniform(-3, 3)
        yield int(r.random() < 1 / (1 + math.exp(-3 * math.sin(3 * a) * b))), {"a": a, "b": b}


def place(model, name):
    return int(model.learner.weight_dict.matrix.view(np.uint32)[model.learner.weight_dict.slot(name), layout.DENSE])


@pytest.mark.parametrize("width", [40, layout.MAX_BINNED + 6])
def test_strange_numbers_at_the_start_cost_the_real_ones_nothing(width):
    rows = list(wanted(16000))
    clean, spoiled = Model(seed=SEED), Model(seed=SEED)
    losses = [
        model.learn_packed(pack(*first, *rows)).losses[-2000:].mean()
        for model, first in ((clean, []), (spoiled, list(strange(10, width))))
    ]
    assert losses[0] < 0.6
    assert losses[1] < losses[0] + 0.06
    assert 0 < place(spoiled, "a") <= layout.MAX_BINNED


@pytest.mark.parametrize(("loss", "outcomes"), [("squared", "late"), ("logistic", "at_once")])
def test_places_are_exchanged_as_the_reference_does(loss, outcomes):
    """The binned numbers had bins and a pair."""
    r, examples = random.Random(3), []
    for i in range(460):
        names = [f"s{k}" for k in range(layout.MAX_BINNED)] if i < 130 else ["a", "b"]
        x = {name: r.gauss(0, 1) for name in names}
        y = 2 * x[names[0]] * x[names[1]] + r.gauss(0, 0.1)
        examples.append((y if loss == "squared" else 1 if y > 0 else -1, x))
    model = new(loss, 2, outcomes=outcomes)
    reference = reference_of(model)
    expected = [reference.learn(x, y) for y, x in examples]
    learned = model.learn_packed(pack(*examples))
    np.testing.assert_allclose(learned.scores, expected, rtol=1e-3, atol=1e-3)
    assert reference.dense[:2] == ["a", "b"]
    assert [place(model, name) for name in ("a", "b", "s0")] == [1, 2, layout.MAX_BINNED + 1]


def test_a_derived_feature_whose_number_gave_its_place_up_keeps_its_row_and_says_so():
    r, model = random.Random(4), Model("regression", seed=SEED)
    for _ in range(200):
        x = {f"s{k}": r.gauss(0, 1) for k in range(layout.MAX_BINNED)}
        model.learn_one(x, abs(x["s0"]))
    assert any(name.startswith("s0 in [") for name in model.weights)
    for _ in range(1000):
        x = {"a": r.gauss(0, 1)}
        model.learn_one(x, abs(x["a"]))
    names = list(model.weights)
    assert len(names) == len(set(names))
    assert any(name.startswith("s0 in [former bin ") for name in names)
    assert any(name.startswith("a in [") and "former" not in name for name in names)
    check_dict(model)


def test_when_all_places_are_taken_the_last_of_a_number_that_is_gone_is_given_away():
    model = Model(seed=SEED)
    model.learn_packed(pack(*strange(10, layout.MAX_DENSE + 6)))
    model.learn_packed(pack(*wanted(3 * EXAMPLES_BETWEEN)))
    assert model.learner.totals[layout.N_DENSE] == layout.MAX_DENSE
    assert 0 < place(model, "a") <= layout.MAX_BINNED
    assert 0 < place(model, "b") <= layout.MAX_BINNED
    check_dict(model)
