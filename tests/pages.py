"""The project's pages, for tests: where they are, the blocks of code in them, and the strings of programs that they quote."""

import ast
import doctest
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in sorted([*ROOT.glob("README.md"), *ROOT.glob("[!.]*/README.md"), *ROOT.glob("learner/**/README.md")])
}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page: str, language: str) -> list[str]:
    """Return the text of a page's blocks of code in a language ("" is none)."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page].read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for name, text in fenced if name == language]


def matches(wanted: str, got: str) -> bool:
    """Tell whether an output is the one that a page shows, where ``...`` stands for anything."""
    return doctest.OutputChecker().check_output(wanted, got, FLAGS)


def pattern(node: ast.AST) -> str | None:
    """Return the regular expression of the strings that an expression gives; None where it can't be known."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(pattern(part) if isinstance(part, ast.Constant) else ".+" for part in node.values)
    return None
