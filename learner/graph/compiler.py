"""The compiler: writes one example's forward and backward pass of a graph as flat loops over arrays, in Python source.

Evaluating a graph of `learner.graph` costs microseconds a node, but a learner that updates after every example can spend only
tens of nanoseconds a node. So the compiler writes the same graph as two functions of nested loops, without objects and without
allocation. A compiler such as numba's turns them into machine code (`learner.graph.loader`)::

    forward(n, bases, values, rows, inputs, parameters, scratch, sizes) -> score
    backward(d, inputs, parameters, scratch, gradients, sizes)

=============  =======  ===============================================================================================
``n``          int      the number of the example's features
``bases``      uint64   where in ``rows`` each feature's column of the sparse product's matrix starts
``values``     float32  the features' values
``rows``       float32  the columns of that matrix, each contiguous; the space between them is the caller's
``inputs``     float32  the graph's constants, one after the other: the inputs that are not sparse
``parameters`` float32  the graph's parameters, one after the other
``scratch``    float32  the forward and the backward values of all other nodes
``gradients``  float32  the gradient by each of the ``parameters``
``sizes``      uint64   how often each loop runs
``d``          float32  d loss / d score; through this one number any loss can train any graph
=============  =======  ===============================================================================================

``backward`` computes no gradient by the matrix of the sparse product. The gradient by the column of feature j is ``values[j]``
times the part of ``scratch`` at `Program.delta`, which all columns share, so the caller updates the columns in one loop.

The loop counts are constants of the graph, but the functions take them from the argument ``sizes``. If LLVM knows that a loop
is short, it unrolls the loop and no longer vectorises it. With 16 hidden units and 25 features, AdaGrad included, constants
give 2.1 million examples a second and ``sizes`` 2.7 million; in the caller's loop over the columns, which does most of the
work, 0.7 and 3 million.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner.graph.engine import Constant, Node, Op, Parameter, order
from learner.graph.loops import Nest, Text, index
from learner.graph.operations import sparse_product

__all__ = ["Program", "generate"]

HEAD = '''"""Written by learner.graph.compiler from a computation graph; not for editing."""

from numpy import exp, expm1, inf, log, log1p, logaddexp, tanh, uint64
from numpy import {real} as real
'''
FORWARD = "\n\ndef forward(n, bases, values, rows, inputs, parameters, scratch, sizes):\n"
BACKWARD = "\n\ndef backward(d, inputs, parameters, scratch, gradients, sizes):\n"


@dataclass(frozen=True)
class Program:
    """A graph's source, and the places of its values in the flat arrays.

    Attributes
    ----------
    source : str
        A Python module with the functions ``forward`` and ``backward``.
    real : str
        The type of the numbers: ``"float32"`` or ``"float64"``.
    sizes : ndarray of uint64
        The functions' argument of this name.
    parameters, inputs : dict of Node to slice
        The place of each leaf in the array of this name. The gradient by a parameter has the same place in ``gradients``.
    values, slopes : dict of Node to slice
        The places in ``scratch`` of the other nodes' forward and backward values.
    sparse : Node or None
        The graph's sparse product, if it has one.
    n_scratch : int
        The length of ``scratch``.
    """

    source: str
    real: str
    sizes: NDArray[np.uint64]
    parameters: dict[Node, slice]
    inputs: dict[Node, slice]
    values: dict[Node, slice]
    slopes: dict[Node, slice]
    sparse: Node | None
    n_scratch: int

    @property
    def delta(self) -> slice:
        """The place in ``scratch`` of the gradient by the sparse product, which all columns share.

        Raises
        ------
        ValueError
            When the graph has no sparse product.
        """
        if self.sparse is None:
            raise ValueError("delta: the graph must have a sparse product (got none)")
        return self.slopes[self.sparse]

    def pack(self, places: dict[Node, slice]) -> NDArray[Any]:
        """Return the forward values of `parameters` or of `inputs` as the functions' flat array of the same name."""
        flat = np.empty(sum(node.f.size for node in places), dtype=self.real)
        for node, place in places.items():
            flat[place] = node.f.ravel()
        return flat

    def scratch(self) -> NDArray[Any]:
        """Return a new scratch array of zeros."""
        return np.zeros(self.n_scratch, dtype=self.real)


def generate(root: Node, real: str = "float32") -> Program:
    """Return the forward and the backward pass of a graph as flat functions.

    Parameters
    ----------
    root : Node
        A node of one number, the score. The graph may have one sparse product, of a parameter and two constants that no other
        node uses. A nameless constant of one number becomes a number in the source; other constants are inputs.
    real : str
        ``"float32"`` or ``"float64"``.

    Raises
    ------
    ValueError
        When the graph can't be written so; the message says why.

    Examples
    --------
    >>> from learner.graph import Parameter, relu
    >>> program = generate(relu(Parameter(2.0, "a") * 3.0).named("score"))
    >>> print(program.source[program.source.index("def") :])
    def forward(n, bases, values, rows, inputs, parameters, scratch, sizes):
        # 2: multiply of a, 3.0
        scratch[F2] = parameters[F0] * real(3.0)
        # 3: score = relu of 2
        scratch[F3] = max(scratch[F2], real(0.0))
        return scratch[F3]
    <BLANKLINE>
    <BLANKLINE>
    def backward(d, inputs, parameters, scratch, gradients, sizes):
        scratch[G3] = d
        # 3: score = relu of 2
        scratch[G2] = scratch[G3] * (scratch[F2] > real(0.0))
        # 2: multiply of a, 3.0
        gradients[G0] = scratch[G2] * real(3.0)
    <BLANKLINE>
    """
    return _Writer(root, real).program()


class _Writer:
    """Writes a program; its state is the layout of the arrays and the lines so far.

    Three words: a *nest* is one statement within loops; each loop runs over a *letter* of the operation's einsum notation; an
    *element* is the text of one array element at the loops' indices.
    """

    def __init__(self, root: Node, real: str):
        if root.f.size != 1:
            raise ValueError(
                f"{root.label}: the root of a compiled graph must be one number (got shape {root.f.shape})"
            )
        if real not in ("float32", "float64"):
            raise ValueError(f"real: must be 'float32' or 'float64' (got {real!r})")
        self.root, self.real = root, real
        self.nodes = order(root)
        self.numbers = {node: i for i, node in enumerate(self.nodes)}
        self.sparse = self._find_sparse()
        outside = set(self.sparse.operands) if self.sparse else set()
        leaves = [node for node in self.nodes if node.op is None and node not in outside]
        self.steps = [(node, node.op) for node in self.nodes if node.op is not None]
        inner = [node for node, _ in self.steps]
        self.parameters = _laid_out(node for node in leaves if isinstance(node, Parameter))
        self.inputs = _laid_out(node for node in leaves if isinstance(node, Constant) and not _is_literal(node))
        self.values = _laid_out(inner)
        self.learned: set[Node] = set()
        for node in self.nodes:
            if isinstance(node, Parameter) or any(operand in self.learned for operand in node.operands):
                self.learned.add(node)
        self.slopes = _laid_out((node for node in inner if node in self.learned), sum(node.f.size for node in inner))
        self.sizes: dict[int, int] = {}  # a loop's count -> its index in `sizes`
        self.lines: list[str] = []

    def _find_sparse(self) -> Node | None:
        """Return the sparse product, if there is one; raise ValueError if the program can't have it."""
        products = [node for node in self.nodes if node.op is sparse_product]
        if not products:
            return None
        if len(products) > 1:
            raise ValueError(f"{self.root.label}: a compiled graph may have one sparse product (got {len(products)})")
        sparse = products[0]
        matrix, *phi = sparse.operands
        users = [node for node in self.nodes for operand in node.operands if operand in sparse.operands]
        if not isinstance(matrix, Parameter) or not all(isinstance(leaf, Constant) for leaf in phi) or len(users) != 3:
            rule = "a compiled sparse product must be of a parameter and two constants that nothing else uses"
            raise ValueError(f"{sparse.label}: {rule} (got {', '.join(leaf.label for leaf in sparse.operands)})")
        if sparse.f.ndim != 1:
            raise ValueError(
                f"{sparse.label}: a compiled sparse product is of one example (got shape {sparse.f.shape})"
            )
        return sparse

    # ---- the whole -----------------------------------------------------------------------------------------------------
    def program(self) -> Program:
        """Write both passes and return them as a program."""
        for node, op in self.steps:
            self.lines.append(f"    # {self._comment(node, op)}")
            self._forward(node, op)
        forward_lines = [*self._counts(), *self.lines, f"    return {self.value(self.root, '')}"]
        self.lines = []
        if self.root in self.parameters | self.slopes:
            self.lines.append(f"    {self.slope(self.root, '')} = d")
        begun: set[Node] = set()
        for node, op in reversed(self.steps):
            if node in self.learned and node is not self.sparse:
                self.lines.append(f"    # {self._comment(node, op)}")
                self._backward(node, op, begun)
        backward_lines = [*self._counts(), *self.lines] if self.lines else ["    pass"]
        source = HEAD.format(real=self.real) + self._places()
        source += FORWARD + "\n".join(forward_lines) + "\n" + BACKWARD + "\n".join(backward_lines) + "\n"
        return Program(
            source,
            self.real,
            np.array(list(self.sizes) or [0], dtype=np.uint64),
            self.parameters,
            self.inputs,
            self.values,
            self.slopes,
            self.sparse,
            sum(node.f.size for node in [*self.values, *self.slopes]),
        )

    def _places(self) -> str:
        """Return the lines that say where each node's values start: ``F3`` and ``G3`` for ``f`` and ``g`` of node 3."""
        places = [("F", self.parameters | self.inputs | self.values), ("G", self.parameters | self.slopes)]
        named = [(self.numbers[node], kind, place.start) for kind, by_node in places for node, place in by_node.items()]
        return "".join(f"{kind}{number} = uint64({start})\n" for number, kind, start in sorted(named))

    def _counts(self) -> list[str]:
        """Return the lines that take from ``sizes`` the loop counts that the lines so far use."""
        text = "\n".join(self.lines)
        return [
            f"    N{size} = sizes[uint64({at})]" for size, at in self.sizes.items() if re.search(rf"\bN{size}\b", text)
        ]

    def _comment(self, node: Node, op: Op) -> str:
        """Return what a node is, for a comment. Only an identifier is shown as its name: other text could end the comment."""
        name = f"{node.name} = " if node.name.isidentifier() else ""
        of = ", ".join(self._short(operand) for operand in node.operands)
        return f"{self.numbers[node]}: {name}{op.name} of {of}"

    def _short(self, node: Node) -> str:
        """Return an operand for a comment: its value if it is a literal, or its name, or its place in the order of nodes."""
        if _is_literal(node):
            return repr(node.f.item())
        return node.name if node.name.isidentifier() else str(self.numbers[node])

    # ---- one node --------------------------------------------------------------------------------------------------------
    def _forward(self, node: Node, op: Op) -> None:
        if node is self.sparse:
            self._sparse_forward(node)
            return
        nest = Nest.of(node, op)
        value = nest.flat.value(*self._elements(node, nest))
        target = self.value(node, nest.result)
        self._statement(nest, nest.result, target, nest.scaled(value), "=", nest.flat.reduce, nest.flat.start)

    def _sparse_forward(self, node: Node) -> None:
        target, column = self.value(node, "i"), index(node, "i")
        sizes = {"i": node.f.size} if column else {}
        letters = "".join(sizes)
        self._loops(letters, sizes, [f"{target} = real(0.0)"])
        self.lines += ["    for j in range(uint64(n)):", "        base = bases[j]", "        value = values[j]"]
        body = self._indented(letters, sizes, [f"{target} += value * rows[base{column}]"])
        self.lines += ["        " + line for line in body]

    def _backward(self, node: Node, op: Op, begun: set[Node]) -> None:
        """Write how a node sends its gradient to its operands: the first gradient that an operand gets sets, others add."""
        nest = Nest.of(node, op)
        g, f = Text(self.slope(node, nest.result)), Text(self.value(node, nest.result))
        slopes = nest.flat.slopes(g, f, *self._elements(node, nest))
        for operand, letters, slope in zip(node.operands, nest.operands, slopes, strict=True):
            if operand in self.learned:
                kept = "".join(letter for letter, n in zip(letters, operand.f.shape, strict=True) if n > 1)
                sets = "+=" if operand in begun else "="
                self._statement(nest, kept, self.slope(operand, letters), nest.scaled(slope), sets)
                begun.add(operand)

    # ---- text --------------------------------------------------------------------------------------------------------------
    def _elements(self, node: Node, nest: Nest) -> list[Text]:
        """Return the operands' elements at the loops' indices."""
        return [
            Text(self.value(operand, letters)) for operand, letters in zip(node.operands, nest.operands, strict=True)
        ]

    def value(self, node: Node, letters: str) -> str:
        """Return the text of an element of a node's forward value."""
        if _is_literal(node):
            return f"real({node.f.item()!r})"
        array = "parameters" if node in self.parameters else "inputs" if node in self.inputs else "scratch"
        return f"{array}[F{self.numbers[node]}{index(node, letters)}]"

    def slope(self, node: Node, letters: str) -> str:
        """Return the text of an element of a node's backward value."""
        array = "gradients" if node in self.parameters else "scratch"
        return f"{array}[G{self.numbers[node]}{index(node, letters)}]"

    def _statement(
        self,
        nest: Nest,
        kept: str,
        target: str,
        value: Text,
        sets: str,
        reduce: Callable[[Any, Any], Any] = np.add,
        start: float = 0.0,
    ) -> None:
        """Write ``target = value`` within its loops; values are reduced along the letters that the target doesn't have."""
        letters, sizes = nest.order, nest.sizes
        inside = "".join(letter for letter in letters if letter in kept)
        across = "".join(letter for letter in letters if letter not in kept)
        if not across:
            self._loops(letters, sizes, [f"{target} {sets} {value.bare}"])
        elif reduce is np.add and letters[-1] in kept:
            # the innermost loop runs along the target: it sums in memory, and LLVM vectorises it
            if sets == "=":
                self._loops(inside, sizes, [f"{target} = real(0.0)"])
            self._loops(letters, sizes, [f"{target} += {value.bare}"])
        else:  # the innermost loop runs across the target: it sums in a register
            body = self._indented(across, sizes, [f"t = {reduce(Text('t'), value).bare}"])
            self._loops(inside, sizes, [f"t = real({start!r})", *body, f"{target} {sets} t"])

    def _loops(self, letters: str, sizes: dict[str, int], body: list[str]) -> None:
        """Add a body within its loops to the lines."""
        self.lines += ["    " + line for line in self._indented(letters, sizes, body)]

    def _indented(self, letters: str, sizes: dict[str, int], body: list[str]) -> list[str]:
        """Return a body within its loops, the outermost first; note the loop counts in `sizes`."""
        for letter in letters:
            self.sizes.setdefault(sizes[letter], len(self.sizes))
        heads = ["    " * i + f"for i{letter} in range(N{sizes[letter]}):" for i, letter in enumerate(letters)]
        return heads + ["    " * len(letters) + line for line in body]


def _is_literal(node: Node) -> bool:
    """Return whether a node is written into the source as a number: a nameless constant of one finite number."""
    return isinstance(node, Constant) and not node.name and node.f.size == 1 and math.isfinite(node.f.item())


def _laid_out(nodes: Iterable[Node], start: int = 0) -> dict[Node, slice]:
    """Return the places of nodes' values in a flat array, one after the other from a start."""
    places = {}
    for node in nodes:
        places[node] = slice(start, start + node.f.size)
        start += node.f.size
    return places
