"""The operations: the building blocks of graphs, each with its value and its slopes.

At a kink an operation takes one of its subgradients: ``maximum`` and ``minimum`` of equal numbers pass the gradient to the
first operand; the slopes of ``relu`` and ``absolute`` at 0 are 0. The slope of ``threshold`` is 0 everywhere, so nothing below
a threshold is ever learned.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from learner.graph.engine import Array, Flat, Node, Op, summed_to

__all__ = [
    "absolute",
    "add",
    "aligned",
    "divide",
    "dot",
    "elementwise",
    "exp",
    "expm1",
    "log",
    "log1p",
    "log_softmax",
    "log_sum_exp",
    "logistic",
    "matmul",
    "maximum",
    "mean",
    "minimum",
    "multiply",
    "negative",
    "power",
    "relu",
    "softmax",
    "softplus",
    "sparse_product",
    "square",
    "subtract",
    "tanh",
    "threshold",
    "total",
    "transpose",
]


# ---- element by element ------------------------------------------------------------------------------------------------
def aligned(*n_dimensions: int) -> str:
    """Return broadcasting in einsum's notation: operands are aligned at their last dimensions.

    >>> aligned(1, 2)
    'b,ab->ab'
    """
    letters = "abcdefgh"[: max(n_dimensions)]
    return ",".join(letters[len(letters) - n :] for n in n_dimensions) + "->" + letters


def elementwise(name: str, value: Callable[..., Any], slopes: Callable[..., tuple[Any, ...]]) -> Op:
    """Return a new operation on each element; the same rule serves whole arrays and, in the compiler, single elements."""
    return Op(name, "shapes that broadcast", value, slopes, Flat(aligned, value, slopes))


def _logistic(a: Any) -> Any:
    """Return ``1 / (1 + e^-a)`` without overflow, and with full relative precision near 0."""
    return np.exp(np.minimum(a, 0.0)) / (1.0 + np.exp(-np.abs(a)))


# name, value, gradient by each operand: g times the slope
add = elementwise("add", lambda a, b: a + b, lambda g, f, a, b: (g, g))
subtract = elementwise("subtract", lambda a, b: a - b, lambda g, f, a, b: (g, -g))
multiply = elementwise("multiply", lambda a, b: a * b, lambda g, f, a, b: (g * b, g * a))
divide = elementwise("divide", lambda a, b: a / b, lambda g, f, a, b: (g / b, -g * f / b))
negative = elementwise("negative", lambda a: -a, lambda g, f, a: (-g,))
maximum = elementwise("maximum", np.maximum, lambda g, f, a, b: (g * (a >= b), g * (a < b)))
minimum = elementwise("minimum", np.minimum, lambda g, f, a, b: (g * (a <= b), g * (a > b)))
absolute = elementwise("absolute", np.abs, lambda g, f, a: (g * (a > 0.0) - g * (a < 0.0),))
square = elementwise("square", lambda a: a * a, lambda g, f, a: (g * 2.0 * a,))
power = elementwise(  # the gradient by the exponent is 0 where the base isn't positive
    "power",
    lambda a, b: a**b,
    lambda g, f, a, b: (g * b * a ** (b - 1.0), g * f * np.log(np.maximum(a, 1e-30)) * (a > 0.0)),
)
exp = elementwise("exp", np.exp, lambda g, f, a: (g * f,))
expm1 = elementwise("expm1", np.expm1, lambda g, f, a: (g * (f + 1.0),))
log = elementwise("log", np.log, lambda g, f, a: (g / a,))
log1p = elementwise("log1p", np.log1p, lambda g, f, a: (g / (1.0 + a),))
tanh = elementwise("tanh", np.tanh, lambda g, f, a: (g * (1.0 - f * f),))
logistic = elementwise("logistic", _logistic, lambda g, f, a: (g * f * (1.0 - f),))
relu = elementwise("relu", lambda a: np.maximum(a, 0.0), lambda g, f, a: (g * (a > 0.0),))
threshold = elementwise("threshold", lambda a: 1.0 * (a >= 0.0), lambda g, f, a: (0.0 * g,))
softplus = elementwise(  # log(1 + e^a)
    "softplus",
    lambda a: np.maximum(a, 0.0) + np.log1p(np.exp(-np.abs(a))),
    lambda g, f, a: (g * _logistic(a),),
)


# ---- products ----------------------------------------------------------------------------------------------------------
def _dot_letters(a: int, b: int) -> str:
    left, right, result = aligned(a - 1, b - 1).replace("->", ",").split(",")
    return f"{left}k,{right}k->{result}"


dot = Op(  # over the last dimension: of two vectors, or of each pair in a batch
    "dot",
    "vectors of one size",
    lambda a, b: np.einsum("...k,...k->...", a, b),
    lambda g, f, a, b: (g[..., None] * b, g[..., None] * a),
    Flat(_dot_letters, lambda a, b: a * b, lambda g, f, a, b: (g * b, g * a)),
)


def _matmul_backward(g: Array, f: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Return ``g b^T`` and ``a^T g``; a vector counts as a row on the left and as a column on the right."""
    A = a if a.ndim > 1 else a[None, :]
    B = b if b.ndim > 1 else b[:, None]
    G = g.reshape(*np.broadcast_shapes(A.shape[:-2], B.shape[:-2]), A.shape[-2], B.shape[-1])
    of_a, of_b = G @ B.swapaxes(-1, -2), A.swapaxes(-1, -2) @ G
    return summed_to(of_a, A.shape).reshape(a.shape), summed_to(of_b, B.shape).reshape(b.shape)


def _matmul_letters(a: int, b: int) -> str:
    left, right, result = aligned(max(a - 2, 0), max(b - 2, 0)).replace("->", ",").split(",")
    row, column = "i" * (a > 1), "j" * (b > 1)
    return f"{left}{row}k,{right}k{column}->{result}{row}{column}"


matmul = Op(
    "matmul",
    "as many columns on the left as rows on the right",
    lambda a, b: a @ b,
    _matmul_backward,
    Flat(_matmul_letters, lambda a, b: a * b, lambda g, f, a, b: (g * b, g * a)),
)
transpose = Op(  # of a matrix, or of each matrix in a batch
    "transpose",
    "a matrix",
    lambda a: a.swapaxes(-1, -2),
    lambda g, f, a: (g.swapaxes(-1, -2),),
    Flat(lambda a: f"{'abcd'[: a - 2]}ij->{'abcd'[: a - 2]}ji", lambda a: a, lambda g, f, a: (g,)),
)


# ---- sums --------------------------------------------------------------------------------------------------------------
def _spread(g: Array, a: Array, axis: int | None) -> Array:
    """Return the gradients of a sum's terms: each is the sum's own."""
    return np.broadcast_to(g if axis is None or g.ndim == a.ndim else np.expand_dims(g, axis), a.shape)


def _sum_letters(a: int, axis: int | None = None, keepdims: bool = False) -> str:
    letters = "abcdefgh"[:a]
    summed = letters if axis is None or not letters else letters[axis]
    kept = "".join("1" * keepdims if letter in summed else letter for letter in letters)
    return f"{letters}->{kept}"


total = Op(
    "sum",
    "an axis that is there",
    lambda a, axis=None, keepdims=False: a.sum(axis=axis, keepdims=keepdims),
    lambda g, f, a, axis=None, keepdims=False: (_spread(g, a, axis),),
    Flat(_sum_letters, lambda a: a, lambda g, f, a: (g,)),
)
mean = Op(
    "mean",
    "an axis that is there",
    lambda a, axis=None, keepdims=False: a.mean(axis=axis, keepdims=keepdims),
    lambda g, f, a, axis=None, keepdims=False: (_spread(g, a, axis) * (f.size / a.size),),
    Flat(_sum_letters, lambda a: a, lambda g, f, a: (g,), averages=True),
)
log_sum_exp = Op(  # log(e^a_1 + ... + e^a_k) over the last dimension, which is kept with size 1
    "log_sum_exp",
    "a vector, or a batch of them",
    lambda a: np.logaddexp.reduce(a, axis=-1, keepdims=True),
    lambda g, f, a: (g * np.exp(a - f),),
    Flat(
        lambda a: _sum_letters(a, axis=-1, keepdims=True),
        lambda a: a,
        lambda g, f, a: (g * np.exp(a - f),),
        reduce=np.logaddexp,
        start=-np.inf,
    ),
)


def log_softmax(a: Node) -> Node:
    """Return the logarithm of the softmax, of a vector or of each in a batch: ``a - log(e^a_1 + ... + e^a_k)``.

    >>> from learner.graph import Constant
    >>> log_softmax(Constant([0.0, 0.0])).f
    array([-0.69314718, -0.69314718])
    """
    return a - log_sum_exp(a)


def softmax(a: Node) -> Node:
    """Return probabilities ``e^a_i / (e^a_1 + ... + e^a_k)``, of a vector or of each in a batch.

    >>> from learner.graph import Constant
    >>> softmax(Constant([1000.0, 1000.0])).f
    array([0.5, 0.5])
    """
    return exp(log_softmax(a))


# ---- a sparse product --------------------------------------------------------------------------------------------------
def _sparse_product_backward(g: Array, f: Array, V: Array, columns: Array, values: Array) -> tuple[Array, Array, Array]:
    """Return the gradients; they are 0 for the columns of V that aren't used, and for the column numbers."""
    index = columns.astype(np.intp)
    of_V = np.zeros_like(V)
    np.add.at(of_V.T, index, g[..., None, :] * values[..., None])
    return of_V, np.zeros_like(columns), np.einsum("k...n,...k->...n", V[:, index], g)


sparse_product = Op(  # V phi for a sparse phi, given by the columns and the values of its non-zeros
    "sparse_product",
    "a matrix, columns that it has and one value for each",
    lambda V, columns, values: np.einsum("k...n,...n->...k", V[:, columns.astype(np.intp)], values),
    _sparse_product_backward,
)
