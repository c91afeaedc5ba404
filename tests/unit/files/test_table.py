"""csv and tsv: cells come back equal, text stays text where a number would lose something, a bad row is one error."""

import csv
import io
import itertools

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from learner.errors import FormatError
from learner.files import Reading, read, source, table
from tests.unit.files.reading import faults, finite, label, quick, text, travels, unpacked, word


@settings(quick, phases=[Phase.explicit, Phase.generate])
@given(st.data(), st.sampled_from([("csv", ","), ("tsv", "\t")]), st.sampled_from(["\n", "\r\n"]))
def test_csv_comes_back_equal_with_quotes_and_newlines_in_cells(data, kind, ending):
    form, delimiter = kind
    names = data.draw(st.lists(word, min_size=1, max_size=4, unique=True).filter(lambda names: "target" not in names))
    numbers, texts = finite | st.integers(-(2**20), 2**20), text.map("a long ".__add__)
    kinds = [data.draw(st.sampled_from([numbers, texts])) for _ in names]  # a column has one
    rows = data.draw(st.lists(st.tuples(label, *[st.just("") | cell for cell in kinds]), max_size=4))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerow(["target", *names])
    writer.writerows(rows)
    used = [any(row[k] != "" for row in rows) for k in range(1, 1 + len(names))]  # an empty column is left out
    present = [
        {n: None if c == "" else c for n, c, is_used in zip(names, row[1:], used, strict=True) if is_used}
        for row in rows
    ]
    expected = [travels(None if row[0] == "nan" else row[0], record) for row, record in zip(rows, present, strict=True)]
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
    [
        ("0", 0.0),
        ("-7", -7.0),
        (" 2", 2.0),
        ("0.5", 0.5),
        ("-0.5", -0.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1,000", 1000.0),
    ]
    + [(cell, cell) for cell in ("02139", "+49151", "inf", "1_0", "0x1", "1e999", "٣", "12345678901234567890", " x ")]
    + [("true", True), ("$5", 5.0)],
)
def test_only_text_that_loses_nothing_becomes_a_number(cell, taken):
    [[_, record]] = unpacked(f'a,target\n"{cell}",1\n'.encode(), "csv")
    assert record == {"a": taken}
    assert type(record["a"]) is type(taken)


def test_empty_and_blank_cells_are_none_and_columns_without_a_value_are_left_out():
    assert unpacked(b'a,target,b\n1,,"  "\n,,\nNA,1,\n', "csv") == [
        [None, {"a": 1}],
        [None, {"a": None}],
        [1, {"a": None}],
    ]


def test_the_cells_of_a_model_s_columns_stay_as_they_are():
    cells = unpacked(b'a,b,target\n"1,5",NA,1\n , 7,0\n', "csv", how=Reading(kinds={}))
    assert cells == [[1, {"a": "1,5", "b": "NA"}], [0, {"a": None, "b": " 7"}]]


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
    assert good[-1][0] == 2
    assert float(good[-1][1]["a"]) == 1
    assert said[0].startswith("line 2: must ")


@pytest.mark.parametrize(
    ("cells", "targets"),
    [
        (["$1,234.50", "$5"], [1234.5, 5.0]),
        (["15%", "2.5 %"], [15.0, 2.5]),
        (["1,234", "812"], [1234.0, 812]),
        (["NA", "7"], [None, 7]),
    ],
)
def test_a_target_is_a_number_however_it_is_written(cells, targets):
    lines = "\n".join(f'x,"{cell}"' for cell in cells)
    assert [y for y, _ in unpacked(f"a,target\n{lines}\n".encode(), "csv")] == targets


def test_a_row_in_many_lines_is_bounded_as_its_lines_come(monkeypatch):
    monkeypatch.setattr(source, "MAX_EXAMPLE_BYTES", 1000)
    taken = []
    lines = itertools.chain([b'"'], itertools.repeat(b"x" * 100))
    rows = table._Rows(((i, line, line) for i, line in enumerate(lines, 1) if taken.append(i) is None), ",")
    assert str(next(rows).cells) == "a quotation mark is not closed"
    assert len(taken) < 15


def test_a_name_that_many_columns_have_gets_a_number_in_each():
    names = table._distinct(["a"] * 50_000)
    assert (names[0], names[1], names[-1], len(set(names))) == ("a", "a.2", "a.50000", 50_000)
