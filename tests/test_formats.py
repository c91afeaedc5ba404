import csv
import gzip
import importlib.util
import io
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner import files as formats
from learner.errors import FormatError
from learner.files import FORMATS, Source, guess, read

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

finite = st.floats(allow_nan=False, allow_infinity=False)
word = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"], exclude_characters=":|'#\""), min_size=1)
number = st.integers(-(2**62), 2**62) | finite
exact = st.integers(-(2**53), 2**53) | finite  # what a feature's value in text keeps
features = st.dictionaries(word, exact.filter(bool), max_size=6)
label = st.none() | st.integers(-9, 9) | finite | st.sampled_from(["spam", "ham", "nan", "02139"])
importance = st.floats(0, 1e6)
text = st.text(st.characters(codec="utf-8"), max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


def unpacked(content: bytes, form: str, **options: object) -> list[list]:
    return [msgpack.unpackb(example.data) for example in read(io.BytesIO(content), form, **options)]


def faults(content: bytes, form: str, **options: object) -> tuple[list[list], list[str]]:
    """Return the good examples and what was said about the others."""
    said: list[str] = []
    good = unpacked(content, form, on_error=lambda where, message, raw: said.append(f"{where}: {message}"), **options)
    return good, said


def travels(target: object, found: dict, weight: float = 1) -> list:
    return [target, found] if weight == 1 else [target, found, weight]


# the whole way, format by format


@quick
@given(st.lists(st.tuples(label, features, importance), max_size=5))
def test_msgpack_slices_put_together_are_the_file_byte_for_byte(examples):
    content = b"".join(msgpack.packb(travels(*example)) for example in examples)
    slices = list(read(io.BytesIO(content), "msgpack"))
    assert b"".join(example.data for example in slices) == content
    assert [(e.kind, e.where) for e in slices] == [("features", f"example {n + 1}") for n in range(len(examples))]


@pytest.mark.parametrize("block", [1, 7, 64])
def test_msgpack_slices_do_not_depend_on_where_blocks_end(monkeypatch, block):
    monkeypatch.setattr(formats, "_BLOCK", block)
    examples = [msgpack.packb([n, {"a" * n: 1.5, "é": n}]) for n in range(50)]
    assert [example.data for example in read(io.BytesIO(b"".join(examples)), "msgpack")] == examples


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


@quick
@given(st.data(), st.sampled_from([("csv", ","), ("tsv", "\t")]), st.sampled_from(["\n", "\r\n"]))
def test_csv_comes_back_equal_with_quotes_and_newlines_in_cells(data, kind, ending):
    form, delimiter = kind
    names = data.draw(st.lists(word, min_size=1, max_size=4, unique=True).filter(lambda names: "target" not in names))
    cell = finite | st.integers(-(2**62), 2**62) | text.filter(lambda cell: formats._number(cell.strip()) is None)
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


def vw_text(target: object, found: dict, weight: float) -> str:
    head = "" if target is None else f"{target} " if weight == 1 else f"{target} {weight!r} "
    return head + "| " + " ".join(f"{name}:{value!r}" for name, value in found.items())


@quick
@given(st.lists(st.tuples(label, features, importance), max_size=5))
def test_vw_text_comes_back_equal(examples):
    examples = [(t, f, 1 if t is None else i) for t, f, i in examples]
    expected = [travels(t, f, i) for t, f, i in examples]
    assert unpacked("\r\n".join(vw_text(*example) for example in examples).encode(), "vw") == expected


@quick
@given(st.lists(st.tuples(label, st.dictionaries(st.integers(0, 2**40), exact.filter(bool), max_size=6)), max_size=5))
def test_libsvm_comes_back_equal(examples):
    lines = [" ".join(["" if t is None else str(t), *(f"{i}:{v!r}" for i, v in f.items())]) for t, f in examples]
    expected = [
        travels(t, {str(i): v for i, v in f.items()}) for t, f in examples if not (t is None and not f)
    ]  # nothing at all is an empty line
    assert unpacked("\n".join(lines).encode(), "libsvm") == expected


@quick
@given(st.sampled_from(FORMATS), st.data())
def test_mutated_bytes_raise_nothing_but_format_errors(form, data):
    start = {
        "jsonl": b'{"target": 1, "features": {"a": 1.5}}\n{"b": "x", "target": true}\n',
        "csv": b'target,a,b\n1,"x\ny",2\nspam,,0.5\n',
        "tsv": b"target\ta\tb\n1\tx\t2\n",
        "vw": b"1 2.0 'tag|ns:2 f:1 g |other h\n-1 | a\n",
        "libsvm": b"1 1:0.5 7:2 # yes\n-1 qid:3 2:1\n",
        "msgpack": msgpack.packb([1, {"a": 1.5}]) + msgpack.packb([-1, {"b": 2}, 0.5]),
    }[form]
    content = bytearray(gzip.compress(start, mtime=0) if data.draw(st.booleans()) else start)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        content = content or bytearray(b"\0")
    try:
        for example in read(io.BytesIO(bytes(content)), form, on_error=lambda *_: None):
            msgpack.unpackb(example.data, strict_map_key=False, unicode_errors="replace", timestamp=0)
    except FormatError:
        pass
    except ValueError:
        assert form == "msgpack"  # whose examples are passed on unopened


# what every format shares


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_file_holds_no_examples_zipped_or_not(form):
    assert unpacked(b"", form) == unpacked(gzip.compress(b""), form) == []


SMALL = {
    "jsonl": b'{"target":1,"a":2}\n\n{"target":0,"a":3}',
    "csv": b"a,target\n2,1\n\n3,0",
    "tsv": b"a\ttarget\n2\t1\n\n3\t0",
    "vw": b"1 | a:2\n\n0 | a:3",
    "libsvm": b"1 a:2\n\n0 a:3",
}


@pytest.mark.parametrize("form", SMALL)
@pytest.mark.parametrize("ending", [b"", b"\n"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_endings_a_byte_order_mark_and_blank_lines_change_nothing(form, ending, newline, mark):
    content = mark + (SMALL[form] + ending).replace(b"\n", newline)
    assert unpacked(content, form) == [[1, {"a": 2}], [0, {"a": 3}]]


@pytest.mark.parametrize("form", SMALL)
def test_examples_are_named_by_the_line_they_begin_on(form):
    wheres = [example.where for example in read(io.BytesIO(SMALL[form]), form)]
    assert wheres == (["line 2", "line 4"] if form in ("csv", "tsv") else ["line 1", "line 3"])


def test_a_csv_row_is_named_by_its_first_line_even_after_cells_with_newlines():
    content = b'a,target\n"x\n\ny",1\nz,2\n1,2,3\n'
    assert [example.where for example in read(io.BytesIO(content), "csv", on_error=lambda *_: None)] == [
        "line 2",
        "line 5",
    ]
    assert faults(content, "csv")[1] == ["line 6: must have the header's 2 columns (got 3)"]


@pytest.mark.parametrize("form", [*SMALL, "msgpack"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_is_read_by_its_name_and_a_gzip_by_its_first_bytes(tmp_path, form, zipped):
    content = SMALL.get(form) or msgpack.packb([1, {"a": 2}]) + msgpack.packb([0, {"a": 3}])
    path = tmp_path / f"small.{form}{'.gz' if zipped else ''}"
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert [msgpack.unpackb(e.data) for e in read(path)] == [[1, {"a": 2}], [0, {"a": 3}]]
    assert [msgpack.unpackb(e.data) for e in read(str(path))] == [[1, {"a": 2}], [0, {"a": 3}]]


def test_position_goes_up_to_the_stored_size_and_no_further(tmp_path):
    path = tmp_path / "many.vw.gz"
    path.write_bytes(gzip.compress(b"".join(os.urandom(40).hex().encode() + b" | a\n" for _ in range(20_000))))
    with Source(path) as source:
        positions = [source.position() for _ in read(source)]
        assert source.size == path.stat().st_size == positions[-1]
        assert positions == sorted(positions)
        assert positions[0] < positions[-1]


def test_a_stream_handed_in_stays_open_and_has_no_size():
    stream = io.BytesIO(SMALL["vw"])
    source = Source(stream)
    assert len(list(read(source, "vw"))) == 2
    assert (source.size, source.position(), stream.closed) == (None, len(SMALL["vw"]), False)


def test_lines_of_standard_input_arrive_while_it_is_still_open():
    program = "from learner.files import read\nfor e in read('-', 'vw'): print(e.where, flush=True)"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe) as child:
        child.stdin.write(b"1 | a\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"line 1\n"
        child.stdin.write(b"1 | a")
        child.stdin.close()
        assert child.stdout.read() == b"line 2\n"


def test_importing_the_readers_pays_for_no_compiled_or_network_package():
    program = "import sys, learner.files; print({'numba', 'numpy', 'redis', 'rich'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program]) == b"set()\n"


@pytest.mark.parametrize("name", ["notes.txt", "flights", ".gz", "<stdin>"])
def test_an_unknown_ending_is_answered_with_the_known_ones(name):
    with pytest.raises(FormatError, match=re.escape(name) + r".*\.jsonl.*\.msgpack"):
        guess(name)


def test_an_unknown_format_or_a_missing_file_raises_before_anything_is_read(tmp_path):
    with pytest.raises(FormatError, match=r"format must be one of .* \(got 'xml'\)"):
        read(io.BytesIO(), "xml")
    with pytest.raises(FormatError, match="can't be opened"):
        read(tmp_path / "absent.vw")


def test_a_bad_example_raises_by_default_and_is_handed_over_raw_when_asked():
    with pytest.raises(FormatError, match=r"^line 2: feature value must be a finite number \(got 'abc'\)$"):
        unpacked(b"1 | a\n1 | b:abc\n1 | c\n", "vw")
    handed = []
    good = unpacked(b"1 | a\n1 | b:abc\n1 | c\n", "vw", on_error=lambda *fault: handed.append(fault))
    assert good == [[1, {"a": 1}], [1, {"c": 1}]]
    assert handed == [("line 2", "feature value must be a finite number (got 'abc')", b"1 | b:abc\n")]


@pytest.mark.parametrize(
    ("form", "start", "after"),
    [
        ("vw", b"1 | ", b"2 | a"),
        ("jsonl", b'{"a": "', b'{"target": 2, "a": 1}'),
        ("libsvm", b"1 1:", b"2 a:1"),
        ("csv", b"a,target\n1,", b"1,2"),
    ],
)
def test_an_endless_line_costs_one_error_and_bounded_memory(monkeypatch, form, start, after):
    monkeypatch.setattr(formats, "_MAX_BYTES", 1000)
    good, said = faults(start + b"x" * 10_000 + b"\n" + after, form)
    assert good == [[2, {"a": 1}]]
    assert [line.split(": ")[1] for line in said] == ["must be at most 1000 bytes"]


@pytest.mark.parametrize("form", SMALL)
def test_a_line_that_is_not_utf8_is_one_error(form):
    lines = SMALL[form].split(b"\n")
    good, said = faults(b"\n".join([*lines[:-1], lines[-1].replace(b"3", b"\xff"), lines[-1]]), form)
    assert good == [[1, {"a": 2}], [0, {"a": 3}]]
    assert len(said) == 1
    assert "text must be UTF-8" in said[0]


def test_a_gzip_that_ends_early_or_is_damaged_raises_even_when_errors_are_counted():
    content = gzip.compress(b"1 | a\n" * 1000)
    for damaged in (content[:-9], content[:20] + b"\xff\xff" + content[22:], content + b"junk"):
        with pytest.raises(FormatError, match="gzip must be whole"):
            faults(damaged, "vw")


# msgpack


def test_a_truncated_last_msgpack_example_raises_with_its_byte_offset():
    first, last = msgpack.packb([1, {"a": 1.5}]), msgpack.packb([2, {"b": 1.5}])
    reader = read(io.BytesIO(first + last[:-1]), "msgpack", on_error=lambda *_: None)
    assert next(reader).data == first
    with pytest.raises(FormatError, match=f"example 2, from byte {len(first)}: must be whole"):
        next(reader)


def test_broken_msgpack_raises_after_the_good_examples():
    first = msgpack.packb([1, {"a": 1.5}])
    for broken in (b"\xc1", b"\x91" * 2000):
        reader = read(io.BytesIO(first + broken + first), "msgpack", on_error=lambda *_: None)
        assert next(reader).data == first
        with pytest.raises(FormatError, match=f"example 2, from byte {len(first)}: must be msgpack"):
            next(reader)


def test_a_msgpack_object_that_is_no_example_is_skipped():
    example = msgpack.packb([1, {"a": 1}])
    content = example + msgpack.packb({"a": 1}) + msgpack.packb([1]) + msgpack.packb(7) + example
    good, said = faults(content, "msgpack")
    assert good == [[1, {"a": 1}]] * 2
    assert [line.split(":")[0] for line in said] == ["example 2", "example 3", "example 4"]


def test_a_msgpack_length_that_lies_can_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(formats, "_MAX_BYTES", 10_000)
    monkeypatch.setattr(formats, "_BLOCK", 1000)
    with pytest.raises(FormatError, match="example 1, from byte 0: must be at most 10000 bytes"):
        unpacked(b"\x92\x01\xdf\xff\xff\xff\xff" + b"\xa1a\x01" * 10_000, "msgpack")


# jsonl


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
        (r'{"a": "\ud800"}', "text must be UTF-8"),
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


# csv


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
    with pytest.raises(FormatError, match="every column must have a name of its own"):
        unpacked(b"a,,y\n1,5,0\n", "csv", target="y")


def test_csv_without_the_target_column_has_no_targets():
    assert unpacked(b"a,b\n1,2\n", "csv") == [[None, {"a": 1, "b": 2}]]


@pytest.mark.parametrize("header", ["a,a", ",,a", "a, ", '"a'])
def test_a_header_that_names_no_column_or_one_twice_always_raises(header):
    with pytest.raises(FormatError, match=r"^line 1: (every column|the header)"):
        faults(f"{header}\n1,2".encode(), "csv")


@pytest.mark.parametrize("row", ['"x"y,2', "1", "1,2,3", '"' + "x\n" * 70_000])
def test_a_bad_csv_row_does_not_take_the_next_with_it(row):
    good, said = faults(f"a,target\n{row}\n1,2\n".encode(), "csv")
    assert good[-1] == [2, {"a": 1}]
    assert said[0].startswith("line 2: must ")


# vw and libsvm


@pytest.mark.parametrize(
    ("line", "example"),
    [
        ("1 2.5 'tag|ns:2 f:3 g |o h", [1, {"ns^f": 6.0, "ns^g": 2.0, "o^h": 1}, 2.5]),
        ("-1 tag| a b:2", [-1, {"a": 1, "b": 2.0}]),
        ("1 'tag | a", [1, {"a": 1}]),
        ("1|x y", [None, {"x^y": 1}]),  # VW takes the 1 for a tag too
        ("| a", [None, {"a": 1}]),
        ("+1\t|\ta\tb", [1, {"a": 1, "b": 1}]),
        ("spam | a  a:0.5", ["spam", {"a": 1.5}]),
        ("1 | a:0 b c:1 c:-1", [1, {"b": 1}]),
        ("1 | a|b c", [1, {"a": 1, "b^c": 1}]),
        ("1 |", [1, {}]),
        ("1 | a\u3000b", [1, {"a\u3000b": 1}]),
    ],
)
def test_vw_text_is_read_as_vw_reads_it(line, example):
    assert unpacked(line.encode(), "vw") == [example]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 a b", "must have a | before the features (got '1 a b')"),
        ("1 | :3", "a feature must have a name (got ':3')"),
        ("1 |:2 f", "a namespace must have a name (got ':2')"),
        ("1 |n:x f", "namespace scale must be a finite number (got 'x')"),
        ("1 | a:", "feature value must be a finite number (got '')"),
        ("1 | a:1:2", "feature value must be a finite number (got '1:2')"),
        ("1 | a:1_0", "feature value must be a finite number (got '1_0')"),
        ("1 | a:nan", "feature value must be a finite number (got 'nan')"),
        ("1 |n:1e300 a:1e300", "feature value must be a finite number (got 'n^a': inf)"),
        ("1 x | a", "importance must be a finite number (got 'x')"),
        ("1 -2 | a", "importance must be a number and >= 0 (got '-2')"),
        ("1 2 0.5 | a", "an initial prediction can't be given (got '0.5')"),
    ],
)
def test_what_vw_text_may_not_hold_costs_one_line(line, message):
    assert faults(f"{line}\n1 | a".encode(), "vw") == ([[1, {"a": 1}]], [f"line 1: {message}"])


@pytest.mark.skipif(not importlib.util.find_spec("vowpalwabbit"), reason="vowpalwabbit is not installed")
def test_vowpal_wabbits_own_audit_shows_the_same_features(tmp_path):
    lines = ["1 2.0 'tag|ns f:1 g |other:2 h:3 i", "-1 tag| a b:2 a a:0.5", "1|x y", " | p q:-1e-2", "1 | a:0 b|c d"]
    lines += ["+1\t| t1\tt2", "1 |ns | z", "1 |n:0.5 f:4 f", "1 | é:2 a\u3000b"]
    path = tmp_path / "lines.vw"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "vowpalwabbit", "--audit", "--noconstant", "--quiet", "-d", str(path)]
    printed = subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout
    audited = []
    for line in printed.split("\n"):
        if line.startswith("\t"):
            audited.append(Counter())
            for shown in line.strip("\t").split("\t"):
                name, _, value, _ = shown.split(":")
                audited[-1][name] += float(value)
    assert [found for _, found, *_ in unpacked(path.read_bytes(), "vw")] == audited


def test_libsvm_skips_comments_and_query_ids_and_names_features_by_index():
    content = b"# made by hand\n+1 qid:3 1:0.5 7:0 9:2 # first\n1:1\n-1\n"
    assert unpacked(content, "libsvm") == [[1, {"1": 0.5, "9": 2.0}], [None, {"1": 1.0}], [-1, {}]]
    assert faults(b"1 2 3:1\n", "libsvm") == ([], ["line 1: must be index:value (got '2')"])


def test_values_keep_every_bit():
    value = math.nextafter(0.1, 1)
    assert unpacked(f"1 | a:{value!r}".encode(), "vw") == [[1, {"a": value}]]


def test_the_module_says_every_format_it_reads():
    page = Path(formats.__file__).read_text(encoding="utf-8").split('"""')[1]
    assert all(re.search(rf"^    {form} ", page, re.MULTILINE) for form in FORMATS)
