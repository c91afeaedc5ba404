"""Backpropagation: write an expression down, and its gradient follows.

An expression is a *computation graph*: a directed acyclic graph whose leaves are constants and parameters, whose inner nodes
are operations, and whose root is the value wanted, mostly a loss. Every node keeps two arrays of one shape, whether of a
scalar, a vector, a matrix or a batch of them:

``f``, its forward value
    the value of the expression up to here, from the leaves to the root;
``g``, its backward value
    the gradient of the root by that value, from the root to the leaves: the sum, over all paths to the root, of the product
    of the slopes along the path. That is the chain rule, and all of it (Rumelhart, Hinton and Williams, 1986, "Learning
    representations by back-propagating errors", equations 4 to 7; Linnainmaa, 1970, for any expression).

The example of the lecture, linear regression with the squared loss:

>>> w = Parameter([3.0, 1.0], "w")
>>> phi, y = Constant([1.0, 2.0], "phi"), Constant(2.0, "y")
>>> score = dot(w, phi).named("score")
>>> residual = (score - y).named("residual")
>>> loss = square(residual).named("loss")
>>> forward(loss)
array(9.)
>>> backward(loss)
>>> w.g
array([ 6., 12.])
>>> from learner.graph.text import to_text
>>> print(to_text(loss))
loss = square              f 9       g 1
└─ residual = subtract     f 3       g 6
   ├─ score = dot          f 5       g 6
   │  ├─ w (parameter)     f [3 1]   g [6 12]
   │  └─ phi (constant)    f [1 2]   g [18 6]
   └─ y (constant)         f 2       g -6

and a step against the gradient, after which the loss is less:

>>> SGD(0.01).update([w])
>>> w.f
array([2.94, 0.88])
>>> float(forward(loss).round(2))
7.29

Where a function has a kink, one of its subgradients is taken: ``maximum`` and ``minimum`` of equals pass the gradient to the
first operand; the slopes of ``relu`` and ``absolute`` at 0 are 0; that of ``threshold`` is 0 everywhere, so nothing below a
threshold is ever learned.

`learner.graph.text` draws a graph; `learner.graph.compiler` has it write its own compiled form.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "LOSSES",
    "OPS",
    "SGD",
    "AdaGrad",
    "Adam",
    "Constant",
    "Flat",
    "Node",
    "Op",
    "Parameter",
    "absolute",
    "backward",
    "check_gradient",
    "dot",
    "exp",
    "expm1",
    "forward",
    "hinge_loss",
    "log",
    "log1p",
    "log_softmax",
    "log_sum_exp",
    "logistic",
    "logistic_loss",
    "matmul",
    "maximum",
    "mean",
    "minimum",
    "order",
    "parameters",
    "poisson_loss",
    "power",
    "quantile_loss",
    "relu",
    "softmax",
    "softplus",
    "sparse_product",
    "square",
    "squared_loss",
    "tanh",
    "threshold",
    "total",
    "transpose",
]

Array: TypeAlias = NDArray[np.float64]
Operand: TypeAlias = "Node | ArrayLike"
_births = itertools.count()


# ---- the engine ------------------------------------------------------------------------------------------------------
class Node:
    """One subexpression: an operation on other nodes, or, without one, a leaf.

    A node is evaluated when it is made, so that shapes that don't fit are found on the line that brings them together, and
    again by `forward`.

    Attributes
    ----------
    op : Op or None
        The operation; None of a leaf.
    operands : tuple of Node
        What the operation works on.
    settings : dict
        What else it must know, such as the axis of a sum.
    f, g : ndarray of float64
        The forward and the backward value, of one shape.
    name : str
        What drawings and messages call it; may be empty.
    """

    __slots__ = ("born", "f", "g", "name", "op", "operands", "settings")
    __array_ufunc__ = None  # array * node is ours to answer, not numpy's

    def __init__(
        self, op: "Op | None", operands: "tuple[Node, ...]", settings: dict[str, Any], f: ArrayLike, name: str
    ):
        self.op, self.operands, self.settings, self.name = op, operands, settings, name
        self.born = next(_births)
        self.f: Array = np.array(f, dtype=np.float64)
        self.evaluate()
        self.g: Array = np.zeros_like(self.f)

    def evaluate(self) -> None:
        """Set the forward value from those of the operands."""
        if self.op is None:
            self.f = np.asarray(self.f, dtype=np.float64)
            return
        try:
            f = self.op.forward(*(operand.f for operand in self.operands), **self.settings)
        except (ValueError, IndexError) as error:
            came = " and ".join(f"{operand.label} {np.shape(operand.f)}" for operand in self.operands)
            raise ValueError(f"{self.label}: {self.op.name} needs {self.op.needs} (got {came})") from error
        self.f = np.asarray(f, dtype=np.float64)

    @property
    def label(self) -> str:
        """The node's name, or else what it does."""
        return self.name or (self.op.name if self.op else type(self).__name__.lower())

    def named(self, name: str) -> Self:
        """Give the node a name; return the node."""
        self.name = name
        return self

    def __repr__(self) -> str:
        return f"<{self.label} f={self.f.tolist()} g={self.g.tolist()}>"

    def __add__(self, other: Operand) -> "Node":
        return add(self, other)

    def __radd__(self, other: Operand) -> "Node":
        return add(other, self)

    def __sub__(self, other: Operand) -> "Node":
        return subtract(self, other)

    def __rsub__(self, other: Operand) -> "Node":
        return subtract(other, self)

    def __mul__(self, other: Operand) -> "Node":
        return multiply(self, other)

    def __rmul__(self, other: Operand) -> "Node":
        return multiply(other, self)

    def __truediv__(self, other: Operand) -> "Node":
        return divide(self, other)

    def __rtruediv__(self, other: Operand) -> "Node":
        return divide(other, self)

    def __matmul__(self, other: Operand) -> "Node":
        return matmul(self, other)

    def __rmatmul__(self, other: Operand) -> "Node":
        return matmul(other, self)

    def __pow__(self, other: Operand) -> "Node":
        return power(self, other)

    def __neg__(self) -> "Node":
        return negative(self)

    def __abs__(self) -> "Node":
        return absolute(self)

    @property
    def T(self) -> "Node":  # noqa: N802  (numpy's name)
        """The transpose."""
        return transpose(self)

    def sum(self, axis: int | None = None, keepdims: bool = False) -> "Node":
        """Return the sum of all elements, or of those along an axis."""
        return total(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: int | None = None, keepdims: bool = False) -> "Node":
        """Return the mean of all elements, or of those along an axis."""
        return mean(self, axis=axis, keepdims=keepdims)


class Constant(Node):
    """A leaf that isn't learned: a number, an input, a target. Set its ``f`` for the next example."""

    def __init__(self, value: ArrayLike, name: str = ""):
        super().__init__(None, (), {}, value, name)


class Parameter(Node):
    """A leaf to be learned."""

    def __init__(self, value: ArrayLike, name: str = ""):
        super().__init__(None, (), {}, value, name)


def order(root: Node) -> list[Node]:
    """Return the nodes of a graph, each after its operands, the root last.

    A node is born after its operands, which never change: the order of birth will do, and takes no recursion.
    """
    found, left = {root}, [root]
    while left:
        for operand in left.pop().operands:
            if operand not in found:
                found.add(operand)
                left.append(operand)
    return sorted(found, key=lambda node: node.born)


def parameters(root: Node) -> list[Parameter]:
    """Return the parameters that a graph depends on, the oldest first."""
    return [node for node in order(root) if isinstance(node, Parameter)]


def forward(root: Node) -> Array:
    """Set ``f`` of every node, from the leaves to the root; return the root's."""
    for node in order(root):
        node.evaluate()
    return root.f


def backward(root: Node, g: ArrayLike | None = None) -> None:
    """Set ``g`` of every node, from the root to the leaves.

    Parameters
    ----------
    root : Node
        Of a graph whose forward values stand.
    g : array_like, optional
        The root's own backward value, such as d loss / d score where the root is a score; 1 by default.
    """
    if g is None:
        if root.f.size != 1:
            raise ValueError(f"{root.label}: a root must hold one number, or its own g be given (got {root.f.shape})")
        g = 1.0
    nodes = order(root)
    for node in nodes:
        node.g = np.zeros_like(node.f)
    root.g += np.asarray(g, dtype=np.float64)
    for node in reversed(nodes):
        if node.op is not None:
            slopes = node.op.backward(node.g, node.f, *(operand.f for operand in node.operands), **node.settings)
            for operand, slope in zip(node.operands, slopes, strict=True):
                operand.g += summed_to(slope, operand.f.shape)  # paths that share a node add up


def summed_to(g: Array, shape: tuple[int, ...]) -> Array:
    """Return a gradient in the shape of an operand that was broadcast: an element used often has the sum of its gradients.

    >>> summed_to(np.ones((3, 2)), (2,)), summed_to(np.ones((3, 2)), (3, 1))
    (array([3., 3.]), array([[2.], [2.], [2.]]))
    """
    g = np.asarray(g)
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    stretched = tuple(i for i, size in enumerate(shape) if size == 1 and g.shape[i] != 1)
    return np.broadcast_to(g.sum(axis=stretched, keepdims=True), shape)


# ---- the building blocks -----------------------------------------------------------------------------------------------
OPS: dict[str, "Op"] = {}


@dataclass(frozen=True)
class Flat:
    """What an operation does element by element: `learner.graph.compiler` writes it as loops.

    Attributes
    ----------
    letters : callable
        ``(number of dimensions of a, of b, ..., **settings)`` -> which index runs where, in einsum's notation: ``"ik,kj->ij"``.
    value : callable
        ``(a, b, ...) -> x``: an element of the result, or what becomes one together with its like.
    slopes : callable
        ``(g, f, a, b, ...)`` -> the gradients that an element of the result sends to one element of each operand.
    reduce, start : ufunc, float
        How the x that share an element of the result make it one: by default their sum.
    averages : bool
        Whether values and gradients are divided by the number of x that share an element of the result.
    """

    letters: Callable[..., str]
    value: Callable[..., Any]
    slopes: Callable[..., tuple[Any, ...]]
    reduce: Callable[[Any, Any], Any] = np.add
    start: float = 0.0
    averages: bool = False


@dataclass(frozen=True, eq=False)
class Op:
    """A building block; calling it on nodes, numbers or arrays makes a node.

    Attributes
    ----------
    name : str
        What it is called; each has one entry in `OPS`.
    needs : str
        What its operands must be, for messages.
    forward : callable
        ``(a, b, ..., **settings) -> f``.
    backward : callable
        ``(g, f, a, b, ..., **settings)`` -> the gradient of each operand: g times the slope, before `summed_to`.
    flat : Flat or None
        The same for the compiler; None where that has a loop of its own.
    """

    name: str
    needs: str
    forward: Callable[..., Array]
    backward: Callable[..., tuple[Array, ...]]
    flat: Flat | None = None

    def __post_init__(self) -> None:
        OPS[self.name] = self

    def __call__(self, *operands: Operand, name: str = "", **settings: Any) -> Node:
        """Return a node of this operation."""
        nodes = tuple(operand if isinstance(operand, Node) else Constant(operand) for operand in operands)
        return Node(self, nodes, settings, 0.0, name)

    def __repr__(self) -> str:
        return f"<Op {self.name}>"


def aligned(*n_dimensions: int) -> str:
    """Return the letters of broadcasting: the last dimensions go together.

    >>> aligned(1, 2)
    'b,ab->ab'
    """
    letters = "abcdefgh"[: max(n_dimensions)]
    return ",".join(letters[len(letters) - n :] for n in n_dimensions) + "->" + letters


def elementwise(name: str, value: Callable[..., Any], slopes: Callable[..., tuple[Any, ...]]) -> Op:
    """Make a building block that works on each element: one rule serves arrays and, for the compiler, single elements."""
    return Op(name, "shapes that broadcast", value, slopes, Flat(aligned, value, slopes))


def _logistic(a: Any) -> Any:
    """Return ``1 / (1 + e^-a)``, written so that nothing overflows and nothing small is lost."""
    return np.exp(np.minimum(a, 0.0)) / (1.0 + np.exp(-np.abs(a)))


#                        name       its value           the gradient that it sends to each operand: g times the slope
add = elementwise("add", lambda a, b: a + b, lambda g, f, a, b: (g, g))
subtract = elementwise("subtract", lambda a, b: a - b, lambda g, f, a, b: (g, -g))
multiply = elementwise("multiply", lambda a, b: a * b, lambda g, f, a, b: (g * b, g * a))
divide = elementwise("divide", lambda a, b: a / b, lambda g, f, a, b: (g / b, -g * f / b))
negative = elementwise("negative", lambda a: -a, lambda g, f, a: (-g,))
maximum = elementwise("maximum", np.maximum, lambda g, f, a, b: (g * (a >= b), g * (a < b)))
minimum = elementwise("minimum", np.minimum, lambda g, f, a, b: (g * (a <= b), g * (a > b)))
absolute = elementwise("absolute", np.abs, lambda g, f, a: (g * (a > 0.0) - g * (a < 0.0),))
square = elementwise("square", lambda a: a * a, lambda g, f, a: (g * 2.0 * a,))
power = elementwise(  # the exponent has a gradient where the base is positive; elsewhere it is taken as 0
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


def _dot_letters(a: int, b: int) -> str:
    left, right, result = aligned(a - 1, b - 1).replace("->", ",").split(",")
    return f"{left}k,{right}k->{result}"


dot = Op(  # of vectors, or of each of a batch: over the last dimension
    "dot",
    "vectors of one size",
    lambda a, b: np.einsum("...k,...k->...", a, b),
    lambda g, f, a, b: (g[..., None] * b, g[..., None] * a),
    Flat(_dot_letters, lambda a, b: a * b, lambda g, f, a, b: (g * b, g * a)),
)


def _matmul_backward(g: Array, f: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Return ``g b^T`` and ``a^T g``, a vector taken as the row on the left or the column on the right that it stands for."""
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
transpose = Op(  # of a matrix, or of each of a batch
    "transpose",
    "a matrix",
    lambda a: a.swapaxes(-1, -2),
    lambda g, f, a: (g.swapaxes(-1, -2),),
    Flat(lambda a: f"{'abcd'[: a - 2]}ij->{'abcd'[: a - 2]}ji", lambda a: a, lambda g, f, a: (g,)),
)


def _spread(g: Array, a: Array, axis: int | None) -> Array:
    """Return the gradient of a sum, handed to each of its terms."""
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
log_sum_exp = Op(  # log(e^a_1 + ... + e^a_k) over the last dimension, which stays with size 1
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
    """Return the logarithms of a vector's softmax, or of each of a batch: ``a - log(e^a_1 + ... + e^a_k)``.

    >>> log_softmax(Constant([0.0, 0.0])).f
    array([-0.69314718, -0.69314718])
    """
    return a - log_sum_exp(a)


def softmax(a: Node) -> Node:
    """Return a vector's exponentials, or those of each of a batch, over their sum: probabilities.

    >>> softmax(Constant([1000.0, 1000.0])).f
    array([0.5, 0.5])
    """
    return exp(log_softmax(a))


def _sparse_product_backward(g: Array, f: Array, V: Array, columns: Array, values: Array) -> tuple[Array, Array, Array]:
    """Return the gradients; a column that isn't named has none, and a column number has no slope."""
    at = columns.astype(np.intp)
    of_V = np.zeros_like(V)
    np.add.at(of_V.T, at, g[..., None, :] * values[..., None])
    return of_V, np.zeros_like(columns), np.einsum("k...n,...k->...n", V[:, at], g)


sparse_product = (
    Op(  # V phi for a phi of few non-zeros, given as their columns and values: a sum of weighted columns of V
        "sparse_product",
        "a matrix, columns that it has and one value for each",
        lambda V, columns, values: np.einsum("k...n,...n->...k", V[:, columns.astype(np.intp)], values),
        _sparse_product_backward,
    )
)


# ---- losses: those of learner.losses, from building blocks -----------------------------------------------------------------
def squared_loss(score: Node, y: Operand) -> Node:
    """Return ``(score - y)^2``."""
    return square(score - y)


def logistic_loss(score: Node, y: Operand) -> Node:
    """Return ``log(1 + e^(-score y))``, for targets of -1 and +1."""
    return softplus(-(score * y))


def hinge_loss(score: Node, y: Operand) -> Node:
    """Return ``max(0, 1 - score y)``, for targets of -1 and +1; at the kink its slope is that of the constant, 0."""
    return maximum(0.0, 1.0 - score * y)


def quantile_loss(score: Node, y: Operand, level: float = 0.5) -> Node:
    """Return ``level (y - score)`` below the target and ``(1 - level) (score - y)`` above it; at the kink its slope is 0."""
    return level * maximum(0.0, y - score) + (1.0 - level) * maximum(0.0, score - y)


def poisson_loss(score: Node, y: ArrayLike | Node) -> Node:
    """Return the deviance ``2 (e^score - y - y (score - log y))``, for targets of at least 0; straight from a score of 32."""
    targets = np.asarray(y.f if isinstance(y, Node) else y, np.float64)
    log_y = np.log(np.where(targets > 0.0, targets, 1.0))
    c = minimum(score, 32.0)
    return 2.0 * (exp(c) * (1.0 + (score - c)) - (targets + targets * (score - log_y)))


LOSSES: dict[str, Callable[[Node, Operand], Node]] = {
    "squared": squared_loss,
    "logistic": logistic_loss,
    "hinge": hinge_loss,
    "quantile": quantile_loss,
    "poisson": poisson_loss,
}


# ---- following the gradient ------------------------------------------------------------------------------------------------
class SGD:
    """Stochastic gradient descent: ``w <- w - rate g``.

    Robbins and Monro, 1951, "A stochastic approximation method", equation 8, with a constant rate.
    """

    def __init__(self, rate: float):
        self.rate = rate

    def update(self, nodes: Iterable[Parameter]) -> None:
        """Move each parameter by its gradient."""
        for node in nodes:
            node.f = node.f - self.rate * node.g


class AdaGrad:
    """Per-weight rates from past gradients: ``G <- G + g^2``, ``w <- w - rate g / (sqrt(G) + delta)``.

    Duchi, Hazan and Singer, 2011, "Adaptive subgradient methods for online learning and stochastic optimization", figure 1,
    diagonal, without a regulariser.
    """

    def __init__(self, rate: float, delta: float = 1e-8):
        self.rate, self.delta = rate, delta
        self._squares: dict[Parameter, Array] = {}

    def update(self, nodes: Iterable[Parameter]) -> None:
        """Move each parameter by its gradient."""
        for node in nodes:
            squares = self._squares[node] = self._squares.get(node, 0.0) + node.g**2
            node.f = node.f - self.rate * node.g / (np.sqrt(squares) + self.delta)


class Adam:
    """Running means of gradients and of their squares, freed of their start at 0.

    ``m <- beta1 m + (1 - beta1) g``, ``v <- beta2 v + (1 - beta2) g^2``,
    ``w <- w - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)``.

    Kingma and Ba, 2015, "Adam: a method for stochastic optimization", algorithm 1.
    """

    def __init__(self, rate: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8):
        self.rate, self.beta1, self.beta2, self.epsilon = rate, beta1, beta2, epsilon
        self._state: dict[Parameter, tuple[int, Array, Array]] = {}

    def update(self, nodes: Iterable[Parameter]) -> None:
        """Move each parameter by its gradient."""
        for node in nodes:
            t, m, v = self._state.get(node, (0, np.zeros_like(node.f), np.zeros_like(node.f)))
            t += 1
            m = self.beta1 * m + (1.0 - self.beta1) * node.g
            v = self.beta2 * v + (1.0 - self.beta2) * node.g**2
            self._state[node] = t, m, v
            m_hat, v_hat = m / (1.0 - self.beta1**t), v / (1.0 - self.beta2**t)
            node.f = node.f - self.rate * m_hat / (np.sqrt(v_hat) + self.epsilon)


# ---- checking a gradient -----------------------------------------------------------------------------------------------
def check_gradient(root: Node, seed: int = 0, step: float = 1e-6, tolerance: float = 1e-6) -> None:
    """Raise AssertionError unless the gradient by every parameter agrees with central finite differences.

    The root is projected on a random direction, and each parameter moved along one: a single number then stands for the
    whole Jacobian, which a mistake in any of its elements changes.

    >>> a = Parameter([0.5, 2.0], "a")
    >>> check_gradient(square(square(a)))
    >>> check_gradient(relu(Parameter(0.0, "z")).named("h"))  # at a kink there is no gradient to agree with
    Traceback (most recent call last):
        ...
    AssertionError: h: the gradient by 'z' must be that of finite differences, -0.008... (got 0.0)
    """
    random = np.random.default_rng(seed)
    projection = random.standard_normal(forward(root).shape)
    backward(root, projection)
    for node in parameters(root):
        direction = random.standard_normal(node.f.shape)
        analytic = float(np.vdot(node.g, direction))
        at = node.f
        node.f = at + step * direction
        up = np.vdot(projection, forward(root))
        node.f = at - step * direction
        down = np.vdot(projection, forward(root))
        node.f = at
        numeric = float(up - down) / (2.0 * step)
        if not abs(analytic - numeric) <= tolerance * max(1.0, abs(analytic), abs(numeric)):
            rule = f"the gradient by '{node.label}' must be that of finite differences, {numeric!r}"
            raise AssertionError(f"{root.label}: {rule} (got {analytic!r})")
    forward(root)
