"""The engine: what the forward and the backward pass compute, at what cost, and the messages about shapes."""

import numpy as np
import pytest

from learner.graph import (
    SGD,
    Constant,
    Parameter,
    backward,
    check_gradient,
    dot,
    forward,
    logistic,
    logistic_loss,
    matmul,
    mean,
    order,
    sparse_product,
    square,
    tanh,
    to_text,
    total,
)
from learner.losses import LOSSES


def test_gradients_add_where_paths_share_a_node():
    x = Parameter(3.0, "x")
    y = (x * x).named("y")
    loss = y * y + y + x
    backward(loss)
    assert y.g == 2 * 9 + 1
    assert x.g == 19 * 6 + 1
    check_gradient(loss)


def test_a_chain_of_ten_thousand_nodes():
    x = Parameter(1.0, "x")
    node = x
    for _ in range(10_000):
        node = node * 1.0001
    assert len(order(node)) == 20_001
    backward(node)
    assert x.g == pytest.approx(1.0001**10_000)


def test_a_graph_that_forks_at_every_node_costs_its_nodes_not_its_paths():
    x = Parameter(1.0, "x")
    node = x
    for _ in range(1000):
        node = node + node
    backward(node)
    assert x.g == 2.0**1000
    assert len(to_text(node).splitlines()) == 2001


def test_forward_and_backward_values_have_one_shape():
    r = np.random.default_rng(0)
    W, b = Parameter(r.normal(size=(4, 3)), "W"), Parameter(r.normal(size=4), "b")
    loss = mean(square(tanh(Constant(r.normal(size=(5, 3))) @ W.T + b)))
    backward(loss)
    assert all(node.f.shape == node.g.shape for node in order(loss))
    assert W.g.shape == (4, 3)


def test_a_batch_is_a_loop_over_its_examples():
    r = np.random.default_rng(0)
    X, Y = r.normal(size=(6, 3)), r.choice([-1.0, 1.0], 6)
    V, b, w = Parameter(r.normal(size=(4, 3)), "V"), Parameter(r.normal(size=4), "b"), Parameter(r.normal(size=4), "w")
    batch = total(logistic_loss(dot(logistic(X @ V.T + b), w), Y))
    backward(batch)
    together = [node.g for node in (V, b, w)]
    x, y = Constant(X[0], "x"), Constant(Y[0], "y")
    one = logistic_loss(dot(w, logistic(V @ x + b)), y)
    losses, alone = 0.0, [np.zeros_like(g) for g in together]
    for x.f, y.f in zip(X, Y, strict=True):
        losses += forward(one)
        backward(one)
        for g, node in zip(alone, (V, b, w), strict=True):
            g += node.g
    assert batch.f == pytest.approx(losses)
    for g, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(g, expected, rtol=1e-12)


def test_a_backward_pass_may_start_from_a_derivative_that_is_given():
    w = Parameter([3.0, 1.0], "w")
    score = dot(w, Constant([1.0, 2.0]))
    backward(score, LOSSES["squared"].derivative(float(score.f), 2.0))
    np.testing.assert_allclose(w.g, [6.0, 12.0])


def test_a_leaf_keeps_a_value_of_its_own():
    values = np.array([1.0, 2.0])
    w = Parameter(values, "w")
    backward(total(w))
    SGD(1.0).update([w])
    assert values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda V, x: (V @ x).named("z"), "matmul: matmul needs as many columns on the left as rows on the right"),
        (lambda V, x: matmul(V, x, name="z"), r"z: matmul needs .* \(got V \(2, 3\) and x \(4,\)\)"),
        (lambda V, x: V + x, r"add: add needs shapes that broadcast \(got V \(2, 3\) and x \(4,\)\)"),
        (lambda V, x: dot(V, x), r"dot needs vectors of one size \(got V \(2, 3\) and x \(4,\)\)"),
        (lambda V, x: x.T, r"transpose needs a matrix \(got x \(4,\)\)"),
        (lambda V, x: x.sum(axis=1), r"sum needs an axis that is there \(got x \(4,\)\)"),
        (
            lambda V, x: sparse_product(V, Constant([3.0], "columns"), [1.0]),
            r"needs a matrix, columns that it has .* \(got V \(2, 3\) and columns \(1,\) and constant \(1,\)\)",
        ),
        (lambda V, x: backward(tanh(x)), r"tanh: a root must hold one number, or its own g be given \(got \(4,\)\)"),
    ],
)
def test_messages_name_what_the_rule_and_what_came(make, message):
    with pytest.raises(ValueError, match=message):
        make(Parameter(np.zeros((2, 3)), "V"), Parameter(np.zeros(4), "x"))


def test_a_shape_that_changes_is_found_by_the_next_forward_pass():
    x = Constant([1.0, 2.0, 3.0], "x")
    score = dot(Parameter([1.0, 2.0, 3.0], "w"), x).named("score")
    x.f = np.zeros(4)
    with pytest.raises(ValueError, match=r"score: dot needs vectors of one size \(got w \(3,\) and x \(4,\)\)"):
        forward(score)
