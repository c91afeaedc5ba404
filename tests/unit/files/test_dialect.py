"""Tables of every dialect: delimiters, headers or none, a target that must be there, quotation marks that are not closed."""

import csv
import io

import pytest

from learner.errors import FormatError
from learner.files import Reading
from tests.unit.files.reading import faults, unpacked

ROWS = [["a", "b", "target"], ["1.5", "x y", "1"], ["2", "z, or not", "0"]]


@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("first", ["", "sep={}\n", '"sep={}"\r\n'])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_the_delimiter_is_recognised_or_named_by_the_first_line(form, delimiter, first, quoting):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=quoting).writerows(ROWS)
    content = first.format(delimiter) + out.getvalue()
    assert unpacked(content.encode(), form) == [[1, {"a": 1.5, "b": "x y"}], [0, {"a": 2, "b": "z, or not"}]]


def test_a_delimiter_inside_texts_or_decimal_commas_is_not_taken():
    assert unpacked(b"text\na;b\nc;d\n", "csv") == [[None, {"text": "a;b"}], [None, {"text": "c;d"}]]
    assert unpacked(b"x;y;target\n1,5;2,5;0\n", "csv") == [[0, {"x": 1.5, "y": 2.5}]]
    assert unpacked(b"a|b,target\nx|y,1\n", "csv") == [[1, {"a|b": "x|y"}]]


# ---- the header ----
@pytest.mark.parametrize(
    ("header", "names", "made_up"),
    [
        ("a,a,a", ["a", "a.2", "a.3"], "a.2, a.3"),
        ("a,a,a.2", ["a", "a.3", "a.2"], "a.3"),
        ("a,,b", ["a", "c2", "b"], "c2"),
        ("a,,c2", ["a", "c2.2", "c2"], "c2.2"),
        (",,a", ["c2", "a"], "c2"),  # the first are row numbers
    ],
)
def test_columns_without_a_name_of_their_own_get_one_and_it_is_said_once(header, names, made_up):
    notes = []
    found = unpacked(f"{header}\n1,2,3\n1,2,3\n".encode(), "csv", how=Reading(on_note=notes.append))
    assert found == [[None, dict(zip(names, [1, 2, 3][3 - len(names) :], strict=True))]] * 2
    assert notes == [f"columns without a name of their own are called {made_up}"]


def needing(content, target="target", form="csv", **how):
    return unpacked(content, form, target=target, how=Reading(needs_target=True, **how))


@pytest.mark.parametrize(
    ("header", "target", "told"),
    [
        ("a,b,late", "Late", "a, b, late (got 'Late'; did you mean 'late'?)"),
        ("a,arr_delay", "arr_dely", "a, arr_delay (got 'arr_dely'; did you mean 'arr_delay'?)"),
        ("a,b", "target", "a, b (got 'target': see --target)"),
        (",".join(f"n{i}" for i in range(30)), "target", "n18, n19 and 10 more (got 'target': see --target)"),
    ],
)
def test_a_target_that_is_no_column_is_refused_with_the_names(header, target, told):
    content = f"{header}\n{','.join('x' for _ in header.split(','))}\n".encode()
    with pytest.raises(FormatError) as refused:
        needing(content, target)
    assert str(refused.value).startswith("target must be a column of the file: ")
    assert str(refused.value).endswith(told)


def test_a_target_that_is_no_key_of_the_first_objects_is_refused_with_the_keys():
    lines = [b'{"a": 1, "late": 0}'] * 2000
    with pytest.raises(FormatError, match=r"a key of the objects: a, late \(got 'Late'; did you mean 'late'\?\)$"):
        needing(b"\n".join(lines), "Late", "jsonl")
    late = [*lines[:999], b'{"Late": 1}', *lines[:5]]
    assert len(needing(b"\n".join(late), "Late", "jsonl")) == 1005
    assert len(needing(b"\n".join(lines), "late", "jsonl")) == 2000


def test_a_first_line_that_looks_like_data_is_refused_with_a_hint():
    for content in (b"1,x,1\n2,y,0\n", b"1,x,,3\n,y,2,4\n"):
        with pytest.raises(FormatError, match=r"^line 1: the first line looks like data: add --no-header or --columns"):
            needing(content)
    assert needing(b"2019,2020\n1,0\n", "2020") == [[0, {"2019": 1}]]


def test_without_a_header_columns_are_named_by_number_or_as_given():
    assert needing(b"1,x,1\n2,,0\n", "c3", columns=()) == [[1, {"c1": 1, "c2": "x"}], [0, {"c1": 2, "c2": None}]]
    assert needing(b"1,x,1\n2,,0\n", columns=("a", "b", "target")) == [
        [1, {"a": 1, "b": "x"}],
        [0, {"a": 2, "b": None}],
    ]
    with pytest.raises(FormatError, match=r"^--columns must name the file's 3 columns \(got 2: a, target\)"):
        needing(b"1,x,1\n", columns=("a", "target"))
    with pytest.raises(FormatError, match=r"target must be a column of the file: c1, c2, c3 \(got 'target'"):
        needing(b"1,x,1\n", columns=())


# ---- quotation marks ----
@pytest.mark.parametrize("n_before", [0, 30])
@pytest.mark.parametrize("n_after", [0, 1, 30, 3000])
@pytest.mark.parametrize("broken", ['2,"broken,0', '"broken,x,0', '2,"bro""ken,0', '1,"a,b'])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_one_quotation_mark_that_is_not_closed_costs_one_row(n_before, n_after, broken, ending):
    lines = ["a,b,target", *["1,x,1"] * n_before, broken, *["1,x,1"] * n_after, '1,"x",1']
    good, said = faults((ending.join(lines) + ending).encode(), "csv")
    assert good == [[1, {"a": 1, "b": "x"}]] * (n_before + n_after + 1)
    assert said == [f"line {n_before + 2}: must be csv (a quotation mark is not closed)"]


def test_real_line_breaks_around_a_broken_row_are_kept():
    content = b'a,target\n"x\n\ny",1\n"broken,1\n"p\nq",0\n"again,1\n5,1\n'
    good, said = faults(content, "csv")
    assert good == [[1, {"a": "x\n\ny"}], [0, {"a": "p\nq"}], [1, {"a": "5"}]]
    assert [line.partition(":")[0] for line in said] == ["line 5", "line 8"]
