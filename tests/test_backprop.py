"""The computation graph: gradients against finite differences, and its compiled form against itself."""

import inspect
import itertools
import math
import random
import sys

import numpy as np
import pytest

from learner import kernels
from learner.graph import engine as backprop
from learner.graph.compiler import generate, load
from learner.graph.engine import (
    OPS,
    SGD,
    AdaGrad,
    Adam,
    Constant,
    Op,
    Parameter,
    absolute,
    backward,
    check_gradient,
    dot,
    exp,
    forward,
    log_softmax,
    log_sum_exp,
    logistic,
    maximum,
    mean,
    minimum,
    order,
    parameters,
    power,
    relu,
    softmax,
    softplus,
    sparse_product,
    square,
    tanh,
    threshold,
    total,
)
from learner.graph.text import to_dot, to_mermaid, to_text
from learner.kernels import jit
from learner.losses import LOSSES
from tests import doors

# Every operation is found by inspection. Those that work on each element need nothing here but their domain, if it has a bound;
# any other must have its cases: shapes of the operands, and settings.
POSITIVE = {"divide", "log", "log1p", "power"}
ELEMENTWISE = [((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 3)), ((4, 2, 3), (2, 1))]
OTHER = {
    "dot": [((3,), (3,)), ((4, 3), (3,)), ((3,), (4, 3)), ((2, 4, 3), (4, 3)), ((1,), (1,))],
    "matmul": [
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((3,), (3,)),
        ((2, 3), (3, 4)),
        ((1, 3), (3, 1)),
        ((5, 2, 3), (3, 4)),
        ((5, 2, 3), (5, 3, 4)),
        ((3,), (5, 3, 2)),
        ((5, 2, 3), (3,)),
    ],
    "transpose": [((2, 3),), ((4, 2, 3),)],
    "log_sum_exp": [((3,),), ((2, 3),)],
}
OTHER["sum"] = OTHER["mean"] = [
    (shape, {"axis": axis, "keepdims": keepdims})
    for shape in ((3,), (2, 3), (4, 2, 3))
    for axis in (None, 0, -1)
    for keepdims in (False, True)
]


def draw(r, shape, positive=False):
    values = r.normal(size=shape)
    return np.abs(values) + 0.5 if positive else values


def n_operands(op):
    return len(inspect.signature(op.flat.slopes).parameters) - 2  # without g and f


def cases(name):
    """Nodes of an operation, over parameters of all the shapes that it takes."""
    r = np.random.default_rng(1)
    op = OPS[name]
    if name == "sparse_product":
        for columns in ([1, 4], [3], [2, 2, 0], [[0, 1], [4, 1]]):  # the last: a batch of two
            values = Parameter(r.normal(size=np.shape(columns)), "values")
            yield op(Parameter(r.normal(size=(3, 5)), "V"), Constant(columns), values)
        return
    is_elementwise = op.flat.letters is backprop.aligned
    assert is_elementwise or name in OTHER, f"'{name}' has no cases"
    for case in ELEMENTWISE if is_elementwise else OTHER[name]:
        shapes, settings = (case[:1], case[1]) if isinstance(case[-1], dict) else (case[: n_operands(op)], {})
        leaves = [Parameter(draw(r, shape, name in POSITIVE), "ab"[i]) for i, shape in enumerate(shapes)]
        yield op(*leaves, **settings)


# ---- the building blocks ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", sorted(OPS))
def test_every_operation_agrees_with_finite_differences(name):
    slopes = []
    for node in cases(name):
        backward(node, np.ones_like(node.f))
        slopes += [leaf.g for leaf in parameters(node)]
        for seed in range(3):
            check_gradient(node, seed)
    assert any(map(np.any, slopes)) == (name != "threshold")  # whose slope is 0, as the lecture warns


def test_every_operation_of_the_module_is_registered():
    here = {value.name for value in vars(backprop).values() if isinstance(value, Op)}
    assert here == set(OPS)
    assert {*vars(backprop)} >= set(backprop.__all__)


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


# ---- the engine ----------------------------------------------------------------------------------------------------------
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
    batch = total(backprop.logistic_loss(dot(logistic(X @ V.T + b), w), Y))
    backward(batch)
    together = [node.g for node in (V, b, w)]
    x, y = Constant(X[0], "x"), Constant(Y[0], "y")
    one = backprop.logistic_loss(dot(w, logistic(V @ x + b)), y)
    losses, alone = 0.0, [np.zeros_like(g) for g in together]
    for x.f, y.f in zip(X, Y, strict=True):
        losses += forward(one)
        backward(one)
        for g, node in zip(alone, (V, b, w), strict=True):
            g += node.g
    assert batch.f == pytest.approx(losses)
    for g, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(g, expected, rtol=1e-12)


def test_a_sparse_product_is_the_matrix_product_with_the_whole_vector():
    r = np.random.default_rng(0)
    V, values = Parameter(r.normal(size=(3, 6)), "V"), Parameter([0.5, -2.0, 3.0], "values")
    backward(total(square(sparse_product(V, Constant([4, 0, 4]), values))))
    phi = Parameter([-2.0, 0.0, 0.0, 0.0, 3.5, 0.0], "phi")
    W = Parameter(V.f, "W")
    backward(total(square(W @ phi)))
    np.testing.assert_allclose(V.g, W.g, rtol=1e-14)
    np.testing.assert_allclose(values.g, phi.g[[4, 0, 4]], rtol=1e-14)


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
        (lambda V, x: backprop.matmul(V, x, name="z"), r"z: matmul needs .* \(got V \(2, 3\) and x \(4,\)\)"),
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


def test_a_wrong_gradient_is_named(monkeypatch):
    monkeypatch.setitem(OPS, "cube", None)
    cube = Op("cube", "", lambda a: a**3, lambda g, f, a: (2.0 * g * a,), None)
    a = Parameter([1.0, 2.0], "a")
    with pytest.raises(AssertionError, match=r"^loss: the gradient by 'a' must be .*, -?\d+\.\d+ \(got -?\d+\.\d+\)$"):
        check_gradient(cube(a).named("loss"))


# ---- losses --------------------------------------------------------------------------------------------------------------
def test_every_loss_has_a_graph():
    assert set(backprop.LOSSES) == set(LOSSES)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_and_its_graph_are_one_function(name):
    loss = LOSSES[name]
    for y in {"binary": (-1.0, 1.0), "poisson": (0.0, 1.0, 2.5)}.get(loss.task, (-1.0, 0.0, 1.0, 2.5)):
        for s in (
            -800.0,
            -30.0,
            -2.0,
            -1.0,
            -0.3,
            0.0,
            1e-9,
            0.7,
            1.0,
            1.5,
            2.5,
            30.0,
            800.0,
        ):  # the kink of the hinge, too
            score = Parameter(s, "score")
            root = backprop.LOSSES[name](score, y)
            backward(root)
            assert float(root.f) == pytest.approx(loss.value(s, y), rel=1e-14, abs=1e-300)
            assert float(score.g) == pytest.approx(loss.derivative(s, y), rel=1e-14, abs=1e-300)
        check_gradient(backprop.LOSSES[name](Parameter([-0.9, 0.4, 1.7], "score"), y))


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
        check_gradient(backprop.LOSSES[name](network(np.random.default_rng(2), widths, activation, 3), 1.0))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_compiled_linear_update_follows_the_gradient_of_the_graph(name):
    r = np.random.default_rng(0)
    w, phi, y = Parameter(r.normal(size=3), "w"), Constant(r.normal(size=3), "phi"), 1.0
    score = dot(w, phi)
    backward(backprop.LOSSES[name](score, y))
    np.testing.assert_allclose(doors.derivative(LOSSES[name].code, 0.5, float(score.f), y) * phi.f, w.g, rtol=1e-12)


# ---- following the gradient ------------------------------------------------------------------------------------------------
def slow_sgd(w, gradients, rate=0.1):
    for g in gradients:
        w = w - rate * g
    return w


def slow_adagrad(w, gradients, rate=0.1, delta=1e-8):
    for t in range(len(gradients)):
        w = w - rate * gradients[t] / (delta + math.sqrt(sum(g * g for g in gradients[: t + 1])))
    return w


def slow_adam(w, gradients, rate=0.1, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Kingma and Ba, 2015: the moments as the weighted sums of all past gradients that their section 3 writes them out as."""
    for t in range(1, len(gradients) + 1):
        past = list(enumerate(gradients[:t], 1))
        m = sum((1 - beta1) * beta1 ** (t - i) * g for i, g in past) / (1 - beta1**t)
        v = sum((1 - beta2) * beta2 ** (t - i) * g * g for i, g in past) / (1 - beta2**t)
        w = w - rate * m / (math.sqrt(v) + epsilon)
    return w


@pytest.mark.parametrize(
    ("optimiser", "slow"), [(SGD(0.1), slow_sgd), (AdaGrad(0.1), slow_adagrad), (Adam(0.1), slow_adam)]
)
def test_an_optimiser_takes_the_steps_of_its_paper(optimiser, slow):
    r = random.Random(3)
    starts, gradients = [0.5, -2.0], [[r.gauss(0, 1), r.gauss(1, 3)] for _ in range(20)]
    w, b = Parameter(starts, "w"), Parameter(starts[0], "b")  # two parameters, each with a past of its own
    for pair in gradients:
        w.g, b.g = np.array(pair), np.array(-pair[0])
        optimiser.update([w, b])
    np.testing.assert_allclose(w.f, [slow(starts[i], [pair[i] for pair in gradients]) for i in (0, 1)], rtol=1e-12)
    assert b.f == pytest.approx(slow(starts[0], [-pair[0] for pair in gradients]), rel=1e-12)


def test_adagrad_leaves_what_has_no_gradient():
    w = Parameter([1.0, 1.0], "w")
    w.g = np.array([0.0, 3.0])
    AdaGrad(0.5).update([w])
    np.testing.assert_allclose(w.f, [1.0, 0.5])


# ---- the graph writes its own kernel ---------------------------------------------------------------------------------------
def as_it_is(module):
    """Leave the generated text as the plain Python that it is."""


def compiled(module):
    """Make the generated functions ones that Python calls as machine code."""
    module.forward, module.backward = jit.door(module.forward), jit.door(module.backward)


@pytest.fixture(autouse=True)
def folder_of_machine_code(monkeypatch, tmp_path_factory):
    """A test's own: the text of a graph lies in a folder that nobody comes back to."""
    folder = tmp_path_factory.mktemp("compiled")
    monkeypatch.setattr(jit, "cache_folder", lambda: folder)


def run(root, folder, real="float64", link=as_it_is, features=None, d=1.7):
    """Return score, gradients and the shared gradient of a compiled graph; `features` are the rows of its sparse product."""
    program = generate(root, real)
    module = load(program.source, link, folder)
    n, bases, us, rows = features or (0, np.zeros(1, np.uint64), np.zeros(1, real), np.zeros(1, real))
    inputs, values, scratch = program.pack(program.inputs), program.pack(program.parameters), program.scratch()
    gradients = np.full_like(values, np.nan)  # every one must be set, whatever was there
    scratch[:] = np.nan
    score = module.forward(n, bases, us, rows, inputs, values, scratch, program.sizes)
    module.backward(np.dtype(real).type(d), inputs, values, scratch, gradients, program.sizes)
    return program, score, gradients, scratch


def assert_as_eager(root, folder, rtol=1e-11, **how):
    program, score, gradients, scratch = run(root, folder, **how)
    backward(root, 1.7)
    np.testing.assert_allclose(score, root.f.item(), rtol=rtol, atol=rtol)
    largest = max([1.0] + [float(np.abs(node.g).max()) for node in program.parameters])
    for node, place in program.parameters.items():
        np.testing.assert_allclose(gradients[place], node.g.ravel(), rtol=rtol, atol=rtol * largest)
    for node, place in program.values.items():
        np.testing.assert_allclose(scratch[place], node.f.ravel(), rtol=rtol, atol=rtol * largest)
    for node, place in program.slopes.items():
        np.testing.assert_allclose(scratch[place], node.g.ravel(), rtol=rtol, atol=rtol * largest)


@pytest.mark.parametrize("name", sorted(set(OPS) - {"sparse_product"}))
def test_every_operation_has_a_flat_form(name, tmp_path):
    for node in cases(name):
        weights = Constant(np.random.default_rng(5).normal(size=node.f.shape), "weights")
        assert_as_eager(total(node * weights), tmp_path)


def random_graph(seed, n_operations):
    """A scalar expression of random operations over random shapes; what can't be joined is not."""
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
            operands = [tanh(a) for a in operands]  # so that numbers stay of the order of 1
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


def neural_head(widths, activation, columns, values, n_columns=8):
    """score = w . s(V_k .. s(V_1 phi + b_1) ..) + b over a sparse phi."""
    r = np.random.default_rng(4)
    V = Parameter(r.normal(size=(widths[0], n_columns)), "V1")
    z = sparse_product(V, Constant(columns, "columns"), Constant(values, "values"))
    h = activation(z + Parameter(r.normal(size=widths[0]), "b1"))
    for layer, (below, width) in enumerate(itertools.pairwise(widths), 2):
        h = activation(
            Parameter(r.normal(size=(width, below)), f"V{layer}") @ h + Parameter(r.normal(size=width), f"b{layer}")
        )
    return V, (dot(Parameter(r.normal(size=widths[-1]), "w"), h) + Parameter(0.1, "b")).named("score")


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
    stride = widths[0] + 3  # the caller keeps something of its own between the columns
    rows = np.full((8, stride), np.nan, dtype=real)
    rows[:, : widths[0]] = V.f.T
    features = 3, np.array(columns, np.uint64) * np.uint64(stride), np.array(values, dtype=real), rows.ravel()
    how = {"real": real, "features": features, "link": compiled if machine_code else as_it_is}
    rtol = 1e-11 if real == "float64" else 1e-4
    assert_as_eager(root, tmp_path, rtol, **how)
    program, _, _, scratch = run(root, tmp_path, **how)
    for column, value in zip(columns, values, strict=True):
        np.testing.assert_allclose(value * scratch[program.delta], V.g[:, column], rtol=rtol, atol=rtol)


def test_a_loop_over_examples_calls_the_generated_functions(tmp_path):
    """As the neural head does: text appended to the generated module, compiled with it, one update an example."""
    loop = """

def learn(xs, ys, parameters, scratch, gradients, sizes, bases, rows):
    for e in range(len(ys)):
        score = forward(0, bases, rows, rows, xs[e], parameters, scratch, sizes)
        backward(real(2.0) * (score - ys[e]), xs[e], parameters, scratch, gradients, sizes)
        for i in range(len(parameters)):
            parameters[i] -= real(0.1) * gradients[i]
"""
    r = np.random.default_rng(0)
    X, Y = r.normal(size=(30, 2)), r.normal(size=30)
    x, y = Constant(X[0], "x"), Constant(Y[0], "y")
    V, w = Parameter(r.normal(size=(3, 2)), "V"), Parameter(r.normal(size=3), "w")
    score = dot(w, tanh(V @ x))
    loss = backprop.squared_loss(score, y)
    program = generate(score, "float64")

    def link(module):
        module.forward, module.backward = jit.compiled(module.forward), jit.inlined(module.backward)
        module.learn = jit.door(module.learn)

    module = load(program.source + loop, link, tmp_path)
    flat, nothing = program.pack(program.parameters), np.zeros(1)
    module.learn(X, Y, flat, program.scratch(), np.zeros_like(flat), program.sizes, np.zeros(1, np.uint64), nothing)
    for x.f, y.f in zip(X, Y, strict=True):
        forward(loss)
        backward(loss)
        SGD(0.1).update([V, w])
    for node, place in program.parameters.items():
        np.testing.assert_allclose(flat[place], node.f.ravel(), rtol=1e-9)


def test_generated_source_is_kept_in_a_file_and_not_written_twice(tmp_path, monkeypatch):
    root = neural_head((3,), relu, [1], [1.0])[1]
    source = generate(root).source
    assert (
        source == generate(neural_head((3,), relu, [1, 2], [1.0, 2.0])[1]).source
    )  # whatever the example and the weights
    linked = []
    module = load(source, linked.append, tmp_path)
    assert load(source, linked.append, tmp_path) is module
    assert linked == [module]
    assert sys.modules[module.__name__] is module
    (path,) = tmp_path.iterdir()
    assert module.__file__ == str(path)
    before = path.stat()
    monkeypatch.delitem(sys.modules, module.__name__)
    again = load(source, linked.append, tmp_path)
    assert again is not module
    assert linked == [module, again]
    assert [*tmp_path.iterdir()] == [path]
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    path.write_text("raise SystemExit('what lies in the folder must not run')")
    monkeypatch.delitem(sys.modules, again.__name__)
    load(source, linked.append, tmp_path)
    assert path.read_text().startswith('"""Written by learner.graph.compiler')


@pytest.mark.skipif(not kernels.JIT, reason="needs numba")
def test_machine_code_is_found_again(tmp_path):
    root = dot(Parameter([1.0, 2.0, 4.0], "w"), Constant([0.5, 0.25, 1.0], "x"))
    begun, ended = [], []
    with jit.listening(begun.append, lambda name, seconds: ended.append(name)):
        first = run(root, tmp_path, link=compiled)
    assert begun == ended == ["forward", "backward"]
    name = next(
        name for name in sys.modules if name.startswith("learner_graph_") and name in str([*tmp_path.iterdir()])
    )
    module = sys.modules.pop(name)
    assert sum(module.forward._dispatcher.stats.cache_misses.values()) == 1
    with jit.listening(begun.append, lambda name, seconds: ended.append(name)):
        second = run(root, tmp_path, link=compiled)
    module = sys.modules[name]
    assert sum(module.forward._dispatcher.stats.cache_hits.values()) == 1
    assert begun == ended == ["forward", "backward"]  # nothing more was compiled
    assert first[1] == second[1] == 5.0


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


# ---- drawings --------------------------------------------------------------------------------------------------------------
def test_drawings_show_every_node_and_both_values():
    w = Parameter(np.arange(8.0), 'w "quoted"')
    loss = square(dot(w, Constant(np.ones(8), "phi")) - 2.0).named("loss")
    backward(loss)
    text, dots, mermaid = to_text(loss), to_dot(loss), to_mermaid(loss)
    assert "f 8 of norm 11.83" in text
    assert "loss = square" in text
    assert r'label="w \"quoted\" (parameter)' in dots
    assert "#34;quoted#34;" in mermaid
    for drawing in (dots, mermaid):
        assert sum(arrow in drawing for arrow in ("->", "-->")) >= 1
        assert len([line for line in drawing.splitlines() if "->" in line]) == 5
