"""Drawings of a graph as text: a tree for the terminal, and the languages of Graphviz and Mermaid."""

import numpy as np

from learner.graph.engine import Array, Node, order

__all__ = ["MAX_SHOWN", "title_of", "to_dot", "to_mermaid", "to_text", "values_of"]

MAX_SHOWN = 6  # elements; a larger array is shown by its shape and norm


def values_of(values: Array) -> str:
    """Return an array as a drawing shows it: its numbers, or its shape and norm if there are more than `MAX_SHOWN`.

    >>> values_of(np.array([1.0, 0.5])), values_of(np.ones((4, 4)))
    ('[1 0.5]', '4x4 of norm 4')
    """
    if values.size > MAX_SHOWN:
        return f"{'x'.join(map(str, values.shape))} of norm {np.linalg.norm(values):.4g}"
    text: str = np.array2string(values, formatter={"float_kind": lambda x: f"{x:.4g}"}, max_line_width=1000)
    return text.replace("\n", "")


def title_of(node: Node) -> str:
    """Return a node's name and operation, or its name and kind of leaf: ``loss = square``, ``w (parameter)``."""
    if node.op is None:
        kind = type(node).__name__.lower()
        return f"{node.name} ({kind})" if node.name else kind
    return f"{node.name} = {node.op.name}" if node.name else node.op.name


def to_text(root: Node) -> str:
    """Return a graph as a tree of text, the root first, with the current forward and backward values.

    A node that is an operand several times is drawn with its own operands once; later it is marked ``(above)``.

    >>> from learner.graph import Parameter, backward
    >>> a = Parameter(3.0, "a")
    >>> b = (a * a).named("b")
    >>> c = b * b
    >>> backward(c)
    >>> print(to_text(c))
    multiply               f 81   g 1
    ├─ b = multiply        f 9    g 18
    │  ├─ a (parameter)    f 3    g 108
    │  └─ a (parameter)    f 3    g 108
    └─ b = multiply (above)   f 9   g 18
    """
    rows: list[tuple[str, str, str]] = []
    drawn: set[Node] = set()
    todo = [(root, "", "")]
    while todo:
        node, branch, indent = todo.pop()
        again = node in drawn and bool(node.operands)
        rows.append((branch + title_of(node) + " (above)" * again, f"f {values_of(node.f)}", f"g {values_of(node.g)}"))
        drawn.add(node)
        if not again:
            last = len(node.operands) - 1
            for i in range(last, -1, -1):  # a stack: the first operand is pushed last
                corner, below = ("└─ ", "   ") if i == last else ("├─ ", "│  ")
                todo.append((node.operands[i], indent + corner, indent + below))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{title:<{widths[0]}}   {f:<{widths[1]}}   {g}".rstrip() for title, f, g in rows)


def _number_nodes(root: Node) -> dict[Node, int]:
    """Return a number for each node, in `order`."""
    return {node: i for i, node in enumerate(order(root))}


def to_dot(root: Node) -> str:
    r"""Return a graph in Graphviz's language, edges from operand to result.

    >>> from learner.graph import Parameter, square
    >>> print(to_dot(square(Parameter(3.0, "w"))))
    digraph {
      n0 [shape=box, label="w (parameter)\nf 3\ng 0"];
      n1 [shape=ellipse, label="square\nf 9\ng 0"];
      n0 -> n1;
    }
    """
    numbers = _number_nodes(root)
    lines = []
    for node, i in numbers.items():
        title = title_of(node).replace("\\", "\\\\").replace('"', '\\"')
        shape = "ellipse" if node.operands else "box"
        lines.append(f'n{i} [shape={shape}, label="{title}\\nf {values_of(node.f)}\\ng {values_of(node.g)}"];')
    lines += [f"n{numbers[operand]} -> n{i};" for node, i in numbers.items() for operand in node.operands]
    return "digraph {\n" + "".join(f"  {line}\n" for line in lines) + "}"


def to_mermaid(root: Node) -> str:
    """Return a graph in Mermaid's language, edges from operand to result.

    >>> from learner.graph import Parameter, square
    >>> print(to_mermaid(square(Parameter(3.0, "w"))))
    flowchart BT
      n0["w (parameter)<br>f 3<br>g 0"]
      n1(["square<br>f 9<br>g 0"])
      n0 --> n1
    """
    numbers = _number_nodes(root)
    lines = ["flowchart BT"]
    for node, i in numbers.items():
        title = "".join(c if c.isalnum() or c in " =_()" else f"#{ord(c)};" for c in title_of(node))
        opening, closing = ("([", "])") if node.operands else ("[", "]")
        lines.append(f'n{i}{opening}"{title}<br>f {values_of(node.f)}<br>g {values_of(node.g)}"{closing}')
    lines += [f"n{numbers[operand]} --> n{i}" for node, i in numbers.items() for operand in node.operands]
    return "\n  ".join(lines)
