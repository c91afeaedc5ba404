"""How large functions and modules are: ``python -m tests.shape [--json] [--against FOLDER]``.

Counts ``learner/``, ``featurizers/`` and ``worker.py``, methods and inner functions too. The lines of a function are those from
``def`` to its end, docstring included; its parameters are all but ``self`` and ``cls``. FOLDER is another checkout, whose
figures are printed beside this one's. `tests.unit.test_shape` holds the limits.
"""

import argparse
import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COUNTED = ("learner", "featurizers", "worker.py")
PARAMETERS = 8  # more are too many, but for public constructors and click commands
LINES = 60  # a function of more is long
MODULE_LINES = 600


@dataclass(frozen=True)
class Function:
    """A function as it stands in the source.

    Parameters
    ----------
    name : str
        Its module's path and its dotted name in the module.
    lines, parameters : int
        How many it has.
    exempt : bool
        Whether it may have any number of parameters: a public class's constructor, or a click command.
    """

    name: str
    lines: int
    parameters: int
    exempt: bool


def modules(folder: Path) -> dict[str, str]:
    """Return the source of every module that is counted, by its path in the folder."""
    paths = [
        path
        for name in COUNTED
        for path in ([folder / name] if name.endswith(".py") else (folder / name).rglob("*.py"))
    ]
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths) if path.exists()
    }


def functions(path: str, source: str) -> Iterator[Function]:
    """Yield the functions of a module.

    >>> text = "class A:\\n    def __init__(self, b, *, c):\\n        def inner(*d): pass\\n"
    >>> for function in functions("a.py", text):
    ...     print(function.name, function.lines, function.parameters, function.exempt)
    a.py:A.__init__ 2 2 True
    a.py:A.__init__.inner 1 1 False
    """
    todo: list[tuple[str, ast.AST]] = [("", ast.parse(source))]
    while todo:
        name, node = todo.pop()
        for child in ast.iter_child_nodes(node):
            dotted = (
                f"{name}.{child.name}".lstrip(".") if hasattr(child, "name") and isinstance(child, ast.stmt) else name
            )
            todo.append((dotted, child))
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (child.end_lineno or child.lineno) - child.lineno + 1
                constructor = (
                    child.name == "__init__" and isinstance(node, ast.ClassDef) and not node.name.startswith("_")
                )
                yield Function(f"{path}:{dotted}", lines, _parameters(child.args), constructor or _is_command(child))


def _parameters(arguments: ast.arguments) -> int:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return sum(argument is not None and argument.arg not in ("self", "cls") for argument in named)


def _is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    calls = [node.func for node in function.decorator_list if isinstance(node, ast.Call)]
    return any(isinstance(call, ast.Attribute) and call.attr in ("command", "group") for call in calls)


def figures(folder: Path) -> dict[str, Any]:
    """Return the figures of a checkout, and the names of what is over a limit."""
    sources = modules(folder)
    if not sources:
        raise SystemExit(f"{folder} must be a checkout of this project (it has none of {', '.join(COUNTED)})")
    every = [function for path, source in sources.items() for function in functions(path, source)]
    sizes = {path: len(source.splitlines()) for path, source in sources.items()}
    longest = max(every, key=lambda function: function.lines)
    largest = max(sizes, key=sizes.__getitem__)
    wide = [function for function in every if function.parameters > PARAMETERS]
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    return {
        "functions": len(every),
        "median_lines": median(function.lines for function in every),
        "longest": {"name": longest.name, "lines": longest.lines},
        "long": {function.name: function.lines for function in every if function.lines > LINES},
        "wide": {function.name: function.parameters for function in wide},
        "wide_not_exempt": {function.name: function.parameters for function in wide if not function.exempt},
        "modules": len(sizes),
        "largest": {"name": largest, "lines": sizes[largest]},
        "large": {path: lines for path, lines in sizes.items() if lines > MODULE_LINES},
        "readme": {"lines": len(text.splitlines()), "words": len(text.split())},
    }


def rows(counted: dict[str, Any]) -> dict[str, str]:
    """Return the lines of the table: what, and the figure."""
    return {
        "functions": f"{counted['functions']:,}",
        f"over {PARAMETERS} parameters": str(len(counted["wide"])),
        "  neither constructors nor click commands": str(len(counted["wide_not_exempt"])),
        f"over {LINES} lines": str(len(counted["long"])),
        "longest": f"{counted['longest']['lines']} {counted['longest']['name']}",
        "median lines": f"{counted['median_lines']:g}",
        "modules": str(counted["modules"]),
        "largest module": f"{counted['largest']['lines']:,} {counted['largest']['name']}",
        f"modules over {MODULE_LINES} lines": str(len(counted["large"])),
        "README.md": f"{counted['readme']['lines']} lines, {counted['readme']['words']:,} words",
    }


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.shape", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON, with the names of what is over a limit")
    parser.add_argument("--against", metavar="FOLDER", type=Path, help="another checkout, to print beside this one")
    options = parser.parse_args()
    checkouts = {"this": figures(ROOT)}
    if options.against:
        checkouts[str(options.against)] = figures(options.against)
    if options.json:
        print(json.dumps(checkouts, indent=1))
        return
    columns = [{"": name} | rows(counted) for name, counted in checkouts.items()]
    for what in columns[0]:
        print(f"{what:44}" + "  ".join(f"{column[what]:52}" for column in columns).rstrip())


if __name__ == "__main__":
    main()
