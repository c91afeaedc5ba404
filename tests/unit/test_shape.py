"""Functions and modules stay small, and the front page short."""

from tests import shape

SHAPE = shape.figures(shape.ROOT)
MAX_FUNCTION_LINES = 80


def test_modules_are_read_in_one_sitting():
    assert not SHAPE["large"]


def test_functions_have_few_parameters():
    """But for public constructors and click commands, whose callers name each of them."""
    assert not SHAPE["wide_not_exempt"]


def test_functions_fit_on_a_screen():
    too_long = {name for name, lines in SHAPE["long"].items() if lines > MAX_FUNCTION_LINES}
    assert not too_long


def test_the_front_page_is_read_in_ten_minutes():
    assert 0 < SHAPE["readme"]["lines"] <= 150
    assert 0 < SHAPE["readme"]["words"] <= 1500


def test_what_is_over_a_limit_is_named():
    source = f"def f({', '.join('abcdefghi')}):\n" + "    pass\n" * 80
    (wide,) = shape.functions("m.py", source)
    assert (wide.name, wide.lines, wide.parameters, wide.exempt) == ("m.py:f", 81, 9, False)
    (command,) = shape.functions("m.py", f"@main.command()\n{source}")
    assert command.exempt
    (hidden, _) = shape.functions("m.py", "class _A:\n    def __init__(self): pass\n    def a(self): pass\n")
    assert not hidden.exempt
