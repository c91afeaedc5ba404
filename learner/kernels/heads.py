"""A neural head's compiled half: a factory makes its three functions of the graph's two and of a few numbers.

V_1, the first layer, is sparse: it has a column a feature, in the feature's row behind the experts' numbers. Behind the column
lie the sums of its squared gradients. All is learned by AdaGrad (Duchi, Hazan and Singer, 2011).
"""

from typing import Any, NamedTuple

import numpy as np

from learner.kernels.bits import MISSING, NOTHING, ONE, spread
from learner.kernels.jit import inlined

__all__ = ["NONE", "Functions", "Head", "Shape", "functions"]

EPSILON = np.float32(1e-3)


class Head(NamedTuple):
    """A head's arrays."""

    parameters: Any  # float32: biases and upper layers, one behind the other
    squares: Any  # float32: their sums of squared gradients
    norms: Any  # float64: running means of the layers' squared gradients
    gradients: Any  # float32: the parameters' gradients at the example at hand
    scratch: Any  # float32: forward and backward values of the graph's nodes
    sizes: Any  # uint64: how often each loop of the graph runs
    columns: Any  # uint64: where the columns of an example's features start
    values: Any  # float32: their values
    layers: (
        Any  # uint64: units of the first layer; then where each layer's parameters start, and where the last one's end
    )


class Shape(NamedTuple):
    """What the machine code of a head depends on, beside its graph."""

    column: int  # where in a row its column starts
    units: int  # of the first layer
    delta: int  # where in ``scratch`` the gradient of the first layer's sums starts
    spread: float  # columns start uniform within +- this
    rate: float
    norm_weight: float  # of the newest gradient in the running means


class Functions(NamedTuple):
    """A head as the mixture calls it."""

    start: Any  # (base, h, rows): draw a new feature's column
    score: Any  # (inputs, rows, head): the score; what it computed stays in the head's arrays
    learn: Any  # (inputs, slope, rows, head): update, given the derivative of the loss by the score


def functions(shape: Shape, forward: Any, backward: Any) -> Functions:
    """Return the functions of a head whose graph has these two: see `learner.graph.compiler`."""
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

    return Functions(start, score, learn)


# ---- no head -------------------------------------------------------------------------------------------------------------
@inlined
def _start(base, h, rows):
    """Nothing to draw."""


@inlined
def _score(inputs, rows, head):
    """Return the score of nothing."""
    return 0.0


@inlined
def _learn(inputs, slope, rows, head):
    """Nothing to learn."""


NONE = Functions(_start, _score, _learn)
