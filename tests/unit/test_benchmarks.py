"""The table of figures: each row of the page is a row that a program yields, and the page is as the command writes it."""

import ast
import re

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks.__main__ import BEGIN, Line, markdown, merged, names, parsed
from tests.pages import PAGES, ROOT, pattern

pytestmark = pytest.mark.skipif("README.md" not in PAGES, reason="the pages are not installed with the package")


def yielded(name):
    """Return, for each row of a program, the pattern of what is measured, and its arguments."""
    tree = ast.parse((ROOT / "tests" / "benchmarks" / f"{name}.py").read_text(encoding="utf-8"))
    return [
        pattern(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Row"
    ]


def line(what, program, figure="1"):
    return Line(what, figure, "", "1 Dec 2026", f"`python -m tests.benchmarks.{program}`")


def test_every_row_of_the_page_is_one_that_its_program_yields():
    lines = parsed(PAGES["tests/README.md"].read_text(encoding="utf-8"))
    assert len(lines) > 20
    for row in lines:
        program = row.printed_by.strip("`").removeprefix("python -m tests.benchmarks.").split()[0]
        assert program in names()
        assert any(re.fullmatch(what, row.what) for what in yielded(program)), row.what


def test_no_two_rows_have_the_same_name():
    rows = [what for name in names() for what in yielded(name)]
    assert None not in rows
    assert len(rows) == len({*rows})


def test_the_page_is_as_the_command_writes_it():
    page = PAGES["tests/README.md"].read_text(encoding="utf-8")
    assert markdown(parsed(page)) in page
    assert merged(parsed(page), []) == parsed(page)


def test_writing_replaces_the_rows_that_were_measured_and_keeps_the_others(tmp_path, monkeypatch):
    table = markdown([line("a", "core"), line("b", "web"), line("c", "web")])
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}An old machine.\n\n{table}{command.END}after\n")
    monkeypatch.setattr(command, "PAGE", page)
    command.write([line("b", "web", "2"), line("d", "core", "3")])
    text = page.read_text()
    assert [(row.what, row.figure) for row in parsed(text)] == [("a", "1"), ("d", "3"), ("b", "2"), ("c", "1")]
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "An old machine" not in text


def test_a_table_is_read_as_it_was_written():
    rows = [
        line("with (a; b) and `code`", "core"),
        line("b", "core FOLDER --protocol late", "0.9 (1.0)"),
    ]
    assert parsed(f"text {BEGIN}machine\n\n{markdown(rows)}{command.END}") == rows
