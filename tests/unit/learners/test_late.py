"""Scoring without learning: a slow loop over single predictions agrees, whatever the model, and nothing of it changes."""

import copy
import math
import random

import msgpack
import numpy as np
import pytest

from learner import layout
from learner.errors import ExampleError
from learner.late import LateLoss, order_notice
from learner.model import Model
from tests.conftest import SEED, state_bytes

KINDS = {
    "binary": {},
    "hinge": {"loss": "hinge"},
    "labels": {"labels": ("ham", "spam")},
    "one rate": {"rates": [0.5]},
    "sparse": {"l1": 0.01, "max_features": 100},
    "regression": {"task": "regression"},
    "quantile": {"task": "quantile", "level": 0.9},
    "poisson": {"task": "poisson"},
    "many classes": {"task": "multiclass"},
    "a head": {"neural": [5, 4]},
    "a head alone": {"neural": {"hidden": [5, 4], "alone": True}},
    "ftrl": {"optimizer": "ftrl"},
    "normalised": {"optimizer": "nag", "task": "regression"},
}
BLOCK = 60


def example(r, task, labels):
    """Return a target, features and an importance."""
    x = {"a": r.gauss(0, 1), "b": r.expovariate(1), f"w={r.randrange(30)}": 1.0}
    s = 2.0 * x["a"] + r.gauss(0, 1)
    y = {
        "binary": labels[s > 0.0] if labels else int(s > 0.0),
        "multiclass": f"c{int(abs(s) * 2)}",
        "poisson": int(abs(s)),
    }
    return y.get(task, 50.0 + s), x, r.choice([1.0, 1.0, 2.5, 0.0])


def block(seed, task="binary", labels=None, **_):
    r = random.Random(seed)
    return [example(r, task, labels) for _ in range(BLOCK)]


def pack(examples):
    return b"".join(msgpack.packb(list(each)) for each in examples)


def slow_loss(model, y, x):
    """Return the loss of one prediction, from what `Model` says about one record."""
    if model.task == "multiclass":
        probabilities = model.predict_proba_one(x)
        return -math.log(probabilities[y]) if y in probabilities else math.log(len(probabilities) + 1)
    if model.task == "binary":
        sign = 1.0 if y in (1, "spam") else -1.0
        margin = sign * model.score_one(x)
        return max(1.0 - margin, 0.0) if model.spec.loss == "hinge" else math.log1p(math.exp(-margin))
    predicted = model.predict_one(x)
    if model.task == "regression":
        return (y - predicted) ** 2
    if model.task == "quantile":
        return (0.9 if y > predicted else -0.1) * (y - predicted)
    return 2.0 * ((y * math.log(y / predicted) if y else 0.0) - (y - predicted))


@pytest.mark.parametrize("kind", KINDS)
def test_the_losses_of_a_block_are_those_of_single_predictions_and_nothing_changes(kind):
    options = {"task": "binary", **KINDS[kind]}
    model = Model(seed=SEED, **options)
    for seed in range(4):
        examples = block(seed, **options)
        before, dirty = copy.deepcopy(state_bytes(model)), model.dirty.copy()
        losses, importances = model.losses_packed(pack(examples))
        assert state_bytes(model) == before
        assert (model.dirty == dirty).all()
        assert importances.tolist() == [importance for _, _, importance in examples]
        frozen = copy.copy(model)  # learns nothing: every prediction is made before any outcome of the block
        assert losses == pytest.approx([slow_loss(frozen, y, x) for y, x, _ in examples], rel=1e-6, abs=1e-9)
        model.learn_packed(pack(examples))
    other = Model(seed=SEED, **options)
    other.learn_packed(b"".join(pack(block(seed, **options)) for seed in range(4)))
    assert state_bytes(model) == state_bytes(other)


@pytest.mark.parametrize("kind", ["binary", "many classes", "ftrl"])
def test_an_example_that_learning_rejects_has_no_loss(kind):
    options = {"task": "binary", **KINDS[kind]}
    good = [msgpack.packb(list(each)) for each in block(1, **options)]
    bad = [msgpack.packb([1.5, {"a": 1}]), msgpack.packb([1, {"a": "x"}]), msgpack.packb([1, {"a": 1}, -1]), b"\x01"]
    mixed = b"".join([*bad, *good[:30], *bad, *good[30:], b"\x92\x01"])
    model = Model(seed=SEED, **options)
    losses, importances = model.losses_packed(mixed)
    rejected = [rejection.index for rejection in model.learn_packed(mixed).rejections]
    assert np.flatnonzero(np.isnan(losses)).tolist() == np.flatnonzero(np.isnan(importances)).tolist() == rejected
    assert len(losses) == BLOCK + 9


def test_more_examples_than_a_call_of_the_loop_takes_are_all_scored():
    model = Model(seed=SEED)
    examples = pack(block(0) * 150)
    model.learn_packed(pack(block(0)))
    losses, _ = model.losses_packed(examples)
    assert len(losses) == 150 * BLOCK
    assert (losses.reshape(150, BLOCK) == losses[:BLOCK]).all()


def test_a_label_beyond_the_largest_number_of_classes_has_no_loss(monkeypatch):
    model = Model("multiclass", seed=SEED)
    model.learn_packed(b"".join(msgpack.packb([k, {"a": 1}]) for k in range(layout.MAX_LABELS)))
    losses, _ = model.losses_packed(msgpack.packb([0, {"a": 1}]) + msgpack.packb([layout.MAX_LABELS, {"a": 1}]))
    assert np.isnan(losses).tolist() == [False, True]


def test_the_sums_leave_rejected_examples_out():
    late = LateLoss()
    assert math.isnan(late.summary()["late_loss"])
    late.add(np.array([1.0, np.nan, 4.0]), np.array([1.0, np.nan, 2.0]))
    late.add(np.array([np.nan]), np.array([np.nan]))
    assert late.summary() == {"late_loss": 3.0, "late_examples": 2}


@pytest.mark.parametrize(
    ("late", "n", "progressive", "told"),
    [(0.42, 1000, 0.12, True), (0.42, 999, 0.12, False), (0.13, 5000, 0.12, False), (math.nan, 5000, 0.1, False)],
)
def test_a_large_difference_is_told_in_one_sentence(late, n, progressive, told):
    notice = order_notice(late, n, progressive)
    assert bool(notice) == told
    if told:
        assert notice == (
            "The order of this stream predicts its outcomes: requests are answered as the late loss says, 0.42, not as well as "
            "the progressive loss, 0.12."
        )


@pytest.mark.parametrize("kind", KINDS)
def test_many_answers_are_those_of_one_at_a_time(kind):
    options = KINDS[kind]
    model = Model(seed=SEED, **options)
    assert list(model.answer_each([])) == []
    for seed in (None, 1):  # before and after learning
        if seed:
            model.learn_packed(pack(block(seed, **options)))
        maps = [msgpack.packb(x) for _, x, _ in block(2, **options)]
        for place, bad in ((40, {"a": "text"}), (7, [1.0]), (0, {"a": math.inf})):
            maps.insert(place, msgpack.packb(bad))
        before = state_bytes(model)
        assert list(model.answer_each(maps)) == [one_answer(model, packed) for packed in maps]
        assert state_bytes(model) == before
    whole, cut = maps[1:3], maps[1][:-1]
    assert list(model.answer_each([*whole, cut])) == [*map(model.answer, whole), None]


def test_many_answers_of_a_target_range_without_1_are_there():
    model = Model("regression", target_range=(5.0, 9.0), seed=SEED)
    model.learn_one({"a": 1.0}, 6.0)
    assert list(model.answer_each([msgpack.packb({"a": 1.0})])) == [model.answer(msgpack.packb({"a": 1.0}))]


def one_answer(model, packed):
    try:
        return model.answer(packed)
    except ExampleError:
        return None
