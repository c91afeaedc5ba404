"""What values of other libraries mean: the same in a model's own process and on their way to a worker."""

import datetime as dt
from decimal import Decimal
from fractions import Fraction

import msgpack
import numpy as np
import pytest

from featurizers import Featurizer, TimeParts, get
from learner.errors import ExampleError
from learner.model import Model
from learner.packing import pack

MISSING = [None, float("nan"), np.nan, np.float32("nan"), Decimal("NaN"), Decimal("sNaN"), np.datetime64("NaT")]
NUMBERS = [np.float16(2.5), np.float32(2.5), np.longdouble(2.5), Decimal("2.5"), Fraction(5, 2), np.array(2.5)]
DATES = [dt.date(2026, 11, 22), np.datetime64("2026-11-22")]


def features(value):
    """Return the features of a field, which must be the same once msgpack has carried the record."""
    here = get("fields")({"v": value})
    assert get("fields")(msgpack.unpackb(pack({"v": value}))) == here
    return here


@pytest.mark.parametrize("value", MISSING, ids=repr)
def test_what_is_missing_has_a_feature_that_says_so(value):
    assert features(value) == {"v_missing": 1.0}


def test_pandas_na_and_nat_are_missing_and_its_moments_are_texts():
    pandas = pytest.importorskip("pandas")
    assert features(pandas.NA) == features(pandas.NaT) == {"v_missing": 1.0}
    assert features(pandas.Timestamp("2026-11-22")) == {"v=2026-11-22T00:00:00": 1.0}


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_a_number_of_any_library_is_a_number(value):
    assert features(value) == {"v": 2.5}


def test_whole_numbers_booleans_and_strings_of_numpy_are_python_s():
    assert features(np.int64(3)) == features(np.uint8(3)) == {"v": 3.0}
    assert msgpack.unpackb(pack(np.int64(2**62 + 1))) == 2**62 + 1
    assert (features(np.True_), features(np.False_), features(np.str_("a"))) == ({"v": 1.0}, {}, {"v=a": 1.0})


@pytest.mark.parametrize("value", DATES, ids=repr)
def test_a_date_is_its_text(value):
    assert features(value) == {"v=2026-11-22": 1.0}
    assert Featurizer([TimeParts("at", of="weekday")])({"at": value}) == {"weekday=Sun": 1.0}


@pytest.mark.parametrize(
    "value",
    [dt.timedelta(3), np.timedelta64(3, "D"), object(), 1j, float("inf")],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_meaning_is_refused(value):
    with pytest.raises(ExampleError, match="must be"):
        Model(featurizer="fields").features({"v": value})


def test_a_lone_surrogate_is_refused_alike_by_the_featurizer_and_on_the_way_to_a_worker():
    message = r"text must have no lone surrogates \(got "
    with pytest.raises(ExampleError, match=message):
        Model(featurizer="fields").learn_one({"city": "a\ud83d"}, 1)
    with pytest.raises(ExampleError, match=message):
        Model().learn_one({"a\ud83d": 1.0}, 1)
    with pytest.raises(ExampleError, match=message):
        pack([1, {"city": "a\ud83d"}])


def test_strings_given_to_a_model_without_a_featurizer_are_answered_with_a_hint():
    for method in (lambda model, x: model.learn_one(x, 1), Model.predict_one, Model.explain_one):
        with pytest.raises(ExampleError, match=r"feature 'city' must be a number .*Model\(featurizer=\"fields\"\)"):
            method(Model(), {"city": "Lyon"})
