"""An example is learned whole or not at all, by the rules of an oracle in plain Python; a rejected one leaves no trace."""

import math

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner import kernels, layout
from tests.conftest import state_bytes
from tests.unit.broken import BAD
from tests.unit.streams import mixed, new, pack, stream

N_TRIES = 200 if kernels.JIT else 10  # hypothesis examples


def test_every_broken_example_of_a_batch_is_returned_unchanged():
    bad, good = msgpack.packb([1, {"a": "x"}]), msgpack.packb([1, {"a": 1}])
    learned = new().learn_packed(good + bad + good + good + bad + bad)
    assert [(rejection.index, rejection.data) for rejection in learned.rejections] == [(1, bad), (4, bad), (5, bad)]
    assert np.isnan(learned.scores).tolist() == [False, True, False, False, True, True]


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
    assert state_bytes(model) == state_bytes(clean)


@pytest.mark.parametrize("data", [case[1] for case in BAD if case[0] == "FRAMING"] + [b"\xc1", b"\x92\x01\xc1"])
def test_after_a_broken_framing_nothing_is_learned(data):
    good = pack([1, {"before": 1}])
    model, clean = new(), new()
    learned = model.learn_packed(good + data)
    clean.learn_packed(good)
    assert len(learned.scores) == 2
    assert learned.rejections[0].data == data
    model.count_rejected(-1)
    assert state_bytes(model) == state_bytes(clean)


def test_no_part_of_an_example_is_learned():
    """Cut anywhere, an example is rejected whole, and the examples before it are not."""
    data = pack(["yes", {"some name": 1.5, "é" * 20: -70_000, "c": True, "d" * 40: 2**40}, 2.5])
    good = pack([1, {"a": 1}])
    for cut in range(1, len(data)):
        model = new(labels=["no", "yes"])
        learned = model.learn_packed(good + data[:cut])
        assert [rejection.data for rejection in learned.rejections] == [data[:cut]]
        assert set(model.weights) == {layout.CONSTANT_NAME, "a"}
    assert not new(labels=["no", "yes"]).learn_packed(data).rejections


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
    assert state_bytes(model) == state_bytes(clean)
