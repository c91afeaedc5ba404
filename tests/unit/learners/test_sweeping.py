"""Bounded memory: a cap that holds, and sweeps that lose nothing else."""

import random

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner import kernels, layout
from learner.model import Model
from tests.conftest import state_bytes
from tests.unit.learners.consistency import check_dict, every_weight
from tests.unit.streams import SEED, long_tail, packed

CONSTANT = layout.CONSTANT_NAME
CAP = 120
N_EXAMPLES = 1500 if kernels.JIT else 300
SETTINGS = [
    {},
    {"task": "regression"},
    {"rates": [0.5]},
    {"optimizer": "ftrl"},
    {"optimizer": "nag"},
    {"l1": 0.02},
    {"neural": [5, 4]},
    {"neural": [5, 4], "l1": 0.02},
    {"task": "multiclass"},
    {"task": "multiclass", "l1": 0.02},
]


names = st.text(min_size=1, max_size=5).filter(lambda name: name != CONSTANT)


@given(st.lists(st.tuples(st.lists(names, max_size=6, unique=True), st.integers(0, 2**30)), max_size=12))
@settings(max_examples=100 if kernels.JIT else 10, deadline=None)
def test_compaction_is_that_of_a_plain_dict(rounds):
    """Learn some, drop some, over and over: names in order, each with the row it had."""
    model, plain = Model(seed=SEED), {}
    for names, bits in rounds:
        model.learn_one(dict.fromkeys(names, 1), bits % 2)
        store = model.learner.weight_dict
        assert list(store)[: len(plain)] == list(plain)
        plain = dict(zip(store, store.matrix.copy(), strict=True))
        keep = np.array([slot == 0 or bits >> slot % 30 & 1 for slot in range(len(store))], np.bool_)
        store.dirty[:] = 0
        slots = store.compact(keep)
        plain = {name: row for (name, row), kept in zip(plain.items(), keep, strict=True) if kept}
        assert list(store) == list(plain)
        assert [store.slot(name) for name in plain] == list(range(len(plain))) == slots[keep].tolist()
        assert (slots[~keep] == -1).all()
        words = [np.delete(row.view(np.uint32), layout.NAME) for row in plain.values()]
        assert np.array_equal(np.delete(store.matrix.view(np.uint32), layout.NAME, axis=1), np.array(words))
        assert store.dirty[: len(store)].all()
        check_dict(model)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_a_sweep_leaves_what_it_keeps_as_it_was(options):
    """Weights by name, derived features by theirs, the dense numbers; and so the scores of what is left."""
    model = Model(seed=SEED, **options)
    model.learn_packed(b"".join(packed(long_tail(N_EXAMPLES))))
    before = every_weight(model)
    n, evicted = model.n_features, model.learner.totals[layout.EVICTED]
    model.spec.max_features = 10 * n  # sweep now, a tenth
    model.learner.weight_dict.sizes[2:4] = n, 1 << 30
    model.learner.weight_dict.aged = np.zeros(n, np.float32)
    model.learner.sweep()
    after = every_weight(model)
    assert n // 2 < len(after) <= n - n // 10
    assert {name: before[name] for name in after} == after
    assert model.learner.totals[layout.EVICTED] == evicted + n - len(after)
    if not options.keys() & {"optimizer", "rates"}:
        assert any(" and " in name for _, name in after)
        assert {(label, name) for label, _ in after for name in "xy"} <= after.keys()
    check_dict(model)
    model.learn_packed(b"".join(packed(long_tail(50, seed=2))))
    check_dict(model)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_the_cap_is_never_exceeded_and_the_bits_never_depend_on_batches_or_restarts(options):
    """One at a time, and restarted at every few examples and around every sweep, beside all at once."""
    examples = packed(long_tail(N_EXAMPLES))
    whole = Model(seed=SEED, max_features=CAP, **options)
    whole.learn_packed(b"".join(examples))
    model, n_sweeps, r = Model(seed=SEED, max_features=CAP, **options), 0.0, random.Random(3)
    restart = False
    for example in examples:
        if restart or r.random() < 0.02:
            model = Model._restored(model.to_spec(), {name: array.copy() for name, array in model.state().items()})
        before = model.n_features
        model.learn_packed(example)
        assert model.n_features <= CAP
        totals = model.learner.totals
        restart = totals[layout.SWEEPS] > n_sweeps or before >= CAP - 3
        n_sweeps = totals[layout.SWEEPS]
    assert state_bytes(model) == state_bytes(whole)
    assert n_sweeps > 3
    check_dict(model)
    counts = model.summary()
    assert counts["admitted"] - counts["evicted"] == model.n_features
    assert counts["refused"] > 0


def test_a_sweep_of_many_classes_drops_what_changes_the_scores_least():
    """The usefulness, computed slowly: the size of the weight in its own class's score times the count."""
    model = Model("multiclass", parts=(), seed=SEED)
    model.learn_packed(b"".join(packed(long_tail(N_EXAMPLES // 3))))
    model.learn_held()
    store = model.learner.weight_dict
    useful = {}
    for k, label in enumerate(model.classes, 1):
        mixture = model.learner.mixture(label)
        for name in mixture.weights:
            slot = store.slot(name, k) if name != CONSTANT else mixture.constant_slot
            size = abs(float(mixture._linear_weights(slice(slot, slot + 1))[0]))
            useful[label, name] = size * int(store.matrix.view(np.uint32)[slot, layout.COUNT])
    n = model.n_features
    model.spec.max_features, store.aged = n, np.zeros(n, np.float32)
    store.sizes[2:4] = n, 1 << 30
    model.learner.sweep()
    kept = every_weight(model).keys()
    protected = {key for key in useful if key[1] in (CONSTANT, "x", "y")}
    assert protected <= kept
    dropped = sorted(useful.keys() - protected, key=useful.__getitem__)[: n // 10]
    assert useful.keys() - kept == set(dropped)


def test_a_label_for_whose_constant_there_is_no_room_is_refused_in_words():
    """Constants are never dropped, so at most as many labels are learned as rows may be stored."""
    model = Model("multiclass", max_features=100, seed=SEED)
    rows = [(f"l{k % 120}", {f"w{k}": 1.0}) for k in range(360)]
    learned = model.learn_packed(b"".join(packed(rows)))
    assert (model.n_features, len(model.classes)) == (100, 100)
    assert len(learned.rejections) == 3 * 20
    assert learned.rejections[0].reason == (
        "labels must find room in max_features, 100 (got 'l100' after 100 others, whose constants and numbers take all of it)"
    )
    assert np.isnan(model.losses_packed(b"".join(packed([rows[100]])))[0]).all()
    check_dict(model)


def test_where_bytes_of_names_are_scarce_derived_features_which_take_none_still_get_rows():
    model, n = Model(max_features=1000, seed=SEED), 300
    long = "n" * 230
    for i in range(n):
        frequent = {f"day={i % 2}": 1, f"hour={i % 3}": 1}
        model.learn_one(frequent | ({f"{long}{i}": 1} if i < 250 else {}), i % 2)
    bound, used = 1000 * layout.NAME_BYTES, int(model.learner.weight_dict.sizes[1])
    assert used > bound - bound // 10 - 300
    assert any(" and " in name for name in model.weights)


def test_without_a_cap_nothing_is_counted_or_kept_for_one():
    model = Model(seed=SEED)
    model.learn_packed(b"".join(packed(long_tail(50))))
    assert not model.state().keys() & {"sketch", "aged"}
    assert not model.summary().keys() & {"admitted", "refused", "evicted"}


def test_an_example_of_more_features_than_fit_is_learned_with_those_that_do():
    model = Model(seed=SEED, max_features=100)
    model.learn_one({f"w{i}": 1 for i in range(500)}, 1)
    assert 90 <= model.n_features < 95  # the last tenth is for names that come again
    model.learn_one({f"w{i}": 1 for i in range(500)}, 0)
    assert model.n_features == 100
    assert "w95" in model.weights
    assert "w499" not in model.weights


def test_where_rows_are_scarce_a_name_gets_one_when_it_comes_again():
    model = Model(seed=SEED, max_features=100)
    model.learn_one({f"w{i}": 1 for i in range(89)}, 1)
    model.learn_one({"again": 1, "once": 1}, 0)
    assert "again" not in model.weights
    model.learn_one({"again": 1}, 0)
    assert "again" in model.weights
    assert "once" not in model.weights


def test_what_comes_no_more_goes_whatever_it_weighed():
    """Every feature of an old regime, strong and frequent once, makes room for the new one's."""
    model = Model(seed=SEED, max_features=100)
    for regime in "ab":
        for i in range(4000):
            model.learn_one({f"{regime}{i % 80}": 1, f"tail {regime}{i % 977}": 1, f"tail {regime}{i % 983}": 1}, i % 2)
    assert sum(name.startswith("a") for name in model.weights) < 10
    assert sum(name.startswith("b") for name in model.weights) > 40


def test_the_sketch_never_fills():
    """Of half a million names that never come again hardly one is taken for one seen before."""
    model = Model(seed=SEED, max_features=1000)
    n = 100_000 if kernels.JIT else 5_000
    model.learn_packed(b"".join(packed((i % 2, {f"{i}.{k}": 1 for k in range(5)}) for i in range(n))))
    assert 0 < np.unpackbits(model.learner.weight_dict.sketch).mean() < 1 / 8
    assert model.summary()["admitted"] < 900 + 0.01 * 5 * n


def test_the_sketch_forgets():
    """A name that comes again only after many others is new again."""
    model = Model(seed=SEED, max_features=100)
    model.learn_one({f"w{i}": 1 for i in range(89)}, 1)
    n_sightings = 8 * len(model.learner.weight_dict.sketch) // layout.BITS_A_SIGHTING
    for i in range(2):
        model.learn_one({"rare": 1}, i)
        model.learn_one({f"{i} {k}": 1 for k in range(n_sightings)}, 1 - i)
    assert "rare" not in model.weights


@pytest.mark.skipif(not kernels.JIT, reason="too slow in plain Python")
def test_a_stranger_with_a_million_names_costs_bounded_memory_and_hardly_any_loss():
    """Fifty names that nobody saw before, of 240 bytes, beside the known words of every example."""
    r, cap = random.Random(1), 5000
    known = list(known_words(r, 20_000))
    names = iter(range(10**6))
    strange = ([i % 2, {f"{next(names):0240d}": 1 for _ in range(50)}] for i in range(20_000))
    mixed = []
    for example, stranger in zip(known, strange, strict=True):
        mixed.append(msgpack.packb([example[0], example[1] | stranger[1]]))
    alone, disturbed = Model(seed=SEED, max_features=cap), Model(seed=SEED, max_features=cap)
    expected = alone.learn_packed(b"".join(map(msgpack.packb, known))).losses
    losses = disturbed.learn_packed(b"".join(mixed)).losses
    assert disturbed.n_features <= cap
    assert disturbed.learner.weight_dict.sizes[1] <= cap * layout.NAME_BYTES
    assert disturbed.nbytes <= cap * 180 + 20_000
    assert disturbed.summary()["refused"] > 900_000
    assert losses[5000:].mean() < 1.01 * expected[5000:].mean()


def known_words(r, n):
    """Words whose frequencies follow Zipf's law, of which half matter."""
    weights = [r.gauss(0, 1.5) for _ in range(1000)]
    for _ in range(n):
        words = {int(r.paretovariate(0.9)) % 1000 for _ in range(8)}
        score = sum(weights[word] for word in words if word % 2)
        yield [int(r.random() < 1 / (1 + np.exp(-score))), {f"w{word}": 1 for word in words}]
