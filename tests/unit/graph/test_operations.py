"""The operations: gradients against finite differences, kinks, extremes, and the operators."""

import math

import numpy as np
import pytest

from learner import graph
from learner.graph import (
    OPS,
    Constant,
    Op,
    Parameter,
    absolute,
    backward,
    check,
    check_gradient,
    engine,
    log_softmax,
    log_sum_exp,
    logistic,
    losses,
    maximum,
    minimum,
    operations,
    optimizers,
    parameters,
    power,
    relu,
    softmax,
    softplus,
    sparse_product,
    square,
    threshold,
    total,
)
from tests.unit.graph.cases import cases


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", sorted(OPS))
def test_every_operation_agrees_with_finite_differences(name, seed):
    slopes = []
    for node in cases(name):
        backward(node, np.ones_like(node.f))
        slopes += [leaf.g for leaf in parameters(node)]
        check_gradient(node, seed)
    assert any(map(np.any, slopes)) == (name != "threshold")  # its slope is 0, as the lecture warns


def test_every_operation_of_the_module_is_registered():
    names = {name: value.name for name, value in vars(operations).items() if isinstance(value, Op)}
    assert set(names.values()) == set(OPS)
    assert names.keys() <= set(operations.__all__)


def test_the_package_exports_what_its_modules_offer_to_a_user():
    for module in (engine, operations, losses, optimizers, check):
        assert set(module.__all__) - {"summed_to", "aligned"} <= set(
            graph.__all__
        )  # these two are for other operations
    assert set(graph.__all__) <= {*vars(graph)}


def test_softmax_and_its_logarithm():
    z = Parameter([[1.0, 2.0, 3.0], [1000.0, 0.0, -1000.0]], "z")
    e = np.exp([1.0, 2.0, 3.0])
    np.testing.assert_allclose(softmax(z).f, [e / e.sum(), [1.0, 0.0, 0.0]], rtol=1e-14)
    weights = Constant([[0.2, 0.5, 0.3], [1.0, 2.0, 3.0]])
    for function in (softmax, log_softmax):
        check_gradient(total(function(Parameter([0.1, -2.0, 0.7], "z")) * weights))
    loss = -total(weights * log_softmax(z))
    backward(loss)
    np.testing.assert_allclose(z.g, softmax(z).f * weights.f.sum(1, keepdims=True) - weights.f, atol=1e-12)


def test_nothing_overflows_and_nothing_small_is_lost():
    z = Parameter([-1000.0, -40.0, 0.0, 40.0, 1000.0], "z")
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(logistic(z).f, [0.0, math.exp(-40), 0.5, 1.0, 1.0], rtol=1e-15)
        np.testing.assert_allclose(softplus(z).f, [0.0, math.exp(-40), math.log(2), 40.0, 1000.0], rtol=1e-15)
        backward(total(softplus(z) + log_sum_exp(z)))
    assert np.isfinite(z.g).all()


def test_kinks_take_the_subgradients_that_are_stated():
    a, b = Parameter(2.0, "a"), Parameter(2.0, "b")
    for op in (maximum, minimum):
        backward(op(a, b))
        assert (a.g, b.g) == (1.0, 0.0)
    zero = Parameter(0.0, "z")
    for op in (relu, absolute, threshold):
        backward(op(zero))
        assert zero.g == 0.0
    assert threshold(zero).f == 1.0


def test_an_exponent_has_a_gradient_where_the_base_is_positive():
    base, exponent = Parameter([2.0, 0.0, -2.0], "base"), Parameter([3.0, 3.0, 3.0], "exponent")
    backward(total(power(base, exponent)))
    np.testing.assert_allclose(base.g, [12.0, 0.0, 12.0])
    np.testing.assert_allclose(exponent.g, [8.0 * math.log(2.0), 0.0, 0.0], atol=1e-12)


def test_operators_make_the_nodes_they_look_like():
    a, v, M = Parameter(3.0, "a"), Parameter([1.0, 2.0], "v"), Parameter([[1.0, 2.0], [3.0, 4.0]], "M")
    array = np.array([5.0, 6.0])
    np.testing.assert_allclose((1 + a - 2 * a / 4 + (-a)).f, -0.5)
    np.testing.assert_allclose((2 - v + array * v / array).f, [2.0, 2.0])
    np.testing.assert_allclose((1 / v).f, [1.0, 0.5])
    np.testing.assert_allclose((M @ v + array @ M + abs(-v)).f, [29.0, 47.0])
    np.testing.assert_allclose((M.T**2).f, [[1.0, 9.0], [4.0, 16.0]])
    assert M.sum().f == 10.0
    np.testing.assert_allclose((M.mean(axis=0) + M.sum(axis=1, keepdims=True)).f, [[5.0, 6.0], [9.0, 10.0]])


def test_a_sparse_product_is_the_matrix_product_with_the_whole_vector():
    r = np.random.default_rng(0)
    V, values = Parameter(r.normal(size=(3, 6)), "V"), Parameter([0.5, -2.0, 3.0], "values")
    backward(total(square(sparse_product(V, Constant([4, 0, 4]), values))))
    phi = Parameter([-2.0, 0.0, 0.0, 0.0, 3.5, 0.0], "phi")
    W = Parameter(V.f, "W")
    backward(total(square(W @ phi)))
    np.testing.assert_allclose(V.g, W.g, rtol=1e-14)
    np.testing.assert_allclose(values.g, phi.g[[4, 0, 4]], rtol=1e-14)
