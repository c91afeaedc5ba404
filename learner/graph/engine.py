"""The engine: nodes, the forward and the backward pass over them, and what an operation is.

The operations themselves are in `learner.graph.operations`; Python's operators on nodes look theirs up in `OPS`.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "OPS",
    "Array",
    "Constant",
    "Flat",
    "Node",
    "Op",
    "Operand",
    "Parameter",
    "backward",
    "forward",
    "order",
    "parameters",
    "summed_to",
]

Array: TypeAlias = NDArray[np.float64]
Operand: TypeAlias = "Node | ArrayLike"

OPS: dict[str, "Op"] = {}  # every operation by its name; each enters itself
_births = itertools.count()


# ---- nodes -----------------------------------------------------------------------------------------------------------
class Node:
    """One subexpression: an operation on other nodes, or a leaf, which has no operation.

    A node is evaluated when it is created, so that shapes that don't fit raise on the line that combines them. `forward`
    evaluates it again.

    Attributes
    ----------
    op : Op or None
        The operation; None for a leaf.
    operands : tuple of Node
        The nodes that the operation is applied to.
    settings : dict
        The operation's other arguments, such as the axis of a sum.
    f, g : ndarray of float64
        The forward and the backward value, of the same shape.
    name : str
        The name in drawings and messages; may be empty.
    born : int
        The number of nodes that were created before this one.
    """

    __slots__ = ("born", "f", "g", "name", "op", "operands", "settings")
    __array_ufunc__ = None  # makes numpy leave ``array * node`` to `__rmul__`

    def __init__(
        self, op: "Op | None", operands: "tuple[Node, ...]", settings: dict[str, Any], f: ArrayLike, name: str
    ):
        self.op, self.operands, self.settings, self.name = op, operands, settings, name
        self.born = next(_births)
        self.f: Array = np.array(f, dtype=np.float64)
        self.evaluate()
        self.g: Array = np.zeros_like(self.f)

    def evaluate(self) -> None:
        """Set the forward value from the operands' forward values.

        Raises
        ------
        ValueError
            When the operands' shapes don't fit the operation.
        """
        if self.op is None:
            self.f = np.asarray(self.f, dtype=np.float64)
            return
        try:
            f = self.op.forward(*(operand.f for operand in self.operands), **self.settings)
        except (ValueError, IndexError) as error:
            shapes = " and ".join(f"{operand.label} {np.shape(operand.f)}" for operand in self.operands)
            raise ValueError(f"{self.label}: {self.op.name} needs {self.op.needs} (got {shapes})") from error
        self.f = np.asarray(f, dtype=np.float64)

    @property
    def label(self) -> str:
        """The node's name; without one, the name of its operation or the kind of leaf."""
        return self.name or (self.op.name if self.op else type(self).__name__.lower())

    def named(self, name: str) -> Self:
        """Name the node; return it."""
        self.name = name
        return self

    def __repr__(self) -> str:
        return f"<{self.label} f={self.f.tolist()} g={self.g.tolist()}>"

    def __add__(self, other: Operand) -> "Node":
        return OPS["add"](self, other)

    def __radd__(self, other: Operand) -> "Node":
        return OPS["add"](other, self)

    def __sub__(self, other: Operand) -> "Node":
        return OPS["subtract"](self, other)

    def __rsub__(self, other: Operand) -> "Node":
        return OPS["subtract"](other, self)

    def __mul__(self, other: Operand) -> "Node":
        return OPS["multiply"](self, other)

    def __rmul__(self, other: Operand) -> "Node":
        return OPS["multiply"](other, self)

    def __truediv__(self, other: Operand) -> "Node":
        return OPS["divide"](self, other)

    def __rtruediv__(self, other: Operand) -> "Node":
        return OPS["divide"](other, self)

    def __matmul__(self, other: Operand) -> "Node":
        return OPS["matmul"](self, other)

    def __rmatmul__(self, other: Operand) -> "Node":
        return OPS["matmul"](other, self)

    def __pow__(self, other: Operand) -> "Node":
        return OPS["power"](self, other)

    def __neg__(self) -> "Node":
        return OPS["negative"](self)

    def __abs__(self) -> "Node":
        return OPS["absolute"](self)

    @property
    def T(self) -> "Node":  # noqa: N802  (numpy's name)
        """The transpose."""
        return OPS["transpose"](self)

    def sum(self, axis: int | None = None, keepdims: bool = False) -> "Node":
        """Return the sum of all elements, or of those along an axis."""
        return OPS["sum"](self, axis=axis, keepdims=keepdims)

    def mean(self, axis: int | None = None, keepdims: bool = False) -> "Node":
        """Return the mean of all elements, or of those along an axis."""
        return OPS["mean"](self, axis=axis, keepdims=keepdims)


class Constant(Node):
    """A leaf that isn't learned: a number, an input, a target. Set its ``f`` for the next example."""

    def __init__(self, value: ArrayLike, name: str = ""):
        super().__init__(None, (), {}, value, name)


class Parameter(Node):
    """A leaf that is learned."""

    def __init__(self, value: ArrayLike, name: str = ""):
        super().__init__(None, (), {}, value, name)


# ---- the two passes --------------------------------------------------------------------------------------------------
def order(root: Node) -> list[Node]:
    """Return the nodes of a graph, each after its operands, the root last.

    A node is created after its operands, and these never change, so the order of creation is such an order. Finding it takes
    no recursion: graphs may be as deep as memory allows.
    """
    seen, todo = {root}, [root]
    while todo:
        for operand in todo.pop().operands:
            if operand not in seen:
                seen.add(operand)
                todo.append(operand)
    return sorted(seen, key=lambda node: node.born)


def parameters(root: Node) -> list[Parameter]:
    """Return the parameters that a graph depends on, the oldest first."""
    return [node for node in order(root) if isinstance(node, Parameter)]


def forward(root: Node) -> Array:
    """Set ``f`` of every node, from the leaves to the root; return the root's."""
    for node in order(root):
        node.evaluate()
    return root.f


def backward(root: Node, g: ArrayLike | None = None) -> None:
    """Set ``g`` of every node, from the root to the leaves. The forward values must be up to date.

    Parameters
    ----------
    root : Node
        The root of the graph.
    g : array_like, optional
        The root's own backward value, 1 by default. If the root is a score, d loss / d score gives the loss's gradients.

    Raises
    ------
    ValueError
        When the root holds several numbers and ``g`` is missing.
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
    """Return the gradient by an operand that was broadcast from a shape.

    Broadcasting uses an element several times; its gradient is the sum over these uses.

    >>> summed_to(np.ones((3, 2)), (2,)), summed_to(np.ones((3, 2)), (3, 1))
    (array([3., 3.]), array([[2.], [2.], [2.]]))
    """
    g = np.asarray(g)
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    stretched = tuple(i for i, size in enumerate(shape) if size == 1 and g.shape[i] != 1)
    return np.broadcast_to(g.sum(axis=stretched, keepdims=True), shape)


# ---- what an operation is --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Flat:
    """An operation element by element, for `learner.graph.compiler`, which writes it as loops.

    The loops compute one *term* for each combination of indices. If several terms belong to one element of the result, they
    are reduced to it.

    Attributes
    ----------
    letters : callable
        ``(number of dimensions of a, of b, ..., **settings)`` -> which index runs over which dimension, in einsum's notation:
        ``"ik,kj->ij"``.
    value : callable
        ``(a, b, ...) -> term``, of single elements.
    slopes : callable
        ``(g, f, a, b, ...)`` -> the gradients that an element of the result sends to one element of each operand.
    reduce, start : ufunc, float
        How terms are reduced, and from which start; by default they are summed.
    averages : bool
        Whether values and gradients are divided by the number of terms in an element of the result.
    """

    letters: Callable[..., str]
    value: Callable[..., Any]
    slopes: Callable[..., tuple[Any, ...]]
    reduce: Callable[[Any, Any], Any] = np.add
    start: float = 0.0
    averages: bool = False


@dataclass(frozen=True, eq=False)
class Op:
    """An operation: a building block of graphs. Calling it on nodes, numbers or arrays returns a new node.

    Attributes
    ----------
    name : str
        Its name, and its key in `OPS`.
    needs : str
        What its operands must be, for messages.
    forward : callable
        ``(a, b, ..., **settings) -> f``.
    backward : callable
        ``(g, f, a, b, ..., **settings)`` -> the gradient by each operand, g times the slope. It may still have the shape of the
        result where an operand was broadcast: `summed_to` follows.
    flat : Flat or None
        The same for the compiler; None if an operation has no such form.
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
