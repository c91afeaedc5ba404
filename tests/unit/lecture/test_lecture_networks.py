"""The lecture's neural networks and backpropagation, a test an idea."""

from itertools import pairwise

import numpy as np
import pytest

from learner import losses
from learner.graph import (
    SGD,
    AdaGrad,
    Adam,
    Constant,
    Parameter,
    backward,
    dot,
    forward,
    hinge_loss,
    logistic,
    logistic_loss,
    loss_of,
    matmul,
    maximum,
    mean,
    order,
    parameters,
    relu,
    square,
    squared_loss,
    tanh,
    threshold,
)
from tests.unit.lecture.models import CARS_PHI, SAFE, train

REGRESSION = np.array([[1.0, 1.0], [2.0, 3.0], [4.0, 3.0]])


def two_layer(phi, k, random, activation=tanh):
    """score = w . s(V phi), over a batch of phi: small random V and w."""
    V = Parameter(random.normal(scale=0.5, size=(k, phi.shape[1])), "V")
    w = Parameter(random.normal(scale=0.5, size=k), "w")
    return V, w, dot(activation(Constant(phi, "phi") @ V.T), w)


def test_the_gradient_of_a_sum_is_one_and_of_a_product_the_other_factor():
    """Functions are boxes: (a + e) + b = c + 1e, and (a + e) b = c + b e."""
    a, b = Parameter(3.0, "a"), Parameter(5.0, "b")
    backward(a + b)
    assert (a.g, b.g) == (1.0, 1.0)
    backward(a * b)
    assert (a.g, b.g) == (5.0, 3.0)


def test_only_the_larger_operand_moves_a_maximum():
    """A basic building block: changing a has an effect on max(a, b) if a > b, and b if it is the larger one."""
    a, b = Parameter(3.0, "a"), Parameter(5.0, "b")
    backward(maximum(a, b))
    assert (a.g, b.g) == (0.0, 1.0)


@pytest.mark.parametrize("z", [-3.0, 0.0, 0.5, 4.0])
def test_the_slope_of_the_logistic_function(z):
    """A basic building block: the gradient of s(z) is s(z) (1 - s(z))."""
    a = Parameter(z, "a")
    h = logistic(a)
    backward(h)
    assert a.g == pytest.approx(h.f * (1 - h.f))


@pytest.mark.parametrize("at", [-2.0, 0.5, 3.0])
def test_the_chain_rule_multiplies_the_slopes_along_the_path(at):
    """Function composition: for b = a^2 and c = b^2, dc/da = (2b)(2a) = 4a^3."""
    a = Parameter(at, "a")
    b = square(a)
    backward(square(b))
    assert b.g == 2 * at**2
    assert a.g == 4 * at**3


@pytest.mark.parametrize(("y", "expected"), [(1.0, [-1.0, -2.0]), (-1.0, [0.0, 0.0])])
def test_the_graph_of_the_hinge_loss(y, expected):
    """Linear classification with the hinge loss: the gradient is -phi y where the margin is below 1, else 0."""
    w, phi = Parameter([1.0, -1.0], "w"), Constant([1.0, 2.0], "phi")
    margin = (dot(w, phi) * y).named("margin")
    loss = maximum(0.0, 1.0 - margin).named("loss")
    backward(loss)
    assert (margin.f, loss.f) == (-y, max(0.0, 1.0 + y))
    assert w.g.tolist() == expected == (-phi.f * y * (margin.f < 1.0)).tolist()
    assert hinge_loss(dot(w, phi), y).f == loss.f


def test_the_gradients_of_a_two_layer_network_in_closed_form():
    """Two-layer networks: for w, 2 (score - y) h; for V, 2 (score - y) w o h o (1 - h) phi^T."""
    r = np.random.default_rng(0)
    V, w, phi, y = Parameter(r.normal(size=(4, 3)), "V"), Parameter(r.normal(size=4), "w"), r.normal(size=3), 0.7
    h = logistic(V @ phi).named("h")
    score = dot(w, h)
    backward(squared_loss(score, y))
    residual = 2 * (score.f - y)
    np.testing.assert_allclose(w.g, residual * h.f, rtol=1e-14)
    np.testing.assert_allclose(V.g, np.outer(residual * w.f * h.f * (1 - h.f), phi), rtol=1e-14)


def test_the_worked_least_squares_example():
    """Backpropagation: forward values from the leaves to the root, backward values from the root to the leaves."""
    w, phi, y = Parameter([3.0, 1.0], "w"), Constant([1.0, 2.0], "phi"), Constant(2.0, "y")
    score = dot(w, phi)
    residual = score - y
    loss = square(residual)
    backward(loss)
    assert [node.f.item() for node in (score, residual, loss)] == [5.0, 3.0, 9.0]
    assert [node.g.item() for node in (loss, residual, score)] == [1.0, 6.0, 6.0]
    assert w.g.tolist() == [6.0, 12.0]
    assert w.g.shape == w.f.shape


def test_the_line_through_the_regression_data():
    """Linear regression: of (1, 1), (2, 3), (4, 3) gradient descent finds the least squares line, f(x) = [1, 0.57] . [1, x]."""
    x, y = REGRESSION.T
    w = Parameter([0.0, 0.0], "w")
    loss = mean(square(matmul(np.column_stack([np.ones(3), x]), w) - y))
    train(loss, SGD(0.1), 500)
    np.testing.assert_allclose(w.f, [1.0, 4 / 7], atol=1e-6)
    np.testing.assert_allclose(w.f, [1.0, 0.57], atol=0.005)
    np.testing.assert_allclose(w.g, 0.0, atol=1e-6)


def test_the_problem_decomposes_into_thresholds():
    """Decomposing the problem: two thresholds, far right of the other car or it of us, tell the safe points from the others."""
    V = np.array([[-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
    h = threshold(Constant(CARS_PHI) @ V.T)
    assert h.f.tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]
    assert np.where(dot(h, [1.0, 1.0]).f > 0, 1.0, -1.0).tolist() == SAFE.tolist()


def test_a_threshold_has_no_gradient():
    """Avoid zero gradients: below a threshold nothing is learned, though its own loss is not at its least."""
    V, w, score = two_layer(CARS_PHI, 4, np.random.default_rng(0), threshold)
    before = V.f
    loss = mean(logistic_loss(score, SAFE))
    assert train(loss, AdaGrad(0.5), 50) > 0.1
    assert not V.g.any()
    assert np.array_equal(V.f, before)
    assert w.g.any()


def test_the_logistic_function_saturates_and_relu_does_not():
    """Activation functions: the logistic gradient is small for large |z|; ReLU's is 1 on the positive side, 0 on the other."""
    z = Parameter([-20.0, -1.0, 0.0, 1.0, 20.0], "z")
    backward(logistic(z).sum())
    assert z.g.max() == z.g[2] == 0.25
    assert (z.g > 0).all()
    assert (z.g[[0, -1]] < 1e-8).all()
    backward(relu(z).sum())
    assert z.g.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]


def test_linear_activations_collapse_to_one_layer():
    """With the identity for an activation a network is one linear layer, w^T V: more layers, no more predictors."""
    r = np.random.default_rng(0)
    V, w, score = two_layer(CARS_PHI, 5, r, lambda z: z)
    np.testing.assert_allclose(score.f, CARS_PHI @ (w.f @ V.f), rtol=1e-12)
    loss = mean(squared_loss(score, SAFE))
    assert train(loss, Adam(0.02), 500) == pytest.approx(
        1.0, abs=1e-3
    )  # no better than the constant 0: not one point learned


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_no_line_separates_the_two_cars(name):
    """The motivating example: a linear predictor gets at most three of the four points right, with any loss."""
    for seed in range(5):
        w = Parameter(np.random.default_rng(seed).normal(size=3), "w")
        score = matmul(CARS_PHI, w)
        y = np.maximum(SAFE, 0.0) if name == "poisson" else SAFE
        train(mean(loss_of(name)(score, y)), AdaGrad(0.3), 200)
        assert (np.sign(score.f) == SAFE).sum() <= 3


def learns_all_four(seed, k, activation=tanh):
    _, _, score = two_layer(CARS_PHI - [0.0, 1.0, 1.0], k, np.random.default_rng(seed), activation)
    train(mean(logistic_loss(score, SAFE)), Adam(0.1), 150)
    return bool((score.f * SAFE > 0).all())


@pytest.mark.parametrize("activation", [relu, logistic, tanh])
def test_a_two_layer_network_learns_the_two_cars(activation):
    """Neural networks learn the subproblems and their combination jointly: all four points, from at least 19 of 20 starts."""
    assert sum(learns_all_four(seed, 32, activation) for seed in range(20)) >= 19


def test_more_hidden_units_than_needed_succeed_more_often():
    """Overparameterisation: more units than the two needed are more chances that some pick up the signal."""
    rates = [sum(learns_all_four(seed, k, relu) for seed in range(20)) / 20 for k in (2, 8, 32)]
    assert rates == sorted(rates)
    assert rates[0] <= 0.7
    assert rates[-1] >= 0.95


def test_rows_that_start_equal_stay_equal():
    """Careful initialisation: started at zero, all rows of V stay the same subproblem; started at random, they don't."""
    r = np.random.default_rng(0)
    y = [
        1.0,
        1.0,
        -1.0,
        1.0,
    ]  # not the two cars': there, the gradient at zero is zero, and not even equal rows are learned
    for scale, equal in ((0.0, True), (0.1, False)):
        V = Parameter(scale * r.normal(size=(4, 3)), "V")
        w = Parameter(np.full(4, 0.5), "w")
        train(mean(logistic_loss(dot(tanh(Constant(CARS_PHI) @ V.T), w), y)), SGD(0.5), 50)
        assert V.f.any()
        assert np.allclose(V.f, V.f[0], atol=1e-12) == equal


def deep(phi, layers, k, scale, activation, seed=0):
    """The score of a network of several layers over a batch, and its matrices, the one next to the input first."""
    r = np.random.default_rng(seed)
    h, V = Constant(phi, "phi"), []
    for layer in range(1, layers):
        V.append(Parameter(scale * r.normal(size=(k, h.f.shape[1])) / np.sqrt(h.f.shape[1]), f"V{layer}"))
        h = activation(h @ V[-1].T)
    return dot(h, Parameter(r.normal(size=k) / np.sqrt(k), "w")), V


def test_a_four_layer_network_learns_by_stochastic_gradient_descent():
    """The motivation of backpropagation: regression with (w . s(V3 s(V2 s(V1 phi))) - y)^2, a step an example, no calculus."""
    x = np.linspace(-1.0, 1.0, 20)
    y = np.sin(3 * x)
    everything, _ = deep(np.column_stack([np.ones(20), x]), 4, 10, 1.5, tanh)
    loss = mean(squared_loss(everything, y))
    learned = parameters(loss)
    before = float(loss.f)
    h, target = Constant([1.0, 0.0], "phi"), Constant(0.0, "y")
    one = h
    for V in learned[:-1]:
        one = tanh(V @ one)  # the same parameters, one example at a time
    one = squared_loss(dot(learned[-1], one), target)
    r = np.random.default_rng(0)
    for i in r.integers(20, size=3000):
        h.f, target.f = np.array([1.0, x[i]]), y[i]
        forward(one)
        backward(one)
        SGD(0.05).update(learned)
    assert len(learned) == 4
    assert forward(loss) < min(0.02, before / 10)


@pytest.mark.parametrize(
    ("activation", "scale", "vanishes"), [(logistic, 1.0, True), (tanh, 0.3, True), (relu, 4.0, False)]
)
def test_gradients_vanish_or_explode_layer_by_layer(activation, scale, vanishes):
    """Don't let gradients vanish or explode: their norms, layer by layer, show it."""
    score, V = deep(np.random.default_rng(1).normal(size=(50, 20)), 8, 20, scale, activation)
    backward(score.mean())
    hidden = [node for node in order(score) if node.op is not None and node.op.name == activation.name]
    norms = [float(np.linalg.norm(node.g)) for node in hidden]  # of the layer next to the input first
    ratios = [below / above for below, above in pairwise(norms)]
    assert len(V) == len(norms) == 7
    assert all(ratio < 0.5 for ratio in ratios) if vanishes else all(ratio > 1.5 for ratio in ratios)
    assert norms[0] / norms[-1] < 1e-3 if vanishes else norms[0] / norms[-1] > 1e2


@pytest.mark.parametrize("optimiser", [AdaGrad(1.0), Adam(0.1)])
def test_adaptive_step_sizes_serve_features_of_different_scales(optimiser):
    """Adaptive step sizes: a rate a weight copes with features on scales that no single rate of SGD serves."""
    r = np.random.default_rng(0)
    scales = np.array([10.0, 0.1])
    X = r.normal(size=(40, 2)) * scales
    y = X @ (np.array([1.0, -1.0]) / scales)

    def after(how):
        w = Parameter([0.0, 0.0], "w")
        return train(mean(square(matmul(X, w) - y)), how, 300)

    assert min(after(SGD(rate)) for rate in (1e-4, 1e-3, 3e-3, 1e-2)) > 0.5
    assert after(optimiser) < 0.05
