"""What holds for every record."""

import copy
import functools
import json
import math
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from featurizers import (
    MAX_NAME_BYTES,
    READY,
    Bins,
    Category,
    Cells,
    CharacterNgrams,
    Contains,
    Cross,
    EmailParts,
    EndsWith,
    FeaturizeError,
    Featurizer,
    Fields,
    Fraction,
    Length,
    LengthGreater,
    Number,
    Periodic,
    Powers,
    Shape,
    SignedLog,
    StartsWith,
    TimeCycles,
    TimeParts,
    Words,
    dumps,
    loads,
)

# all of Unicode, but for surrogates, and now and then longer than a name may be
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text("aA9.@é😀 ", min_size=200, max_size=700)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LATITUDES = st.floats(-90, 90) | st.sampled_from([90.0, -90.0, 0.0, -0.0, 37.4, -1e-300])
LONGITUDES = st.floats(-180, 180) | st.sampled_from([180.0, -180.0, 0.0, -0.0, -122.2])
SIZES = st.sampled_from([90.0, 10.0, 1.0, 0.5, 0.25, 0.1, 0.01, 0.001, 1e-6])

STRINGS = Featurizer(
    [
        Length("s"),
        LengthGreater("s", than=[0, 3, 300]),
        Contains("s", text=["a", "é"]),
        StartsWith("s", n=[1, 32], prefix="p" * 64),
        EndsWith("s", n=[1, 32], prefix="é" * 32),
        Fraction("s", of=["alphanumeric", "digit", "upper", "lower", "letter", "space", "punctuation", "ascii"]),
        Shape("s"),
        CharacterNgrams("s", low=1, high=3),
        CharacterNgrams("s", low=31, high=32, shapes=True, count=True, prefix="😀" * 16),
        Words("s", n=3, value="log"),
        Words("s", token=".*", prefix="all:"),  # noqa: S106 - a pattern
        EmailParts("s"),
        Category("s"),
        Cross([Category("s"), Words("s")]),
    ]
)
NUMBERS = Featurizer(
    [
        Number("x"),
        SignedLog("x"),
        Powers("x", degrees=[0, 1, 2, 3], prefix="powers "),
        Bins("x", edges=[-1, 0, 0.5, 1e9], below=True, above=True),
        Periodic("x", frequency=[3, 0.5]),
        Periodic("x", period=24, harmonics=2),
        Category("x"),
        Cross([Number("x"), Number("y")]),
        TimeParts("t", of=["hour", "weekday", "weekend"]),
        TimeCycles("t", of=["day", "year"], harmonics=2),
        Cells(size=[10, 0.1]),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT | st.lists(TEXT, max_size=2),
    lambda inner: st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RECORDS = {
    "strings": (STRINGS, st.fixed_dictionaries({"s": TEXT})),
    "numbers": (
        NUMBERS,
        st.fixed_dictionaries(
            {
                "x": FLOATS | st.integers(-(2**70), 2**70),
                "y": FLOATS,
                "t": st.integers(-(10**11), 10**11) | st.datetimes().map(lambda moment: moment.isoformat()),
                "lat": LATITUDES,
                "lon": LONGITUDES,
            }
        ),
    ),
    "fields": (Featurizer([Fields()]), st.dictionaries(TEXT, JSON, max_size=3)),
    "email": (READY["email"], st.fixed_dictionaries({"address": TEXT | st.emails()})),
    "text": (READY["text"], st.fixed_dictionaries({"text": TEXT})),
    "place": (READY["place"], st.fixed_dictionaries({"lat": LATITUDES, "lon": LONGITUDES})),
}


@functools.cache
def read_back(kind):
    """Return the featurizer of a kind as it comes back from both formats."""
    featurizer, _ = RECORDS[kind]
    return loads(dumps(featurizer)), loads(dumps(featurizer, "json"), "json")


@pytest.mark.parametrize("kind", RECORDS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_features_are_pure_named_finite_and_survive_a_round_trip(kind, data):
    """A record gives the same features again, also through both formats, and stays as it was.

    Names are UTF-8 within 256 bytes, values are finite and not zero.
    """
    featurizer, records = RECORDS[kind]
    record = data.draw(records)
    before = copy.deepcopy(record)
    try:
        features = featurizer(record)
    except FeaturizeError:
        assume(False)
    assert record == before
    assert list(featurizer(record).items()) == list(features.items())
    for back in read_back(kind):
        assert back.fingerprint == featurizer.fingerprint
        assert list(back(record).items()) == list(features.items())
    for name, value in features.items():
        assert 0 < len(name.encode()) <= MAX_NAME_BYTES
        assert type(value) is float
        assert math.isfinite(value)
        assert value != 0.0


@given(record=JSON | st.dictionaries(st.sampled_from(["address", "text", "lat", "lon", ""]), JSON, max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_json_gives_features_or_the_declared_error(record):
    """Whatever JSON comes, every ready featurizer gives features or a `FeaturizeError`."""
    for featurizer in READY.values():
        try:
            json.dumps(featurizer(record))
        except FeaturizeError as error:
            assert "must" in str(error) or "required" in str(error)  # noqa: PT017 - most records do not raise


@given(left=TEXT, right=TEXT)
@settings(deadline=None)
def test_long_values_that_differ_stay_different(left, right):
    """Two categories have one name only if they are one text, also after the cut."""
    assume(left.encode("utf-8", "replace").decode() == left)
    assume(right.encode("utf-8", "replace").decode() == right)
    f = Featurizer([Category("s")])
    assert (f({"s": left}) == f({"s": right})) == (left == right)
    long = "x" * 300
    assert (f({"s": long + left}) == f({"s": long + right})) == (left == right)


def corners(name):
    lat, lon = name.removeprefix("lat in [").removesuffix("]").split("] lon in [")
    return [*map(Decimal, lat.split(",")), *map(Decimal, lon.split(","))]


@given(lat=LATITUDES, lon=LONGITUDES, size=SIZES)
@settings(max_examples=300, deadline=None)
def test_a_cell_contains_its_point(lat, lon, size):
    """A place is in its one cell, whose corners are exact multiples of its size."""
    (name,) = Featurizer([Cells(size=size)])({"lat": lat, "lon": lon})
    south, north, west, east = corners(name)
    assert float(south) <= lat < float(north) or lat == float(north) == 90
    assert float(west) <= lon < float(east) or lon == 180 or abs(lat) == 90
    assert -90 <= south < north <= 90
    assert -180 <= west < east <= 180
    assert north - south == Decimal(repr(size))
    assert south % Decimal(repr(size)) == 0
    assert "-0," not in name
    assert "E" not in name


@given(lat=LATITUDES, size=SIZES)
@settings(deadline=None)
def test_the_antimeridian_is_one_meridian(lat, size):
    """Longitudes -180 and 180 are in one cell."""
    f = Featurizer([Cells(size=size)])
    assert f({"lat": lat, "lon": 180}) == f({"lat": lat, "lon": -180.0})


@given(pole=st.sampled_from([-90, 90.0]), one=LONGITUDES, other=LONGITUDES, size=SIZES)
@settings(deadline=None)
def test_a_pole_is_one_place(pole, one, other, size):
    """All longitudes at a pole are in one cell."""
    f = Featurizer([Cells(size=size)])
    assert f({"lat": pole, "lon": one}) == f({"lat": pole, "lon": other})


@given(x=FLOATS, edges=st.lists(st.integers(-1000, 1000), min_size=1, unique=True))
@settings(deadline=None)
def test_bins_cut_the_line(x, edges):
    """With a bin below and one above, every number is in exactly one bin."""
    assert len(Featurizer([Bins(edges=edges, below=True, above=True)])(x)) == 1
