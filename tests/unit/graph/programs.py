"""Graphs written as source and run, as plain Python or as machine code, and compared with the graphs themselves."""

import itertools

import numpy as np

from learner.graph import Constant, Parameter, backward, dot, sparse_product
from learner.graph.compiler import generate
from learner.graph.loader import load
from learner.kernels import jit


def as_it_is(module):
    """Leave the generated functions as plain Python."""


def compiled(module):
    """Compile the generated functions so that Python can call them."""
    module.forward, module.backward = jit.door(module.forward), jit.door(module.backward)


def run(root, folder, real="float64", link=as_it_is, features=None, d=1.7):
    """Return score, gradients and the shared gradient of a compiled graph; `features` are the rows of its sparse product."""
    program = generate(root, real)
    module = load(program.source, link, folder)
    n, bases, us, rows = features or (0, np.zeros(1, np.uint64), np.zeros(1, real), np.zeros(1, real))
    inputs, values, scratch = program.pack(program.inputs), program.pack(program.parameters), program.scratch()
    gradients = np.full_like(values, np.nan)  # every element must be set
    scratch[:] = np.nan
    score = module.forward(n, bases, us, rows, inputs, values, scratch, program.sizes)
    module.backward(np.dtype(real).type(d), inputs, values, scratch, gradients, program.sizes)
    return program, score, gradients, scratch


def assert_as_eager(root, folder, rtol=1e-11, **how):
    """Compare the score, all values and all gradients of a graph's program with those of the graph."""
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
