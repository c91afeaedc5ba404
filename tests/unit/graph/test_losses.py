"""The losses: the same functions as those of `learner.losses`, and at the top of any network."""

import numpy as np
import pytest

from learner.graph import Constant, Parameter, backward, check_gradient, dot, logistic, loss_of, relu, tanh
from learner.losses import LOSSES
from tests.unit.kernels import doors

# extremes, and the kinks of the hinge and quantile losses
SCORES = (-800.0, -30.0, -2.0, -1.0, -0.3, 0.0, 1e-9, 0.7, 1.0, 1.5, 2.5, 30.0, 800.0)


def test_every_loss_has_a_graph():
    for name in LOSSES:
        assert loss_of(name).__name__ == f"{name}_loss"
    with pytest.raises(ValueError, match=r"^loss: must be one of squared, .* \(got 'sparse'\)$"):
        loss_of("sparse")


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_and_its_graph_are_one_function(name):
    loss = LOSSES[name]
    for y in {"binary": (-1.0, 1.0), "poisson": (0.0, 1.0, 2.5)}.get(loss.task, (-1.0, 0.0, 1.0, 2.5)):
        for s in SCORES:
            score = Parameter(s, "score")
            root = loss_of(name)(score, y)
            backward(root)
            assert float(root.f) == pytest.approx(loss.value(s, y), rel=1e-14, abs=1e-300)
            assert float(score.g) == pytest.approx(loss.derivative(s, y), rel=1e-14, abs=1e-300)
        check_gradient(loss_of(name)(Parameter([-0.9, 0.4, 1.7], "score"), y))


def network(r, widths, activation, n_inputs):
    """The score of a linear model, or of a network with hidden layers, over a dense input."""
    h = Constant(r.normal(size=n_inputs), "phi")
    for layer, width in enumerate(widths, 1):
        V, b = Parameter(r.normal(size=(width, h.f.size)), f"V{layer}"), Parameter(r.normal(size=width), f"b{layer}")
        h = activation(V @ h + b)
    return (dot(Parameter(r.normal(size=h.f.size), "w"), h) + Parameter(0.1, "b")).named("score")


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("widths", [(), (4,), (4, 3), (5, 4, 3)])
def test_any_hypothesis_drives_any_loss(name, widths):
    for activation in (relu, logistic, tanh):
        check_gradient(loss_of(name)(network(np.random.default_rng(2), widths, activation, 3), 1.0))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_compiled_linear_update_follows_the_gradient_of_the_graph(name):
    r = np.random.default_rng(0)
    w, phi, y = Parameter(r.normal(size=3), "w"), Constant(r.normal(size=3), "phi"), 1.0
    score = dot(w, phi)
    backward(loss_of(name)(score, y))
    np.testing.assert_allclose(doors.derivative(LOSSES[name].code, 0.5, float(score.f), y) * phi.f, w.g, rtol=1e-12)
