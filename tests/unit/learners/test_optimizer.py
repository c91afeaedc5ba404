"""The named algorithms learn what their slow references learn."""

import math
import random

import numpy as np
import pytest

from learner import kernels, layout
from learner.kernels.optimizer import N_OPTIONS
from learner.losses import LOSSES
from learner.optimizers import OPTIMIZERS
from tests.reference.optimizers import REFERENCES
from tests.unit.learners.algorithms import OPTIONS, new, reference
from tests.unit.streams import pack_weighed, scaled_words

CONSTANT = layout.CONSTANT_NAME
N_EXAMPLES = 600 if kernels.JIT else 60


def test_every_algorithm_has_a_reference_and_a_place():
    """One that is new and not compared with anything fails here."""
    assert OPTIMIZERS.keys() == REFERENCES.keys() == {options["name"] for options in OPTIONS}
    assert sorted(optimizer.code for optimizer in OPTIMIZERS.values()) == list(range(len(OPTIMIZERS)))
    for name, optimizer in OPTIMIZERS.items():
        assert optimizer.update.__name__ == optimizer.name == name
        assert len(optimizer.options) <= N_OPTIONS
        defaults = {option: default for option, (default, _, _) in optimizer.options.items()}
        REFERENCES[name]("logistic", **defaults)  # which knows all of them
        assert all(least <= default <= most for default, least, most in optimizer.options.values())


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIONS, ids=str)
def test_an_algorithm_learns_what_its_reference_learns(optimizer, loss):
    """Scores and weights to 1e-5 of their size, in float32, against float64 from the paper."""
    model, slow = new(optimizer, loss), reference(optimizer, loss)
    examples = list(scaled_words(loss, N_EXAMPLES))
    scores = model.learn_packed(pack_weighed(examples)).scores
    wanted = [slow.learn({**x, CONSTANT: 1.0}, y, importance) for x, y, importance in examples]
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    weights = dict(model.weights)
    size = max(map(abs, weights.values()))
    assert size > 0.01
    for name in slow.w.keys() | weights.keys():
        assert weights.get(name, 0.0) == pytest.approx(slow.w[name], rel=1e-5, abs=1e-5 * size), name


@pytest.mark.parametrize("optimizer", OPTIONS, ids=str)
def test_a_question_is_answered_as_the_next_example_would_be_predicted(optimizer):
    """With values beyond all seen, which rescale the weights of the normalised algorithms, and with unseen names."""
    model, slow = new(optimizer), reference(optimizer)
    examples = list(scaled_words("logistic", 100))
    model.learn_packed(pack_weighed(examples))
    for x, y, importance in examples:
        slow.learn({**x, CONSTANT: 1.0}, y, importance)
    for x in ({"a": 50.0, "w1": -3.0, "unseen": 2.0}, {"b": 0.1}, {}):
        assert model.score_one(x) == pytest.approx(slow.predict({**x, CONSTANT: 1.0}), rel=1e-4, abs=1e-5)
        explained = {c.name: c for c in model.explain_one(x)}
        assert explained.keys() == x.keys() | {CONSTANT}
        assert sum(c.contribution for c in explained.values()) == pytest.approx(model.score_one(x), rel=1e-12)
        assert all(c.contribution == c.weight * c.value and c.mean == 0.0 for c in explained.values())
        if not model.learner.optimizer.normalised:
            assert all(c.weight == model.weights.get(name, 0.0) for name, c in explained.items())


def test_adam_on_dense_examples_is_the_papers_algorithm_on_vectors():
    """Where every example has every feature, there is nothing sparse to differ in."""
    r = np.random.default_rng(1)
    X = r.normal(size=(N_EXAMPLES, 4))
    y = np.sign(X @ [1.0, -2.0, 0.0, 0.5] + r.normal(size=len(X)))
    theta, m, v = np.zeros(5), np.zeros(5), np.zeros(5)
    for t, (x, target) in enumerate(zip(np.hstack([X, np.ones((len(X), 1))]), y, strict=True), 1):
        g = -target / (1 + np.exp(target * (theta @ x))) * x
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        theta -= 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    model = new({"name": "adam", "rate": 0.01})
    for x, target in zip(X, y, strict=True):
        model.learn_one(x, target)
    assert [model.weights[name] for name in "0123"] == pytest.approx(theta[:4].tolist(), rel=1e-4, abs=1e-5)
    assert model.weights[CONSTANT] == pytest.approx(theta[4], rel=1e-4, abs=1e-5)


def test_a_slope_too_small_for_float32_is_none():
    """A margin of 17 leaves a new feature alone, though AdaGrad's first step does not depend on the gradient's size."""
    model = new({"name": "adagrad", "rate": 9.0})
    model.learn_one({"a": 1.0}, 1)
    model.learn_one({"a": 1.0, "new": 1.0}, 1)
    assert "new" not in model.weights
    model.learn_one({"b": 1.0}, 1)
    assert model.weights["b"] == pytest.approx(9.0)


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "ftrl", "alpha": 0.5, "l1": 3.0},
        {"name": "adagrad", "rate": 0.5, "l1": 0.9},
        {"name": "sgd", "rate": 0.2, "l1": 0.9},
    ],
    ids=str,
)
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_that_l1_takes_are_truly_zero(optimizer, loss):
    """And for FTRL, exactly those whose |z| is within l1."""
    model = new(optimizer, loss)
    model.learn_packed(pack_weighed(scaled_words(loss, N_EXAMPLES)))
    weights = model.weights.array()
    assert 0 < np.count_nonzero(weights) < (0.95 if kernels.JIT else 1.0) * len(weights)
    assert not np.signbit(weights[weights == 0.0]).any()
    if optimizer["name"] == "ftrl":
        z = model.learner.weight_dict.matrix[:, layout.HEADER + 1]
        np.testing.assert_array_equal(weights == 0.0, np.abs(z) <= optimizer["l1"])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_whatever_comes_nothing_becomes_infinite(name, loss):
    model, r = new({"name": name}, loss), random.Random(1)
    sizes = [1e30, 1e-30, 1.0, 1e10, 1e-10]
    for _ in range(200):
        x = {f"w{r.randint(0, 5)}": r.choice([-1, 1]) * r.choice(sizes) for _ in range(3)}
        y = r.choice([0 if loss == "poisson" else -1, 1]) * (1 if LOSSES[loss].task == "binary" else r.choice(sizes))
        model.learn_one(x, y, r.choice([1e6, 1.0, 1e-6, 0.0]))
        assert math.isfinite(model.score_one(x))
    assert np.isfinite(model.weights.array()).all()
    assert all(np.isfinite(model.learner.weight_dict.matrix[:, layout.HEADER :]).ravel())
    assert math.isfinite(model.score_one({f"w{i}": 1e30 for i in range(6)}))


def test_a_regression_predicts_within_the_targets_seen():
    model = new({"name": "sgd", "rate": 0.1}, "squared")
    for y in (3.0, 5.0, 4.0):
        model.learn_one({"a": 1.0}, y)
    assert model.predict_one({"a": 1000.0}) == 5.0
    assert model.predict_one({"a": -1000.0}) == 3.0
    assert model.score_one({"a": 1000.0}) > 100.0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_importance_of_zero_is_counted_and_not_learned(name):
    model, other = new({"name": name}), new({"name": name})
    for x, y, _ in scaled_words("logistic", 30):
        model.learn_one(x, y)
        other.learn_one(x, y)
        other.learn_one({**x, "b": 1e6, "never": 1.0}, -y, 0.0)
    assert dict(model.weights) == dict(other.weights)
    assert other.n_examples == 60


def test_an_importance_of_k_is_k_repeats_of_plain_sgd_while_the_slope_stays():
    """Within the margin the hinge loss has one slope. Of other losses the slope is taken once, before the k steps."""
    sgd = {"name": "sgd", "rate": 0.01, "power": 0.0}
    weighed, repeated = new(sgd, "hinge"), new(sgd, "hinge")
    for i, k in enumerate([3, 1, 2, 4] * 5):
        x, y = {"a": 1.0, "b": -0.5} if i % 2 else {"b": 0.5}, 2 * (i % 2) - 1
        weighed.learn_one(x, y, k)
        for _ in range(k):
            repeated.learn_one(x, y)
    assert dict(weighed.weights) == pytest.approx(dict(repeated.weights), rel=1e-6, abs=1e-8)
    assert 0.0 < weighed.score_one({"a": 1.0, "b": -0.5}) < 1.0
