"""JSON lines: records and examples come back equal, and what breaks a rule costs one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.files.reading import faults, features, importance, label, plain, quick, text, travels, unpacked


@quick
@given(st.lists(st.tuples(label, features, importance), max_size=5))
def test_explicit_jsonl_comes_back_equal(examples):
    content = "\n".join(json.dumps({"target": t, "features": f, "importance": i}) for t, f, i in examples)
    assert unpacked(content.encode(), "jsonl") == [travels(*example) for example in examples]


@quick
@given(st.lists(st.tuples(label, st.dictionaries(text, plain, max_size=4)), max_size=4))
def test_jsonl_records_come_back_equal_explicit_or_flat(examples):
    explicit = "\n".join(json.dumps({"outcome": t, "record": r}, ensure_ascii=False) for t, r in examples)
    expected = [travels(t, r) for t, r in examples]
    assert unpacked(explicit.encode(), "jsonl", target="outcome") == expected
    flat = [(t, {k: v for k, v in r.items() if k not in ("outcome", "record", "features")}) for t, r in examples]
    content = "\n".join(json.dumps({"outcome": t, **r}) for t, r in flat)
    assert unpacked(content.encode(), "jsonl", target="outcome") == [travels(t, r) for t, r in flat]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": NaN}', "number must be a finite number (got 'NaN')"),
        ('{"a": -Infinity}', "number must be a finite number (got '-Infinity')"),
        ('{"a": 1e999}', "number must be a finite number (got '1e999')"),
        ('{"a": 18446744073709551616}', "an integer must fit in 64 bits"),
        ('{"a": ' + "9" * 5000 + "}", "an integer must fit in 64 bits"),
        ('{"a": 1, "a": 2}', "a key must come once (got 'a' again)"),
        ('{"a": {"b": 1, "b": 1}}', "a key must come once (got 'b' again)"),
        ('{"a": ' + "[" * 100_000, "must be nested less deeply"),
        (r'{"a": "\ud800"}', "text must have no lone surrogates (got '"),
        ("[1, 2]", "must be one JSON object (got '[1, 2]')"),
        ('{"a": 1} {"a": 2}', "must be one JSON object (Extra data at column 10)"),
        ('{"target": [1]}', "target must be a number, a boolean or a text (got [1])"),
        ('{"features": {"a": "x"}}', "feature value must be a finite number (got 'a': 'x')"),
        ('{"features": {"a": true}}', "feature value must be a finite number (got 'a': True)"),
        ('{"features": {"a": null}}', "feature value must be a finite number (got 'a': None)"),
        ('{"features": {"": 1}}', "a feature must have a name (got '': 1)"),
        ('{"features": {"a": 1}, "y": 1}', "only 'target' and 'importance' may stand beside 'features' (got 'y')"),
        ('{"features": {"a": 1}, "importance": -1}', "importance must be a number and >= 0 (got -1)"),
        ('{"features": {"a": 1}, "importance": true}', "importance must be a number and >= 0 (got True)"),
        ('{"record": 3}', "'record' must be a map (got 3)"),
    ],
)
def test_what_jsonl_refuses_costs_one_line(line, message):
    good, said = faults(f'{line}\n{{"a": 1}}'.encode(), "jsonl")
    assert good == [[None, {"a": 1}]]
    assert len(said) == 1
    assert said[0].startswith(f"line 1: {message}")


def test_whatever_nesting_is_packed_can_be_unpacked():
    for depth in (*range(490, 530), *range(900, 1040, 5)):
        for example in unpacked(b'{"a": ' + b"[" * depth + b"]" * depth + b"}", "jsonl", on_error=lambda *_: None):
            assert list(example[1]) == ["a"]


@pytest.mark.parametrize(
    ("given_", "taken"),
    [("true", True), ("null", None), ('"7"', 7), ('"+1"', 1), ('" spam "', "spam"), ('"02139"', "02139"), ('""', None)],
)
def test_numeric_text_is_a_number_as_a_target_and_booleans_stay(given_, taken):
    assert repr(unpacked(f'{{"target": {given_}}}'.encode(), "jsonl")) == repr([[taken, {}]])


def test_the_outcome_may_have_any_name_even_one_with_a_meaning():
    assert unpacked(b'{"record": 1, "importance": 2}', "jsonl", target="record") == [[1, {"importance": 2}]]


def test_features_that_are_no_map_are_a_field_like_others():
    assert unpacked(b'{"features": [1], "target": 1}', "jsonl") == [[1, {"features": [1]}]]


def test_a_key_that_comes_again_is_found_among_very_many():
    keys = ", ".join(f'"k{i}": 1' for i in range(100_000))
    good, said = faults(f'{{{keys}, "k99999": 1}}\n{{"a": 1}}'.encode(), "jsonl")
    assert (good, said) == ([[None, {"a": 1}]], ["line 1: a key must come once (got 'k99999' again)"])
