"""The neural head: beside the linear experts and alone."""

import random
from pathlib import Path

import msgpack
import numpy as np
import pytest

from learner import Model, kernels
from learner.graph import backward, forward, order
from learner.kernels.tasks.poisson import expected_count
from learner.learners.neural import RATE, STARTS, network_graph
from learner.losses import LOSSES
from learner.spec import ACTIVATIONS
from tests.unit.streams import SEED, products


# a head takes ten seconds to compile: most kinds are tried with the JIT off, in processes/test_jit_off.py
@pytest.mark.parametrize("activation", ["tanh"] if kernels.JIT else ACTIVATIONS)
@pytest.mark.parametrize("hidden", [[5, 4]] if kernels.JIT else [[3], [5, 4], [4, 3, 2]])
@pytest.mark.parametrize("loss", ["logistic", "hinge", "squared"] if kernels.JIT else LOSSES)
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.02, 0.3)])
def test_one_example_is_learned_as_the_graph_and_adagrad_say(loss, hidden, activation, l1, l2):
    """Score, gradients and update of the compiled head equal the graph's, with the columns that the names draw."""
    model = Model(
        LOSSES[loss].task, loss=loss, neural={"hidden": hidden, "activation": activation, "alone": True}, seed=SEED,
        l1=l1, l2=l2,
    )  # fmt: skip
    head = model.learner.head
    for k in range(3):  # so that the names have rows, and G is not zero
        model.learn_one({"a": 1.0, "b": 1.0, "c": 1.0}, k % 2)
    before = {name: array.copy() for name, array in model.state().items()}
    slots = [model.learner.weight_dict.slot(name) for name in "abc"]
    column = slice(head.column, head.column + hidden[0])

    root, layers = network_graph(hidden, activation, SEED)
    nodes = order(root)
    product = next(node for node in nodes if node.op is not None and node.op.name == "sparse_product")
    V, columns, values = product.operands
    V.f = before["rows"][slots][:, column].T.astype(float)
    columns.f, values.f = np.array([0, 1, 2]), np.array([1.0, 1.0, 1.0])
    start = 0
    for parameter in [parameter for layer in layers for parameter in layer]:
        size = parameter.f.size
        parameter.f = before["network"][0, start : start + size].reshape(parameter.f.shape).astype(float)
        start += size
    score = float(forward(root))
    unit, offset = model.learner.unit_and_offset
    assert model.score_one({"a": 1.0, "b": 1.0, "c": 1.0}) == pytest.approx(offset + unit * score, rel=1e-4, abs=1e-5)

    model.learn_one({"a": 1.0, "b": 1.0, "c": 1.0}, 1)
    y = 1.0
    if loss == "poisson":
        y = 1.0 / expected_count(model.learner.totals)
    elif loss in ("squared", "quantile"):
        unit, offset = model.learner.unit_and_offset
        y = (1.0 - offset) / unit
    slope = model.learner.loss.derivative(score, y)
    backward(root, slope)
    wanted = np.concatenate([parameter.g.ravel() for layer in layers for parameter in layer])
    gained = model.learner.head.network[1] - before["network"][1]
    np.testing.assert_allclose(gained, wanted**2, rtol=2e-3, atol=1e-7)
    rows = model.learner.weight_dict.matrix
    G = slice(head.column + hidden[0], head.column + 2 * hidden[0])
    np.testing.assert_allclose(rows[slots][:, G] - before["rows"][slots][:, G], V.g.T**2, rtol=2e-3, atol=1e-7)
    r = RATE / (1e-3 + np.sqrt(rows[slots][:, G]))
    w = before["rows"][slots][:, column] - r * V.g.T
    np.testing.assert_allclose(rows[slots][:, column], proximal(w, r, l1, l2), rtol=2e-3, atol=1e-6)
    r = RATE / (1e-3 + np.sqrt(model.learner.head.network[1]))
    w = before["network"][0] - r * wanted
    start = layers[0][0].f.size
    for weights, bias in layers[1:]:
        part = slice(start, start + weights.f.size)
        w[part] = proximal(w[part], r[part], l1, l2)
        start += weights.f.size + bias.f.size
    np.testing.assert_allclose(model.learner.head.network[0], w, rtol=2e-3, atol=1e-6)


def proximal(w, r, l1, l2):
    """The argmin over v of ``(v - w)^2 / 2r + l1 |v| + l2 v^2 / 2``."""
    return np.sign(w) * np.maximum(np.abs(w) - r * l1, 0.0) / (1.0 + r * l2)


def test_columns_depend_on_the_seed_and_the_name_alone():
    """In whatever order names come, each draws the same column; another seed draws another."""
    columns = []
    for names, seed in (("abc", SEED), ("cba", SEED), ("abc", b"another of sixteen")):
        model = Model("binary", neural=[5, 4], seed=seed)
        model.learn_one({}, 1, importance=1e6)  # importances count relative to their mean
        drawn = {}
        for name in names:
            model.learn_one({name: 1.0}, 1, importance=1e-12)  # which moves nothing that float32 could hold
            slot, first = model.learner.weight_dict.slot(name), model.learner.head.column
            drawn[name] = model.learner.weight_dict.matrix[slot, first : first + 5].copy()
        columns.append(drawn)
    for name in "abc":
        np.testing.assert_allclose(columns[0][name], columns[1][name], atol=1e-4)
        assert not np.allclose(columns[0][name], columns[2][name], atol=1e-2)
        assert np.all(np.abs(columns[0][name]) <= STARTS["tanh"][0] + 1e-4)
        assert np.ptp(columns[0][name]) > 0.01


def test_the_head_beside_the_experts_learns_what_a_line_can_t():
    """A product of two features: the linear model stays at the constant's loss, with the head it is far below."""
    linear, mixed, alone = (
        Model(seed=SEED, parts=(), neural=head) for head in (None, [5, 4], {"hidden": [5, 4], "alone": True})
    )
    data = b"".join(products(20_000))
    for model in (linear, mixed, alone):
        model.learn_packed(data)
    assert mixed.progressive_loss < linear.progressive_loss - 0.3
    assert alone.progressive_loss < linear.progressive_loss - 0.3


@pytest.mark.parametrize("alone", [False, True])
def test_the_two_cars_are_learned_from_random_starts(alone):
    """All four points, where a linear predictor has no gradient: from at least 19 of 20 seeds, an example at a time."""
    cars = [(0, 2, 1), (2, 0, 1), (0, 0, -1), (2, 2, -1)]
    n_learned = 0
    for seed in range(20 if kernels.JIT else 1):
        model = Model(neural={"hidden": [5, 4], "alone": alone}, seed=bytes([seed]) * 16)
        drawn = random.Random(seed).choices(cars, k=3000)
        model.learn_packed(b"".join(msgpack.packb([y, {"x1": a, "x2": b}]) for a, b, y in drawn))
        n_learned += all(model.predict_one({"x1": a, "x2": b}) == y for a, b, y in cars)
    assert n_learned >= (19 if kernels.JIT else 1)


def test_heads_of_one_kind_share_their_machine_code():
    heads = [Model(neural=[5, 4], seed=seed).learner.head for seed in (SEED, b"another of sixteen")]
    assert heads[0].kernels is heads[1].kernels


def test_a_network_s_contributions_are_its_input_gradients():
    """A feature's contribution by the pure network is the finite difference of the score by its value, times the value."""
    model = Model("binary", neural={"hidden": [5, 4], "alone": True}, seed=SEED)
    model.learn_packed(b"".join(products(3000)))
    x = {"w1": 1.0, "w2": 1.0}
    parts = {part.name: part for part in model.explain_one(x)}
    assert parts.keys() >= {*x, "(constant)", "(network)"}
    part = parts["w1"]
    slot = model.learner.weight_dict.slot("w1")
    first = model.learner.head.column
    row = model.learner.weight_dict.matrix[slot]
    kept = row[first : first + 5].copy()
    scores = []
    for u in (1.01, 0.99):  # an indicator's u is 1 whatever its value: its column is changed instead
        row[first : first + 5] = u * kept
        scores.append(model.score_one(x))
    assert part.contribution == pytest.approx((scores[0] - scores[1]) / 0.02, rel=1e-2, abs=1e-4)


def test_vanishing_gradients_are_said_in_words():
    """Norms are kept a layer; what is far below the top layer's, or huge, is named."""
    model = Model(neural=[5, 4], seed=SEED)
    assert model.learner.head.warning() == ""
    model.learn_packed(b"".join(products(50)))
    norms = model.learner.head.layer_norms()
    assert list(norms) == ["V1", "b1", "V2", "w"]
    assert all(norm > 0 for norm in norms.values())
    model.learner.head.norms[:] = 1.0
    model.learner.head.norms[0] = 1e-12
    assert model.learner.head.warning().startswith("gradients vanish: V1's have a norm of 1e-06")
    model.learner.head.norms[:] = 1e8
    assert model.learner.head.warning().startswith("gradients explode: V1's have a norm of 1e+04")


def test_a_head_is_made_by_a_factory_and_pastes_no_loop():
    """Its module has the graph's two functions and four doors; the loops are the same for all heads."""
    model = Model(neural=[5, 4], seed=SEED)
    module = model.learner.head.kernels
    source = Path(module.__file__).read_text()
    assert source.count("def ") == 6
    assert len(source.splitlines()) <= 130
    for _ in range(50):
        model.learn_one({"a": 1.0}, 1)
        model.learn_one({"b": 1.0}, -1)
    assert model.predict_one({"a": 1.0}) == 1
