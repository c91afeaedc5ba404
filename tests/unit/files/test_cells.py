"""Cells of a table are read as their column's kind, and those that are not of it are counted, whether read or left as texts."""

import io
from collections import Counter

import pytest

from learner.files import Reading, read
from learner.files.cells import reader_of, text_reader_of

CASES = [
    ({"kind": "number"}, ["1", "-1.5", "1e3", "1,234"], ["n/k", "$5"]),
    ({"kind": "number", "decimal": ","}, ["1,5", "1.234,5", "7"], ["1,234.5"]),
    ({"kind": "money"}, ["$1,234.00", "-$5", "EUR 5", "(3.10)", "7"], ["on request", "5 apples"]),
    ({"kind": "percentage"}, ["15%", "15", "1,000.5 %"], ["%", "all"]),
    ({"kind": "yes_no"}, ["yes", "No", "T", "0"], ["maybe"]),
    ({"kind": "date"}, ["2026-12-31", "2026-02-28T10:00:00Z", "2026-01-01 10:00:00+02:00"], ["2026-02-31", "soon"]),
    ({"kind": "date", "format": "%d.%m.%Y %H:%M"}, ["31.12.2026 17:05", "2026-12-31"], ["12.31.2026 17:05", "31.02.2026 1:1"]),
    ({"kind": "date", "format": "%b %d, %Y"}, ["Dec 31, 2026"], ["31 Dec 2026"]),
    ({"kind": "category"}, ["Lyon", "7"], []),
]  # fmt: skip


@pytest.mark.parametrize(("column", "fitting", "others"), CASES)
@pytest.mark.parametrize("make", [reader_of, text_reader_of])
def test_values_that_are_not_of_a_column_s_kind_are_counted_and_kept(make, column, fitting, others):
    found: list[str] = []
    for text in (*fitting, "", "   ", " " * 12, "NA", "null"):
        make(column, lambda text=text: found.append(text))(text)
    assert found == []
    for text in others:
        assert make(column, lambda text=text: found.append(text))(text) == text
    assert found == others


def test_a_place_s_two_columns_are_counted_as_numbers_and_the_target_is_not():
    kinds = {"lat": {"kind": "place", "with": "lon"}, "y": {"kind": "number"}}
    how = Reading(kinds=kinds, others=Counter())
    content = b"lat,lon,y\n48.8,2.3,1\nnorth,east,two\nnorth,2.4,1\n"
    assert len(list(read(io.BytesIO(content), "csv", target="y", how=how))) == 3
    assert how.others == {("lat", "number"): 2, ("lon", "number"): 1}
