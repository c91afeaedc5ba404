"""VW's text is read as VW itself reads it."""

import importlib.util
import math
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.files.reading import faults, features, importance, label, quick, travels, unpacked


def vw_text(target: object, found: dict, weight: float) -> str:
    head = "" if target is None else f"{target} " if weight == 1 else f"{target} {weight!r} "
    return head + "| " + " ".join(f"{name}:{value!r}" for name, value in found.items())


@quick
@given(st.lists(st.tuples(label, features, importance), max_size=5))
def test_vw_text_comes_back_equal(examples):
    examples = [(t, f, 1 if t is None else i) for t, f, i in examples]
    expected = [travels(t, f, i) for t, f, i in examples]
    assert unpacked("\r\n".join(vw_text(*example) for example in examples).encode(), "vw") == expected


@pytest.mark.parametrize(
    ("line", "example"),
    [
        ("1 2.5 'tag|ns:2 f:3 g |o h", [1, {"ns^f": 6.0, "ns^g": 2.0, "o^h": 1}, 2.5]),
        ("-1 tag| a b:2", [-1, {"a": 1, "b": 2.0}]),
        ("1 'tag | a", [1, {"a": 1}]),
        ("1|x y", [None, {"x^y": 1}]),  # VW takes the 1 for a tag too
        ("| a", [None, {"a": 1}]),
        ("+1\t|\ta\tb", [1, {"a": 1, "b": 1}]),
        ("spam | a  a:0.5", ["spam", {"a": 1.5}]),
        ("1 | a:0 b c:1 c:-1", [1, {"b": 1}]),
        ("1 | a|b c", [1, {"a": 1, "b^c": 1}]),
        ("1 |", [1, {}]),
        ("1 | a\u3000b", [1, {"a\u3000b": 1}]),
    ],
)
def test_vw_text_is_read_as_vw_reads_it(line, example):
    assert unpacked(line.encode(), "vw") == [example]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 a b", "must have a | before the features (got '1 a b')"),
        ("1 | :3", "a feature must have a name (got ':3')"),
        ("1 |:2 f", "a namespace must have a name (got ':2')"),
        ("1 |n:x f", "namespace scale must be a finite number (got 'x')"),
        ("1 | a:", "feature value must be a finite number (got '')"),
        ("1 | a:1:2", "feature value must be a finite number (got '1:2')"),
        ("1 | a:nan", "feature value must be a finite number (got 'nan')"),
        ("1 |n:1e300 a:1e300", "feature value must be a finite number (got 'n^a': inf)"),
        ("1 x | a", "importance must be a finite number (got 'x')"),
        ("1 -2 | a", "importance must be a number and >= 0 (got '-2')"),
        ("1 2 0.5 | a", "an initial prediction can't be given (got '0.5')"),
    ],
)
def test_what_vw_text_may_not_hold_costs_one_line(line, message):
    assert faults(f"{line}\n1 | a".encode(), "vw") == ([[1, {"a": 1}]], [f"line 1: {message}"])


@pytest.mark.skipif(not importlib.util.find_spec("vowpalwabbit"), reason="vowpalwabbit is not installed")
def test_vowpal_wabbits_own_audit_shows_the_same_features(tmp_path):
    lines = ["1 2.0 'tag|ns f:1 g |other:2 h:3 i", "-1 tag| a b:2 a a:0.5", "1|x y", " | p q:-1e-2", "1 | a:0 b|c d"]
    lines += ["+1\t| t1\tt2", "1 |ns | z", "1 |n:0.5 f:4 f", "1 | é:2 a\u3000b"]
    path = tmp_path / "lines.vw"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "vowpalwabbit", "--audit", "--noconstant", "--quiet", "-d", str(path)]
    printed = subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout
    audited = []
    for line in printed.split("\n"):
        if line.startswith("\t"):
            audited.append(Counter())
            for shown in line.strip("\t").split("\t"):
                name, _, value, _ = shown.split(":")
                audited[-1][name] += float(value)
    assert [found for _, found, *_ in unpacked(path.read_bytes(), "vw")] == audited


@pytest.mark.parametrize(
    ("line", "example"),
    [
        ("1 2.0 | city:paris price:3", [1, {"city=paris": 1, "price": 3.0}, 2.0]),
        ("1 |n:2 id:7f3a id:7f3a", [1, {"n^id=7f3a": 4.0}]),
        ("1 | a:1_0 b:02139", [1, {"a=1_0": 1, "b": 2139.0}]),
    ],
)
def test_a_value_that_is_a_text_is_a_category(line, example):
    assert unpacked(line.encode(), "vw") == [example]


def test_values_keep_every_bit():
    value = math.nextafter(0.1, 1)
    assert unpacked(f"1 | a:{value!r}".encode(), "vw") == [[1, {"a": value}]]
