"""A featurizer's program gives what its templates give: the same names, values and order, or it leaves the record to them."""

import math
from dataclasses import dataclass

import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

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
from learner import kernels
from learner.learners.weights import hash_keys
from learner.program import Program

KEYS = hash_keys(b"sixteen bytes it")
N_EXAMPLES = 150 if kernels.JIT else 6
FRACTIONS = ["alphanumeric", "digit", "upper", "lower", "letter", "space", "punctuation", "ascii"]
FEATURIZERS = {
    "lengths": Featurizer([Length("s"), LengthGreater("s", than=[0, 3, 300]), Fraction("s", of=FRACTIONS)]),
    "slices": Featurizer(
        [
            Contains("s", text=["a", "é", "..", "😀😀"]),
            StartsWith("s", n=[1, 2, 32], prefix="p" * 64),
            EndsWith("s", n=[1, 3, 32], prefix="é" * 32),
            Shape("s"),
        ]
    ),
    "ngrams": Featurizer(
        [
            CharacterNgrams("s", low=1, high=3),
            CharacterNgrams("s", low=1, high=2, marks=False, count=True),
            CharacterNgrams("s", low=5, high=6, shapes=True, count=True, prefix="😀" * 16),
        ]
    ),
    "words": Featurizer([Words("s", n=3)]),
    "counted words": Featurizer([Words("s", n=2, value="count", lower=False), Words("s", value="log", prefix="log ")]),
    "address": Featurizer([EmailParts("s", prefix="e ")]),
    "one name": Featurizer([Number("u.x", prefix="length", optional=True), Length("u.y"), Words("u.y", value="count")]),
    "categories": Featurizer([Category("s"), Category("t", optional=True), Category("u.x", optional=True)]),
    "numbers": Featurizer(
        [Number("x"), Bins("x", edges=[-1, 0, 0.5, 1e9], below=True), Bins("x", edges=[0, 7], prefix="b")]
    ),
    "cells": Featurizer([Cells(size=[90, 10, 1, 0.5, 0.1, 0.25, 1e-6, 0.00003], optional=True)]),
    "crosses": Featurizer(
        [
            Cross([Category("s"), Number("x")]),
            Cross([Category("s"), Category("t", optional=True), Bins("x", edges=[0, 1], above=True)]),
            Cross([Words(value="count"), StartsWith(n=[1, 2])], field="s", prefix="c "),
        ]
    ),
    "parsed numbers": Featurizer(
        [
            Number("n", parse=True, optional=True),
            Bins("n", edges=[-1, 0, 0.5, 1e9], parse=True, optional=True),
            SignedLog("n", parse=True, optional=True),
            Cells("place", size=10, parse=True, optional=True),
        ]
    ),
    "powers": Featurizer([Powers("x", degrees=[0, 1, 2, 3, 10]), SignedLog("x"), SignedLog("hour", prefix="é")]),
    "waves": Featurizer([Periodic("x", period=24, harmonics=3), Periodic("hour", frequency=[1, 0.1, -3e300])]),
    "sums": Featurizer(
        [
            SumOfSquares(of=["x", "hour"]),
            SumOfSquares("place", of=["lat", "lon"], optional=True, parse=True),
            SumOfSquares(of=["lat", "lon"]),
        ]
    ),
    "moments": Featurizer(
        [
            TimeParts("at", of=["hour", "weekday", "weekend", "day", "month", "year"], optional=True),
            TimeCycles("at", of=["day", "week", "year"], harmonics=2, prefix="é", optional=True),
            Cross([TimeParts("at", of="weekday", optional=True), TimeParts("at", of="hour", optional=True)]),
        ]
    ),
    "pixels": Featurizer([Pixels("image", optional=True), Pixels("grey", prefix="é", channels="only", optional=True)]),
    "fields": Featurizer([Fields()]),
    "amounts": Featurizer(
        [
            Fields(
                columns={
                    "x": "money",
                    "n": "money",
                    "s": {"kind": "money", "decimal": ","},
                    "t": "percentage",
                    "w": {"kind": "number", "decimal": ","},
                    "at": "date",
                    "day": {"kind": "date", "format": "%d.%m.%y %H:%M"},
                    "text": {"kind": "date", "format": "%Y%m%dT%H%M%S.%f%z"},
                    "lat": {"kind": "place", "with": "lon"},
                    "hour": {"kind": "place", "with": "absent"},
                },
            )
        ]
    ),
    "columns": Featurizer(
        [
            Fields(
                prefix="p ",
                columns={
                    "x": "number",
                    "s": "number",
                    "lon": "number",
                    "t": "yes_no",
                    "text": "text",
                    "carrier": "yes_no",
                    "absent": "text",
                    "w": "category",
                    "lat": "category",
                    "address": "id",
                    "gone": "ignore",
                    "origin": "category",
                },
            )
        ]
    ),
    "only": Featurizer([Fields(only=["s", "x"]), Fields("m", exclude="s", prefix="é", optional=True)]),
    **READY,
}
UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ASCII = st.text(st.characters(max_codepoint=127), max_size=40) | st.text("aA9.@'-[\"\\ _", max_size=80)
LONG = st.text("aA9.@é😀 ", min_size=150, max_size=700)
ADDRESSES = st.emails() | st.from_regex(r'["a-b.]{0,5}@?["a-b.@-]{1,70}', fullmatch=True)
WORDS = st.sampled_from(
    [
        "", "NA", "n/a ", " null", "-", "nan", "?", "\xa0", " ", "yes", "No", "T ", "İ", "0", "1.0", "-12.50", "+1e3", ".5",
        "5.", "-0", "1e400", "1e-22", "inf", "1,234", " 7 ", "1e", "e5", "--1", "1_0", "0.1", "007", "٣", "1" * 15, "1" * 16,
        " " * 9,
    ]
)  # fmt: skip
DECIMALS = st.from_regex(r"[+-]?[0-9]{0,17}\.?[0-9]{0,10}([eE][+-]?[0-9]{1,3})?", fullmatch=True)
AMOUNTS = st.from_regex(
    r"[ (]?[+-]?([$€£¢]|EUR ?|usd |R\$|)[+-]? ?[0-9]{0,4}([,.' _’][0-9]{2,4}){0,3} ?(%|kr|[$€]| ?EUR|)[) ]?",
    fullmatch=True,
)
MOMENTS = (
    st.from_regex(
        r"[012][09][0-9]{2}-?[01][0-9]-?[0-3][0-9]([T _][0-2][0-9]:?[0-6][0-9](:?[0-6][0-9])?([.,][0-9]{0,7})?)?"
        r"(Z|[+-][0-2][0-9]:?[0-6][0-9])?",
        fullmatch=True,
    )
    | st.datetimes(timezones=st.none() | st.timezones()).map(str)
    | st.datetimes().map(lambda moment: moment.strftime("%d.%m.%y %H:%M"))
    | st.datetimes(timezones=st.timezones()).map(lambda moment: moment.strftime("%Y%m%dT%H%M%S.%f%z"))
)
TEXT = ASCII | UNICODE | LONG | ADDRESSES | WORDS | DECIMALS | AMOUNTS | MOMENTS
NUMBERS = (
    st.floats() | st.floats(-180, 180) | st.integers(-(2**63), 2**64 - 1) | st.integers(-300, 300)
    | st.integers(-(10**17), 10**17).map(lambda n: n / 10**12)
    | st.sampled_from([0.0, -0.0, 90.0, -90.0, 180, -180.0, 0.1, 37.4, 1e15, 2.0**63, 5e-324])
)  # fmt: skip
SCALARS = TEXT | NUMBERS | st.booleans() | st.none()
NAMES = st.sampled_from(["s", "t", "x", "lat", "lon", "s=a", "_missing", "x_missing", "é", "m"]) | UNICODE
ANYTHING = st.recursive(
    SCALARS | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
ROWS = st.integers(0, 3).flatmap(lambda n: st.lists(st.lists(NUMBERS, min_size=n, max_size=n), max_size=3))
IMAGES = ROWS | st.lists(st.lists(NUMBERS, max_size=2), max_size=2)
COLOURS = st.lists(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=2, max_size=2), max_size=2)
FIELDS = {
    "s": TEXT, "t": SCALARS, "u": st.dictionaries(st.just("x"), SCALARS), "x": NUMBERS, "lat": NUMBERS, "lon": NUMBERS,
    "address": ADDRESSES | TEXT, "text": TEXT, "carrier": ASCII, "origin": ASCII, "dest": ASCII, "tailnum": st.none() | ASCII,
    "month": st.integers(1, 12), "day": st.integers(1, 31) | MOMENTS, "hour": NUMBERS, "distance": NUMBERS, "w": SCALARS,
    "n": NUMBERS | AMOUNTS | DECIMALS, "at": MOMENTS | NUMBERS | st.floats(-7e10, 3e11),
    "grey": IMAGES, "image": IMAGES | COLOURS,
    "place": st.fixed_dictionaries({"lat": NUMBERS | DECIMALS, "lon": NUMBERS | DECIMALS}),
}  # fmt: skip
RECORDS = (
    st.fixed_dictionaries(FIELDS)
    | st.fixed_dictionaries({"u": st.fixed_dictionaries({"x": NUMBERS, "y": TEXT})})
    | st.fixed_dictionaries({}, optional={**FIELDS, "m": st.dictionaries(NAMES, ANYTHING, max_size=4)})
    | st.dictionaries(NAMES, ANYTHING, max_size=4)
    | ANYTHING
)


PROGRAMS = {kind: Program.of(featurizer, KEYS) for kind, featurizer in FEATURIZERS.items()}
PLAIN = st.text("abcAZ019 .,-_'@", max_size=30)
WIDE = st.text("abcAZ019 .,-_'’@éÉЖжǅß語٣😀Ⱥ", max_size=30)
PLAIN_RECORDS = st.fixed_dictionaries(
    {
        **dict.fromkeys(("t", "text", "carrier", "origin", "dest", "tailnum"), WIDE),
        **dict.fromkeys(("s", "address"), PLAIN),
        **dict.fromkeys(("x", "distance"), st.floats(-1e9, 1e9) | st.integers(-1000, 1000)),
        "u": st.fixed_dictionaries({"x": st.integers(-9, 9), "y": WIDE}),
        "month": st.integers(1, 12), "day": st.integers(1, 31), "hour": st.integers(0, 23),
        "lat": st.floats(-90, 90), "lon": st.floats(-180, 180), "place": st.just({"lat": "1", "lon": -0.5}),
        "n": st.just(" -1.5e2 ") | st.integers(0, 9),
        "at": st.sampled_from(["2026-11-28", "2026-11-28T05:15:00.123+01:00", 0.25]),
        "w": WIDE | st.integers(0, 9), "lone": st.floats(0, 9), "m": st.dictionaries(WIDE.filter(bool), WIDE, max_size=3),
    }
)  # fmt: skip


def features_of(program, packed):
    """Return the program's features of one packed record, None if it leaves the record to the templates."""
    run = program.run(packed, are_examples=False)
    return list(msgpack.unpackb(run.packed).items()) if run.ends else None


def bits(features):
    return [(name, value.hex()) for name, value in features]


@given(record=RECORDS)
@settings(max_examples=N_EXAMPLES, deadline=None)
def test_a_program_gives_the_templates_features_or_none(record):
    for kind, featurizer in FEATURIZERS.items():
        found = features_of(PROGRAMS[kind], msgpack.packb(record))
        if found is None:
            continue
        assert bits(found) == bits(featurizer(record).items()), kind


@given(record=PLAIN_RECORDS)
@settings(max_examples=N_EXAMPLES // 2, deadline=None)
def test_a_program_does_plain_records_itself(record):
    for kind, featurizer in FEATURIZERS.items():
        found = features_of(PROGRAMS[kind], msgpack.packb(record))
        assert found is not None or kind in ("columns", "amounts"), kind  # where a text may be no number
        assert found is None or bits(found) == bits(featurizer(record).items()), kind


def test_a_program_does_images():
    record = {"grey": [[0, 1.5], [-1, 0.25]], "image": [[[0.5, 0, 1], [0, 0, 2]], [[True, 1, 2], [0, 0, 0]]]}
    assert features_of(PROGRAMS["pixels"], msgpack.packb(record)) is None
    record["image"][1][0][0] = 1
    assert features_of(PROGRAMS["pixels"], msgpack.packb(record)) == [
        ("pixel(0,0,red)", 0.5), ("pixel(0,0,blue)", 1.0), ("pixel(0,1,blue)", 2.0), ("pixel(1,0,red)", 1.0),
        ("pixel(1,0,green)", 1.0), ("pixel(1,0,blue)", 2.0), ("épixel(0,1)", 1.5), ("épixel(1,0)", -1.0), ("épixel(1,1)", 0.25),
    ]  # fmt: skip


def test_a_program_reads_columns():
    record = {
        "x": 3,
        "s": "-12.5e1",
        "lon": "0",
        "t": "YES",
        "text": "Über alles",
        "carrier": False,
        "w": "Köln",
        "lat": 2.0,
    }
    record |= {"address": "a", "origin": " n/a ", "rest": {"a": "b"}, "more": 1}
    found = features_of(PROGRAMS["columns"], msgpack.packb(record))
    assert dict(found) == FEATURIZERS["columns"](record)
    assert [name for name, _ in found] == [
        "p x", "p s", "p t", "p text.word_über", "p text.word_alles", "p text.word_über alles", "p text.length", "p w=Köln",
        "p lat=2", "p origin_missing", "p rest.a=b", "p more", "p absent_missing",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        {"n": "$1,234.00", "s": "1.234,50 €", "x": "(3.10)", "t": "15%", "w": "-1.234,5"},
        {"n": "EUR 5", "s": "-$5", "x": "usd 1'000", "t": 15, "w": "1 234"},
        {"n": "on request", "x": None, "t": True, "w": "", "at": "soon", "day": 20, "lat": "NA", "hour": 3.0},
        {"at": "2026-12-31", "day": "31.12.26 17:05", "text": "20261231T170501.250Z", "lat": "37.4", "lon": -122.2},
        {"at": "1970-01-01", "day": "01.01.69 00:00", "text": "20261231T170501.250000+0100", "lat": 90, "lon": 181},
        {"at": "0001-01-01T00:00:00.000+00:00", "text": "99991231T235959.999-00:00"},
    ],
)
def test_a_program_reads_amounts_dates_and_places(record):
    found = features_of(PROGRAMS["amounts"], msgpack.packb(record))
    wanted = FEATURIZERS["amounts"](record)
    assert found is None or bits(found) == bits(wanted.items())
    left = "0100" in str(record) or "00:00:00.000" in str(
        record
    )  # an offset without a colon; a moment too far from 1970
    assert (found is None) == left


@pytest.mark.parametrize(
    "x", [0.5, -0.1, 1.25, 37.40681, 1e-3, 123456789.123456, 2.0**49 + 0.5, 0.1 + 0.2, 1e-4, 5e-324]
)
def test_a_category_may_be_a_fraction(x):
    found = features_of(PROGRAMS["categories"], msgpack.packb({"s": x}))
    assert (found is None) == (len(repr(abs(x))) > 16 or abs(x) < 1e-3)
    assert found is None or found == [(f"s={x}", 1.0)]


@given(record=ANYTHING, place=st.integers(0, 100), byte=st.integers(0, 255), cut=st.integers(0, 3))
@settings(max_examples=2 * N_EXAMPLES, deadline=None)
@example({"a": 1, "b": 2}, 4, ord("a"), 0)  # a field twice
def test_damaged_records_are_left_to_the_templates_or_read_as_the_decoder_reads_them(record, place, byte, cut):
    data = bytearray(msgpack.packb({"s": record, "a": "é"}))
    data[place % len(data)] = byte
    data = bytes(data[: len(data) - cut])
    run = PROGRAMS["fields"].run(data, most=1, are_examples=False)
    if run.ends:

        def once(pairs):
            assert len(dict(pairs)) == len(pairs)
            return dict(pairs)

        whole = msgpack.unpackb(data[: run.record_ends[0]], strict_map_key=False, object_pairs_hook=once)
        assert bits(msgpack.unpackb(run.packed).items()) == bits(READY["fields"](whole).items())


def test_examples_keep_their_targets_and_importances_and_a_record_that_it_cannot_do_ends_the_run():
    program = PROGRAMS["fields"]
    targets = [1, -1.5, True, None, "spam", "é", 2**40, np.nan]
    packed = [msgpack.packb([target, {"x": 2.0}]) for target in targets]
    packed += [msgpack.packb([1, {"x": 2.0}, importance]) for importance in (2, 0.5, False)]
    odd = [
        [1, {"x": b"bytes"}],
        [[1], {"x": 1}],
        [1],
        [1, {"x": 1}, 1, 1],
        {"x": 1},
        [1, {1: 1}],
        ["a" * 300, {"x": 1}],
    ]
    for each in odd:
        data = b"".join(packed) + msgpack.packb(each) + packed[0]
        run = program.run(data)
        assert run.record_ends == [sum(map(len, packed[: i + 1])) for i in range(len(packed))]
        starts = [0, *run.ends]
        for i, (start, end) in enumerate(zip(starts, run.ends, strict=False)):
            wanted = msgpack.unpackb(packed[i])
            assert str(msgpack.unpackb(run.packed[start:end])) == str(wanted)
        after = program.run(data, position=run.record_ends[-1] + len(msgpack.packb(each)))
        assert len(after.ends) == 1


@pytest.mark.skipif(not kernels.JIT, reason="takes long as plain Python")
def test_many_records_and_long_ones_fill_the_output_more_than_once():
    program = PROGRAMS["text"]
    records = [{"text": " ".join(f"w{i}x{j}" for j in range(i % 700))} for i in range(2500)]
    run = program.run(b"".join(map(msgpack.packb, records)), are_examples=False, most=2400)
    assert len(run.ends) == len(run.record_ends) == 2400
    starts = [0, *run.ends]
    for i in range(0, 2400, 97):
        assert msgpack.unpackb(run.packed[starts[i] : starts[i + 1]]) == READY["text"](records[i])


def test_what_is_too_large_is_left_to_the_templates():
    program = PROGRAMS["text"]
    assert features_of(program, msgpack.packb({"text": "a" * 300})) is None
    assert features_of(program, msgpack.packb({"text": " ".join(map(str, range(5000)))})) is None
    nested = "x"
    for _ in range(40):
        nested = {"a": nested}
    assert features_of(PROGRAMS["fields"], msgpack.packb(nested)) is None
    assert features_of(PROGRAMS["fields"], msgpack.packb({str(i): i + 1 for i in range(3000)})) is None


@dataclass(frozen=True, kw_only=True)
class Loud(Words):
    """A template of a user, made from another."""

    template = "loud_for_a_test"

    def adder(self):
        add = super().adder()
        return lambda record, out: add(str(record).upper(), out)


class Twice(Featurizer):
    def __call__(self, record):
        return {name: 2 * value for name, value in super().__call__(record).items()}


@pytest.mark.parametrize(
    "featurizer",
    [
        Featurizer([Loud()]),
        Twice([Length()]),
        Featurizer([Words(token=".")]),  # noqa: S106 - a pattern
        Featurizer([Cross([Category("a"), Loud("b")])]),
        Featurizer([Cross([Category("a"), Fields(columns={"b": "number"})])]),
        Featurizer([Fields(columns={"a": {"kind": "date", "format": "%d %b %Y"}})]),
        Featurizer([Fields(columns={"a": {"kind": "place", "with": "b"}, "b": "category"})]),
        None,
    ],
)
def test_what_no_operation_describes_has_no_program(featurizer):
    assert Program.of(featurizer, KEYS) is None


def test_every_character_is_what_python_says():
    """Each in a text of its own, but for the few that the program leaves to the templates."""
    featurizer = Featurizer([Words(), Fraction(of=FRACTIONS), Words(lower=False, prefix="as it is ")])
    program = Program.of(featurizer, KEYS)
    step = 1 if kernels.JIT else 997
    texts = [f"a{chr(code)}b" for code in range(0, 0x1FB00, step) if not 0xD800 <= code < 0xE000]
    found = program.run_each([msgpack.packb([1, text]) for text in texts])
    left = [text for text, packed in zip(texts, found, strict=True) if not packed]
    assert set(left) <= {"aΣb", "aİb"}
    for text, packed in zip(texts, found, strict=True):
        if packed:
            assert list(msgpack.unpackb(packed)[1].items()) == list(featurizer(text).items())


def test_one_compiled_interpreter_serves_all_programs():
    types = {
        tuple((array.dtype, array.ndim, array.flags.writeable) for array in each._arrays) for each in PROGRAMS.values()
    }
    assert len(types) == 1


def test_counts_of_log_words_are_pythons_own():
    text = " ".join("a" * (i % 7 + 1) for i in range(100))
    found = dict(features_of(Program.of(Featurizer([Words(value="log")]), KEYS), msgpack.packb(text)))
    assert found["word_a"] == math.log1p(15)
