"""What columns hold: every kind in the forms in which strangers' files have it; what looks like a number but is a name."""

import datetime as dt
import random

import pytest

from learner.files.profile import profile, profiles


def kind_of(values):
    """Return the column that values are taken for."""
    return profile(list(values)).column


@pytest.mark.parametrize(
    ("values", "column"),
    [
        (["1", "2.5", "-3e2", "NA"], {"kind": "number"}),
        ([1, 2.5, None], {"kind": "number"}),
        (["1,234", "2,500,000", "7"], {"kind": "number"}),
        (["1.234,50", "2,5"], {"kind": "number", "decimal": ","}),
        (["3,5", "4,25", "1.000,0"], {"kind": "number", "decimal": ","}),
        (["$1,234.00", "$5", "$7.25"], {"kind": "money"}),
        (["1.234,00 €", "2,50 €"], {"kind": "money", "decimal": ","}),
        (["EUR 5", "(3.10)"], {"kind": "money"}),
        (["Rs. 1,200", "Rs 5"], {"kind": "money"}),
        (["9:05", "17:30"], {"kind": "date", "format": "%H:%M"}),
        (["9:05 PM", "11:30 am"], {"kind": "date", "format": "%I:%M %p"}),
        (["2:1", "0:0"], {"kind": "category"}),
        (["90:05", "17:30"], {"kind": "category"}),
        (["2024-05", "2023-12"], {"kind": "date", "format": "%Y-%m"}),
        (["May 2024", "Dec 2023"], {"kind": "date", "format": "%b %Y"}),
        (["15%", "3.5 %"], {"kind": "percentage"}),
        (["Yes", "no", "Yes"], {"kind": "yes_no"}),
        ([True, False], {"kind": "yes_no"}),
        ([True, "no", "Yes", 1, "0"], {"kind": "yes_no"}),
        (["1", "0", "n"], {"kind": "category"}),
        ([True, "blue"], {"kind": "category"}),
        ([{"a": ["x"]}, ["y"]], {}),
        ([["y"], [{"a": 1}]], {"kind": "ignore"}),
        ([{"a": [1, 2]}], {"kind": "ignore"}),
        (["T", "F"], {"kind": "yes_no"}),
        (["0", "1", "1"], {"kind": "number"}),
        (["02139", "10001", "94305"], {"kind": "category"}),
        (["720299e3", "65578e91", "12345678"], {"kind": "category"}),
        (["1e-05", "2.5e3", "7"], {"kind": "number"}),
        (["red", "blue", "red"], {"kind": "category"}),
        (["", None, "NA"], {"kind": "ignore"}),
        (["Win a big prize now", "Lunch at noon today?", "Meet me at the gate"], {"kind": "text"}),
        (["New York", "Los Angeles", "New York"], {"kind": "category"}),
    ],
)
def test_kinds(values, column):
    assert kind_of(values) == column


@pytest.mark.parametrize(
    "pattern",
    [
        "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y", "%d.%m.%y", "%Y/%m/%d", "%Y%m%d",
        "%m/%d/%Y %I:%M %p", "%d.%m.%Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", "%Y.%m.%d %H:%M",
        "%A, %B %d, %Y", "%b %d, %Y %I:%M:%S %p",
    ],
)  # fmt: skip
def test_a_format_of_dates_is_found_that_reads_them_all(pattern):
    draw = random.Random(1)
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    moments = [start + dt.timedelta(minutes=draw.randrange(10**6)) for _ in range(200)]
    column = kind_of([moment.strftime(pattern) for moment in moments])
    assert column["kind"] == "date"
    for moment in moments:
        text = moment.strftime(pattern)
        read = dt.datetime.strptime(text, column["format"])
        assert read == dt.datetime.strptime(text, pattern)


@pytest.mark.parametrize(
    "text", ["2026-12-31", "2026-12-31T17:05:00", "2026-12-31 17:05:00+02:00", "2026-12-31T17:05:00Z"]
)
def test_iso_8601_needs_no_format(text):
    assert kind_of([text] * 3) == {"kind": "date"}


def test_where_day_and_month_could_be_exchanged_it_says_so():
    assert profile(["01/02/2021", "03/04/2021"]).reason.endswith("the month may come first")
    assert not profile(["01/02/2021", "13/04/2021"]).reason.endswith("first")
    assert kind_of(["01/13/2021", "03/04/2021"]) == {"kind": "date", "format": "%m/%d/%Y"}


@pytest.mark.parametrize("values", [[str(k) for k in range(100)], range(7, 107), [f"ord-{k:06}" for k in range(100)]])
def test_what_counts_the_rows_or_is_another_one_in_each_is_an_id(values):
    assert kind_of(values) == {"kind": "id"}


def test_numbers_and_codes_that_repeat_or_are_missing_are_no_ids():
    assert kind_of([*range(100), 5]) == {"kind": "number"}
    assert kind_of([*(f"a{k:07x}" for k in range(100)), ""]) == {"kind": "category"}
    assert kind_of(f"name{k}@example.com" for k in range(20)) == {"kind": "category"}


def test_a_few_odd_values_change_no_kind():
    assert kind_of([*map(str, range(0, 400, 2)), "unknown"]) == {"kind": "number"}


def test_a_profile_counts():
    found = profiles([{"a": "x", "b": 1}, {"a": "x"}, {"a": "NA", "b": 3}])
    assert (found["a"].n, found["a"].n_missing, found["a"].n_distinct, found["a"].example) == (3, 1, 1, "x")
    assert (found["b"].n, found["b"].n_missing, found["b"].n_distinct) == (3, 1, 2)
