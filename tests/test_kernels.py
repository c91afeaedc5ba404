"""The compiled loops: the same numbers as the slow reference, and nothing learned from what breaks a rule."""

import math
import os
import random
import stat
import struct
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner import kernels, layout
from learner.errors import ExampleError
from learner.kernels import jit
from learner.layout import PARTS
from learner.learners import reasons
from learner.learners.weights import hash_keys, hash_of
from learner.losses import LOSSES
from learner.model import Model
from learner.spec import DECAYS
from learner.tasks import TASKS
from tests import doors
from tests.reference import Reference

RATES = TASKS["binary"].rates

SEED = b"sixteen bytes it"
ROOT = Path(__file__).parent.parent
N_EXAMPLES = 400 if kernels.JIT else 40
LEVEL = 0.8  # of the quantile loss
N_TRIES = 200 if kernels.JIT else 10  # hypothesis examples


# ---- streams ---------------------------------------------------------------------------------------------------------
def indicators(r, i):
    return {f"w{int(r.paretovariate(0.7))}": 1 for _ in range(8)}


def odd_numbers(r, i):
    """Dense, on scales and with offsets far from each other."""
    return {
        "a": r.gauss(0, 1e-6),
        "b": r.gauss(1e3, 5),
        "c": r.gauss(3, 1e6),
        "d": r.randint(0, 3),
        "e": r.choice([2, 2, 5]),
    }


def mixed(r, i):
    """Sparse words with several values, one dense number and one that is there about every second time."""
    words = {f"w{r.randint(0, 30)}": r.choice([1, 1, 0.5, -2]) for _ in range(5)}
    return words | {"x": r.gauss(5, 2)} | ({"y": r.random()} if r.random() < 0.5 else {})


def growing(r, i):
    """Three new names an example, and one old."""
    return {f"new {i}.{k}": r.choice([1, 0.25]) for k in range(3)} | {f"new {r.randint(0, i)}.0": 1}


def huge_values(r, i):
    return {
        "a": r.gauss(0, 1) * (1e6 if r.random() < 0.02 else 1),
        f"w{r.randint(0, 30)}": r.expovariate(1) * (1e7 if r.random() < 0.02 else 1),
        "k": 1 if r.random() < 0.98 else 1e9,
    }


def wide(r, i):
    """More dense numbers than the mixer has places."""
    return {f"d{k}": r.gauss(k, 1) for k in range(40)}


STREAMS = [indicators, odd_numbers, mixed, growing, huge_values, wide]
EXPERTS = {  # each number of rates is compiled anew, which takes its time
    1: ([0.5], [1.0], ()),
    2: (RATES, DECAYS, PARTS),
    "two alone": ([0.5, 16], [1, 0.9], ()),
    3: ([0.1, 2, 32], [1, 0.9, 0.99], ("kalman", "cells")),
}


def stream(make, loss, n, seed=1):
    """Yield (target, features, importance), the targets noisy sums of a thing a name and a thing a value."""
    r = random.Random(seed)
    for i in range(n):
        x = make(r, i)
        s = sum((sum(name.encode()) % 7 - 3) * math.atan(value) for name, value in x.items()) + r.gauss(0, 1)
        yield target_of(loss, s), x, r.choice([1, 1, 1, 0.5, 3, 0])


def target_of(loss, s):
    if LOSSES[loss].task == "binary":
        return 1 if s > 0 else -1
    return max(0, round(5 + 3 * s)) if loss == "poisson" else 1000 + 100 * s


def pack(*examples):
    return b"".join(msgpack.packb(example) for example in examples)


def new(loss="logistic", n_rates=2, labels=None):
    rates, decays, parts = (None, None, None) if n_rates == 2 else EXPERTS[n_rates]
    level = LEVEL if loss == "quantile" else None
    return Model(
        LOSSES[loss].task, loss=loss, level=level, rates=rates, decays=decays, parts=parts, seed=SEED, labels=labels
    )


def bits(model):
    """All of a model's state, as bytes to compare."""
    return {name: array.tobytes() for name, array in model.state().items()}


def one_rejection(loss, data, labels=None):
    model = new(loss, labels=labels)
    rejections = model.learn_packed(data).rejections
    assert len(rejections) == 1
    return rejections[0]


# ---- against the reference -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n_rates", EXPERTS)
@pytest.mark.parametrize("make", STREAMS)
def test_the_compiled_learner_is_the_reference(make, n_rates, loss):
    n = N_EXAMPLES // 2 if make is wide else N_EXAMPLES
    _, decays, parts = EXPERTS[n_rates]
    model = new(loss, n_rates)
    reference = Reference(loss, list(model.spec.rates), list(decays), parts, LEVEL)
    examples = list(stream(make, loss, n))

    expected = [reference.learn(x, y, importance) for y, x, importance in examples]
    learned = model.learn_packed(pack(*examples))

    assert not learned.rejections
    np.testing.assert_allclose(learned.scores, expected, rtol=1e-4, atol=1e-4 * reference.unit)
    weights = reference.weights()
    assert list(model.weights) == list(weights)
    np.testing.assert_allclose(model.weights.array(), list(weights.values()), rtol=2e-3, atol=1e-6 * reference.unit)
    for _, x, _ in stream(make, loss, 20, seed=2):
        assert model.score_one(x) == pytest.approx(reference.predict(x), rel=1e-4, abs=1e-4 * reference.unit)


@pytest.mark.parametrize(("value", "n_rates"), [(1.0, 2), (0.5, 2), (3.0, 2), (-3.0, "two alone")])
def test_an_indicator_costs_the_same_whatever_its_value(value, n_rates):
    """Scaling a feature that has one value scales nothing but its weight; naive Bayes knows positive ones only."""
    plain, scaled = new(n_rates=n_rates), new(n_rates=n_rates)
    for y, x, _ in stream(indicators, "logistic", N_EXAMPLES // 2):
        plain.learn_one(x, y)
        scaled.learn_one(dict.fromkeys(x, value), y)
    for name, weight in plain.weights.items():
        unit = 1 if name == layout.CONSTANT_NAME or " and " in name else value
        assert scaled.weights[name] * unit == pytest.approx(weight, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_scale_of_the_features_changes_nothing_to_four_digits(unit):
    plain, scaled = new(), new()
    for y, x, _ in stream(mixed, "logistic", N_EXAMPLES):
        assert scaled.score_one({name: value * unit for name, value in x.items()}) == pytest.approx(
            plain.score_one(x), rel=1e-4, abs=1e-4
        )
        plain.learn_one(x, y)
        scaled.learn_one({name: value * unit for name, value in x.items()}, y)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_model_is_finite_within_what_float32_holds(loss):
    """Values from 1e-15 to 1e15 beside each other, importances from 1e-6 to 1e6, one target first."""
    values = [1.0, 1e-15, -1e15, 1e6, -1e-6, 0.0, 3.0]
    ys = (1, 0) if loss == "poisson" else (1, -1)
    assert_finite_after([({"a": x}, y, 10.0**k) for y in ys for k in (0, 6, -6) for x in values * 2], loss)


@pytest.mark.parametrize("value", [0.1, -0.3, 1 / 3, 1e-7, 1e-29, 16_777_217, 1e23])
def test_a_feature_of_one_value_is_an_indicator_even_when_float32_cannot_hold_it(value):
    assert float(np.float32(value)) != value
    reference, model = Reference("logistic", list(RATES), list(DECAYS)), new()
    for i in range(100):
        x, y = ({"member": value}, 1) if i % 5 < 3 else ({}, -1)
        assert model.learn_packed(pack([y, x])).scores[0] == pytest.approx(reference.learn(x, y), rel=1e-4, abs=1e-4)
    assert statistics_of(model, "member") == (float(np.float32(value)), 0.0)


def test_a_row_holds_the_mean_and_the_standard_deviation_of_a_features_values():
    """Of the values as they came, the first one and repeated ones too; a feature that is not always there has its own."""
    model, r = new(), random.Random(11)
    seen = {"far": [], "small": [], "rare": []}
    for i in range(N_EXAMPLES):
        x = {"far": r.uniform(900, 1100), "small": r.choice([1e-6, 2e-6, 5e-6])}
        x |= {"rare": r.uniform(-1, 1)} if i % 7 == 0 else {}
        model.learn_one(x, r.choice([-1, 1]))
        for name, value in x.items():
            seen[name].append(value)
        for name, values in seen.items():
            expected = (np.mean(values), np.std(values))
            assert statistics_of(model, name) == pytest.approx(expected, rel=1e-3, abs=1e-12), (i, name)


def statistics_of(model, name):
    """What a row says of its feature's values: their mean and standard deviation."""
    store = model.learner.weight_dict
    row = store.matrix[store.slot(name)]
    return float(row[layout.MEAN]), float(row[layout.DEVIATION])


@pytest.mark.parametrize("x", [1e-300, 1e-46, -1e-60, 1e-30, -1.1e-30, 1e-22])
def test_a_tiny_value_leaves_a_finite_model(x):
    assert_finite_after([({"a": value}, y) for value in (x, 2 * x, x) for y in (1, -1)] * 8)
    assert_finite_after([({"a": x}, 1)] * 12)


@pytest.mark.parametrize("x", [1e300, 1e39, 1e30, -1e30, -1e25, 1e19])
def test_a_huge_value_leaves_a_finite_model(x):
    assert_finite_after([({"a": value}, 1) for value in (1.0, x, 1.0, x, 2.0)] * 3)
    assert_finite_after([({"a": value}, 1) for value in (x, -x)] * 30 + [({"a": 1e-30}, -1)] * 30)


@pytest.mark.parametrize("y", [1e200, 1e30, 1e-30, 1e-300])
def test_a_huge_or_tiny_target_leaves_a_finite_model(y):
    for loss in ("squared", "quantile", "poisson"):  # of which the last refuses those below 0
        assert_finite_after([({"a": 1}, target) for target in (y, -y, 1.0, 2.0, y)] * 5, loss)
        assert_finite_after([({"a": 1}, target) for target in (y, -y, 3 * y)] * 5, loss)


@pytest.mark.parametrize("seed", range(6))
def test_counts_of_any_size_after_zeros_alone_leave_a_finite_model(seed):
    r, examples = random.Random(seed), []
    for i in range(300 if kernels.JIT else 60):
        y = 0 if i < 40 else r.choice([0, 0, 1, 3, 10.0 ** r.uniform(-30, 30) if seed % 2 else 1e9])
        importance = r.choice([1, 1, 1e-300, 1e-6, 1e6, 0]) if seed > 2 else 1
        examples.append(({"a": r.gauss(0, 1), f"w{r.randint(0, 9)}": 10.0 ** r.uniform(-20, 20)}, y, importance))
    assert_finite_after(examples, "poisson")


def test_before_the_first_count_above_zero_nothing_but_the_mean_is_learned():
    model = new("poisson")
    for _ in range(50):
        model.learn_one({"a": 1}, 0)
    assert list(model.weights) == [layout.CONSTANT_NAME]
    assert model.predict_one({"a": 1}) == pytest.approx(1 / 51)
    model.learn_one({"a": 1}, 2)
    assert model.predict_one({"a": 1}) > 1 / 51


@pytest.mark.parametrize("importance", [1e100, 1e300, 1e6, 1e-300])
def test_a_huge_or_tiny_importance_leaves_a_finite_model(importance):
    for loss in LOSSES:
        assert_finite_after([({"a": 1}, y, k) for k in (1.0, importance, 1.0) for y in (-1, 1, 1)], loss)


def assert_finite_after(examples, loss="logistic"):
    """Learn examples (each may be refused), and expect every number of the state to be finite."""
    model = new(loss)
    for x, y, *importance in examples:
        model.learn_packed(pack([y, x, *importance]))
    assert math.isfinite(model.score_one({"a": 1, "b": 1}))
    assert all(np.isfinite(array).all() for array in (model.learner.totals, model.learner.mixer, model.weights.array()))
    floats = np.delete(
        model.learner.weight_dict.matrix, [layout.COUNT, 2 * layout.HASH, 2 * layout.HASH + 1, 6, 7], axis=1
    )
    assert np.isfinite(floats).all()


@pytest.mark.skipif(not kernels.JIT, reason="too many examples for plain Python")
@pytest.mark.parametrize("rates", [RATES, (16.0, 16.0)])
def test_nothing_grows_for_ever(rates):
    """Inputs of the filters that are always 0, or the same as another, have no variance that grows: a stream has no end."""
    model, r = Model(rates=rates, parts=PARTS, seed=SEED), random.Random(5)
    examples = pack(*((r.choice([-1, 1, 1]), {f"w{r.randrange(50)}": 1}) for _ in range(20_000)))
    model.learn_packed(examples)
    first = model.progressive_loss
    for _ in range(14):
        model.learn_packed(examples)
    assert model.progressive_loss == pytest.approx(first, rel=0.02)
    for matrix in (model.learner.mixer, model.learner.dense_filter):
        assert np.abs(matrix[:, 1:]).max() <= 5.0
        assert np.linalg.eigvalsh(matrix[:, 1:]).min() > -1e-9


# ---- batches ---------------------------------------------------------------------------------------------------------
def test_every_broken_example_of_a_batch_comes_back_as_it_was():
    bad, good = msgpack.packb([1, {"a": "x"}]), msgpack.packb([1, {"a": 1}])
    found = new().learn_packed(good + bad + good + good + bad + bad)
    assert [(rejection.index, rejection.data) for rejection in found.rejections] == [(1, bad), (4, bad), (5, bad)]
    assert np.isnan(found.scores).tolist() == [False, True, False, False, True, True]


# ---- predicting ------------------------------------------------------------------------------------------------------
# ---- what can't be learned -------------------------------------------------------------------------------------------
def string(data):
    """Bytes as a msgpack string, valid UTF-8 or not."""
    return b"\xd9" + bytes([len(data)]) + data if len(data) < 256 else b"\xda" + struct.pack(">H", len(data)) + data


def example(name=b"\xa1a", value=b"\x01"):
    """``[1, {name: value}]`` of packed bytes."""
    return b"\x92\x01\x81" + name + value


TARGET = "target must be -1, 0, 1, true, false or one of the model's labels"
IMPORTANCE = "importance must be a number within [0, 1e+06]"
CUT = "example must be whole msgpack (it is cut off or malformed)"
SHAPE = "example must be [target, features] or [target, features, importance]"
MAP = "features must be a map of name to number, or an array as extension 4 (float32) or 8 (float64)"
NAME = "feature name must be a string"
BYTES = "feature name must have 1 to 256 bytes"
WIDTH = "features must be at most 10000 an example"

BAD = [
    ("FRAMING", b"\x92", CUT),
    ("FRAMING", b"\x92\x01", CUT),
    ("FRAMING", b"\x92\xa3ab", CUT),
    ("FRAMING", b"\xdc\x00", CUT),
    ("FRAMING", b"\x92\x01\x81", CUT),
    ("FRAMING", b"\x92\x01\xde\x00", CUT),
    ("FRAMING", b"\x92\x01\x82\xa1a\x01", CUT),
    ("FRAMING", b"\x92\x01\x81\xa5abc", CUT),
    ("FRAMING", b"\x92\x01\x81\xdb\xff\xff\xff\xffabc", CUT),
    ("FRAMING", b"\x92\x01\x81\xa1a\xcb\x00\x00", CUT),
    ("FRAMING", b"\x92\x01\x81\xa1a\xcd\x01", CUT),
    ("FRAMING", b"\x93\x01\x80", CUT),
    ("FRAMING", b"\x93\x01\x80\xca\x01", CUT),
    ("FRAMING", b"\x92\x01\xc7", CUT),
    ("FRAMING", b"\x92\x01\xc8\x00", CUT),
    ("FRAMING", b"\x92\x01\xd6\x04\x00\x00\x00", CUT),
    ("FRAMING", b"\x92\x01\xc9\xff\xff\xff\xff\x04abcd", CUT),
    ("EXAMPLE", b"\x90", f"{SHAPE} (got [])"),
    ("EXAMPLE", pack([1]), f"{SHAPE} (got [1])"),
    ("EXAMPLE", pack([1, {}, 1, 1]), f"{SHAPE} (got [1, {{}}, 1, 1])"),
    ("EXAMPLE", pack({"a": 1}), f"{SHAPE} (got {{'a': 1}})"),
    ("EXAMPLE", pack(None), f"{SHAPE} (got None)"),
    ("TARGET", pack([2, {}]), f"{TARGET} (got 2)"),
    ("TARGET", pack([0.5, {}]), f"{TARGET} (got 0.5)"),
    ("TARGET", pack([math.nan, {}]), f"{TARGET} (got nan)"),
    ("TARGET", pack(["spam", {}]), f"{TARGET} (got 'spam')"),
    ("TARGET", pack([None, {}]), f"{TARGET} (got None)"),
    ("TARGET", pack([[1], {}]), f"{TARGET} (got [1])"),
    ("TARGET", pack([b"spam", {}]), f"{TARGET} (got b'spam')"),
    ("MAP", pack([1, [1]]), f"{MAP} (got [1])"),
    ("MAP", pack([1, "a"]), f"{MAP} (got 'a')"),
    ("MAP", pack([1, None]), f"{MAP} (got None)"),
    ("MAP", pack([1, msgpack.ExtType(5, b"abcd")]), f"{MAP} (got ExtType(code=5, data=b'abcd'))"),
    ("MAP", pack([1, msgpack.ExtType(4, b"abc")]), f"{MAP} (got ExtType(code=4, data=b'abc'))"),
    ("MAP", pack([1, msgpack.ExtType(8, b"abcd")]), f"{MAP} (got ExtType(code=8, data=b'abcd'))"),
    ("NAME_TYPE", pack([1, {1: 1}]), f"{NAME} (got 1)"),
    ("NAME_TYPE", pack([1, {b"a": 1}]), f"{NAME} (got b'a')"),
    ("NAME_TYPE", pack([1, {None: 1}]), f"{NAME} (got None)"),
    ("NAME_LENGTH", pack([1, {"": 1}]), f"{BYTES} (got 0)"),
    ("NAME_LENGTH", pack([1, {"a" * 257: 1}]), f"{BYTES} (got 257)"),
    ("NAME_LENGTH", pack([1, {"é" * 129: 1}]), f"{BYTES} (got 258)"),
    ("NAME_UTF8", example(string(b"\xff")), "feature name must be UTF-8"),
    ("NAME_UTF8", example(string(b"a\xc3")), "feature name must be UTF-8"),
    ("NAME_UTF8", example(string(b"\xed\xa0\x80")), "feature name must be UTF-8"),
    ("VALUE_TYPE", pack([1, {"a": "1"}]), "feature 'a' must be a number (got '1')"),
    ("VALUE_TYPE", pack([1, {"a": None}]), "feature 'a' must be a number (got None)"),
    ("VALUE_TYPE", pack([1, {"a": b"1"}]), "feature 'a' must be a number (got b'1')"),
    ("VALUE_TYPE", pack([1, {"a": [1]}]), "feature 'a' must be a number (got [1])"),
    ("VALUE_TYPE", pack([1, {"b": 1, "a": {}}]), "feature 'a' must be a number (got {})"),
    ("VALUE_FINITE", pack([1, {"a": math.nan}]), "feature 'a' must be finite, at most 1e+30 in size (got nan)"),
    ("VALUE_FINITE", pack([1, {"a": math.inf}]), "feature 'a' must be finite, at most 1e+30 in size (got inf)"),
    (
        "VALUE_FINITE",
        example(value=b"\xca\xff\x80\x00\x00"),
        "feature 'a' must be finite, at most 1e+30 in size (got -inf)",
    ),
    ("VALUE_FINITE", pack([1, {"a": 1.1e30}]), "feature 'a' must be finite, at most 1e+30 in size (got 1.1e+30)"),
    ("VALUE_FINITE", pack([1, {"a": -math.inf}]), "feature 'a' must be finite, at most 1e+30 in size (got -inf)"),
    (
        "VALUE_FINITE",
        pack([1, msgpack.ExtType(8, struct.pack("<3d", 0, -1e30, math.nan))]),
        "feature '2' must be finite, at most 1e+30 in size (got nan)",
    ),
    (
        "VALUE_FINITE",
        pack([1, msgpack.ExtType(4, struct.pack("<9000f", *[1] * 8999, -math.inf))]),
        "feature '8999' must be finite, at most 1e+30 in size (got -inf)",
    ),
    ("WIDTH", pack([1, msgpack.ExtType(4, bytes(40_004))]), f"{WIDTH} (got more)"),
    ("WIDTH", pack([1, {str(i): 1 for i in range(10_001)}]), f"{WIDTH} (got more)"),
    ("WIDTH", b"\x92\x01\xdf\xff\xff\xff\xff", f"{WIDTH} (got more)"),
    ("DUPLICATE", b"\x92\x01\x82\xa1a\x01\xa1a\x02", "feature 'a' must be there once (it came again)"),
    ("DUPLICATE", b"\x92\x01\x83\xa1a\x00\xa1b\x01\xa1a\x02", "feature 'a' must be there once (it came again)"),
    ("DUPLICATE", b"\x92\x01\x82\xa1a\x01\xd9\x01a\x02", "feature 'a' must be there once (it came again)"),
    ("IMPORTANCE", pack([1, {}, -1]), f"{IMPORTANCE} (got -1)"),
    ("IMPORTANCE", pack([1, {}, 1_000_001]), f"{IMPORTANCE} (got 1000001)"),
    ("IMPORTANCE", pack([1, {}, -0.001]), f"{IMPORTANCE} (got -0.001)"),
    ("IMPORTANCE", pack([1, {}, math.nan]), f"{IMPORTANCE} (got nan)"),
    ("IMPORTANCE", pack([1, {}, math.inf]), f"{IMPORTANCE} (got inf)"),
    ("IMPORTANCE", pack([1, {}, "1"]), f"{IMPORTANCE} (got '1')"),
    ("IMPORTANCE", pack([1, {}, None]), f"{IMPORTANCE} (got None)"),
    ("IMPORTANCE", pack([1, {}, {}]), f"{IMPORTANCE} (got {{}})"),
]
RESERVED = "feature name must not be (constant): every model has this feature already"


@pytest.mark.parametrize(("data", "message"), [case[1:] for case in BAD])
def test_what_breaks_a_rule_is_rejected_in_words(data, message):
    rejection = one_rejection("logistic", data)
    assert (rejection.index, rejection.reason, rejection.data) == (0, message, data)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.1e30, -1.1e30, None, "spam", [1], {}])
def test_the_target_of_a_regression_is_a_number(value):
    assert (
        one_rejection("squared", pack([value, {}])).reason
        == f"target must be finite, at most 1e+30 in size (got {value!r})"
    )


@pytest.mark.parametrize("value", [-1, -1e-9, math.nan, math.inf, 1.1e30, None, "spam"])
def test_the_target_of_a_count_is_at_least_zero(value):
    assert (
        one_rejection("poisson", pack([value, {}])).reason
        == f"target must be a number within [0, 1e+30] (got {value!r})"
    )


def test_the_name_of_the_constant_is_reserved():
    assert one_rejection("logistic", pack([1, {layout.CONSTANT_NAME: 1}])).reason == RESERVED


@pytest.mark.parametrize("data", [b"\x92\xcb\x00", b"\x92\xcd\x01", b"\x92\xca"])
def test_a_target_that_is_cut_off_is_called_so(data):
    assert one_rejection("logistic", data).reason == CUT


def test_every_reason_is_tested():
    codes = {name.removeprefix("BAD_") for name in vars(layout) if name.startswith("BAD_")}
    assert codes == {case[0] for case in BAD} | {"NAME_RESERVED"}


@pytest.mark.parametrize(("name", "data"), [case[:2] for case in BAD])
def test_a_reason_has_its_code(name, data, monkeypatch):
    monkeypatch.setattr(reasons, "reason", lambda code, *_: code)
    assert one_rejection("logistic", data).reason == getattr(layout, f"BAD_{name}")


def test_a_prediction_breaks_the_same_rules():
    for name, data, message in BAD:
        if name not in {"EXAMPLE", "TARGET", "IMPORTANCE"} and data[1:2] == b"\x01" and data[:1] == b"\x92":
            with pytest.raises(ExampleError) as caught:
                new().learner.score_packed(data[2:])
            assert str(caught.value) == message
    with pytest.raises(ExampleError, match=r"features must be one msgpack value \(got 2 more bytes\)"):
        new().learner.score_packed(b"\x80\x01\x02")


@pytest.mark.parametrize("data", [case[1] for case in BAD if case[0] != "FRAMING"])
def test_a_rejected_example_leaves_no_trace_and_the_next_one_is_learned(data):
    if kernels.skip(np.frombuffer(data, np.uint8), 0) < 0:
        pytest.skip("nothing comes after what is cut off")
    clean, model = new(), new()
    for y, x, _ in stream(mixed, "logistic", 20):
        clean.learn_one(x, y)
        model.learn_one(x, y)
    learned = model.learn_packed(data + pack([1, {"after": 1}]))
    clean.learn_one({"after": 1}, 1)
    assert math.isnan(learned.scores[0])
    assert not math.isnan(learned.scores[1])
    assert (model.n_rejected, model.n_examples) == (1, 21)
    model.count_rejected(-1)
    assert bits(model) == bits(clean)


@pytest.mark.parametrize("data", [case[1] for case in BAD if case[0] == "FRAMING"] + [b"\xc1", b"\x92\x01\xc1"])
def test_after_a_broken_framing_nothing_is_learned(data):
    good = pack([1, {"before": 1}])
    model, clean = new(), new()
    learned = model.learn_packed(good + data)
    clean.learn_packed(good)
    assert len(learned.scores) == 2
    assert learned.rejections[0].data == data
    model.count_rejected(-1)
    assert bits(model) == bits(clean)


def test_no_head_of_an_example_is_learned():
    """Cut anywhere, an example is rejected whole, and the examples before it are not."""
    data = pack(["yes", {"some name": 1.5, "é" * 20: -70_000, "c": True, "d" * 40: 2**40}, 2.5])
    good = pack([1, {"a": 1}])
    for cut in range(1, len(data)):
        model = new(labels=["no", "yes"])
        learned = model.learn_packed(good + data[:cut])
        assert [rejection.data for rejection in learned.rejections] == [data[:cut]]
        assert set(model.weights) == {layout.CONSTANT_NAME, "a"}
    assert not new(labels=["no", "yes"]).learn_packed(data).rejections


GOOD_VALUES = [
    0, 127, 128, 255, 256, 65_535, 65_536, 2**31, 2**32, 2**63, 2**64 - 1, -1, -32, -33, -128, -129, -32_768, -32_769,
    -(2**31), -(2**31) - 1, -(2**63), True, False, 0.1, -2.5, 1e-30, 1e15,
]  # fmt: skip


@pytest.mark.parametrize("value", GOOD_VALUES)
def test_every_form_of_a_number_is_read_as_python_reads_it(value):
    for data in (msgpack.packb(value), msgpack.packb(value, use_single_float=True)):
        expected = float(msgpack.unpackb(data))
        contributions = new().learner.explain_packed(b"\x81\xa1a" + data)
        assert [c.value for c in contributions if c.name == "a"] == ([expected] if expected else [])


@given(data=st.binary(min_size=1, max_size=9), first=st.integers(0xCA, 0xD3))
@settings(max_examples=N_TRIES, deadline=None)
def test_any_number_is_read_as_python_reads_it(first, data):
    size = {0xCA: 4, 0xCB: 8}.get(first, 1 << (first - 0xCC & 3))
    packed = bytes([first]) + data.ljust(size, b"\1")[:size]
    expected = float(msgpack.unpackb(packed))
    kind, value, end = doors.read_number(np.frombuffer(packed, np.uint8), 0)
    assert (kind, end) == (1, len(packed))
    assert value == pytest.approx(expected, rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize(
    "packed", ["d3c0000000000002ff", "d38000000000000001", "d3ffdfffffffffffff", "cffffffffffffffbff"]
)
def test_a_large_integer_is_rounded_once(packed):
    packed = bytes.fromhex(packed)
    assert doors.read_number(np.frombuffer(packed, np.uint8), 0)[1] == float(msgpack.unpackb(packed))


# ---- any example at all, by an oracle in plain Python ----------------------------------------------------------------
numbers = st.one_of(st.integers(-3, 3), st.booleans(), st.floats(-1e6, 1e6).map(lambda x: round(x, 3)))
others = st.one_of(
    st.none(), st.text(max_size=3), st.binary(max_size=3), st.lists(st.integers(0, 9), max_size=2), st.just({"a": 1}),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)  # fmt: skip
names = st.one_of(
    st.text(max_size=4), st.sampled_from(["é" * 128, "é" * 129, "a" * 256]), st.integers(0, 3), st.binary(max_size=2)
)
maps = st.dictionaries(names, st.one_of(numbers, numbers, numbers, others), max_size=5)
rest = st.one_of(numbers, others)
any_example = st.one_of(
    st.tuples(st.sampled_from([1, 0, -1, True, "yes", "no"]), maps),
    st.tuples(rest, st.one_of(maps, maps, rest)),
    st.tuples(st.sampled_from([1, -1]), maps, rest),
    st.lists(rest, max_size=4),
    rest,
)


def may_be_learned(value, labels):
    """The rules, once more: (-1 | 0 | 1 | label, {1 to 256 bytes: a number up to 1e30}, 0 to 1e6)."""
    if not isinstance(value, (list, tuple)) or len(value) not in (2, 3):
        return False
    target, features, importance = [*value, 1][:3]
    if not (target in labels if isinstance(target, str) else is_number(target) and target in (-1, 0, 1)):
        return False
    if not isinstance(features, dict) or not is_number(importance) or not 0 <= importance <= 1e6:
        return False
    rules = (isinstance(k, str) and 1 <= len(k.encode()) <= 256 and is_number(v) for k, v in features.items())
    return all(rules)


def is_number(value):
    return isinstance(value, (int, float)) and abs(value) <= 1e30


@given(st.lists(any_example, min_size=1, max_size=4))
@settings(max_examples=N_TRIES, deadline=None)
def test_what_is_learned_is_what_the_rules_say(examples):
    labels = ["no", "yes"]
    model, clean = new(labels=labels), new(labels=labels)
    good = [i for i, value in enumerate(examples) if may_be_learned(value, labels)]
    learned = model.learn_packed(pack(*examples))
    assert sorted(set(range(len(examples))) - set(good)) == [rejection.index for rejection in learned.rejections]
    assert [rejection.data for rejection in learned.rejections] == [pack(examples[r.index]) for r in learned.rejections]
    clean.learn_packed(pack(*(examples[i] for i in good)))
    model.count_rejected(-len(learned.rejections))
    assert bits(model) == bits(clean)


@given(st.binary(max_size=60), st.binary(max_size=12))
@settings(max_examples=N_TRIES, deadline=None)
def test_random_bytes_end_and_do_not_depend_on_what_lies_behind_them(data, behind):
    for head in (b"", b"\x92\x01", b"\x92\x01\x82\xa1a\x01"):
        whole = np.frombuffer(head + data + behind, np.uint8)
        stop = len(head + data)
        end = kernels.skip(whole[:stop], 0)
        assert end == kernels.skip(np.frombuffer(head + data, np.uint8), 0)
        assert end == -1 or 0 < end <= stop
        model = new()
        learned = model.learn_packed(head + data)
        assert len(learned.scores) == model.n_examples + model.n_rejected


# ---- framing ---------------------------------------------------------------------------------------------------------
any_value = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=40),
        st.binary(max_size=300), st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)),
    ),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=4), inner, max_size=18),
    max_leaves=40,
)  # fmt: skip


@given(st.lists(any_value, max_size=5), st.data())
@settings(max_examples=N_TRIES, deadline=None)
def test_values_end_where_msgpack_says(values, data):
    packed = [msgpack.packb(value) for value in values]
    expected = np.cumsum([len(p) for p in packed]).tolist()
    buffer = np.frombuffer(b"".join(packed), np.uint8)
    ends = np.zeros(len(values) + 1, np.int64)
    assert kernels.boundaries(buffer, ends) == len(values)
    assert ends[:-1].tolist() == expected
    if len(buffer):
        cut = data.draw(st.integers(0, len(buffer) - 1))
        n = sum(end <= cut for end in expected)
        assert kernels.boundaries(buffer[:cut], ends) == n
        assert ends[:n].tolist() == expected[:n]
        if n < len(values):
            assert kernels.skip(buffer[:cut], expected[n - 1] if n else 0) == -1
        assert kernels.boundaries(buffer, ends[:1]) == 1


@pytest.mark.parametrize(
    "value",
    [
        0,
        "a" * 32,
        "a" * 256,
        "a" * 65_536,
        b"a" * 256,
        b"a" * 65_536,
        [0] * 16,
        [0] * 65_536,
        {str(i): i for i in range(16)},
    ]
    + [msgpack.ExtType(1, b"a" * n) for n in (1, 2, 4, 8, 16, 17, 256, 65_536)],
    ids=lambda value: f"{type(value).__name__}-{len(value) if value else 0}",
)
def test_every_form_of_a_length_is_skipped(value):
    data = msgpack.packb([value]) + b"\xc0"
    buffer = np.frombuffer(data, np.uint8)
    assert kernels.skip(buffer, 0) == len(data) - 1
    assert kernels.skip(buffer[:-2], 0) == -1


def test_a_value_of_any_depth_is_skipped():
    data = b"\x91" * 200_000 + b"\xc0" if kernels.JIT else b"\x91" * 2_000 + b"\xc0"
    assert kernels.skip(np.frombuffer(data, np.uint8), 0) == len(data)
    assert kernels.skip(np.frombuffer(data, np.uint8)[:-1], 0) == -1


@pytest.mark.parametrize(
    "data",
    [b"\xdd\xff\xff\xff\xff" * 50, b"\xdf\xff\xff\xff\xff" * 50, b"\xdb\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff"],
)
def test_lengths_of_four_gigabytes_are_cut_off(data):
    assert kernels.skip(np.frombuffer(data, np.uint8), 0) == -1


GUARD = """
import ctypes, mmap, random
import numpy as np
from learner import kernels
from learner.model import Model
from learner.learners.weights import hash_keys, hash_of
from tests import doors

page = mmap.PAGESIZE
memory = mmap.mmap(-1, 2 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mprotect(ctypes.c_void_p(start + page), page, 0) == 0
model, keys, r = Model(seed=b"sixteen bytes it"), hash_keys(b"sixteen bytes it"), random.Random(5)
heads = [b"", b"\\x92\\x01", b"\\x92\\x01\\x82\\xa1a\\x01", b"\\x93\\x01\\x80", b"\\x92\\x01\\x81\\xa3"]


def at_the_end(data):
    memory[page - len(data):page] = data
    return memoryview(memory)[page - len(data):page].toreadonly()


for length in range(1, 257):
    name = r.randbytes(length)
    buffer = np.frombuffer(at_the_end(name), np.uint8)
    assert doors.hash_name(buffer, 0, length, keys)[0] == kernels.hash_name(buffer, keys) == hash_of(name, keys)
    doors.is_utf8(np.frombuffer(at_the_end(name[:-1] + r.choice([b"\\xf0", b"\\xe1", b"\\xc3"])), np.uint8), 0, length)
for _ in range(20_000):
    data = r.choice(heads) + bytes(r.choice([r.randrange(256), r.randrange(0x80, 256)]) for _ in range(r.randrange(1, 12)))
    view = at_the_end(data)
    kernels.skip(np.frombuffer(view, np.uint8), 0)
    model.learn_packed(view)
assert model.n_rejected
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect by hand")
def test_nothing_is_read_behind_the_buffer():
    """With the next page of memory forbidden, reading one byte too many would kill the process."""
    if not kernels.JIT:
        pytest.skip("numpy checks the bounds")
    subprocess.run([sys.executable, "-c", GUARD], check=True, cwd=ROOT)


# ---- names -----------------------------------------------------------------------------------------------------------
@given(
    st.one_of(
        st.binary(max_size=8), st.text(max_size=6).map(str.encode), st.binary(max_size=4).map(lambda b: b"\xf0\x90" + b)
    )
)
@settings(max_examples=5 * N_TRIES, deadline=None)
def test_utf8_is_what_pythons_decoder_takes(data):
    assert bool(doors.is_utf8(np.frombuffer(b"\xff" + data + b"\x80", np.uint8), 1, len(data))) == decodes(data)


def test_utf8_of_two_and_three_bytes_is_what_pythons_decoder_takes():
    """All pairs, and every third byte at the edges of its range."""
    leads, edges = range(0xC0, 0x100), (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
    for data in [bytes([a, b]) for a in leads for b in edges] + [
        bytes([a, b, c, 0x80]) for a in leads for b in edges for c in edges
    ]:
        for n in (len(data), len(data) - 1):
            assert bool(doors.is_utf8(np.frombuffer(data, np.uint8), 0, n)) == decodes(data[:n]), data[:n]


def decodes(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def polynomial(name, r):
    """The docstring of `hash_name` in Python's own integers."""
    h = len(name)
    for start in range(0, len(name), 7):
        h = (h + int.from_bytes(name[start : start + 7], "little")) * r % (2**61 - 1)
    h = (h ^ h >> 32) * 0x9E3779B97F4A7C15 % 2**64
    return max(h ^ h >> 32, 1)


def test_the_hash_is_the_polynomial_of_its_docstring():
    """The values of a fixed seed are written down, so that committed models stay readable."""
    keys = hash_keys(SEED)
    r = int(keys[layout.KEY_BLOCK])
    assert 2**32 <= r < 2**61 - 1
    for length in range(1, 257):
        name = bytes((7 * i * i + length) % 256 for i in range(length))
        assert hash_of(name, keys) == polynomial(name, r)
        for before, after in ((0, 0), (3, 0), (0, 3), (5, 20)):  # wherever it lies, up to the very end
            buffer = np.frombuffer(b"\xaa" * before + name + b"\xbb" * after, np.uint8)
            found, beyond_ascii = doors.hash_name(buffer, before, length, keys)
            assert int(found) == hash_of(name, keys)
            assert bool(beyond_ascii) == (not name.isascii())
    assert {name: hash_of(name.encode(), keys) for name in GOLDEN} == GOLDEN


GOLDEN = {
    "a": 13348472026064842825,
    "contains_@": 17681114515697476321,
    "größe": 6961433254683382616,
    "(constant)": 13447464523425125442,
}


def test_the_keys_hold_the_hashes_of_the_constant_and_of_the_labels():
    plain, labelled = hash_keys(SEED), hash_keys(SEED, ("ham", "größer als 3"))
    r = int(plain[layout.KEY_BLOCK])
    hashes = [polynomial(name.encode(), r) for name in ("(constant)", "ham", "größer als 3")]
    assert labelled[: layout.POSITION_HASHES].tolist() == [r, *hashes]
    assert not labelled[layout.POSITION_HASHES :].any()  # until an array comes
    assert plain[: layout.POSITION_HASHES].tolist() == [*labelled[:2].tolist(), 0, 0]


@pytest.mark.parametrize("r", [2**32, 2**32 + 1, 2**60, 2**61 - 2**55, 2**61 - 3, 2**61 - 2])
def test_the_hash_is_the_polynomial_whatever_the_secret(r):
    keys, draw = np.full(layout.N_KEYS, r, np.uint64), random.Random(r)
    for length in [*range(1, 30), 100, 255, 256] * 10:
        name = draw.randbytes(length)
        assert hash_of(name, keys) == polynomial(name, r)


def test_the_hash_is_the_polynomial_when_its_last_product_is_large():
    name = bytes.fromhex("4c4c0cb4c4386e979106e52489c48eff80ad5890cc")
    assert hash_of(name, np.full(layout.N_KEYS, 2**61 - 1 - 2**40, np.uint64)) == polynomial(name, 2**61 - 1 - 2**40)


def test_the_spread_is_a_bijection():
    """It can be undone, so that it adds no collision; and it uses all the bits."""
    undo, r = pow(0x9E3779B97F4A7C15, -1, 2**64), random.Random(6)
    used = 0
    for h in [0, 1, 2**32 - 1, 2**32, 2**61 - 2, 2**64 - 1, *(r.getrandbits(64) for _ in range(200))]:
        found = int(doors.spread(np.uint64(h)))
        back = (found ^ found >> 32) * undo % 2**64
        assert back ^ back >> 32 == h
        used |= found
    assert used == 2**64 - 1


def test_a_million_names_have_a_million_hashes():
    n = 1_000_000 if kernels.JIT else 1_000
    keys = hash_keys(SEED)
    data = b"".join(b"%07d" % i for i in range(n))
    assert n_hashes(np.frombuffer(data, np.uint8), keys) == n


def n_hashes(buffer, keys):
    return len({int(doors.hash_name(buffer, start, 7, keys)[0]) for start in range(0, len(buffer), 7)})


def test_names_that_share_their_head_or_tail_or_end_in_zeros_have_their_own_hashes():
    keys = hash_keys(SEED)
    names = (
        {b"\0" * n for n in range(1, 257)} | {b"a" * n for n in range(1, 257)} | {b"a" * n + b"\0" for n in range(256)}
    )
    names |= {b"a" * n + b"b" + b"a" * (255 - n) for n in range(256)}
    assert len({hash_of(name, keys) for name in names}) == len(names)


def test_the_hash_belongs_to_the_seed():
    """Two seeds share no hash, and a seed always gives its own."""
    names = [f"name {i}".encode() for i in range(300)]
    hashes = [[hash_of(name, hash_keys(seed)) for name in names] for seed in (SEED, b"sixteen bytes is", SEED)]
    assert hashes[0] == hashes[2]
    assert not set(hashes[0]) & set(hashes[1])
    assert all(1 <= h < 2**64 for h in hashes[0])
    assert max(hashes[0]) > 2**63  # the table's tags are the upper half


@pytest.mark.skipif(not kernels.JIT, reason="too many names for plain Python")
@pytest.mark.parametrize("pattern", ["feature_%d", "w%d", "%06d", "user=%d|item"])
def test_numbered_names_are_spread_over_the_table_for_every_seed(pattern):
    """To miss, a search goes through 5.7 cells on average in a table 69 % full of random hashes (Knuth, 1973, section 6.4)."""
    names = [pattern % i for i in range(45_000)]
    probes = []
    for seed in range(16):
        model = Model(seed=b"sixteen bytes %02d" % seed)
        for start in range(0, len(names), 1000):
            model.learn_one(dict.fromkeys(names[start : start + 1000], 1), 1 if start % 2000 else -1)
        table = model.learner.weight_dict.table
        free = np.flatnonzero(table == 0)
        runs = np.diff(np.append(free, free[0] + len(table)))
        assert 0.68 < 1 - len(free) / len(table) < 0.7
        probes.append(float((runs * (runs + 1) / 2).sum()) / len(table))
    assert max(probes) < 8


# ---- machine code ----------------------------------------------------------------------------------------------------
@pytest.fixture
def chosen_folder(monkeypatch):
    """Choose where machine code is kept, as a process does once; what is temporary goes with the test."""
    temporary = []
    monkeypatch.setattr(jit, "_temporary", temporary)
    yield jit.cache_folder.__wrapped__
    for folder in temporary:
        folder.cleanup()


def is_private(folder):
    """Whether a folder is ours alone: numba reads a pickle there, and runs what it finds."""
    return folder.stat().st_uid == os.getuid() and stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [None, 0o755, 0o777])
def test_machine_code_is_kept_where_it_is_said(mode, chosen_folder, monkeypatch, tmp_path):
    given = tmp_path / "given" / "folder"
    if mode is not None:  # it is there already, and others may write there: it stays as it is
        given.mkdir(parents=True)
        given.chmod(mode)
    monkeypatch.setenv("LEARNER_CACHE", str(given))
    assert chosen_folder() == given / "compiled"
    assert is_private(given / "compiled")
    assert mode is None or stat.S_IMODE(given.stat().st_mode) == mode
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEARNER_CACHE", "given/folder")
    assert chosen_folder() == given / "compiled"


def test_a_folder_that_others_could_have_written_to_is_never_used(chosen_folder, monkeypatch, tmp_path):
    """What they left there would be run: it is not made private and then trusted."""
    (tmp_path / "compiled").mkdir()
    (tmp_path / "compiled").chmod(0o770)
    monkeypatch.setenv("LEARNER_CACHE", str(tmp_path))
    folder = chosen_folder()
    assert not folder.is_relative_to(tmp_path / "compiled")
    assert is_private(folder)
    assert stat.S_IMODE((tmp_path / "compiled").stat().st_mode) == 0o770


def test_machine_code_is_kept_among_the_users_caches_by_default(chosen_folder, monkeypatch, tmp_path):
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("LEARNER_CACHE", "")
    for _ in range(2):
        folder = chosen_folder()
        assert folder.is_relative_to(tmp_path)
        assert folder.parts[-2:] == ("learner", "compiled")
        assert is_private(folder)
        monkeypatch.delenv("LEARNER_CACHE", raising=False)


@pytest.mark.parametrize("case", ["a file", "below a file", "of another user", "not ours to write to"])
def test_machine_code_is_kept_in_a_folder_of_the_process_where_no_other_is_ours(
    case, chosen_folder, monkeypatch, tmp_path
):
    given = tmp_path / "given"
    if case in ("a file", "below a file"):
        given.touch()
        given = given / "folder" if case == "below a file" else given
    else:
        given.mkdir(mode=0o755)
    if case == "of another user":
        another = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: another)
    if case == "not ours to write to":
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("LEARNER_CACHE", str(given))
    folder = chosen_folder()
    monkeypatch.undo()
    assert not folder.is_relative_to(tmp_path)
    assert folder.is_dir()
    assert is_private(folder)
    if case in ("of another user", "not ours to write to"):
        assert stat.S_IMODE(given.stat().st_mode) == 0o755
        assert not [*(given / "compiled").iterdir()]
    elif case == "a file":
        assert given.is_file()
