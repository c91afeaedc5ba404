"""The loader: the generated functions run with others around them; their source and machine code are found again."""

import sys

import numpy as np
import pytest

from learner import kernels
from learner.graph import SGD, Constant, Parameter, backward, dot, forward, relu, squared_loss, tanh
from learner.graph.compiler import generate
from learner.graph.loader import load
from learner.kernels import jit
from tests.unit.graph.programs import compiled, neural_head, run


def test_a_loop_over_examples_calls_the_generated_functions(tmp_path):
    """A loop is appended to the generated text and compiled with it, as the neural head does; it updates after each example."""
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
    loss = squared_loss(score, y)
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
    other_example = neural_head((3,), relu, [1, 2], [1.0, 2.0])[1]
    assert source == generate(other_example).source
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
    path.write_text("raise SystemExit('the file in the folder must not run')")
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
    assert begun == ended == ["forward", "backward"]  # the second run compiled nothing
    assert first[1] == second[1] == 5.0
