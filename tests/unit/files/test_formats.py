"""What every format shares: names, gzip, line endings, errors that cost one example, and no error but FormatError."""

import gzip
import io
import re
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner import files
from learner.errors import FormatError
from learner.files import COLUMNAR, FORMATS, guess, read, source
from tests.unit.files.reading import SMALL, faults, quick, unpacked


@quick
@given(st.sampled_from(list(FORMATS)), st.data())
def test_mutated_bytes_raise_nothing_but_format_errors(form, data):
    start = {
        "jsonl": b'{"target": 1, "features": {"a": 1.5}}\n{"b": "x", "target": true}\n',
        "json": b'[{"target": 1, "features": {"a": 1.5}}, {"b": "x", "target": true}]\n',
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


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_file_holds_no_examples_zipped_or_not(form):
    assert unpacked(b"", form) == unpacked(gzip.compress(b""), form) == []


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
    others = {"csv": ["line 2", "line 4"], "tsv": ["line 2", "line 4"], "json": ["row 1", "row 2"]}
    assert wheres == others.get(form, ["line 1", "line 3"])


@pytest.mark.parametrize("form", [*SMALL, "msgpack"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_is_read_by_its_name_and_a_gzip_by_its_first_bytes(tmp_path, form, zipped):
    content = SMALL.get(form) or msgpack.packb([1, {"a": 2}]) + msgpack.packb([0, {"a": 3}])
    path = tmp_path / f"small.{form}{'.gz' if zipped else ''}"
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert [msgpack.unpackb(e.data) for e in read(path)] == [[1, {"a": 2}], [0, {"a": 3}]]
    assert [msgpack.unpackb(e.data) for e in read(str(path))] == [[1, {"a": 2}], [0, {"a": 3}]]


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
    with pytest.raises(FormatError, match=r"^line 2: feature value must be a finite number \(got 'nan'\)$"):
        unpacked(b"1 | a\n1 | b:nan\n1 | c\n", "vw")
    handed = []
    good = unpacked(b"1 | a\n1 | b:nan\n1 | c\n", "vw", on_error=lambda *fault: handed.append(fault))
    assert good == [[1, {"a": 1}], [1, {"c": 1}]]
    assert handed == [("line 2", "feature value must be a finite number (got 'nan')", b"1 | b:nan\n")]


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
    monkeypatch.setattr(source, "MAX_EXAMPLE_BYTES", 1000)
    good, said = faults(start + b"x" * 10_000 + b"\n" + after, form)
    assert good == [[2, {"a": 1}]]
    assert [line.split(": ")[1] for line in said] == ["must be at most 1000 bytes"]


def test_the_module_says_every_format_it_reads():
    page = Path(files.__file__).read_text(encoding="utf-8").split('"""')[1]
    assert all(re.search(rf"^    {form} ", page, re.MULTILINE) for form in FORMATS | COLUMNAR)
