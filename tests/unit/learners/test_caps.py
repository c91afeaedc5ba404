"""Tiny caps, sweeps at any moment and held examples: no row is ever another name's, and a restart changes no bit.

The rule for an example that waits while a row is dropped: one that holds rows has lost that feature, also if its name gets a
row again before the example is learned. One that holds hashes (many classes) is learned with the features that have a row in
the class when it is learned.
"""

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner import kernels, layout
from learner.learners.sweeping import erase
from learner.learners.weights import hash_of
from learner.model import Model
from tests.conftest import state_bytes
from tests.unit.learners.consistency import check_dict
from tests.unit.streams import SEED

KINDS = {
    "binary": {},
    "hinge": {"loss": "hinge"},
    "regression": {"task": "regression"},
    "quantile": {"task": "quantile", "level": 0.8},
    "poisson": {"task": "poisson"},
    "many classes": {"task": "multiclass"},
    "many classes at once": {"task": "multiclass", "outcomes": "at_once"},
    "many sparse classes": {"task": "multiclass", "l1": 0.05},
    "one rate": {"rates": [0.5]},
    "sparse": {"l1": 0.05},
    "a head": {"neural": [5, 4]},
    "a sparse head": {"neural": [5, 4], "l1": 0.05},
    "ftrl": {"optimizer": "ftrl"},
    "nag": {"optimizer": "nag", "task": "regression"},
}
N_NAMES, N_LABELS = 12, 4
NAMES = [f"n{k}" for k in range(N_NAMES)]  # the first three are numbers, most often there

steps = st.lists(
    st.one_of(
        st.tuples(st.just("learn"), st.integers(1, 60)),
        st.sampled_from([("sweep", 0), ("restart", 0), ("learn held", 0), ("erase", 0)]),
    ),
    min_size=2,
    max_size=8,
)


def example(i, task):
    """The i-th example: each value says the example and the name, so that a held value tells whose row it must have."""
    draw = np.random.default_rng(i)
    chosen = [k for k in range(N_NAMES) if draw.random() < (0.8 if k < 3 else 0.25)]
    x = {NAMES[k]: 1.0 if k > 8 else 2.0 + k + N_NAMES * (i % 50) for k in chosen}
    y = int(draw.integers(N_LABELS if task == "multiclass" else 2))
    return [y, x]


def name_of(value):
    """The name whose value it is; None for an indicator, and for a number that an example leaves out."""
    return None if value in (0.0, 1.0) else NAMES[int(value - 2.0) % N_NAMES]


def changed_names(model, before):
    """The names of the features, no derived ones, whose rows aren't those of before, by hash."""
    store = model.learner.weight_dict
    now = rows_by_hash(model)
    slots = {int(h): slot for slot, h in enumerate(store.matrix.view(np.uint64)[:, layout.HASH].tolist())}
    changed = {h for h in now.keys() & before.keys() if now[h] != before[h]} | now.keys() - before.keys()
    return {store.name(slots[h]) for h in changed if not store.derived[slots[h]]}


def rows_by_hash(model):
    """Each row without the words that move with it: where its name is, and a derived feature's second parent."""
    store = model.learner.weight_dict
    words = store.matrix.view(np.uint32).copy()
    words[:, layout.NAME] = 0
    words[store.derived, layout.MEAN] = 0
    hashes = store.matrix.view(np.uint64)[:, layout.HASH].tolist()
    return {h: row.tobytes() for h, row in zip(hashes, words, strict=True)}


def held_names(model):
    """The names of the features that held examples have, after a look whether each is the name whose value is held."""
    state, store, names = model.state(), model.learner.weight_dict, set()
    by_hash = {hash_of(name.encode(), model.learner.keys): name for name in NAMES}
    for feature, bits in state.get("held_features", np.zeros((0, 2), np.uint64)):
        value = float(np.uint64(bits).view(np.float64))
        name = by_hash[int(feature)] if model.task == "multiclass" else store.name(int(feature))
        assert name_of(value) in (None, name)
        names.add(name)
    return names


@pytest.mark.parametrize("kind", KINDS)
@given(steps, st.integers(1, 20), st.integers(0, 1000))
@settings(max_examples=4 if kernels.JIT else 2, deadline=None)
def test_no_row_is_another_name_s_whatever_is_dropped_and_when(kind, moments, cap, first):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "MIN_MAX_FEATURES", 1)
        options = KINDS[kind]
        model, whole = (Model(**options, max_features=cap, seed=SEED) for _ in range(2))
        i = first
        for what, n in moments:
            before, allowed = rows_by_hash(model), held_names(model) | {layout.CONSTANT_NAME}
            if what == "learn":
                examples = [example(i + k, model.task) for k in range(n)]
                data, i = b"".join(map(msgpack.packb, examples)), i + n
                rejections = [model.learn_packed(data).rejections, whole.learn_packed(data).rejections]
                assert rejections[0] == rejections[1]
                assert not rejections[0] or (model.task == "multiclass" and cap < N_LABELS + 3 * N_LABELS)
                allowed |= {name for _, x in examples for name in x} | set(
                    NAMES[:3]
                )  # numbers that one leaves out, too
            elif what == "restart":
                model = Model._restored(model.to_spec(), {name: a.copy() for name, a in model.state().items()})
                scores = [np.array([each.score_one({name: 1.0}) for name in NAMES]) for each in (model, whole)]
                assert scores[0].tobytes() == scores[1].tobytes()
            for each in (model, whole):
                if what == "sweep":
                    each.learner.sweep()
                elif what == "learn held":
                    each.learn_held()
                elif what == "erase":
                    erase(each.learner, lambda name: name == NAMES[-1])
            if what == "learn held":
                allowed |= set(NAMES[:3])
            assert changed_names(model, before) <= (allowed if what.startswith("learn") else set())
            assert model.n_features <= cap
            held_names(model)
            check_dict(model)
            assert state_bytes(model) == state_bytes(whole)
