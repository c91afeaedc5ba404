"""The text of an operation's loops: its elements as text, and the loops around them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from learner.graph.engine import Flat, Node, Op

__all__ = ["Nest", "Text", "index"]

PYTHON: dict[Callable[..., Any], str] = {
    np.add: "({} + {})",
    np.subtract: "({} - {})",
    np.multiply: "({} * {})",
    np.divide: "({} / {})",
    np.power: "({} ** {})",
    np.negative: "(-{})",
    np.greater: "({} > {})",
    np.greater_equal: "({} >= {})",
    np.less: "({} < {})",
    np.less_equal: "({} <= {})",
    np.maximum: "max({}, {})",
    np.minimum: "min({}, {})",
    np.absolute: "abs({})",
    np.exp: "exp({})",
    np.expm1: "expm1({})",
    np.log: "log({})",
    np.log1p: "log1p({})",
    np.logaddexp: "logaddexp({}, {})",
    np.tanh: "tanh({})",
}


class Text(NDArrayOperatorsMixin):
    """An element of an array as text: an operation's rule, applied to such elements, returns the text of its expression.

    numpy passes every operator and function of numpy to `__array_ufunc__`, so the rules of `learner.graph.operations` serve for
    numbers and for text.

    >>> a, b = Text("a"), Text("b")
    >>> (np.maximum(a, 0.0) * -b).text
    '(max(a, real(0.0)) * (-b))'
    """

    def __init__(self, text: str):
        self.text = text

    @property
    def bare(self) -> str:
        """The text without the parentheses around the whole."""
        depth = 0
        for i, character in enumerate(self.text):
            depth += (character == "(") - (character == ")")
            if depth == 0 and i + 1 < len(self.text):
                return self.text
        return self.text[1:-1] if self.text.startswith("(") else self.text

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> "Text":
        arguments = [x.text if isinstance(x, Text) else f"real({float(x)!r})" for x in inputs]
        return Text(PYTHON[ufunc].format(*arguments))


@dataclass(frozen=True)
class Nest:
    """The loops of one node, each over a letter of its operation's einsum notation.

    Attributes
    ----------
    flat : Flat
        The operation element by element.
    operands, result : list of str, str
        The letters of each operand and of the result.
    sizes : dict of str to int
        How often the loop over a letter runs; letters of size 1 have no loop.
    n_terms : int
        How many terms are reduced to one element of the result.
    """

    flat: Flat
    operands: list[str]
    result: str
    sizes: dict[str, int]
    n_terms: int

    @classmethod
    def of(cls, node: Node, op: Op) -> "Nest":
        """Return a node's loops.

        Raises
        ------
        ValueError
            When the operation has no flat form.
        """
        if op.flat is None:
            raise ValueError(f"{node.label}: a compiled operation must have a flat form (got {op.name})")
        notation = op.flat.letters(*(operand.f.ndim for operand in node.operands), **node.settings)
        left, result = notation.split("->")
        operands = left.split(",")
        sizes: dict[str, int] = {}
        for letters, operand in zip(operands, node.operands, strict=True):
            sizes |= {letter: n for letter, n in zip(letters, operand.f.shape, strict=True) if n > 1}
        return cls(op.flat, operands, result, sizes, math.prod(sizes.values()) // node.f.size)

    @property
    def order(self) -> str:
        """The loops' letters, outermost first: first those of the largest operand, so that its memory is read in sequence."""
        largest = max(self.operands, key=lambda letters: math.prod(self.sizes.get(letter, 1) for letter in letters))
        return "".join(letter for letter in dict.fromkeys(largest + "".join(self.operands)) if letter in self.sizes)

    def scaled(self, x: Text) -> Text:
        """Return a value or a gradient, divided by the number of terms if the operation averages."""
        return x / float(self.n_terms) if self.flat.averages else x


def index(node: Node, letters: str) -> str:
    """Return the text of an element's offset from its node's start: the sum of each index times its stride."""
    text, stride = "", node.f.size
    for letter, size in zip(letters, node.f.shape, strict=bool(letters)):
        stride //= size
        if size > 1:
            text += f" + i{letter}" + (f" * uint64({stride})" if stride > 1 else "")
    return text
