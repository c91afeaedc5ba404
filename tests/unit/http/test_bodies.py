"""Bodies are taken apart at their outermost level as a JSON decoder would, and nothing in them raises another error."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("uvicorn", reason="needs the extra serve")

from learner.errors import FormatError
from learner.http.bodies import elements, parts

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SPACES = st.sampled_from([None, 1, 3, "\t"])
PIECES = st.lists(st.sampled_from([*'{}[]:,"\\ \n', "1", "tru", "e", "\xe9", "\\u0022", '"a"', "{}"]), max_size=30).map(
    "".join
)


@given(st.dictionaries(st.text(), VALUES, max_size=4), SPACES, st.booleans())
def test_an_object_s_parts_are_its_values(value, indent, ascii_only):
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    found = parts(body)
    assert {name: json.dumps(json.loads(raw)) for name, raw in found.items()} == {
        name: json.dumps(item) for name, item in json.loads(body).items()
    }


@given(st.lists(VALUES, max_size=4), SPACES)
def test_an_array_s_elements_are_its_items(value, indent):
    found = list(elements(json.dumps(value, indent=indent).encode()))
    assert [json.dumps(json.loads(raw)) for raw in found] == [json.dumps(item) for item in value]


def once(pairs):
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name twice")
    return dict(pairs)


def values(value):
    return list(value.values()) if isinstance(value, dict) else value


def decoded(texts):
    """What a decoder makes of texts; None if it refuses one of them."""
    try:
        return [json.loads(text, object_pairs_hook=once) for text in texts]
    except ValueError:
        return None


@settings(max_examples=300)
@given(PIECES)
def test_a_body_is_taken_apart_exactly_where_it_is_json_but_for_what_its_values_hold(text):
    whole = decoded([text])
    for read, kind in ((parts, dict), (lambda body: list(elements(body)), list)):
        try:
            found = decoded(values(read(text.encode())))
        except FormatError:
            found = None
        expected = whole and isinstance(whole[0], kind)
        assert found == (values(whole[0]) if expected else None)


def test_a_text_without_an_end_is_looked_at_once():
    """Not once for each quotation mark in it, which would take for ever."""
    for body in (b'{"record": "' + b'\\"' * 400_000, b'{"record": "' + b"\\" * 400_001, b'{"a' + b'\\"' * 400_000):
        with pytest.raises(FormatError):
            parts(body)
