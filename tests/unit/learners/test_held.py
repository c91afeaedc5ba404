"""Held examples: they wait in bounded pools, each is learned once, and nothing depends on how the stream is cut."""

import random

import msgpack
import numpy as np
import pytest

from learner import kernels, layout
from learner.errors import StoreError
from learner.kernels import experts
from learner.kernels.experts import bayes
from learner.model import Model
from tests.conftest import SEED, state_bytes
from tests.unit.streams import labelled, long_tail, pixels

N = 2500 if kernels.JIT else 120

KINDS = {
    "a mixture": {},
    "numbers": {"task": "regression"},
    "many classes": {"task": "multiclass"},
    "a head": {"neural": [5, 4]},
    "one rate": {"rates": [0.5]},
    "sparse": {"l1": 0.05},
    "capped": {"max_features": 300},
    "arrays": {},
}
SWEPT = ("sparse", "capped")


def new(**options):
    return Model(**options, seed=SEED)


def examples(kind, n=N, seed=1):
    """Return examples of a kind's task, packed one by one."""
    if KINDS[kind].get("task") == "multiclass":
        return [msgpack.packb(example) for example in labelled(n, seed)]
    if kind == "arrays":
        model = new()
        return [pack_features(model, y, x) for x, y in pixels(n, seed=seed)]
    r = random.Random(seed)
    return [msgpack.packb([y, x, r.choice([1.0, 1.0, 0.5, 3.0, 0.0])]) for y, x in long_tail(n, seed)]


def pack_features(model, y, x):
    return b"\x92" + msgpack.packb(y) + model.pack(x)


def copied(state):
    return {name: array.copy() for name, array in state.items()}


def in_pools(model):
    """Return how many examples are in the short pool, how many in the long one, and the number of their features."""
    state = model.state()
    n_short = len(state["held_inputs"])
    return n_short, len(state["held"]) - n_short, len(state["held_features"])


@pytest.mark.parametrize("kind", KINDS)
def test_cuts_and_restarts_at_any_moment_change_no_bit(kind, seed):
    data, draw = examples(kind), random.Random(seed)
    whole, model = new(**KINDS[kind]), new(**KINDS[kind])
    learned = whole.learn_packed(b"".join(data))
    parts, start = [], 0
    while start < len(data):
        stop = start + draw.choice([1, 2, 30, 400])
        parts.append(model.learn_packed(b"".join(data[start:stop])))
        start = stop
        if draw.random() < 0.3:
            state, model = copied(model.state()), new(**KINDS[kind])
            model.load_state(state)
    assert not learned.rejections
    assert np.concatenate([part.scores for part in parts]).tobytes() == learned.scores.tobytes()
    assert np.concatenate([part.losses for part in parts]).tobytes() == learned.losses.tobytes()
    assert whole.n_held > 0
    assert state_bytes(model) == state_bytes(whole)
    for each in (model, whole):
        each.learn_held()
    assert state_bytes(model) == state_bytes(whole)
    assert kind not in SWEPT or not kernels.JIT or whole.summary()["evicted"] > 0


def test_what_an_earlier_model_left_in_the_work_arrays_is_not_in_a_state():
    """A single rate isn't mixed, so it has no inputs of a mixer to keep."""
    data = b"".join(examples("a mixture", 200))
    states = []
    for _ in range(2):
        model = new(rates=[0.5])
        model.learn_packed(data)
        states.append(state_bytes(model))
        new(task="regression").learn_packed(data)
    assert states[0] == states[1]


def counted(model, name):
    """Return the importance of all examples with a feature that naive Bayes has learned."""
    weight_dict = model.learner.weight_dict
    column = experts.column_of(bayes, len(model.spec.rates))
    return float(weight_dict.matrix[weight_dict.slot(name), column : column + bayes.N_COLUMNS].sum())


def test_every_example_is_learned_exactly_once():
    model, r = new(), random.Random(2)
    for n in range(1, N + 1):
        model.learn_one({"all": 1.0, f"w{r.randrange(50)}": 1.0}, r.random() < 0.5)
        assert counted(model, "all") == n - model.n_held
        assert model.n_examples == n
    model.learn_held()
    assert (model.n_held, model.n_examples, counted(model, "all")) == (0, N, N)
    before = state_bytes(model)
    model.learn_held()
    assert state_bytes(model) == before


def test_the_pools_fill_slowly_up_to_their_bounds():
    model, r, seen = new(), random.Random(3), 0
    n = 1000 if kernels.JIT else 60
    for n_seen in range(n, (12 if kernels.JIT else 2) * n + 1, n):
        rows = [(r.random() < 0.5, {f"w{r.randrange(50)}": 1.0}) for _ in range(n)]
        model.learn_packed(b"".join(map(msgpack.packb, rows)))
        n_short, n_long, _ = in_pools(model)
        share = n_seen // layout.HELD_SHARE
        assert n_short == min(share, layout.MAX_SHORT)
        assert n_long <= min(share, layout.MAX_LONG)
        assert model.n_held == n_short + n_long
        seen = n_long
    assert not kernels.JIT or seen == layout.MAX_LONG


@pytest.mark.skipif(not kernels.JIT, reason="too slow in plain Python")
def test_of_wide_examples_fewer_are_held():
    model, rng = new(rates=[0.5]), np.random.default_rng(4)
    for i in range(200):
        x = rng.random(layout.MAX_FEATURES, np.float32)
        x[rng.random(layout.MAX_FEATURES) < (0.0 if i % 20 == 0 else 0.6)] = 0.0
        model.learn_one(x, int(x[0] > 0.05))
        n_short, n_long, n_features = in_pools(model)
        assert n_features <= layout.MAX_HELD_FEATURES
        assert n_short + n_long == model.n_held
    assert 0 < model.n_held < 2 * (200 // layout.HELD_SHARE)
    model.learn_held()
    assert model.n_held == 0


def test_a_held_example_is_not_learned_by_classes_that_came_after_it():
    model, r = new(task="multiclass"), random.Random(5)
    for i in range(300):
        model.learn_one({"all": 1.0, f"w{r.randrange(20)}": 1.0}, i % 2)
    assert model.n_held > 0
    for _ in range(20):
        model.learn_one({"all": 1.0}, "new")
    model.learn_held()
    weight_dict = model.learner.weight_dict
    column = experts.column_of(bayes, len(model.spec.rates))
    learned = [
        weight_dict.matrix[weight_dict.slot("all", k), column : column + bayes.N_COLUMNS].sum() for k in (1, 2, 3)
    ]
    assert learned == [320, 319, 20]  # the second class came with the second example


@pytest.mark.parametrize("options", [{"outcomes": "at_once"}, {"optimizer": "ftrl"}])
def test_at_once_nothing_is_held(options):
    model = new(**options)
    for data in examples("a mixture", 300):
        model.learn_packed(data)
        assert model.n_held == 0
    assert not {"held", "held_features", "held_inputs"} & model.state().keys()
    before = state_bytes(model)
    model.learn_held()
    assert state_bytes(model) == before


def test_a_state_without_its_held_examples_is_refused():
    model = new()
    model.learn_packed(b"".join(examples("a mixture", 100)))
    state = model.state()
    with pytest.raises(StoreError, match=r"^state must have the examples that are held back \(got none\)$"):
        new().load_state({name: array for name, array in state.items() if name != "held_inputs"})
    with pytest.raises(StoreError, match=r"^state 'held' must fit the learner"):
        new().load_state(state | {"held_inputs": state["held_inputs"][:, :, 1:]})
    with pytest.raises(StoreError, match=r"^state 'held_features' must have the shape"):
        new().load_state(state | {"held_features": state["held_features"][1:]})


# ---- importances ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("outcomes", ["late", "at_once"])
@pytest.mark.parametrize("task", ["binary", "regression", "quantile", "poisson"])
@pytest.mark.parametrize("k", [1e-6, 1e6])
def test_importances_times_a_constant_teach_the_same(task, outcomes, k):
    r, n = random.Random(6), 600 if kernels.JIT else 60
    rows = [(y, x, r.choice([1.0, 0.5, 0.25, 0.0])) for y, x in long_tail(n)]
    models = [new(task=task, outcomes=outcomes) for _ in range(2)]
    scores = [
        model.learn_packed(b"".join(msgpack.packb([y, x, importance * factor]) for y, x, importance in rows)).scores
        for model, factor in zip(models, (1.0, k), strict=True)
    ]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-6, atol=1e-6)
    for _, x in long_tail(20, seed=2):
        assert models[1].score_one(x) == pytest.approx(models[0].score_one(x), rel=1e-6, abs=1e-6)
    assert models[1].figures() == pytest.approx(models[0].figures(), rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("options", [{}, {"outcomes": "at_once"}, {"task": "multiclass"}, {"optimizer": "sgd"}])
def test_an_importance_of_zero_teaches_nothing(options):
    model, r = new(**options), random.Random(7)
    for _ in range(100):
        model.learn_one({f"w{r.randrange(9)}": 1.0}, r.randrange(2))
    model.learn_held()
    n, figures, score = model.n_features, progressive(model), answer(model)
    for _ in range(100):
        model.learn_one({f"w{r.randrange(9)}": 1.0, f"new {r.random()}": 1.0}, r.randrange(2), 0.0)
    model.learn_held()
    assert (model.n_features, progressive(model), answer(model)) == (n, figures, score)


def answer(model):
    return model.predict_proba_one({"w1": 1.0, "w2": 1.0})


def progressive(model):
    """Return the figures that are of no number of examples."""
    return {name: value for name, value in model.figures().items() if name != "window_examples"}


# ---- orders of the stream ------------------------------------------------------------------------------------------------
def in_order(order, n, r):
    """Yield (features, target): a number of mean -1 or +1, the target, and deviation 1, whose targets come in an order."""
    for i in range(n):
        y = {"shuffled": r.random() < 0.5, "alternating": i % 2, "batches": i // 50 % 2}[order]
        yield {"x": r.gauss(1.0 if y else -1.0, 1.0)}, int(y)


@pytest.mark.skipif(not kernels.JIT, reason="too slow in plain Python")
@pytest.mark.parametrize("order", ["shuffled", "alternating", "batches"])
def test_the_order_of_the_outcomes_is_not_learned(order):
    """The best classifier is right on 0.841 of the records."""
    for seed in range(3):
        model, r = new(), random.Random(seed)
        model.learn_packed(b"".join(msgpack.packb([y, x]) for x, y in in_order(order, 5000, r)))
        fresh = list(in_order("shuffled", 4000, r))
        assert np.mean([model.predict_one(x) == (1 if y else -1) for x, y in fresh]) >= 0.82


def test_one_example_is_no_certainty_about_another_record():
    model = new(featurizer="email")
    model.learn_one({"address": "spammer@example.com"}, 1)
    assert 0.5 < model.predict_proba_one({"address": "jane.doe@gmail.com"})[1] < 0.8


@pytest.mark.parametrize("first", [(1, -1), (-1, 1)])
def test_after_two_opposite_examples_another_one_still_counts(first):
    model = new()
    for y in first:
        model.learn_one({"a": 1.0}, y)
    before = model.predict_proba_one({"a": 1.0})[1]
    model.learn_one({"a": 1.0}, 1)
    model.learn_held()
    assert model.predict_proba_one({"a": 1.0})[1] > before
