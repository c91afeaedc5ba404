"""csv and tsv: cells come back equal, text stays text where a number would lose something, a bad row is one error."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.errors import FormatError
from learner.files import read, values
from tests.unit.files.reading import faults, finite, label, quick, text, travels, unpacked, word


@quick
@given(st.data(), st.sampled_from([("csv", ","), ("tsv", "\t")]), st.sampled_from(["\n", "\r\n"]))
def test_csv_comes_back_equal_with_quotes_and_newlines_in_cells(data, kind, ending):
    form, delimiter = kind
    names = data.draw(st.lists(word, min_size=1, max_size=4, unique=True).filter(lambda names: "target" not in names))
    cell = finite | st.integers(-(2**62), 2**62) | text.filter(lambda cell: values.number(cell.strip()) is None)
    rows = data.draw(st.lists(st.tuples(label, *[cell for _ in names]), max_size=4))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerow(["target", *names])
    writer.writerows(rows)
    present = [
        {n: c for n, c in zip(names, row[1:], strict=True) if not isinstance(c, str) or c.strip()} for row in rows
    ]
    expected = [travels(row[0], record) for row, record in zip(rows, present, strict=True)]
    assert unpacked(out.getvalue().encode(), form) == expected


def test_a_csv_row_is_named_by_its_first_line_even_after_cells_with_newlines():
    content = b'a,target\n"x\n\ny",1\nz,2\n1,2,3\n'
    assert [example.where for example in read(io.BytesIO(content), "csv", on_error=lambda *_: None)] == [
        "line 2",
        "line 5",
    ]
    assert faults(content, "csv")[1] == ["line 6: must have the header's 2 columns (got 3)"]


@pytest.mark.parametrize(
    ("cell", "taken"),
    [("0", 0), ("-7", -7), (" 2", 2), ("0.5", 0.5), ("-0.5", -0.5), ("1e3", 1000.0), (".5", 0.5)]
    + [
        (cell, cell)
        for cell in ("02139", "-01", "+49", "nan", "inf", "1_0", "0x1", "1e999", "٣", "12345678901234567890")
    ]
    + [(" x ", " x "), ("true", "true")],
)
def test_only_text_that_loses_nothing_becomes_a_number(cell, taken):
    [[_, record]] = unpacked(f"a,target\n{cell},1\n".encode(), "csv")
    assert record == {"a": taken}
    assert type(record["a"]) is type(taken)


def test_empty_and_blank_csv_cells_are_left_out_and_an_empty_target_is_none():
    assert unpacked(b'a,target,b\n1,,"  "\n,,\n', "csv") == [[None, {"a": 1}], [None, {}]]


def test_a_first_column_without_a_name_is_row_numbers_and_left_out():
    assert unpacked(b'"",a,y\n1,5,0\n2,6,1\n', "csv", target="y") == [[0, {"a": 5}], [1, {"a": 6}]]


def test_csv_without_the_target_column_has_no_targets():
    assert unpacked(b"a,b\n1,2\n", "csv") == [[None, {"a": 1, "b": 2}]]


def test_a_header_whose_quotation_mark_is_not_closed_always_raises():
    with pytest.raises(FormatError, match=r"^line 1: the header must be csv"):
        faults(b'"a,b\n1,2', "csv")


@pytest.mark.parametrize("row", ['"x"y,2', "1", "1,2,3", '"' + "x\n" * 70_000])
def test_a_bad_csv_row_does_not_take_the_next_with_it(row):
    good, said = faults(f"a,target\n{row}\n1,2\n".encode(), "csv")
    assert good[-1] == [2, {"a": 1}]
    assert said[0].startswith("line 2: must ")
