"""What holds for every kind of model, on any stream: a sentence, a test.

The kinds and the streams are those of `tests.goldens`. Kinds that only this file would compile are left out.
"""

import copy
import functools
import json
import random

import msgpack
import numpy as np
import pytest

from learner import kernels
from learner.kernels.records import CHUNK, plain_work
from learner.learners import protocol
from learner.learners.sweeping import erase
from learner.metrics import HALF_WINDOW
from learner.model import Model
from learner.packing import pack_example
from learner.tasks import TASKS
from tests.conftest import state_bytes
from tests.goldens import ALONE, KINDS, SEED, arrays, mixed, pack, packed, target
from tests.unit.learners.consistency import check_dict, every_weight
from tests.unit.streams import by_position

LEFT_OUT = ("rates.three", "neural", "multiclass.rate")
EVERY = {name: options for name, options in KINDS.items() if not name.startswith(LEFT_OUT)}
EVERY |= {"neural": {"neural": [5, 4]}, "neural.l1": {"neural": [5, 4], "l1": 0.05}, "neural.alone": {"neural": ALONE}}
LONG = {"binary", "regression", "quantile", "poisson"}  # longer than a call of the loop, and than half of the window
N = 400 if kernels.JIT else 40
N_LONG = max(CHUNK, HALF_WINDOW) + 1000 if kernels.JIT else 60

each_kind = pytest.mark.parametrize("kind", EVERY)


def examples(options, n, seed):
    """Packed examples of a kind's task, one of them broken."""
    rows = [(target(options, x, i > 2 * n // 3), x) for i, x in enumerate(mixed(n, seed, n_words=200))]
    data = [packed(y, pack(x.features), x.importance) for y, x in rows]
    data[n // 2] = b"\x92\x01\x81\xa1a\xc0"  # a feature whose value is nil
    return data


def restarted(model):
    """The model as another process has it: made of its spec and its state as they are written."""
    spec = json.loads(json.dumps(model.to_spec()))
    state = {
        name: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape) for name, array in model.state().items()
    }
    again = Model.from_spec(spec)
    again.load_state(state)
    return again


@each_kind
def test_batches_and_restarts_and_reading_ahead_change_no_bit(kind, seed, monkeypatch):
    options, draw = EVERY[kind], random.Random(seed)
    data = examples(options, N_LONG if kind in LONG else N, seed)
    whole = Model(**options, seed=SEED)
    with monkeypatch.context() as patch:
        patch.setattr(protocol, "pays", bool)
        learned = whole.learn_packed(b"".join(data))
    assert [(rejection.index, rejection.data) for rejection in learned.rejections] == [
        (len(data) // 2, data[len(data) // 2])
    ]

    model, scores, start = Model(**options, seed=SEED), [], 0
    longest = draw.choice([1, 7, 50, len(data)])
    while start < len(data):
        stop = start + draw.randint(1, longest)
        scores.append(model.learn_packed(b"".join(data[start:stop])).scores)
        start = stop
        if draw.random() < 0.1:
            model = restarted(model)
    assert state_bytes(model) == state_bytes(whole) == state_bytes(copy.deepcopy(whole))
    assert np.concatenate(scores).tobytes() == learned.scores.tobytes()
    figures = [{name: value for name, value in m.summary().items() if name != "bytes"} for m in (model, whole)]
    assert figures[0] == pytest.approx(figures[1], rel=0, abs=0, nan_ok=True)  # of bytes, room to grow may differ


@each_kind
def test_predicting_changes_nothing_and_says_what_learning_then_reports(kind, seed):
    options = EVERY[kind]
    model = Model(**options, seed=SEED)
    for i, x in enumerate(mixed(N // 10, seed, n_words=50)):
        y = target(options, x, i > N // 20)
        learner = model.learner
        before = state_bytes(model), learner.weight_dict.table.tobytes(), model.dirty.tobytes()
        unseen = x.features | {"never seen": 1.0}
        score, prediction = model.score_one(x.features), model.predict_one(x.features)
        p = None if TASKS[model.task].predicts_numbers else model.predict_proba_one(x.features)
        model.predict_one(unseen)
        model.explain_one(unseen)
        answer = model.answer(model.pack(x.features), explain=True)
        assert (state_bytes(model), learner.weight_dict.table.tobytes(), model.dirty.tobytes()) == before
        known = dict(p or {})
        reported = model.learn_packed(pack_example(y, model.pack(x.features), x.importance)).scores[0]
        if model.task == "multiclass":
            assert answer["label"] == prediction
            assert answer["probabilities"] == known
            assert str(y) not in known or reported == pytest.approx(known[str(y)], rel=1e-9)
        else:
            assert answer["score"] == score
            assert reported == pytest.approx(score, rel=1e-9, abs=1e-9)


@each_kind
def test_a_used_model_goes_on_from_a_state_as_a_new_one_whatever_is_in_the_work_arrays(kind, seed):
    options, draw = EVERY[kind], np.random.default_rng(seed)
    used, x = Model(**options, seed=SEED), next(mixed(1, seed, n_words=50)).features
    for n, state in ((N // 2, {}), (N // 8, learned(kind)), (N // 2, learned(kind))):
        used.learn_packed(b"".join(examples(options, n, seed)))
        data, results = b"".join(examples(options, N // 4, seed + 1)), []
        for model in (used, Model(**options, seed=SEED)):
            model.load_state(state or Model(**options, seed=SEED).state())
            fill_work(draw)
            learned_now = model.learn_packed(data)
            fill_work(draw)
            parts = model.explain_one(x)
            results.append((state_bytes(model), learned_now.scores.tobytes(), learned_now.losses.tobytes(), parts))
        assert results[0] == results[1]


def fill_work(draw):
    """Leave garbage in this thread's work arrays."""
    for array in flattened(plain_work()):
        array[...] = draw.integers(0, 256, array.nbytes, np.uint8).view(array.dtype).reshape(array.shape)


def flattened(arrays):
    """Yield the arrays of nested tuples."""
    for each in arrays:
        yield from flattened(each) if isinstance(each, tuple) else [each]


@each_kind
def test_contributions_add_up_to_the_score(kind, seed):
    options = EVERY[kind]
    model = Model(**options, seed=SEED)
    model.learn_packed(b"".join(examples(options, N, seed)))
    extreme = [{}, {"never seen": 3.0}, {"degrees": 1e9, "word 1": -5.0}]
    for x in [*(x.features for x in mixed(5, seed + 1, n_words=300)), *extreme]:
        parts = model.explain_one(x)
        size = sum(abs(part.contribution) for part in parts)
        assert sum(part.contribution for part in parts) == pytest.approx(
            model.score_one(x), rel=1e-4, abs=1e-4 + 1e-6 * size
        )
        assert sorted(parts, key=lambda part: -abs(part.contribution)) == parts
        answer = model.answer(msgpack.packb(x), explain=True)
        assert answer["contributions"] == parts


@functools.cache
def learned(kind):
    """The state of a model of a kind that has learned some examples."""
    options = EVERY[kind]
    model = Model(**options, seed=SEED)
    model.learn_packed(b"".join(examples(options, N // 2, 7)))
    return {name: array.copy() for name, array in model.state().items()}


def trained(kind):
    model = Model(**EVERY[kind], seed=SEED)
    model.load_state(learned(kind))
    return model


@each_kind
def test_an_array_teaches_the_bits_of_its_map(kind):
    options = EVERY[kind]
    dense, sparse = (Model(**options, seed=SEED) for _ in range(2))
    for i, x in enumerate(arrays(N // 10, 3)):
        y = target(options, x, i > N // 20)
        assert dense.predict_one(x.features) == sparse.predict_one(by_position(x.features))
        dense.learn_one(x.features, y, x.importance)
        sparse.learn_one(by_position(x.features), y, x.importance)
    assert state_bytes(dense) == state_bytes(sparse)
    assert dense.explain_one(x.features) == sparse.explain_one(by_position(x.features))


@each_kind
def test_the_order_of_a_record_s_features_changes_only_the_rounding(kind):
    model = trained(kind)
    for x in mixed(5, 11, n_words=300):
        other = dict(reversed(x.features.items()))
        parts = model.explain_one(x.features)
        size = sum(abs(part.contribution) for part in parts)
        assert model.score_one(other) == pytest.approx(model.score_one(x.features), rel=1e-5, abs=1e-5 + 1e-6 * size)
        assert {part.name for part in model.explain_one(other)} == {part.name for part in parts}


@each_kind
def test_erasing_and_sweeping_change_no_weight_that_is_left(kind):
    model = trained(kind)
    before = every_weight(model)
    names, n_rows = erase(model.learner, lambda name: name.startswith("word 1"))
    left = every_weight(model)
    assert names
    assert len(left) == len(before) - n_rows
    assert not any(name in names for name in model.feature_names)
    assert left == {key: before[key] for key in left}
    model.learner.sweep()
    swept = every_weight(model)
    assert swept == {key: left[key] for key in swept}
    check_dict(model)
    model.learn_held()
    model.learn_packed(b"".join(examples(EVERY[kind], 30, 8)))
    check_dict(model)


@each_kind
def test_a_saved_model_has_the_names_in_their_order_and_goes_on_to_the_same_bits(kind, tmp_path):
    model = trained(kind)
    model.save(tmp_path / "model.learner")
    again = Model.load(tmp_path / "model.learner")
    assert again.feature_names == model.feature_names
    assert list(every_weight(again).items()) == list(every_weight(model).items())
    for each in (model, again):
        each.learn_packed(b"".join(examples(EVERY[kind], 30, 9)))
    assert state_bytes(again) == state_bytes(model)
