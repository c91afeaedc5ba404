"""Each template's features, and its errors word for word."""

import re
import tracemalloc
from collections import defaultdict
from math import cos, log, pi, sin

import numpy as np
import pytest

from featurizers import (
    READY,
    Bins,
    Category,
    Cells,
    CharacterNgrams,
    Contains,
    Cross,
    EmailParts,
    EndsWith,
    FeaturizeError,
    Featurizer,
    Fields,
    Fraction,
    Length,
    LengthGreater,
    Number,
    Periodic,
    Pixels,
    Powers,
    Shape,
    SignedLog,
    StartsWith,
    SumOfSquares,
    TimeCycles,
    TimeParts,
    Words,
)


def run(template, record):
    return Featurizer([template])(record)


# ---- reading a record ----


def test_dotted_paths_read_nested_maps():
    """A dotted path reads a map inside a map, and names keep the path."""
    record = {"shop": {"city": "Rome"}, "shop.city": "Oslo"}
    assert run(Category("shop.city"), record) == {"shop.city=Rome": 1.0}


def test_optional_fields_may_be_missing_or_none():
    """An optional field that is missing, None, or inside a missing map gives no feature."""
    for record in ({}, {"a": None}, {"a": {}}, {"a": {"b": None}}):
        assert run(Category("a.b", optional=True), record) == {}
        assert run(Cells("a.b", size=1, optional=True), record) == {}
    assert run(Cells(size=1, optional=True), {"lat": 1.0}) == {}
    assert run(Cross([Category("a"), Category("b", optional=True)]), {"a": 1}) == {}


def test_reading_leaves_a_defaultdict_alone():
    """Reading a missing field does not add it to a defaultdict."""
    record = defaultdict(str)
    assert run(Category("a", optional=True), record) == {}
    assert not record


def test_numpy_scalars_are_numbers_and_categories():
    """numpy's scalars count as what they are."""
    assert run(Number("x"), {"x": np.float32(0.5)}) == {"x": 0.5}
    assert run(Number("x"), {"x": np.int64(5)}) == {"x": 5.0}
    assert run(Category("x"), {"x": np.int64(5)}) == run(Category("x"), {"x": np.float64(5)}) == {"x=5": 1.0}
    assert run(Fields(), {"x": np.int64(5), "s": np.str_("a")}) == {"x": 5.0, "s=a": 1.0}


# ---- strings and words ----


def test_empty_strings():
    """An empty string has no length, fraction, end or word; it does not even fail."""
    for template in (Length(), Fraction(of="digit"), EndsWith(n=1), StartsWith(n=1), Words(), LengthGreater(than=0)):
        assert run(template, "") == {}
    assert run(CharacterNgrams(low=2, high=2), "") == {"chars_⊢⊣": 1.0}


def test_fractions_beyond_ascii():
    """Letters of any script are alphanumeric, and classes are counted in characters."""
    assert run(Fraction(of=["alphanumeric", "ascii"]), "é😀") == {"fracOfAlpha": 0.5}


def test_ngram_counts_do_not_add_to_other_templates():
    """A count is the template's own, even where another template gave the same name."""
    f = Featurizer([CharacterNgrams(low=1, high=1), CharacterNgrams(low=1, high=1, count=True, marks=False)])
    assert f("aa")["chars_a"] == 2.0


def test_word_values():
    """Words are present, counted, or counted in logarithm, within the longest run."""
    assert run(Words(value="count", n=2), "a b a b") == {"word_a": 2, "word_b": 2, "word_a b": 2, "word_b a": 1}
    assert run(Words(value="log"), "a a") == {"word_a": pytest.approx(log(3))}
    spaced = Words(lower=False, token=r"\S+")  # noqa: S106 - a pattern
    assert run(spaced, "Hi, you") == {"word_Hi,": 1.0, "word_you": 1.0}


def test_words_of_many_scripts():
    """Words are letters and digits of any script, with apostrophes inside."""
    assert list(run(Words(), "L’été, 東京 2026 don't_stop")) == [
        "word_l’été",
        "word_東京",
        "word_2026",
        "word_don't",
        "word_stop",
    ]


def test_shape():
    """A shape keeps what is neither an ASCII letter nor a digit."""
    assert run(Shape(), "Ab12--é") == {"shape_Aa9--é": 1.0}


# ---- e-mail addresses ----


@pytest.mark.parametrize(
    ("address", "faults"),
    [
        ("abc@gmail.com", []),
        ('"a @ b"@x.org', []),
        ("юзер@екзампл.ком", []),
        ("राम@मोहन.ईन्फो", []),
        ("a@[127.0.0.1]", []),
        ("a@[IPv6:::1]", []),
        ("a@[127.0.0.300]", ["domain_literal"]),
        ("a@[127.0.0.1", ["domain_literal"]),
        ("abc", ["local_none"]),
        ("abc@", ["domain_none"]),
        ("@x.org", ["local_none"]),
        ("a b@x.org", ["local_ "]),
        ("a\u2009b@x.org", ["local_Zs"]),
        ("a@b@x.org", ["local_@"]),
        (".a..b@x.org", ["local_..", "local_."]),
        ('"a"b"@x.org', ["local_quotes"]),
        ("a@x..org", ["label_none"]),
        ("a@-x.org", ["label_-"]),
        ("a@x_y.org", ["domain__"]),
        ("a@x.123", ["suffix_digits"]),
        ("a@ｇmail.com", ["domain_compatibility"]),
        ("a" * 65 + "@x.org", ["local_length"]),
        ("a@" + "x" * 64 + ".org", ["label_length"]),
        ("a@" + "x." * 130 + "org", ["address_length"]),
    ],
)
def test_email_faults(address, faults):
    """Each fault of an address is named, and an address without any is faultless."""
    expected = [f"fault_{fault}" for fault in faults] or ["faultless"]
    assert [name for name in run(EmailParts(), address) if name.startswith("fault")] == expected


@pytest.mark.parametrize("ready", ["email", "text", "fields"])
def test_a_lone_surrogate_is_refused(ready):
    """UTF-8 has no form for it, so neither a client nor a file can hold it."""
    field = {"email": "address"}.get(ready, "text")
    with pytest.raises(FeaturizeError, match=r"text must have no lone surrogates \(got '.*\\ud800"):
        READY[ready]({field: "a\ud800@invalid"})


# ---- numbers ----


def test_numbers_in_strings_need_parse():
    """A string is a number only with `parse`, in plain decimals; a blank one is missing."""
    assert run(Number("x", parse=True), {"x": " -1.5e1 "}) == {"x": -15.0}
    assert run(Number("x", parse=True, optional=True), {"x": " "}) == {}
    assert run(Cells(size=1, parse=True), {"lat": "1.5", "lon": "2"}) == {"lat in [1,2] lon in [2,3]": 1.0}


def test_bins_are_half_open():
    """A bin has its upper edge and not its lower one; outside there is nothing unless asked for."""
    assert run(Bins(edges=[0, 0.5]), 0.5) == {"0<x<=0.5": 1.0}
    assert run(Bins(edges=[0, 0.5]), 0.0) == run(Bins(edges=[0, 0.5]), 0.6) == {}
    assert run(Bins("t", edges=[0], below=True, above=True), {"t": 0}) == {"t<=0": 1.0}
    assert run(Bins("t", edges=[0], below=True, above=True), {"t": 1e-9}) == {"t>0": 1.0}


def test_periodic_names_and_values():
    """A period has harmonics, a frequency stands as it is, and a zero is left out."""
    features = run(Periodic("hour", period=24, harmonics=2), {"hour": 5})
    assert features == pytest.approx(
        {
            "cos(2πhour/24)": cos(2 * pi * 5 / 24),
            "sin(2πhour/24)": sin(2 * pi * 5 / 24),
            "cos(4πhour/24)": cos(4 * pi * 5 / 24),
            "sin(4πhour/24)": sin(4 * pi * 5 / 24),
        }
    )
    assert run(Periodic(frequency=[1, 0.5]), 0) == {"cos(x)": 1.0, "cos(0.5x)": 1.0}


def test_signed_log_is_odd():
    """The signed logarithm of -x is minus that of x."""
    assert run(SignedLog(), -7)["log1p(x)"] == -run(SignedLog(), 7)["log1p(x)"] == pytest.approx(-log(8))


# ---- categories ----


def test_names_kept_for_speed_change_nothing():
    """A category's features do not depend on the values before, however many, long or equal those were."""
    used = Featurizer([Category("x")])
    values = [1, True, 1.0, "1", "true", "a" * 300, *range(20_000), True, 1, "a" * 300]
    for value in values:
        assert used({"x": value}) == run(Category("x"), {"x": value})


def test_equal_values_are_one_category():
    """Equal values from different languages' records are one category; a boolean is not a number."""
    names = [*run(Category("x"), {"x": 1}), *run(Category("x"), {"x": 1.0}), *run(Category("x"), {"x": "1"})]
    assert names == ["x=1", "x=1", "x=1"]
    assert run(Category("x"), {"x": True}) == {"x=true": 1.0}
    assert run(Category("x"), {"x": -0.0}) == {"x=0": 1.0}
    assert run(Category("x"), {"x": 0.1}) == {"x=0.1": 1.0}


# ---- times ----


def test_times_are_told_in_utc():
    """An offset is converted, none is UTC, and unix seconds are the same moment."""
    parts = TimeParts("at", of=["hour", "weekday", "day", "month", "year"])
    expected = {"hour=10": 1.0, "weekday=Tue": 1.0, "day=1": 1.0, "month=1": 1.0, "year=2013": 1.0}
    for at in ("2013-01-01T05:15:00-05:00", "2013-01-01T10:15:00", "2013-01-01 10:15Z", 1357035300, 1357035300.5):
        assert run(parts, {"at": at}) == expected


def test_time_cycles_meet_at_their_ends():
    """The end of a day, a week and a year is next to its start."""
    cycles = TimeCycles(of=["day", "week", "year"])
    before, after = run(cycles, "2023-12-31T23:59:59.999999"), run(cycles, "2024-01-01")
    assert before["cos(2πyear)"] == pytest.approx(after["cos(2πyear)"], abs=1e-6)
    assert before["sin(2πyear)"] == pytest.approx(0, abs=1e-6)
    assert before["sin(2πweek)"] == pytest.approx(0, abs=1e-6)


# ---- pixels ----


def test_pixels_of_arrays():
    """An array gives the same pixels as its nested lists, gray or in channels."""
    gray = np.array([[0.0, 0.5], [1.0, 0.0]])
    assert run(Pixels(), gray) == run(Pixels(), gray.tolist()) == {"pixel(0,1)": 0.5, "pixel(1,0)": 1.0}
    assert run(Pixels(channels=["v", "h"]), np.array([[[1, 2]]])) == {"pixel(0,0,v)": 1.0, "pixel(0,0,h)": 2.0}
    assert run(Pixels(), []) == {}


# ---- crosses ----


def test_cross_of_three_multiplies_values():
    """A cross of three has every combination, with the product as its value."""
    cross = Cross([Words("text"), Category("kind"), Number("x")], prefix="c:")
    assert run(cross, {"text": "a b", "kind": "k", "x": 3}) == {
        "c:word_a&kind=k&x": 3.0,
        "c:word_b&kind=k&x": 3.0,
    }


def test_cross_inside_a_map():
    """A cross with a field reads its templates' fields in that map."""
    cross = Cross([Category("a"), Category("b")], field="in")
    assert run(cross, {"in": {"a": 1, "b": 2}}) == {"a=1&b=2": 1.0}


# ---- any record ----


def test_fields_by_what_they_hold():
    """Numbers, strings, booleans, bags and maps have their features; what is missing has one that says so."""
    record = {
        "n": 2,
        "z": 0,
        "s": "a",
        "e": "",
        "t": True,
        "f": False,
        "o": None,
        "b": ["x", "y", "x"],
        "m": {"k": 1},
        "l": [],
    }
    expected = {"n": 2.0, "s=a": 1.0, "t": 1.0, "b=x": 2.0, "b=y": 1.0, "m.k": 1.0, "e_missing": 1.0, "o_missing": 1.0}
    assert READY["fields"](record) == expected
    assert READY["fields"]({"a": float("nan"), "m": {"k": None}}) == {"a_missing": 1.0, "m.k_missing": 1.0}


# ---- ready featurizers ----


def test_ready_flights():
    """A flight has its categories, crosses, distance and destination cells."""
    record = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "tailnum": "N14228", "month": 1, "day": 2, "hour": 5}
    record |= {"distance": 1400, "lat": 29.984433, "lon": -95.341442}
    assert READY["flights"](record) == dict.fromkeys(
        [
            "carrier=UA",
            "origin=EWR",
            "dest=IAH",
            "tailnum=N14228",
            "month=1",
            "hour=5",
            "origin=EWR&dest=IAH",
            "carrier=UA&hour=5",
            "month=1&day=2",
            "lat in [20,30] lon in [-100,-90]",
            "lat in [29,30] lon in [-96,-95]",
        ],
        1.0,
    ) | {"distance": 1400.0}


# ---- errors ----

NESTED = {}
for _ in range(40):
    NESTED = {"a": NESTED, "n": 1}


@pytest.mark.parametrize(
    ("template", "record", "message"),
    [
        (Category("a"), [1], "record must be a map of fields (got [1])"),
        (Category("a"), "text", "record must be a map of fields (got 'text')"),
        (Category("a"), None, "record must be a map of fields (got None)"),
        (Length(), None, "record is required (got None)"),
        (Category("a"), {}, "field 'a' is required (got None)"),
        (Category("a.b"), {"a": 3}, "field 'a' must be a map of fields (got 3)"),
        (Category("a.b"), {}, "field 'a.b' is required (got None)"),
        (Category("a"), {"a": ["x"]}, "field 'a' must be a string, a number or a boolean (got ['x'])"),
        (Category("a"), {"a": b"x"}, "field 'a' must be a string, a number or a boolean (got b'x')"),
        (Category("a"), {"a": float("nan")}, "field 'a' must be finite (got nan)"),
        (Category("a"), {"a": 2**64}, "field 'a' must be within 64 bits (got 18446744073709551616)"),
        (Length("a"), {"a": 3}, "field 'a' must be a string (got 3)"),
        (Contains(text="@"), b"a@b", "record must be a string (got b'a@b')"),
        (Number("x"), {"x": "3"}, "field 'x' must be a number (got '3')"),
        (Number("x"), {"x": True}, "field 'x' must be a number (got True)"),
        (Number("x"), {"x": float("inf")}, "field 'x' must be finite (got inf)"),
        (Number("x"), {"x": 10**5000}, "field 'x' must be finite (got a whole number of 16610 bits)"),
        (Number("x", parse=True), {"x": "nan"}, "field 'x' must be a number in plain decimals (got 'nan')"),
        (Number("x", parse=True), {"x": "1_0"}, "field 'x' must be a number in plain decimals (got '1_0')"),
        (Number("x", parse=True), {"x": "1e999"}, "field 'x' must be finite (got '1e999')"),
        (Number("x", parse=True), {"x": ""}, "field 'x' is required (got '')"),
        (Powers("x", degrees=3), {"x": -1e200}, "feature 'x^3' must be finite (got -inf)"),
        (SumOfSquares(of=["x", "y"]), {"x": 1e200, "y": 0}, "feature 'x^2+y^2' must be finite (got inf)"),
        (Periodic("x", frequency=1e9), {"x": 1e300}, "feature 'cos(1000000000x)' must be finite (got inf)"),
        (Cells(size=1), {"lat": 91.2, "lon": 0}, "field 'lat' must be within [-90, 90] (got 91.2)"),
        (Cells(size=1), {"lat": 0, "lon": -180.5}, "field 'lon' must be within [-180, 180] (got -180.5)"),
        (Cells("at", size=1), {"at": {"lat": True, "lon": 0}}, "field 'at.lat' must be a number (got True)"),
        (Cells(size=1), {"lat": float("nan"), "lon": 0}, "field 'lat' must be finite (got nan)"),
        (Cells(size=1), {"lat": 1}, "field 'lon' is required (got None)"),
        (TimeParts("t", of="day"), {"t": "x"}, "field 't' must be an ISO 8601 date or time, or unix seconds (got 'x')"),
        (
            TimeParts("t", of="day"),
            {"t": True},
            "field 't' must be an ISO 8601 date or time, or unix seconds (got True)",
        ),
        (TimeParts("t", of="day"), {"t": float("nan")}, "field 't' must be finite (got nan)"),
        (
            TimeParts("t", of="day"),
            {"t": 1e15},
            "field 't' must be within the years 1 to 9999 (got 1000000000000000.0)",
        ),
        (
            TimeParts("t", of="day"),
            {"t": "9999-12-31T23:00:00-05:00"},
            "field 't' must be within the years 1 to 9999 (got '9999-12-31T23:00:00-05:00')",
        ),
        (Pixels("i"), {"i": [1, 2]}, "field 'i' must be a list of rows of pixels (got [1, 2])"),
        (Pixels("i"), {"i": [[1, 2], [1]]}, "field 'i' must have 2 pixels in row 1 (got 1)"),
        (Pixels("i"), {"i": [[[1, 2]]]}, "field 'i' must have 3 channels a pixel in row 0 (got [1, 2])"),
        (Pixels("i"), {"i": [["x"]]}, "field 'i[0]' must be a number (got 'x')"),
        (Pixels("i"), {"i": [[None]]}, "field 'i[0]' must be a number (got None)"),
        (Pixels("i"), {"i": [[0] * 101] * 100}, "field 'i' must have at most 10000 numbers (got 10100)"),
        (
            Cross([Words("a"), Words("b")]),
            {"a": " ".join(map(str, range(101))), "b": " ".join(map(str, range(100)))},
            "cross must give at most 10000 features (got 10100)",
        ),
        (Cross([Number("x"), Number("y")]), {"x": 1e200, "y": 1e200}, "feature 'x&y' must be finite (got inf)"),
        (Words(), " ".join(map(str, range(10_001))), "record must give at most 10000 features (got more)"),
        (Fields(), "text", "record must be a map of fields (got 'text')"),
        (Fields(), {"": 1}, "record must have non-empty strings as field names (got '')"),
        (Fields(), {"a": {3: 1}}, "field 'a' must have non-empty strings as field names (got 3)"),
        (Fields(), {"a": ["x", 3]}, "field 'a' must be a list of strings (got 3 in it)"),
        (Fields(), {"a": float("inf")}, "field 'a' must be finite (got inf)"),
        (
            Fields(),
            {"a": b"x"},
            "field 'a' must be a number, a string, a boolean, a list of strings or a map (got b'x')",
        ),
        (Fields(), NESTED, f"field '{'.'.join('a' * 32)}' must be nested at most 32 maps deep (got another map)"),
    ],
)
def test_errors_name_field_rule_and_what_came(template, record, message):
    """A record that can't be featurized is refused with the field, the rule and what came."""
    with pytest.raises(FeaturizeError) as caught:
        run(template, record)
    assert str(caught.value) == message


def test_error_messages_stay_short():
    """A huge value is cut in its message."""
    with pytest.raises(FeaturizeError) as caught:
        run(Number("x"), {"x": "9" * 1_000_000})
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("template", "text", "message"),
    [
        (CharacterNgrams(low=1, high=32), "a" * 1_000_000, "text must have at most 1000000 n-grams (got 31999568)"),
        (Words(n=5), "a " * 300_000, "text must have at most 1000000 words and runs of words (got 1499990)"),
        (CharacterNgrams(low=5, high=5), "".join(map(str, range(50_000))), "record must give at most 10000 features"),
    ],
)
def test_the_ngrams_of_a_huge_text_are_bounded_before_they_are_made(template, text, message):
    """Neither the time nor the memory of a text's n-grams grows beyond bounds."""
    tracemalloc.start()
    with pytest.raises(FeaturizeError, match=re.escape(message)):
        run(template, text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000


def test_a_long_text_of_few_ngrams_has_them_all():
    assert run(CharacterNgrams(low=2, high=2, marks=False, count=True), "ab" * 20_000) == {
        "chars_ab": 20_000.0,
        "chars_ba": 19_999.0,
    }
    assert run(Words(n=2, value="count"), "a b " * 10_000) == {
        "word_a": 1e4,
        "word_b": 1e4,
        "word_a b": 1e4,
        "word_b a": 9999.0,
    }
