"""The compiler: the flat form of a graph computes the values and gradients of the graph."""

import random

import numpy as np
import pytest

from learner import kernels
from learner.graph import (
    OPS,
    Constant,
    Op,
    Parameter,
    check_gradient,
    exp,
    logistic,
    relu,
    sparse_product,
    square,
    tanh,
    total,
)
from learner.graph.compiler import generate
from tests.unit.graph.cases import POSITIVE, cases, draw, n_operands
from tests.unit.graph.programs import as_it_is, assert_as_eager, compiled, neural_head, run


@pytest.mark.parametrize("name", sorted(set(OPS) - {"sparse_product"}))
def test_every_operation_has_a_flat_form(name, tmp_path):
    for node in cases(name):
        weights = Constant(np.random.default_rng(5).normal(size=node.f.shape), "weights")
        assert_as_eager(total(node * weights), tmp_path)


def random_graph(seed, n_operations):
    """A scalar expression of random operations over random shapes; operations whose operands don't fit are skipped."""
    r = random.Random(seed)
    n = np.random.default_rng(seed)
    shapes = [(), (3,), (2, 3), (3, 2), (1, 3), (2, 1), (2,)]
    nodes = [Parameter(draw(n, shape), f"p{i}") for i, shape in enumerate(shapes)]
    nodes += [Constant(draw(n, shape), f"c{i}") for i, shape in enumerate(shapes)] + [
        Constant(0.3),
        Constant([1.5, -0.5]),
    ]
    names = sorted(set(OPS) - {"sparse_product"})
    for _ in range(n_operations):
        name = r.choice(names)
        op = OPS[name]
        operands = [r.choice(nodes) for _ in range(n_operands(op))]
        if name in POSITIVE:
            operands[0], operands[1:] = abs(operands[0]) + 0.5, [square(tanh(b)) + 0.5 for b in operands[1:]]
        if name in ("exp", "expm1", "square", "multiply", "matmul", "dot"):
            operands = [tanh(a) for a in operands]  # keeps numbers of the order of 1
        settings = {}
        if name in ("sum", "mean"):
            settings = {"axis": r.choice([None, 0, -1]), "keepdims": r.random() < 0.5}
        try:
            nodes.append(op(*operands, **settings))
        except (ValueError, IndexError):
            continue
    used = [node for node in nodes if node.op is not None][-6:]
    root = Constant(0.25)
    for node in used:
        root = root + total(tanh(node))
    return root.named("score")


@pytest.mark.parametrize("seed", range(60))
def test_the_flat_form_of_a_random_graph_gives_what_the_graph_gives(seed, tmp_path):
    assert_as_eager(random_graph(seed, 15), tmp_path)


@pytest.mark.skipif(not kernels.JIT, reason="needs numba")
@pytest.mark.parametrize(("seed", "real"), [(101, "float64"), (102, "float32")])
def test_a_compiled_random_graph_gives_what_the_graph_gives(seed, real, tmp_path):
    rtol = 1e-11 if real == "float64" else 2e-4
    assert_as_eager(random_graph(seed, 40), tmp_path, rtol, real=real, link=compiled)


@pytest.mark.parametrize(
    ("widths", "activation", "real", "machine_code"),
    [
        ((16,), relu, "float64", False),
        ((1,), tanh, "float64", False),
        ((6, 5), logistic, "float64", False),
        ((5, 1, 4), tanh, "float64", False),
        ((16,), relu, "float32", True),
        ((32, 16), logistic, "float32", True),
    ],
)
def test_the_neural_head_compiled_is_the_graph(widths, activation, real, machine_code, tmp_path):
    if machine_code and not kernels.JIT:
        pytest.skip("needs numba")
    columns, values = [5, 0, 3], [0.5, -2.0, 1.5]
    V, root = neural_head(widths, activation, columns, values)
    stride = widths[0] + 3  # the caller may use the space between the columns
    rows = np.full((8, stride), np.nan, dtype=real)
    rows[:, : widths[0]] = V.f.T
    features = 3, np.array(columns, np.uint64) * np.uint64(stride), np.array(values, dtype=real), rows.ravel()
    how = {"real": real, "features": features, "link": compiled if machine_code else as_it_is}
    rtol = 1e-11 if real == "float64" else 1e-4
    assert_as_eager(root, tmp_path, rtol, **how)
    program, _, _, scratch = run(root, tmp_path, **how)
    for column, value in zip(columns, values, strict=True):
        np.testing.assert_allclose(value * scratch[program.delta], V.g[:, column], rtol=rtol, atol=rtol)


def test_a_name_of_a_node_can_not_become_code():
    w = Parameter(2.0, "w\nimport os")
    source = generate(exp(w * 3.0).named("score\nraise SystemExit")).source
    assert "import os" not in source
    assert "SystemExit" not in source


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: generate(tanh(Parameter([1.0, 2.0]))), r"tanh: the root .* must be one number \(got shape \(2,\)\)"),
        (lambda: generate(tanh(Parameter(1.0)), "float16"), r"real: must be 'float32' or 'float64' \(got 'float16'\)"),
        (lambda: generate(tanh(Parameter(1.0))).delta, r"delta: the graph must have a sparse product \(got none\)"),
        (
            lambda: generate(total(neural_head((2,), tanh, [0], [1.0])[1] + neural_head((2,), tanh, [0], [1.0])[1])),
            r"may have one sparse product \(got 2\)",
        ),
        (
            lambda: generate(total(sparse_product(Constant(np.ones((2, 2)), "V"), [0], [1.0]))),
            r"must be of a parameter and two constants that nothing else uses \(got V, constant, constant\)",
        ),
        (
            lambda: generate(total(sparse_product(Parameter(np.ones((2, 2)), "V"), [[0], [1]], [[1.0], [2.0]]))),
            r"is of one example \(got shape \(2, 2\)\)",
        ),
    ],
)
def test_what_can_not_be_compiled_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_operation_without_a_flat_form_is_named(monkeypatch):
    monkeypatch.setitem(OPS, "cube", None)
    cube = Op("cube", "", lambda a: a**3, lambda g, f, a: (3.0 * g * a * a,))
    node = cube(Parameter(2.0, "a"), name="z")
    check_gradient(node)
    with pytest.raises(ValueError, match=r"z: a compiled operation must have a flat form \(got cube\)"):
        generate(node)
