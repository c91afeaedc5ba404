"""Featurizers as data: descriptions, files, fingerprints, the registry."""

import json
import tomllib
from dataclasses import dataclass

import pytest

import featurizers
from featurizers import (
    READY,
    REGISTRY,
    Bins,
    Category,
    Cells,
    Contains,
    Cross,
    EndsWith,
    Featurizer,
    FeaturizerSpecError,
    Fields,
    Number,
    Pixels,
    Template,
    Words,
    dumps,
    get,
    load,
    loads,
)

TOML = """
[[templates]]
template = "ends_with"
field = "address"
n = [3, 4]

[[templates]]
template = "cross"
templates = [
  { template = "category", field = "origin" },
  { template = "category", field = "dest", optional = true },
]
"""
SAME = Featurizer([EndsWith("address", n=[4, 3]), Cross([Category("origin"), Category("dest", optional=True)])])


def test_public_names():
    """What the package exports is there, and every template in it is registered under its declared name."""
    assert all(hasattr(featurizers, name) for name in featurizers.__all__)
    assert len(REGISTRY) >= 20
    assert all(cls.template == name for name, cls in REGISTRY.items())


def test_toml_and_python_are_the_same():
    """A featurizer written as TOML equals the one written in Python."""
    assert loads(TOML) == SAME
    assert hash(loads(TOML)) == hash(SAME)
    assert loads(TOML) != Featurizer([EndsWith("address", n=3)])


@pytest.mark.parametrize("name", READY)
@pytest.mark.parametrize("kind", ["toml", "json"])
def test_ready_round_trip(name, kind):
    """Every ready featurizer comes back from text with the same templates and the same fingerprint."""
    back = loads(dumps(READY[name], kind), kind)
    assert back.templates == READY[name].templates
    assert back.fingerprint == READY[name].fingerprint


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_strange_characters_round_trip(kind):
    """Quotes, control characters and characters beyond the BMP in parameters survive both formats."""
    f = Featurizer([Contains(text=['"', "\\", "\n\t\x00\x7f", "é😀", "\u2028"]), Bins(edges=[-1e-9, 0.1, 1e22])])
    assert loads(dumps(f, kind), kind) == f


def test_defaults_are_not_written_out():
    """A description holds only what differs from the defaults, and is plain JSON."""
    spec = SAME.to_spec()
    assert spec["templates"][0] == {"template": "ends_with", "field": "address", "n": [3, 4]}
    assert json.loads(json.dumps(spec)) == spec == tomllib.loads(dumps(SAME))


def test_fingerprint_ignores_defaults_and_key_order():
    """Writing defaults out, or keys in another order, leaves the fingerprint."""
    plain = {"template": "words", "field": "text"}
    full = {
        "value": "presence",
        "n": 1,
        "lower": True,
        "prefix": "",
        "optional": False,
        "field": "text",
        "template": "words",
    }
    assert get({"templates": [plain]}).fingerprint == get({"templates": [full]}).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        Words("text", n=3),
        Words("title", n=2),
        Words("text", n=2, value="count"),
        Words("text", n=2, prefix="t."),
        Words("text", n=2, optional=True),
    ],
)
def test_fingerprint_changes_with_every_parameter(other):
    """Another parameter gives another fingerprint."""
    assert Featurizer([other]).fingerprint != Featurizer([Words("text", n=2)]).fingerprint


def test_fingerprint_is_pinned():
    """The fingerprint does not drift: if this fails although no feature changed, every stored model is orphaned."""
    pinned = "9f7e40c845eb6d3752b9449b136a370c5cc5f1cdd8372efeaa5cb22026cc76f6"
    assert Featurizer([EndsWith("address", n=3), Cells(size=0.1)]).fingerprint == pinned


def test_get_finds_by_name_path_description_and_itself(tmp_path):
    """`get` takes a ready name, a path, a description or a featurizer."""
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    assert get("email") is READY["email"]
    assert get(str(path)) == get(path) == load(path) == get(SAME.to_spec()) == get(SAME) == SAME
    (tmp_path / "mine.json").write_text(dumps(SAME, "json"))
    assert load(tmp_path / "mine.json") == SAME


def test_same_names_from_two_fields_are_refused():
    """Two templates that would surely give the same names are refused, also inside crosses."""
    with pytest.raises(
        FeaturizerSpecError,
        match=r"templates must give different names, set a prefix \(got 'ends_with' twice with the same parameters, "
        r"for field 'a' and field 'b'\)",
    ):
        Featurizer([EndsWith("a", n=3), EndsWith("b", n=3)])
    with pytest.raises(FeaturizerSpecError, match="different names"):
        Featurizer([Cross([EndsWith(a, n=1), Number("x")]) for a in "ab"])
    with pytest.raises(FeaturizerSpecError, match="different names"):
        Featurizer([Cells("pickup", size=1), Cells("dropoff", size=1)])
    with pytest.raises(FeaturizerSpecError, match="different names"):
        Featurizer([Category("a"), Category("a")])


def test_different_names_from_two_fields_are_fine():
    """A prefix, other parameters, or names that carry the field tell templates apart."""
    f = Featurizer([EndsWith("a", n=1), EndsWith("b", n=1, prefix="b."), Category("a"), Category("b")])
    assert f({"a": "x", "b": "x"}) == {"endsWith_x": 1.0, "b.endsWith_x": 1.0, "a=x": 1.0, "b=x": 1.0}


def test_own_template_is_found_by_its_name():
    """A template declared outside the package works in descriptions, and its name can't be taken twice."""

    @dataclass(frozen=True, kw_only=True)
    class Lines(Template):
        template = "test_lines"

        def adder(self):
            read = self.reader()
            return lambda record, out: out.update(lines=float(read(record).count("\n") + 1))

    try:
        assert get({"templates": [{"template": "test_lines"}]})("a\nb") == {"lines": 2.0}
        with pytest.raises(FeaturizerSpecError, match="template 'test_lines' must be declared once"):
            type("Other", (Template,), {"template": "test_lines"})
    finally:
        del REGISTRY["test_lines"]


ONE = {"template": "ends_with", "n": 3}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "a featurizer must be a map with a list under 'templates' (got {})"),
        (
            {"templates": [], "x": 1},
            "a featurizer must be a map with a list under 'templates' (got {'templates': [], 'x': 1})",
        ),
        ({"templates": []}, "templates must not be empty (got none)"),
        ({"templates": ["words"]}, "a template must be a map with its name under 'template' (got 'words')"),
        (
            {"templates": [ONE | {"m": 1}]},
            "template 'ends_with': unknown parameter 'm' (has field, n, optional, prefix)",
        ),
        (
            {"templates": [{"template": "ends_with"}]},
            "template 'ends_with': parameter 'n' is required (got {'template': 'ends_with'})",
        ),
        ({"templates": [ONE | {"n": 0}]}, "template 'ends_with': n must be whole numbers within [1, 32] (got 0)"),
        ({"templates": [ONE | {"n": True}]}, "template 'ends_with': n must be whole numbers within [1, 32] (got True)"),
        ({"templates": [ONE | {"n": []}]}, "template 'ends_with': n must be whole numbers within [1, 32] (got [])"),
        (
            {"templates": [ONE | {"field": "a..b"}]},
            "template 'ends_with': field must be a name or a dotted path of names (got 'a..b')",
        ),
        (
            {"templates": [ONE | {"field": 3}]},
            "template 'ends_with': field must be a UTF-8 text of at most 128 bytes (got 3)",
        ),
        ({"templates": [ONE | {"optional": 1}]}, "template 'ends_with': optional must be true or false (got 1)"),
        (
            {"templates": [ONE | {"prefix": "\ud800"}]},
            "template 'ends_with': prefix must be a UTF-8 text of at most 64 bytes (got '\\ud800')",
        ),
        (
            {"templates": [{"template": "words", "value": "tf"}]},
            "template 'words': value must be one of presence, count, log (got 'tf')",
        ),
        (
            {"templates": [{"template": "words", "token": "("}]},
            "template 'words': token must be a regular expression (got '(')",
        ),
        (
            {"templates": [{"template": "cells", "size": 0.7}]},
            "template 'cells': size must be degrees within [1e-06, 90] that divide 90 (got 0.7)",
        ),
        (
            {"templates": [{"template": "bins", "edges": [1]}]},
            "template 'bins': edges must be at least two, or have a bin below or above (got [1])",
        ),
        (
            {"templates": [{"template": "bins", "edges": [0, float("nan")]}]},
            "template 'bins': edges must be finite numbers (got [0, nan])",
        ),
        (
            {"templates": [{"template": "periodic"}]},
            "template 'periodic': frequency must be given, or else period (got None)",
        ),
        (
            {"templates": [{"template": "periodic", "period": 0}]},
            "template 'periodic': period must be a number > 0 (got 0)",
        ),
        (
            {"templates": [{"template": "periodic", "frequency": 1, "harmonics": 2}]},
            "template 'periodic': harmonics must be 1 where there is no period (got 2)",
        ),
        (
            {"templates": [{"template": "sum_of_squares", "of": ["x"]}]},
            "template 'sum_of_squares': of must be at least two fields (got ['x'])",
        ),
        (
            {"templates": [{"template": "cross", "templates": [ONE]}]},
            "template 'cross': templates must be from 2 to 8 (got 1)",
        ),
        (
            {"templates": [{"template": "cross", "templates": [ONE, {"template": "cross", "templates": [ONE, ONE]}]}]},
            "template 'cross': templates must be other than crosses (got ['ends_with', 'cross'])",
        ),
        (
            {"templates": [{"template": "time_parts", "of": "hours"}]},
            "template 'time_parts': of must be of hour, weekday, weekend, day, month, year (got 'hours')",
        ),
    ],
)
def test_wrong_descriptions(spec, message):
    """A wrong description is refused with the template, the parameter, the rule and what came."""
    with pytest.raises(FeaturizerSpecError) as caught:
        get(spec)
    assert str(caught.value) == message


def test_unknown_template_lists_the_known():
    """An unknown template's error lists those that exist."""
    with pytest.raises(FeaturizerSpecError, match=r"template must be one of bins, category, .* \(got 'os.system'\)"):
        get({"templates": [{"template": "os.system"}]})


@pytest.mark.parametrize("source", ["emial", "", "learner", 3, None])
def test_unknown_featurizer_lists_the_ready_ones(source):
    """What is no featurizer is refused with the names of the ready ones."""
    with pytest.raises(
        FeaturizerSpecError,
        match="must be one of email, text, place, flights, fields, one of email:FIELD, text:FIELD, place:FIELD, a path",
    ):
        get(source)


def test_unreadable_files(tmp_path):
    """A file that is missing, not UTF-8, not TOML or not JSON is refused with its path."""
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    (tmp_path / "broken.toml").write_text("[[templates")
    (tmp_path / "broken.json").write_text("[" * 100_000)
    for name in ("missing.toml", "bytes.toml", "broken.toml", "broken.json"):
        with pytest.raises(FeaturizerSpecError, match=f"featurizer file '.*{name}'"):
            get(str(tmp_path / name))
    with pytest.raises(FeaturizerSpecError, match=r"format must be one of toml, json \(got 'yaml'\)"):
        dumps(SAME, "yaml")


def test_templates_must_be_templates():
    """A featurizer's list holds templates only."""
    with pytest.raises(FeaturizerSpecError, match=r"templates must be templates \(got 'words'\)"):
        Featurizer(["words"])


def test_templates_are_shown_as_written():
    """A featurizer's repr shows its templates."""
    assert repr(Featurizer([Pixels("image")])).startswith("Featurizer([Pixels(field='image'")


@pytest.mark.parametrize("ready", ["email:home", "text:home", "place:home", "text:user.bio"])
def test_a_ready_featurizer_of_one_value_reads_it_from_the_field_that_is_named(ready):
    """It gives the features that it gives of its own field, but for numbers, which have the field's name."""
    name, _, field = ready.partition(":")
    value = {"email": "abc@gmail.com", "text": "Win a prize", "place": {"lat": 37.41, "lon": -122.17}}[name]
    record = value
    for key in reversed(field.split(".")):
        record = {key: record}
    own = value if name == "place" else {{"email": "address"}.get(name, name): value}
    expected = {f"home.{key}" if key in ("lat", "lon") else key: x for key, x in get(name)(own).items()}
    assert get(ready)(record) == expected
    assert get(get(ready).to_spec()) == get(ready)


@pytest.mark.parametrize("source", ["text:", "flights:f", "nosuch:field", ":a"])
def test_a_ready_featurizer_that_cannot_read_another_field_is_refused(source):
    with pytest.raises(FeaturizerSpecError, match="one of email:FIELD, text:FIELD, place:FIELD"):
        get(source)


def test_fields_takes_only_some_fields_or_leaves_some_out():
    record = {"a": 1, "b": "x", "c": {"a": 2}}
    assert Featurizer([Fields(only=["a", "c", "d"])])(record) == {"a": 1.0, "c.a": 2.0}
    assert Featurizer([Fields(exclude="a")])(record) == {"b=x": 1.0, "c.a": 2.0}
    assert Fields(only=[], exclude=()) == Fields()
    assert get(get({"templates": [{"template": "fields", "only": ["a"]}]}).to_spec())(record) == {"a": 1.0}
    with pytest.raises(FeaturizerSpecError, match="exclude must be empty if 'only' is set"):
        Fields(only="a", exclude="b")
    with pytest.raises(FeaturizerSpecError, match="only must be non-empty UTF-8 texts"):
        Fields(only=[1])
