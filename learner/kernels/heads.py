"""The compiled half of a neural head: three functions, built from the two passes of its graph and a few numbers.

V_1, the first layer, has a column for each feature, in the feature's row after the experts' columns. The column is followed by
its sums of squared gradients. All layers are learned by AdaGrad (Duchi, Hazan and Singer, 2011). L1 and L2 shrink all weights
but the biases, in AdaGrad's metric.
"""

from typing import Any, NamedTuple

import numpy as np

from learner.kernels.bits import MISSING, NOTHING, ONE, spread
from learner.kernels.experts.penalties import penalized
from learner.kernels.jit import inlined

__all__ = ["NONE", "Functions", "Head", "Shape", "functions"]

EPSILON = np.float32(1e-3)


class Head(NamedTuple):
    """A head's arrays."""

    parameters: Any  # float32: biases and upper layers, concatenated
    squares: Any  # float32: their sums of squared gradients
    norms: Any  # float64: running means of the squared norms of the layers' gradients
    gradients: Any  # float32: the parameters' gradients at the current example
    scratch: Any  # float32: forward and backward values of the graph's nodes
    sizes: Any  # uint64: the number of iterations of each loop of the graph
    columns: Any  # uint64: the starts of the columns of an example's features
    values: Any  # float32: their values
    layers: Any  # uint64: units of the first layer; then the start of each layer's parameters, and the end of the last
    are_weights: Any  # bool, one for each parameter: whether it is no bias


class Shape(NamedTuple):
    """The numbers that are compiled into a head's machine code, beside its graph."""

    column: int  # the start of its column in a row
    units: int  # of the first layer
    delta: int  # the start in ``scratch`` of the gradient by V_1 phi(x)
    spread: float  # new columns are uniform within +- this
    rate: float
    norm_weight: float  # the weight of the newest gradient in the running means


class Functions(NamedTuple):
    """The functions of a head that the mixture calls."""

    start: Any  # (base, h, rows): draw a new feature's column
    score: Any  # (inputs, rows, head): return the score; the forward values stay in the head's arrays
    learn: Any  # (inputs, slope, rows, head): update; slope is d loss / d score
    penalize: Any  # (inputs, importance, settings, rows, head): shrink weights, with L1 or L2


def functions(shape: Shape, forward: Any, backward: Any) -> Functions:
    """Return the functions of a head, given the two passes of its graph: see `learner.graph.compiler`."""
    COLUMN, DELTA, UNITS = np.uint64(shape.column), np.uint64(shape.delta), np.uint64(shape.units)
    SPREAD, RATE, NORM_WEIGHT = shape.spread, np.float32(shape.rate), shape.norm_weight
    ELEVEN = np.uint64(11)

    @inlined
    def start(base, h, rows):
        for i in range(UNITS):
            bits = spread(spread(h ^ (i + ONE)))
            rows[base + COLUMN + i] = SPREAD * (np.float64(bits >> ELEVEN) * 2.0**-52 - 1.0)

    @inlined
    def score(inputs, rows, head):
        parameters, columns, values = head.parameters, head.columns, head.values
        k = NOTHING
        for i in range(inputs.n - inputs.n_constants):
            if inputs.bases[i] != MISSING:
                columns[k] = inputs.bases[i] + COLUMN
                values[k] = inputs.scaled[i]
                k += ONE
        return np.float64(forward(k, columns, values, rows, parameters, parameters, head.scratch, head.sizes))

    @inlined
    def learn(inputs, slope, rows, head):
        parameters, gradients, scratch, norms = head.parameters, head.gradients, head.scratch, head.norms
        backward(np.float32(slope), parameters, parameters, scratch, gradients, head.sizes)
        units = head.layers[0]
        square = 0.0
        for i in range(inputs.n - inputs.n_constants):
            column = inputs.bases[i] + COLUMN
            u = inputs.scaled[i]
            square += u * u
            for k in range(units):
                g = u * scratch[DELTA + k]
                G = rows[column + units + k] + g * g
                rows[column + units + k] = G
                rows[column + k] -= RATE * g / (EPSILON + np.sqrt(G))
        delta = 0.0
        for k in range(units):
            delta += scratch[DELTA + k] * scratch[DELTA + k]
        norms[0] += NORM_WEIGHT * (square * delta - norms[0])
        for layer in range(1, len(norms)):
            square = 0.0
            for i in range(head.layers[layer], head.layers[layer + 1]):
                g = gradients[i]
                square += g * g
                G = head.squares[i] + g * g
                head.squares[i] = G
                parameters[i] -= RATE * g / (EPSILON + np.sqrt(G))
            norms[layer] += NORM_WEIGHT * (square - norms[layer])

    @inlined
    def shrunk(w, G, importance, settings):
        return penalized(np.float64(w), importance * RATE / (EPSILON + np.sqrt(G)), settings)

    @inlined
    def penalize(inputs, importance, settings, rows, head):
        for i in range(inputs.n - inputs.n_constants):
            column = inputs.bases[i] + COLUMN
            for k in range(UNITS):
                rows[column + k] = shrunk(rows[column + k], rows[column + UNITS + k], importance, settings)
        for i in range(len(head.parameters)):
            if head.are_weights[i]:
                head.parameters[i] = shrunk(head.parameters[i], head.squares[i], importance, settings)

    return Functions(start, score, learn, penalize)


# ---- no head -------------------------------------------------------------------------------------------------------------
@inlined
def _start(base, h, rows):
    """Do nothing."""


@inlined
def _score(inputs, rows, head):
    """Return 0."""
    return 0.0


@inlined
def _learn(inputs, slope, rows, head):
    """Do nothing."""


@inlined
def _penalize(inputs, importance, settings, rows, head):
    """Do nothing."""


NONE = Functions(_start, _score, _learn, _penalize)
