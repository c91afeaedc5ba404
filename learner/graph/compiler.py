"""A computation graph writes its own kernel: one example's forward and backward pass as flat loops over arrays.

Evaluated node by node, a graph of `learner.graph.engine` costs microseconds a node; online learning needs an update an example, in
tens of nanoseconds a node. So the same graph is also written out as Python source: two functions of nested loops, with no
objects and no allocation in them, which a compiler such as numba's turns into machine code::

    forward(n, bases, us, rows, inputs, parameters, scratch, sizes) -> score
    backward(d, inputs, parameters, scratch, gradients, sizes)

=============  =======  ===============================================================================================
``n``          int      how many features the example has
``bases``      uint64   where in ``rows`` each feature's column of the sparse product's matrix starts
``us``         float32  the features' values
``rows``       float32  columns of that matrix, each contiguous; between them may lie what the caller likes
``inputs``     float32  the graph's constants, one behind the other: inputs that are not sparse
``parameters`` float32  the graph's parameters, one behind the other
``scratch``    float32  the forward and backward value of every other node
``gradients``  float32  the gradient by each of the ``parameters``
``sizes``      uint64   how often each loop runs
``d``          float32  d loss / d score: one number joins every loss to every graph
=============  =======  ===============================================================================================

The matrix of the sparse product has no gradient of its own: that by the column of feature j is ``us[j]`` times the shared
`Program.delta`, so the caller updates the columns in one loop.

Every loop count comes from the argument ``sizes`` although it is known here: a loop that LLVM knows to be short is unrolled
before it could be vectorised. With 16 hidden units and 25 features that is 2.1 against 2.7 million examples a second, AdaGrad
included; in the caller's loop over the columns, which does most of the work, 0.7 against 3.
"""

import hashlib
import math
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from learner.graph.engine import Constant, Flat, Node, Op, Parameter, order, sparse_product

__all__ = ["Program", "generate", "load"]

HEAD = '''"""Written by learner.graph.compiler from a computation graph; not for editing."""

from numpy import exp, expm1, inf, log, log1p, logaddexp, tanh, uint64
from numpy import {real} as real
'''
WRITTEN: dict[Callable[..., Any], str] = {
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
FORWARD = "\n\ndef forward(n, bases, us, rows, inputs, parameters, scratch, sizes):\n"
BACKWARD = "\n\ndef backward(d, inputs, parameters, scratch, gradients, sizes):\n"


@dataclass(frozen=True)
class Program:
    """A graph's source and where its values lie in the flat arrays.

    Attributes
    ----------
    source : str
        A Python module with the functions ``forward`` and ``backward``.
    real : str
        The type of the numbers: ``"float32"`` or ``"float64"``.
    sizes : ndarray of uint64
        What the functions want of that name.
    parameters, inputs : dict of Node to slice
        The leaves, and where each lies in the array of that name; the gradient by a parameter lies alike in ``gradients``.
    values, slopes : dict of Node to slice
        Where in ``scratch`` the forward and backward values of the other nodes lie.
    sparse : Node or None
        The sparse product, if there is one.
    n_scratch : int
        How long ``scratch`` must be.
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
        """Where in ``scratch`` the shared gradient of the sparse product lies: that by its column j is ``us[j] * delta``."""
        if self.sparse is None:
            raise ValueError("delta: the graph must have a sparse product (got none)")
        return self.slopes[self.sparse]

    def pack(self, places: dict[Node, slice]) -> NDArray[Any]:
        """Return the forward values of ``parameters`` or of ``inputs`` as the flat array of that name."""
        flat = np.empty(sum(node.f.size for node in places), dtype=self.real)
        for node, place in places.items():
            flat[place] = node.f.ravel()
        return flat

    def scratch(self) -> NDArray[Any]:
        """Return a scratch array."""
        return np.zeros(self.n_scratch, dtype=self.real)


def generate(root: Node, real: str = "float32") -> Program:
    """Write the forward and backward pass of a graph as flat functions.

    Parameters
    ----------
    root : Node
        A node of one number, the score. At most one sparse product may be below it, of a parameter and two constants that
        nothing else uses. A number written into the expression is written into the source; other constants are inputs.
    real : str
        ``"float32"`` or ``"float64"``.

    Examples
    --------
    >>> from learner.graph.engine import Parameter, relu
    >>> program = generate(relu(Parameter(2.0, "a") * 3.0).named("score"))
    >>> print(program.source[program.source.index("def") :])
    def forward(n, bases, us, rows, inputs, parameters, scratch, sizes):
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


class _Text(NDArrayOperatorsMixin):
    """An element that isn't a number yet: a rule that is applied to it comes out as text.

    numpy hands us every operator and function that meets it, so the rules of `learner.graph.engine` are written once.

    >>> a, b = _Text("a"), _Text("b")
    >>> (np.maximum(a, 0.0) * -b).text
    '(max(a, real(0.0)) * (-b))'
    """

    def __init__(self, text: str):
        self.text = text

    @property
    def bare(self) -> str:
        """The text without the parentheses around all of it."""
        depth = 0
        for i, character in enumerate(self.text):
            depth += (character == "(") - (character == ")")
            if depth == 0 and i + 1 < len(self.text):
                return self.text
        return self.text[1:-1] if self.text.startswith("(") else self.text

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> "_Text":
        words = [x.text if isinstance(x, _Text) else f"real({float(x)!r})" for x in inputs]
        return _Text(WRITTEN[ufunc].format(*words))


class _Writer:
    """What is known while a program is written.

    Its words: a *nest* is one statement within loops; each loop runs over a *letter* of the operation's einsum notation; an
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
        self.sizes: dict[int, int] = {}  # a loop's count -> where in `sizes` it stands
        self.lines: list[str] = []

    def _find_sparse(self) -> Node | None:
        found = [node for node in self.nodes if node.op is sparse_product]
        if not found:
            return None
        if len(found) > 1:
            raise ValueError(f"{self.root.label}: a compiled graph may have one sparse product (got {len(found)})")
        sparse = found[0]
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
        """Return the program."""
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
        """Return the lines that name where each node's values start: ``F3`` the forward, ``G3`` the backward ones of node 3."""
        places = [("F", self.parameters | self.inputs | self.values), ("G", self.parameters | self.slopes)]
        named = [(self.numbers[node], kind, place.start) for kind, of in places for node, place in of.items()]
        return "".join(f"{kind}{number} = uint64({start})\n" for number, kind, start in sorted(named))

    def _counts(self) -> list[str]:
        """Return the lines that fetch the loop counts which the lines so far use."""
        text = "\n".join(self.lines)
        return [
            f"    N{size} = sizes[uint64({at})]" for size, at in self.sizes.items() if re.search(rf"\bN{size}\b", text)
        ]

    def _comment(self, node: Node, op: Op) -> str:
        """Return what a node is; of its name only what can't end the comment."""
        name = f"{node.name} = " if node.name.isidentifier() else ""
        of = ", ".join(self._short(operand) for operand in node.operands)
        return f"{self.numbers[node]}: {name}{op.name} of {of}"

    def _short(self, node: Node) -> str:
        if _is_literal(node):
            return repr(node.f.item())
        return node.name if node.name.isidentifier() else str(self.numbers[node])

    # ---- one node --------------------------------------------------------------------------------------------------------
    def _forward(self, node: Node, op: Op) -> None:
        if node is self.sparse:
            self._sparse_forward(node)
            return
        nest = _Nest.of(node, op)
        value = nest.flat.value(*self._elements(node, nest))
        target = self.value(node, nest.result)
        self._statement(nest, nest.result, target, nest.scaled(value), "=", nest.flat.reduce, nest.flat.start)

    def _sparse_forward(self, node: Node) -> None:
        target, column = self.value(node, "i"), _index(node, "i")
        sizes = {"i": node.f.size} if column else {}
        letters = "".join(sizes)
        self._loops(letters, sizes, [f"{target} = real(0.0)"])
        self.lines += ["    for j in range(uint64(n)):", "        base = bases[j]", "        u = us[j]"]
        body = self._indented(letters, sizes, [f"{target} += u * rows[base{column}]"])
        self.lines += ["        " + line for line in body]

    def _backward(self, node: Node, op: Op, begun: set[Node]) -> None:
        """Send the node's gradient to its operands: the first to come sets, others add."""
        nest = _Nest.of(node, op)
        g, f = _Text(self.slope(node, nest.result)), _Text(self.value(node, nest.result))
        slopes = nest.flat.slopes(g, f, *self._elements(node, nest))
        for operand, letters, slope in zip(node.operands, nest.operands, slopes, strict=True):
            if operand in self.learned:
                kept = "".join(letter for letter, n in zip(letters, operand.f.shape, strict=True) if n > 1)
                sets = "+=" if operand in begun else "="
                self._statement(nest, kept, self.slope(operand, letters), nest.scaled(slope), sets)
                begun.add(operand)

    # ---- text --------------------------------------------------------------------------------------------------------------
    def _elements(self, node: Node, nest: "_Nest") -> list[_Text]:
        return [
            _Text(self.value(operand, letters)) for operand, letters in zip(node.operands, nest.operands, strict=True)
        ]

    def value(self, node: Node, letters: str) -> str:
        """Return the text of an element of a node's forward value."""
        if _is_literal(node):
            return f"real({node.f.item()!r})"
        array = "parameters" if node in self.parameters else "inputs" if node in self.inputs else "scratch"
        return f"{array}[F{self.numbers[node]}{_index(node, letters)}]"

    def slope(self, node: Node, letters: str) -> str:
        """Return the text of an element of a node's backward value."""
        array = "gradients" if node in self.parameters else "scratch"
        return f"{array}[G{self.numbers[node]}{_index(node, letters)}]"

    def _statement(
        self,
        nest: "_Nest",
        kept: str,
        target: str,
        value: _Text,
        sets: str,
        reduce: Callable[[Any, Any], Any] = np.add,
        start: float = 0.0,
    ) -> None:
        """Write ``target = value`` in its loops; along letters that the target lacks, values are reduced."""
        order, sizes = nest.order, nest.sizes
        inside = "".join(letter for letter in order if letter in kept)
        across = "".join(letter for letter in order if letter not in kept)
        if not across:
            self._loops(order, sizes, [f"{target} {sets} {value.bare}"])
        elif (
            reduce is np.add and order[-1] in kept
        ):  # the innermost loop runs along the target: sums in memory, vectorised
            if sets == "=":
                self._loops(inside, sizes, [f"{target} = real(0.0)"])
            self._loops(order, sizes, [f"{target} += {value.bare}"])
        else:  # it runs across the target: the sum is kept in a register
            body = self._indented(across, sizes, [f"t = {reduce(_Text('t'), value).bare}"])
            self._loops(inside, sizes, [f"t = real({start!r})", *body, f"{target} {sets} t"])

    def _loops(self, letters: str, sizes: dict[str, int], body: list[str]) -> None:
        self.lines += ["    " + line for line in self._indented(letters, sizes, body)]

    def _indented(self, letters: str, sizes: dict[str, int], body: list[str]) -> list[str]:
        for letter in letters:
            self.sizes.setdefault(sizes[letter], len(self.sizes))
        heads = ["    " * i + f"for i{letter} in range(N{sizes[letter]}):" for i, letter in enumerate(letters)]
        return heads + ["    " * len(letters) + line for line in body]


@dataclass(frozen=True)
class _Nest:
    """The loops of one node: the letters of its operands and of its result, and the sizes of those that are not 1."""

    flat: Flat
    operands: list[str]
    result: str
    sizes: dict[str, int]
    n_shared: int

    @classmethod
    def of(cls, node: Node, op: Op) -> "_Nest":
        """Return a node's loops."""
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
        """The loops' letters: those of the largest operand first, so that memory is read in a row."""
        largest = max(self.operands, key=lambda letters: math.prod(self.sizes.get(letter, 1) for letter in letters))
        return "".join(letter for letter in dict.fromkeys(largest + "".join(self.operands)) if letter in self.sizes)

    def scaled(self, x: _Text) -> _Text:
        """Return a value or a gradient divided by how many share an element of the result, if that is their average."""
        return x / float(self.n_shared) if self.flat.averages else x


def _is_literal(node: Node) -> bool:
    """Tell whether a node is a number written into the expression."""
    return isinstance(node, Constant) and not node.name and node.f.size == 1 and math.isfinite(node.f.item())


def _laid_out(nodes: Any, start: int = 0) -> dict[Node, slice]:
    """Return where nodes lie if they lie one behind the other."""
    places = {}
    for node in nodes:
        places[node] = slice(start, start + node.f.size)
        start += node.f.size
    return places


def _index(node: Node, letters: str) -> str:
    """Return the text of what is added to a node's start: each letter times its stride."""
    text, stride = "", node.f.size
    for letter, size in zip(letters, node.f.shape, strict=bool(letters)):
        stride //= size
        if size > 1:
            text += f" + i{letter}" + (f" * uint64({stride})" if stride > 1 else "")
    return text


# ---- from text to functions ------------------------------------------------------------------------------------------------
def load(source: str, link: Callable[[ModuleType], None], folder: Path) -> ModuleType:
    """Return a module of generated source, linked: some of its functions replaced by compiled ones.

    The source is kept in a file named by its digest: numba keeps machine code for functions of files only, and finds it again
    by the file's path, time and size. A file that is there is not written again. Machine code is kept for this text alone, so
    the text must name all that it depends on.

    Parameters
    ----------
    source : str
        A `Program.source`, perhaps with more functions appended: a loop over examples that calls ``forward`` and ``backward``
        is best one function with them.
    link : callable
        Takes the module and replaces its functions.
    folder : Path
        Where the source is kept, and who else may write there may run code as us: it is made for the user alone.
    """
    source += f"\n\n# linked by {link.__module__}.{link.__qualname__}\n"
    name = "learner_graph_" + hashlib.sha256(source.encode()).hexdigest()[:24]
    if name in sys.modules:  # machine code is never given back: all heads of a kind share theirs
        return sys.modules[name]
    path = folder / f"{name}.py"
    if not path.exists() or path.read_text("utf-8") != source:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(source, "utf-8")
        draft.replace(path)
    module = ModuleType(name)
    module.__file__ = str(path)
    # The text comes from the table of operations and from the program that calls us, never from data (names of nodes get in
    # only as identifiers within comments); and it is the text in hand that runs, not what may lie in the folder.
    exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102
    link(module)
    sys.modules[name] = module  # where numba looks up a function's globals when it compiles it
    return module
