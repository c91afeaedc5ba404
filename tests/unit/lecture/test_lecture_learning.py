"""The lecture's linear prediction and learning, a test an idea."""

import inspect
import math

import numpy as np
import pytest

from learner import Model, graph, layout, losses
from learner.graph import (
    AdaGrad,
    Constant,
    Parameter,
    backward,
    dot,
    forward,
    loss_of,
    matmul,
    mean,
    parameters,
    tanh,
)
from learner.kernels.experts import row_width
from learner.layout import CONSTANT_NAME
from tests.unit.lecture.models import SEED, close, learned, train


def test_the_weights_start_empty_and_grow():
    """The weight vector is {} at first; names come as data does, and none is ever declared."""
    model = Model(seed=SEED)
    assert dict(model.weights) == {}
    assert model.score_one({"a": 1, "b": 1}) == 0.0
    assert dict(model.weights) == {}
    for x, names in (({"a": 1}, {"a"}), ({"a": 1, "b": 2, "never": 0}, {"a", "b"}), ({"c": 1}, {"a", "b", "c"})):
        model.learn_one(x, 1)
        assert set(model.weights) == names | {CONSTANT_NAME}
        assert all(model.weights.values())


def test_a_weight_is_stored_when_it_becomes_non_zero():
    """Only when a feature's weight becomes non-zero is it stored: not by predicting, nor by an example that teaches nothing."""
    model = learned("binary", [({"a": 1}, 1)] * 20, loss="hinge", rates=[2.0], outcomes="at_once")
    assert model.score_one({"a": 1}) >= 1.0
    before = dict(model.weights)
    model.score_one({"a": 1, "b": 1})
    model.learn_one({"a": 1, "b": 1}, 1)  # beyond the margin: the hinge's gradient is 0
    assert dict(model.weights) == before
    model.learn_one({"a": 1, "b": 1}, -1)
    assert set(model.weights) == {*before, "b"}


def test_an_unseen_feature_contributes_nothing():
    """A feature without a weight has weight zero: it changes no score."""
    model = learned("binary", [({"a": 1}, 1), ({"b": 1}, -1)] * 5)
    assert model.score_one({"a": 1, "unseen": 5.0}) == model.score_one({"a": 1}) > 0
    (unseen,) = (c for c in model.explain_one({"a": 1, "unseen": 5.0}) if c.name == "unseen")
    assert (unseen.weight, unseen.contribution) == (0.0, 0.0)


def test_every_loss_is_a_graph_too():
    """Any hypothesis with any loss: what `learner.losses` has, the graph has, with the same values and derivatives."""
    written = {f for name, f in inspect.getmembers(graph, inspect.isfunction) if name.endswith("_loss")}
    assert {loss_of(name) for name in losses.LOSSES} == written
    assert {function.__name__ for function in written} == {f"{name}_loss" for name in losses.LOSSES}
    for name, loss in losses.LOSSES.items():
        for y in (0.0, 1.0) if name == "poisson" else (-1.0, 1.0):
            for at in (-30.0, -1.5, -0.3, 0.0, 0.7, 2.0, 30.0):
                score = Parameter(at, "score")
                root = loss_of(name)(score, y)
                backward(root)
                assert (root.f, score.g) == close((loss.value(at, y), loss.derivative(at, y)))


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
@pytest.mark.parametrize("widths", [(), (8,), (8, 8)], ids=["linear", "two layers", "three layers"])
def test_any_hypothesis_with_any_loss(name, widths):
    """Linear predictors, two-layer and deeper networks each follow the gradient of each loss, and it falls."""
    r = np.random.default_rng(0)
    x = r.normal(size=(40, 2))
    y = np.where(x[:, 0] - 0.5 * x[:, 1] > 0.2, 1.0, 0.0 if name == "poisson" else -1.0)
    h = Constant(np.column_stack([np.ones(40), x]), "phi")
    for width in widths:
        h = tanh(h @ Parameter(r.normal(scale=0.5, size=(h.f.shape[1], width)), "V"))
    loss = mean(loss_of(name)(matmul(h, Parameter(r.normal(scale=0.1, size=h.f.shape[1]), "w")), y))
    before = float(loss.f)
    assert len(parameters(loss)) == len(widths) + 1
    assert train(loss, AdaGrad(0.1), 100) < 0.5 * before


def experts(model, names):
    """Return the weights w and the sums of squared gradients G of some names, 0 of those without a row."""
    slots = {name: slot for slot, name in enumerate(model.weights)}
    rows = np.array(
        [model.state()["rows"][slots[name]] if name in slots else np.zeros(row_width(1)) for name in names],
        np.float64,
    )
    return rows[:, layout.HEADER], rows[:, layout.HEADER + 1]


@pytest.mark.parametrize("rate", [0.5, 8.0])
@pytest.mark.parametrize("y", [1.0, -1.0])
@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_the_compiled_linear_update_is_that_of_the_graph(name, y, rate):
    """The fused update uses the graph's gradient: G grows by its square, and w follows it, continuously, over the rate.

    One AdaGrad rate, at once and without mixing; u is x on the feature's own scale, and a regression's target is standardised.
    """
    loss = losses.LOSSES[name]
    model = Model(loss.task, loss=name, rates=[rate], outcomes="at_once", seed=SEED)
    y = max(y, 0.0) if name == "poisson" else y
    targets = [1.0, 0.0 if name == "poisson" else -1.0, y]
    for target in targets[:2]:
        model.learn_one({"a": 1, "b": 4}, target)
    names, x = ["a", "b", "new", CONSTANT_NAME], {"a": 1, "b": 1, "new": -3}
    u = np.array([1.0, 0.25, -1.0, 1.0])  # b had 4 twice, so that 1 is a quarter; what is new has size 1
    w_before, G_before = experts(model, names)
    model.learn_one(x, y)
    w_after, G_after = experts(model, names)

    w = Parameter(w_before, "w")
    if name in ("squared", "quantile"):
        y = (y - np.mean(targets)) / np.std(targets)
    if name == "poisson":
        y /= np.mean([*targets, 1.0])
    root = loss_of(name)(dot(w, u), y)
    backward(root)
    assert w.g == close(loss.derivative(float(w_before @ u), y) * u)
    np.testing.assert_allclose(G_after, G_before + w.g**2, rtol=1e-6, atol=1e-12)

    c = math.sqrt(3 / (3 + 3 + u @ u))  # examples over the sum of their squared u
    rates = rate * c / (0.1 + np.sqrt(G_after)) * [1, 1, 1, 2]  # the constant's is doubled
    step = rates / 1000 * w.g  # of a thousand small ones, each along the gradient where the last one led
    for _ in range(1000):
        forward(root)
        backward(root)
        w.f = w.f - rates / 1000 * w.g
    assert (np.abs(w_after - w.f) <= 1.01 * np.abs(step) + 1e-6).all()
    assert (np.abs(w_after - w_before) > 5 * np.abs(step)).all()
