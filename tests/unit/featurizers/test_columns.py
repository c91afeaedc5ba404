"""Columns: every kind reads its values in the forms that people write, and says what is missing or of another kind."""

import datetime as dt

import pytest

from featurizers import Featurizer, FeaturizerSpecError, Fields
from featurizers.columns import KINDS, MISSING_SUFFIX
from learner import layout


def features(kind, value, **options):
    """Return the features of a record of one column."""
    columns = {"f": {"kind": kind, **options}}
    return Featurizer([Fields(columns=columns)])({"f": value, "lon": -122.17} if kind == "place" else {"f": value})


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7, 7.0), (0.5, 0.5), ("7", 7.0), (" -1.5e3 ", -1500.0), ("1,234.5", 1234.5), ("1 234 567", 1234567.0), ("+.5", 0.5),
        ("1'234", 1234.0), ("\u22123", -3.0), ("0", None), (0, None), (True, 1.0),
    ],
)  # fmt: skip
def test_a_number_is_one_however_it_is_written(value, number):
    assert features("number", value) == ({} if number is None else {"f": number})


@pytest.mark.parametrize(("text", "number"), [("1.234,5", 1234.5), ("3,5", 3.5), ("1 000", 1000.0), ("7", 7.0)])
def test_a_decimal_comma_is_said(text, number):
    assert features("number", text, decimal=",") == {"f": number}


@pytest.mark.parametrize("value", ["12,34", "1,23,456", "ten", "0x10", "1e999", "inf"])
def test_what_is_no_number_is_a_category_and_nothing_is_lost(value):
    assert features("number", value) == {f"f={value}": 1.0, "f_missing": 1.0}


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("$1,234.00", 1234.0), ("-$5", -5.0), ("$-5", -5.0), ("(3.10)", -3.1), ("EUR 5", 5.0), ("5 USD", 5.0), ("£7.5", 7.5),
        ("12 kr", 12.0), ("7", 7.0), (7.5, 7.5),
    ],
)  # fmt: skip
def test_money_is_its_amount(text, amount):
    assert features("money", text) == {"f": amount}


def test_money_with_a_decimal_comma():
    assert features("money", "1.234,50 €", decimal=",") == {"f": 1234.5}


@pytest.mark.parametrize(("value", "percent"), [("15%", 15.0), ("3.5 %", 3.5), (15, 15.0), ("-2", -2.0)])
def test_a_percentage_is_its_number_of_percent(value, percent):
    assert features("percentage", value) == {"f": percent}


@pytest.mark.parametrize(
    ("value", "text"), [("02139", "02139"), (2139, "2139"), (2139.0, "2139"), (True, "true"), ("é", "é")]
)
def test_a_category_is_its_text(value, text):
    assert features("category", value) == {f"f={text}": 1.0}


def test_a_text_is_its_words_and_length():
    assert features("text", "Win, win!") == {"f.word_win": 1.0, "f.word_win win": 1.0, "f.length": 9.0}
    assert features("text", 12) == {"f.word_12": 1.0, "f.length": 2.0}


@pytest.mark.parametrize("value", [True, 1, 1.0, "Yes", "t", "TRUE", "y", "1"])
def test_a_yes(value):
    assert features("yes_no", value) == {"f": 1.0}


@pytest.mark.parametrize(("value", "expected"), [(False, {}), ("No", {}), (0, {}), ("maybe", {"f=maybe": 1.0})])
def test_a_no_and_what_is_neither(value, expected):
    assert features("yes_no", value) == expected


@pytest.mark.parametrize(
    ("value", "pattern", "hour"),
    [
        ("31.12.2026", "%d.%m.%Y", None), ("12/31/2026 05:30 PM", "%m/%d/%Y %I:%M %p", 17), ("2026-12-31T17:30:00Z", None, 17),
        (dt.date(2026, 12, 31), None, None), (dt.datetime(2026, 12, 31, 17, 30, tzinfo=dt.UTC), None, 17),
    ],
)  # fmt: skip
def test_a_date_is_a_day_and_its_parts(value, pattern, hour):
    found = features("date", value, **({"format": pattern} if pattern else {}))
    day = found.pop("f")
    assert int(day) == (dt.date(2026, 12, 31) - dt.date(1970, 1, 1)).days
    parts = ["f.year=2026", "f.month=12", "f.weekday=Thu", *([f"f.hour={hour}"] if hour is not None else [])]
    assert found == dict.fromkeys(parts, 1.0)


@pytest.mark.parametrize("value", ["soon", "31.13.2026", 7])
def test_what_is_no_date_is_a_category(value):
    assert features("date", value, format="%d.%m.%Y") == {f"f={value}": 1.0, "f_missing": 1.0}


def test_a_place_is_its_numbers_and_its_cells():
    found = features("place", "37.41", **{"with": "lon"})
    assert (found["f"], found["lon"], found["f.lat in [37,38] lon in [-123,-122]"]) == (37.41, -122.17, 1.0)
    assert features("place", 91, **{"with": "lon"}) == {"f": 91.0, "lon": -122.17}


@pytest.mark.parametrize("kind", ["id", "ignore"])
def test_what_is_no_feature(kind):
    assert features(kind, "x1") == features(kind, None) == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [None, float("nan"), "", "  ", "NA", "n/a", "NULL", "NaN", "-"])
def test_what_is_missing_has_a_feature(kind, value):
    assert features(kind, value) == {"f_missing": 1.0}
    assert Featurizer([Fields(columns={"f": kind})])({}) == {"f_missing": 1.0}


def test_fields_without_a_column_keep_their_own_type():
    f = Featurizer([Fields(columns={"zip": "category"})])
    assert f({"zip": 2139, "size": 3, "city": "Rome"}) == {"zip=2139": 1.0, "size": 3.0, "city=Rome": 1.0}


def test_long_names_of_columns_fit():
    name = "the answer to a long question " * 9
    f = Featurizer([Fields(columns={name: "text"})])
    (word, length) = f({name: "yes"})
    assert max(len(word.encode()), len(length.encode())) <= 256


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": "mony"}, "kind of column 'a' must be one of number, .*got 'mony'"),
        ({"a": {"kind": "number", "format": "x"}}, "column 'a' must have only decimal, a text, beside its kind number"),
        ({"a": {"kind": "date", "format": 3}}, "column 'a' must have only format"),
        ({"a": {"kind": "number", "decimal": ";"}}, "decimal of column 'a' must be"),
        ({"a": "place"}, "column 'a' must name the column of its longitude"),
        ({"": "number"}, "a column must have a text as its name"),
        (["a"], "columns must be a map"),
    ],
)
def test_wrong_columns_are_refused(columns, message):
    with pytest.raises(FeaturizerSpecError, match=message):
        Fields(columns=columns)


def test_columns_go_to_data_and_back():
    f = Featurizer([Fields(columns={"b": "money", "a": {"kind": "date", "format": "%Y"}})])
    again = Featurizer.from_spec(f.to_spec())
    assert (again, again.to_spec()) == (f, f.to_spec())
    assert Featurizer([Fields()]).to_spec() == {"templates": [{"template": "fields"}]}


def test_the_learner_knows_which_features_say_that_a_number_is_missing():
    assert layout.MISSING_SUFFIX == MISSING_SUFFIX
    assert len(MISSING_SUFFIX) == 8  # compared as one word
