"""Text in other encodings and with other line ends is read as if it were UTF-8 with line feeds, or refused in one line."""

import io
import json

import pytest

from learner.errors import FormatError
from learner.files import Reading, read
from tests.unit.files.reading import SMALL, faults, unpacked

LABELLED = {
    "jsonl": '{"target":"ü","a":3}',
    "csv": "a,target\n3,ü",
    "tsv": "a\ttarget\n3\tü",
    "json": '{"target": "ü", "a": 3}',
    "vw": "ü | a:3",
    "libsvm": "ü a:3",
}


@pytest.mark.parametrize("form", SMALL)
def test_one_line_that_is_not_utf8_is_one_error(form):
    text = LABELLED[form].encode()
    bad = text.splitlines()[-1].replace(b"3", b"\xff")
    good, said = faults(b"\n".join([text, bad, text.splitlines()[-1], text.splitlines()[-1]]), form)
    kept = "3" if form in ("csv", "tsv") else 3  # a column of which a quarter is no number holds texts
    assert good == [["ü", {"a": kept}]] * 3
    n = text.count(b"\n") + 2
    assert said == [f"line {n}: text must be UTF-8 (it is not): try --encoding latin-1"]


@pytest.mark.parametrize("form", SMALL)
def test_a_file_in_another_encoding_stops_before_the_first_example(form):
    content = SMALL[form] + b"\n" + LABELLED[form].split("\n")[-1].encode("latin-1") + b"\n"
    with pytest.raises(FormatError) as refused:
        next(read(io.BytesIO(content), form))
    n = content.count(b"\n")
    assert str(refused.value) == f"input: text must be UTF-8 (line {n} is not): try --encoding latin-1"


@pytest.mark.parametrize("form", SMALL)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_names_the_encoding(form, encoding):
    assert unpacked(LABELLED[form].encode(encoding), form) == [["ü", {"a": 3}]]


@pytest.mark.parametrize("form", SMALL)
@pytest.mark.parametrize(
    ("encoding", "label"), [("latin-1", "ü"), ("cp1252", "€"), ("utf-16-le", "ü"), ("shift_jis", "表")]
)
def test_an_encoding_that_is_named_is_used(form, encoding, label):
    content = LABELLED[form].replace("ü", label).encode(encoding)
    assert unpacked(content, form, how=Reading(encoding=encoding)) == [[label, {"a": 3}]]


@pytest.mark.parametrize("form", SMALL)
def test_lines_may_end_in_carriage_returns_alone(form):
    content = SMALL[form].replace(b"\n", b"\r")
    assert unpacked(content, form) == unpacked(content + b"\r", form) == [[1, {"a": 2}], [0, {"a": 3}]]


def test_an_encoding_must_be_known_and_hold():
    with pytest.raises(FormatError, match=r"encoding must be one that Python knows.* \(got 'rot13'\)"):
        unpacked(b"1 | a", "vw", how=Reading(encoding="rot13"))
    with pytest.raises(FormatError, match="input: text must be utf-16"):
        unpacked(b"\xff\xfe1\x00 \x00|\x00 ", "vw")


def test_a_single_line_that_is_longer_than_what_is_looked_at_is_utf8():
    for n in range(4):
        content = json.dumps([{"a": "x" * n + "ü" * 200_000, "target": 1}], ensure_ascii=False).encode()
        assert len(unpacked(content, "json")) == 1


def test_many_blocks_are_converted_whole():
    rows = "".join(f"{i % 7},größe{i % 99},1\n" for i in range(60_000))
    found = unpacked(("a,b,target\n" + rows).encode("utf-16"), "csv")
    assert found == [[1, {"a": i % 7, "b": f"größe{i % 99}"}] for i in range(60_000)]
