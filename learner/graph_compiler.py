"""A computation graph writes its own kernel: one example's forward and backward pass as flat loops over arrays.

Evaluated node by node, a graph of `learner.backprop` costs microseconds a node; online learning needs an update an example, in
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
before it could be vectorised. With 16 hidden units the difference is 0.7 against 3 million examples a second.
"""

import hashlib
import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from learner.backprop import Constant, Node, Op, Parameter, order, sparse_product

__all__ = ["Program", "cache_folder", "generate", "load"]

HEAD = '''"""Written by learner.graph_compiler from a computation graph; not for editing."""

from numpy import exp, expm1, inf, log, log1p, logaddexp, tanh, uint64
from numpy import {real} as real
'''
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
    >>> from learner.backprop import Parameter, relu
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
        forward_lines = [*self._counts(), *self.lines, f"    return {self.element(self.root, '')}"]
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
        operands, result, sizes = _flat_form(node, op)
        words = self._words(node, operands, result, sizes)
        self.nest(
            _loop_order(operands, sizes),
            result,
            self.element(node, result),
            self.text(op.formula, words),
            sizes,
            op=op,
        )

    def _sparse_forward(self, node: Node) -> None:
        element, column = self.element(node, "i"), _index(node, "i")
        letters, sizes = ("i", {"i": node.f.size}) if column else ("", {})
        self._loops(letters, sizes, [f"{element} = real(0.0)"])
        body = self._indented(letters, sizes, [f"{element} += u * rows[base{column}]"])
        self.lines += ["    for j in range(uint64(n)):", "        base = bases[j]", "        u = us[j]"]
        self.lines += ["        " + line for line in body]

    def _backward(self, node: Node, op: Op, begun: set[Node]) -> None:
        """Send the node's gradient to its operands: the first to come sets, others add."""
        operands, result, sizes = _flat_form(node, op)
        words = self._words(node, operands, result, sizes) | {"g": self.slope(node, result)}
        for operand, letters, slope in zip(node.operands, operands, op.slopes, strict=True):
            if operand in self.learned:
                target = self.slope(operand, letters)
                stretched = [letter for letter, n in zip(letters, operand.f.shape, strict=True) if n == 1]
                kept = "".join(letter for letter in letters if letter not in stretched)
                self.nest(
                    _loop_order(operands, sizes),
                    kept,
                    target,
                    self.text(slope, words),
                    sizes,
                    first=operand not in begun,
                )
                begun.add(operand)

    def _words(self, node: Node, operands: list[str], result: str, sizes: dict[str, int]) -> dict[str, str]:
        words = {
            word: self.element(operand, letters)
            for word, operand, letters in zip("ab", node.operands, operands, strict=False)
        }
        n = math.prod(sizes.values()) // node.f.size
        return words | {"f": self.element(node, result), "n": f"real({float(n)!r})"}

    # ---- text --------------------------------------------------------------------------------------------------------------
    def count(self, size: int) -> str:
        """Return the name of a loop's count."""
        self.sizes.setdefault(size, len(self.sizes))
        return f"N{size}"

    def element(self, node: Node, letters: str) -> str:
        """Return the text of an element of a node's forward value."""
        if _is_literal(node):
            return f"real({node.f.item()!r})"
        array = "parameters" if node in self.parameters else "inputs" if node in self.inputs else "scratch"
        return f"{array}[F{self.numbers[node]}{_index(node, letters)}]"

    def slope(self, node: Node, letters: str) -> str:
        """Return the text of an element of a node's backward value."""
        array = "gradients" if node in self.parameters else "scratch"
        return f"{array}[G{self.numbers[node]}{_index(node, letters)}]"

    def text(self, formula: str, words: dict[str, str]) -> str:
        """Return a formula with elements for its words, and its numbers of the right type."""
        formula = re.sub(r"(?<![\w.])\d+\.\d*(e[-+]?\d+)?|(?<![\w.])\d+e[-+]?\d+|-inf\b", r"real(\g<0>)", formula)
        return re.sub(r"\b[abfgntx]\b", lambda found: words[found[0]], formula)

    def nest(
        self,
        letters: str,
        kept: str,
        target: str,
        value: str,
        sizes: dict[str, int],
        first: bool = True,
        op: Op | None = None,
    ) -> None:
        """Write ``target = value`` within the loops of the letters; along letters that the target lacks, values are reduced."""
        inside = "".join(letter for letter in letters if letter in kept)
        reduced = "".join(letter for letter in letters if letter not in kept)
        start, reduce = (op.start, op.reduce) if op else ("0.0", "t + x")
        adds = reduce == "t + x"
        if not reduced:
            self._loops(letters, sizes, [f"{target} {'=' if first else '+='} {value}"])
        elif adds and letters[-1] in kept:  # innermost runs along the target: sums in memory, vectorised
            if first:
                self._loops(inside, sizes, [f"{target} = real(0.0)"])
            self._loops(letters, sizes, [f"{target} += {value}"])
        else:  # innermost runs across the target: the sum is kept in a register
            body = ["t = " + self.text(start, {})]
            body += self._indented(reduced, sizes, [f"t = {self.text(reduce, {'t': 't', 'x': f'({value})'})}"])
            body += [f"{target} {'=' if first else '+='} t"]
            self._loops(inside, sizes, body)

    def _loops(self, letters: str, sizes: dict[str, int], body: list[str]) -> None:
        self.lines += ["    " + line for line in self._indented(letters, sizes, body)]

    def _indented(self, letters: str, sizes: dict[str, int], body: list[str]) -> list[str]:
        heads = [
            "    " * i + f"for i{letter} in range({self.count(sizes[letter])}):" for i, letter in enumerate(letters)
        ]
        return heads + ["    " * len(letters) + line for line in body]


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


def _flat_form(node: Node, op: Op) -> tuple[list[str], str, dict[str, int]]:
    """Return the letters of a node's operands and result, and the letters' sizes, but for those of size 1."""
    notation = op.letters(*(operand.f.ndim for operand in node.operands), **node.settings)
    left, result = notation.split("->")
    operands = left.split(",")
    sizes: dict[str, int] = {}
    for letters, operand in zip(operands, node.operands, strict=True):
        sizes |= {letter: size for letter, size in zip(letters, operand.f.shape, strict=True) if size > 1}
    return operands, result, sizes


def _loop_order(operands: list[str], sizes: dict[str, int]) -> str:
    """Return the letters in the order of the loops: those of the largest operand first, so that memory is read in a row."""
    largest = max(operands, key=lambda letters: math.prod(sizes.get(letter, 1) for letter in letters))
    return "".join(letter for letter in dict.fromkeys(largest + "".join(operands)) if letter in sizes)


def _index(node: Node, letters: str) -> str:
    """Return the text of what is added to a node's start: each letter times its stride."""
    text, stride = "", node.f.size
    for letter, size in zip(letters, node.f.shape, strict=bool(letters)):
        stride //= size
        if size > 1:
            text += f" + i{letter}" + (f" * uint64({stride})" if stride > 1 else "")
    return text


# ---- from text to functions ------------------------------------------------------------------------------------------------
def cache_folder() -> Path:
    """Return where generated modules and, beside them, their machine code are kept."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    return (Path(given) if given else platformdirs.user_cache_path("learner")) / "kernels"


def load(source: str, decorate: Mapping[str, Callable[..., Any]], folder: Path | None = None) -> ModuleType:
    """Return a module of generated source, some of its functions replaced by what a decorator makes of them.

    The source is kept in a file named by its digest: numba keeps machine code for functions of files only, and finds it again
    by the file's path, time and size. A file that is there is not written again.

    Machine code is kept for this text alone. A source that calls what it imports should name that one's version in a comment,
    so that other functions there make it another text.

    Parameters
    ----------
    source : str
        A `Program.source`, perhaps with more functions appended: a loop over examples that calls ``forward`` and ``backward``
        is best one function with them.
    decorate : mapping of str to callable
        The functions to replace, callees first, such as ``{"forward": kernels.inlined, "backward": kernels.inlined}``.
    folder : Path, optional
        `cache_folder` by default.
    """
    by = "".join(f"# {name}: {function.__module__}.{function.__qualname__}\n" for name, function in decorate.items())
    source += "\n\n" + by
    name = "learner_graph_" + hashlib.sha256(source.encode()).hexdigest()[:24]
    if name in sys.modules:
        return sys.modules[name]
    folder = folder or cache_folder()
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
    for function_name, decorator in decorate.items():
        setattr(module, function_name, decorator(getattr(module, function_name)))
    sys.modules[name] = module  # where numba looks up a function's globals
    return module
