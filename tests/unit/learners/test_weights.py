"""The growing dict of weights, beside a plain dict."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner import kernels, layout
from learner.errors import LearnerError
from learner.learners import weights
from learner.learners.weights import WeightDict, hash_keys
from learner.model import Model
from tests.conftest import state_bytes

SEED = b"sixteen bytes it"
CONSTANT = layout.CONSTANT_NAME
N_TRIES = 100 if kernels.JIT else 10
names = st.one_of(
    st.text(min_size=1, max_size=5), st.text("ab", min_size=1, max_size=3), st.text("aé€𐍈", min_size=64, max_size=64)
).filter(lambda name: name != CONSTANT)


def new(**options):
    return Model(seed=SEED, **options)


def learned(n, width=10):
    """A model of n features and the constant, in examples of some width."""
    model = new()
    for start in range(0, n, width):
        model.learn_one({f"name {i}": 1 for i in range(start, min(start + width, n))}, 1 if start % 20 else -1)
    return model


@given(st.lists(st.lists(names, max_size=6, unique=True), max_size=20))
@settings(max_examples=N_TRIES, deadline=None)
def test_slots_are_those_of_a_plain_dict_in_order_of_first_update(examples):
    model, plain = new(), {}
    for i, example in enumerate(examples):
        model.learn_one(dict.fromkeys(example, 1), i % 2)
        for name in (CONSTANT, *example):
            plain.setdefault(name, len(plain))
    store = model.learner.weight_dict
    assert list(store) == list(plain)
    assert len(store) == len(plain)
    assert {name: store.slot(name) for name in plain} == plain
    assert [store.name(slot) for slot in range(len(store))] == list(plain)
    assert all(name in store for name in plain)
    for name in ("", "never", "a" * 300, None, 1, b"a"):
        assert name in plain or name not in store


def test_names_come_back_whatever_their_characters_and_length():
    strange = ["a", "é" * 128, "𐍈" * 64, "a" * 256, "\0", "\0\0", "\n", " ", "a\0", "ﷺ", "0", "constant", "(constant) "]
    model = new()
    model.learn_one(dict.fromkeys(strange, 1), 1)
    assert list(model.weights) == [CONSTANT, *strange]
    assert all(model.weights[name] for name in strange)


def test_growth_keeps_every_name_slot_and_weight():
    """Past several sizes of every array, the first features are where they were and weigh what they did."""
    model = new()
    model.learn_one({"first": 1, "second": 2.5}, 1)
    before = model.learner.weight_dict.matrix[:3].copy()
    sizes = set()
    n = 20_000 if kernels.JIT else 1_500
    for start in range(0, n, 500):
        model.learn_one({f"name {i}": 1 for i in range(start, start + 500)}, -1 if start % 1000 else 1)
        store = model.learner.weight_dict
        sizes.add((len(store.table), len(store.rows)))
    assert len(sizes) > (4 if kernels.JIT else 1)
    assert np.array_equal(before[1:], store.matrix[1:3])
    assert [store.slot(name) for name in (CONSTANT, "first", "second", "name 0", f"name {n - 1}")] == [
        0,
        1,
        2,
        3,
        n + 2,
    ]
    assert all(store.slot(f"name {i}") == i + 3 for i in range(0, n, 97))
    assert store.slot(f"name {n}") is None


def test_rows_lie_on_cache_lines_and_a_table_is_never_crowded():
    model = learned(3_000)
    store = model.learner.weight_dict
    assert store.rows.ctypes.data % 64 == 0
    assert store.width * 4 % 64 == 0
    assert 10 * np.count_nonzero(store.table) <= 7 * len(store.table)
    assert np.count_nonzero(store.table) == len(store)


def test_a_table_that_is_replaced_little_by_little_loses_no_name(monkeypatch):
    """Meanwhile and afterwards the model is bit for bit that of tables replaced at once, and finds the same names."""
    n = 12_000 if kernels.JIT else 3_000
    monkeypatch.setattr(weights, "MIN_GRADUAL", 1 << 30)
    plain, gradual, shares = new(), new(), []
    for start in range(0, n, 20):
        example = dict.fromkeys([f"name {i}" for i in range(start, start + 20)], 1), start % 40 and 1
        plain.learn_one(*example)
        monkeypatch.setattr(weights, "MIN_GRADUAL", 1 << 11)
        gradual.learn_one(*example)
        monkeypatch.setattr(weights, "MIN_GRADUAL", 1 << 30)
        store = gradual.learner.weight_dict
        if len(store.former):
            shares.append(store.sizes[weights.COPIED] / len(store.former))
            if len(shares) % 10 == 1:
                assert [store.slot(f"name {i}") for i in range(start)] == list(range(1, start + 1))
                assert store.slot(f"name {n}") is None
                assert gradual.score_one(example[0]) == plain.score_one(example[0])
    assert len({share for share in shares if 0 < share < 1}) > (20 if kernels.JIT else 10)
    for model in (plain, gradual):
        model.learn_held()
    store = gradual.learner.weight_dict
    assert state_bytes(gradual) == state_bytes(plain)
    assert [store.slot(f"name {i}") for i in range(n)] == list(range(1, n + 1))


@pytest.mark.parametrize("goes_on", ["known names", "new names", "a sweep", "a load"])
def test_the_replacement_of_a_table_ends(monkeypatch, goes_on):
    monkeypatch.setattr(weights, "MIN_GRADUAL", 1 << 11)
    model = learned(1_440)
    store = model.learner.weight_dict
    assert len(store.former) == 1 << 11
    if goes_on == "a sweep":
        store.compact(np.arange(len(store)) % 2 == 0)
    elif goes_on == "a load":
        model.load_state({name: array.copy() for name, array in model.state().items()})
    for i in range(200):
        model.learn_one({"name 1" if goes_on == "known names" else f"another {i}": 1}, i % 2)
    assert len(store.former) == 0
    assert np.count_nonzero(store.table) == len(store)
    assert [store.slot(store.name(slot)) for slot in range(1, len(store))] == list(range(1, len(store)))


def test_large_arrays_stay_where_they_are_when_they_grow(monkeypatch):
    monkeypatch.setattr(weights, "MIN_RESERVED", 1 << 17)
    places = set()
    model = learned(2_000)
    for start in range(2_000, 6_000, 400):
        model.learn_one({f"name {i}": 1 for i in range(start, start + 400)}, start % 800 and 1)
        places.add(model.learner.weight_dict.rows.ctypes.data)
    assert len(places) == 1
    assert model.nbytes < 6_000 * 200


def test_a_system_that_reserves_no_addresses_gives_what_is_needed(monkeypatch):
    monkeypatch.setattr(weights, "MIN_RESERVED", 1 << 12)
    monkeypatch.setattr(weights.os, "sysconf", lambda name: 1 << 28)  # a machine with 2^56 bytes
    model = learned(3_000)
    store = model.learner.weight_dict
    assert list(store)[1:] == [f"name {i}" for i in range(3_000)]
    assert len(store.rows) < 1e6


@pytest.mark.parametrize("reserved", [1, 1 << 40])
@pytest.mark.parametrize("width", [16, 48, 112])
def test_rows_are_whole_cache_lines_however_much_they_grow(monkeypatch, width, reserved):
    monkeypatch.setattr(weights, "MIN_RESERVED", reserved)
    store = WeightDict(width, hash_keys(SEED))
    for n in (1025, 1700, 2900, 5003):
        store.reserve(n, n)
        assert len(store.rows) % 16 == 0
        assert len(store.arrays) == 9


def test_every_row_that_changed_is_marked():
    """What a commit leaves out is as it was."""
    model = learned(1_000)
    store = model.learner.weight_dict
    before = [row.tobytes() for row in store.matrix]
    store.dirty[:] = 0
    model.learn_one({"name 200": 1, "name 900": 2}, 1)
    model.learn_one({"one more": 1}, -1)
    changed = {slot for slot in range(len(before)) if before[slot] != store.matrix[slot].tobytes()}
    assert changed == {0, 201, 901}
    assert set(np.flatnonzero(store.dirty).tolist()) == changed | {store.slot("one more")}


def test_loading_rows_and_names_gives_the_same_dict():
    store = learned(2_000).learner.weight_dict
    copy = WeightDict(store.width, hash_keys(SEED))
    copy.load(store.matrix.copy(), store.names[: store.sizes[1]].copy())
    assert list(copy) == list(store)
    assert [copy.slot(name) for name in store] == list(range(len(store)))
    assert copy.matrix.tobytes() == store.matrix.tobytes()
    assert copy.slot("never") is None


def test_loading_an_empty_dict_gives_an_empty_dict():
    store, copy = WeightDict(16, hash_keys(SEED)), WeightDict(16, hash_keys(SEED))
    copy.load(store.matrix, store.names[:0])
    assert (len(copy), list(copy), copy.slot("a")) == (0, [], None)


def test_a_feature_takes_a_bounded_number_of_bytes():
    """Its row and name, a mark, and at most three cells of the table, or five while it is replaced."""
    n = 30_000 if kernels.JIT else 3_000
    model = learned(n, width=1000)
    a_feature = 64 + len("name 10000") + 2
    assert n * a_feature < model.nbytes < n * (a_feature + 1 + 5 * 8)


def test_too_many_features_are_refused_in_words():
    with pytest.raises(LearnerError, match=r"a model holds at most 2147483648 features and 4294967296 bytes of names"):
        WeightDict(16, hash_keys(SEED)).reserve(2**31 + 1, 0)
    with pytest.raises(LearnerError, match=r"a model holds at most"):
        WeightDict(16, hash_keys(SEED)).reserve(1, 2**32 + 1)


def test_an_empty_model_has_no_features():
    model = new()
    assert (model.n_features, list(model.weights), dict(model.weights)) == (0, [], {})


def test_a_feature_of_value_zero_is_not_stored():
    model = new()
    model.learn_one({"a": 0, "b": -0.0, "c": 1, "d": False}, 1)
    assert list(model.weights) == [CONSTANT, "c"]


@pytest.mark.parametrize("rates", [[0.5], None])
def test_a_feature_is_not_stored_while_its_gradient_is_zero(rates):
    """Beyond the margin of the hinge nothing is learned; on the wrong side it is. (A held example's features are stored.)"""
    model = new(loss="hinge", rates=rates, outcomes="at_once")
    for _ in range(30):
        model.learn_one({"a": 1}, 1)
    n = model.n_features
    model.learn_one({"a": 1, "new": 1}, 1)
    assert model.n_features == n
    assert model.n_examples == 31
    model.learn_one({"a": 1, "new": 1}, -1)
    assert list(model.weights) == [CONSTANT, "a", "new"]


def test_an_example_of_no_importance_stores_no_feature():
    model = new()
    model.learn_one({"a": 1}, 1, importance=0.0)
    assert list(model.weights) == [CONSTANT]
    assert model.score_one({"a": 1}) == 0.0


def test_weights_are_a_mapping():
    model = learned(30)
    weights = model.weights
    assert len(weights) == len(list(weights)) == 31
    assert dict(weights) == dict(zip(weights.keys(), weights.values(), strict=True)) == dict(weights.items())
    assert weights["name 3"] == weights.get("name 3") == weights.array()[4]
    assert weights.get("never") is None
    assert weights.get("never", 0.0) == 0.0
    assert "name 3" in weights
    assert "never" not in weights
    with pytest.raises(KeyError, match="never"):
        weights["never"]
    assert repr(weights) == "<31 weights>"


def test_weights_are_live():
    model = new()
    weights = model.weights
    assert len(weights) == 0
    model.learn_one({"a": 1}, 1)
    first = weights["a"]
    model.learn_one({"a": 1}, 1)
    assert weights["a"] > first > 0


@pytest.mark.parametrize("name", [1, None, b"a", "\ud800"])
def test_what_cannot_be_a_name_is_not_in_the_weights(name):
    weights = learned(3).weights
    assert name not in weights
    assert weights.get(name) is None
    with pytest.raises(KeyError):
        weights[name]


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_an_effect_is_the_spread_of_what_a_feature_adds(task):
    """A large weight of a rare feature adds less than a small one of a number that every example has."""
    model, r = Model(task, seed=SEED), random.Random(1)
    examples = []
    for _ in range(2000):
        x = {
            "a": r.gauss(50.0, 5.0),
            "b": 1.0,
            **({"often": 1.0} if r.random() < 0.4 else {"rare": 1.0} if r.random() < 0.01 else {}),
        }
        y = x["a"] - 50.0 + 3.0 * ("often" in x) + 20.0 * ("rare" in x) + r.gauss(0, 2.0) > 0
        examples.append((x, int(y)))
    for x, y in examples:
        model.learn_one(x, y)
    weights = model.weights if task == "binary" else model.weights["1"]
    strongest = weights.strongest()
    effects = {name: effect for name, _, effect in strongest}
    for name in ("a", "often", "rare"):
        spread = np.std([x.get(name, 0.0) for x, _ in examples])
        assert effects[name] == pytest.approx(weights[name] * spread, rel=0.05)
    assert weights["rare"] > weights["a"]
    assert effects["a"] > effects["often"] > effects["rare"]
    assert effects["b"] == pytest.approx(0.0, abs=1e-6)  # every example has it
    assert {name: weight for name, weight, _ in strongest} == pytest.approx(dict(weights))
    sizes = [abs(effect) for _, _, effect in strongest]
    assert sizes == sorted(sizes, reverse=True)
    prefix = "" if task == "binary" else "1: "
    assert [name for name, _, _ in model.weights.strongest(1, f"{prefix}r")] == [f"{prefix}rare"]


def test_the_top_weights_are_the_largest_in_size():
    model, r = new(), random.Random(3)
    for _ in range(100):
        model.learn_one({f"{r.choice('ab')}{r.randint(0, 9)}": r.choice([1, 3]) for _ in range(3)}, r.choice([1, -1]))
    everything = sorted(model.weights.items(), key=lambda item: -abs(item[1]))
    sizes = [abs(w) for _, w in everything]
    for top, expected in (
        (model.weights.top(), everything),
        (model.weights.top(5), everything[:5]),
        (model.weights.top(3, "a"), [item for item in everything if item[0].startswith("a")][:3]),
        (model.weights.top(prefix="b"), [item for item in everything if item[0].startswith("b")]),
        (model.weights.top(prefix="none"), []),
        (model.weights.top(0), []),
    ):
        assert sorted(top) == sorted(expected)
        assert [abs(w) for _, w in top] == sorted((abs(w) for _, w in top), reverse=True)
    assert sizes[0] > 0
    assert new().weights.top(3) == []
