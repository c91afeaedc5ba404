"""Bounded memory and regularisation: a cap that holds, sweeps that lose nothing else, and weights that are truly zero."""

import json
import random
import re

import msgpack
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from learner import kernels, layout
from learner.commands import main
from learner.errors import SpecError
from learner.model import Model
from learner.service.store import Store
from learner.spec import DECAYS
from learner.tasks import TASKS
from tests.conftest import commit, state_bytes
from tests.reference import Reference

RATES = TASKS["binary"].rates

SEED = b"sixteen bytes it"
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
    {"neural": [4]},
]


def new(**options):
    return Model(**{"seed": SEED} | options)


def stream(n, seed=1):
    """Numbers, frequent words that are crossed, and words of a long tail that moves on."""
    r = random.Random(seed)
    for i in range(n):
        words = [f"w{min(int(r.paretovariate(0.6)), 300) + i // 10}" for _ in range(6)]
        frequent = {f"day={r.randint(0, 3)}": 1, f"carrier={r.randint(0, 3)}": 1}
        x = r.gauss(5, 2)
        yield int(x + r.gauss(0, 1) > 5), dict.fromkeys(words, 1) | frequent | {"x": x, "y": r.random()}


def packed(examples):
    return [msgpack.packb(list(example)) for example in examples]


def check(model):
    """Hold a model's dict against itself: every name leads to its row, every derived feature to its parts."""
    store = model.learner.weight_dict
    names, words = list(store), store.matrix.view(np.uint32)
    assert len(set(names)) == len(names)
    for slot in np.flatnonzero(~store.derived).tolist():
        assert store.slot(names[slot]) == slot
    for slot in np.flatnonzero(store.derived).tolist():
        first, second = words[slot, [layout.NAME, layout.MEAN]].tolist()
        assert max(first, second) < slot
        assert not store.derived[[first, second]].any()
        h = store.matrix.view(np.uint64)[slot, layout.HASH]
        assert int(kernels.find(store.arrays, h, np.uint64(store.width))) == slot * store.width
    n_dense = int(model.learner.totals[layout.N_DENSE])
    places = model.learner.totals[layout.DENSE_SLOTS + 1 :][:n_dense].astype(int)
    assert words[places, layout.DENSE].tolist() == list(range(1, n_dense + 1))
    assert np.count_nonzero(store.table) == len(store)
    assert not store.rows[len(store) * store.width :].any()
    assert int(store.name_lengths().sum()) == store.sizes[1]


# ---- compaction ------------------------------------------------------------------------------------------------------
names = st.text(min_size=1, max_size=5).filter(lambda name: name != CONSTANT)


@given(st.lists(st.tuples(st.lists(names, max_size=6, unique=True), st.integers(0, 2**30)), max_size=12))
@settings(max_examples=100 if kernels.JIT else 10, deadline=None)
def test_compaction_is_that_of_a_plain_dict(rounds):
    """Learn some, drop some, over and over: names in order, each with the row it had."""
    model, plain = new(), {}
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
        check(model)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_a_sweep_leaves_what_it_keeps_as_it_was(options):
    """Weights by name, derived features by theirs, the dense numbers; and so the scores of what is left."""
    model = new(**options)
    model.learn_packed(b"".join(packed(stream(N_EXAMPLES))))
    before, n, evicted = dict(model.weights), model.n_features, model.learner.totals[layout.EVICTED]
    model.spec.max_features = 10 * n  # sweep now, a tenth
    model.learner.weight_dict.sizes[2:] = n, 1 << 30
    model.learner.weight_dict.aged = np.zeros(n, np.float32)
    model.learner.sweep()
    after = dict(model.weights)
    assert n // 2 < len(after) <= n - n // 10
    assert {name: before[name] for name in after} == after
    assert model.learner.totals[layout.EVICTED] == evicted + n - len(after)
    if not options.keys() & {"optimizer", "rates"}:
        assert any(" and " in name for name in after)
        assert {"x", "y"} <= after.keys()
    check(model)
    model.learn_packed(b"".join(packed(stream(50, seed=2))))
    check(model)


# ---- the cap ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_the_cap_is_never_exceeded_and_the_bits_never_depend_on_batches_or_restarts(options):
    """One at a time, and restarted at every few examples and around every sweep, beside all at once."""
    examples = packed(stream(N_EXAMPLES))
    whole = new(max_features=CAP, **options)
    whole.learn_packed(b"".join(examples))
    model, n_sweeps, r = new(max_features=CAP, **options), 0.0, random.Random(3)
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
    check(model)
    counts = model.summary()
    assert counts["admitted"] - counts["evicted"] == model.n_features
    assert counts["refused"] > 0


def test_without_a_cap_nothing_is_counted_or_kept_for_one():
    model = new()
    model.learn_packed(b"".join(packed(stream(50))))
    assert not model.state().keys() & {"sketch", "aged"}
    assert not model.summary().keys() & {"admitted", "refused", "evicted"}


def test_an_example_of_more_features_than_fit_is_learned_with_those_that_do():
    model = new(max_features=100)
    model.learn_one({f"w{i}": 1 for i in range(500)}, 1)
    assert 90 <= model.n_features < 95  # the last tenth is for names that come again
    model.learn_one({f"w{i}": 1 for i in range(500)}, 0)
    assert model.n_features == 100
    assert "w95" in model.weights
    assert "w499" not in model.weights


def test_where_rows_are_scarce_a_name_gets_one_when_it_comes_again():
    model = new(max_features=100)
    model.learn_one({f"w{i}": 1 for i in range(89)}, 1)
    model.learn_one({"again": 1, "once": 1}, 0)
    assert "again" not in model.weights
    model.learn_one({"again": 1}, 0)
    assert "again" in model.weights
    assert "once" not in model.weights


def test_what_comes_no_more_goes_whatever_it_weighed():
    """Every feature of an old regime, strong and frequent once, makes room for the new one's."""
    model = new(max_features=100)
    for regime in "ab":
        for i in range(4000):
            model.learn_one({f"{regime}{i % 80}": 1, f"tail {regime}{i % 977}": 1, f"tail {regime}{i % 983}": 1}, i % 2)
    assert sum(name.startswith("a") for name in model.weights) < 10
    assert sum(name.startswith("b") for name in model.weights) > 40


def test_the_sketch_never_fills():
    """Of half a million names that never come again hardly one is taken for one seen before."""
    model = new(max_features=1000)
    n = 100_000 if kernels.JIT else 5_000
    model.learn_packed(b"".join(packed((i % 2, {f"{i}.{k}": 1 for k in range(5)}) for i in range(n))))
    assert 0 < np.unpackbits(model.learner.weight_dict.sketch).mean() < 1 / 8
    assert model.summary()["admitted"] < 900 + 0.01 * 5 * n


def test_the_sketch_forgets():
    """A name that comes again only after many others is new again."""
    model = new(max_features=100)
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
    alone, disturbed = new(max_features=cap), new(max_features=cap)
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


def test_commits_over_sweeps_hold_the_model_bit_for_bit(client):
    """Pages, names that moved, and what only a sweep changes; a commit after each few examples, loaded each time."""
    model, store = new(max_features=CAP), Store(client, "m")
    store.create(model.to_spec())
    store.ownership.take_over()
    sweeps = set()
    for i in range(0, 400, 20):
        model.learn_packed(b"".join(packed(stream(400))[i : i + 20]))
        sweeps.add(float(model.learner.totals[layout.SWEEPS]))
        entry = client.xadd(store.keys.examples, {"x": i})
        commit(store, model, entry, 1, [], model.summary())
        found = Store(client, "m").commits.load(model.fingerprint, model.row_width)
        assert state_bytes(found.state) == state_bytes(model)
        if i == 200:  # another worker takes over
            store = Store(client, "m")
            store.ownership.take_over()
            model = Model.from_spec(store.spec())
            model.load_state(store.commits.load(model.fingerprint, model.row_width).state)
    assert len(sweeps) > 4
    assert store.status()["progress"]["evicted"] == model.summary()["evicted"] > 0


# ---- L1 and L2 -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loss", ["logistic", "squared", "hinge"])
@pytest.mark.parametrize(("l1", "l2"), [(0.1, 0.0), (0.0, 0.02), (0.05, 0.01)])
@pytest.mark.parametrize("several", [True, False], ids=["mixture", "one rate"])
def test_the_penalties_are_those_of_the_reference(loss, l1, l2, several):
    rates, decays = (RATES, DECAYS) if several else ([0.5], [1.0])
    reference = Reference(loss, list(rates), list(decays), l1=l1, l2=l2)
    mixture = {} if several else {"rates": rates}
    model = new(task="regression" if loss == "squared" else "binary", loss=loss, l1=l1, l2=l2, **mixture)
    for i, (target, features) in enumerate(stream(150 if kernels.JIT else 40)):
        y, importance = (target if loss == "squared" else 2 * target - 1), 2.0 if i % 7 == 0 else 1.0
        expected = reference.learn(features, y, importance)
        score = model.learn_packed(msgpack.packb([target, features, importance])).scores[0]
        assert score == pytest.approx(expected, rel=1e-3, abs=1e-3)
    ours, theirs = dict(model.weights), reference.weights()
    assert ours.keys() == theirs.keys()
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-2, atol=1e-3)
    if l1:
        zeros = {name for name, weight in theirs.items() if weight == 0.0}
        assert zeros
        assert len(zeros ^ {name for name, weight in ours.items() if weight == 0.0}) <= 0.05 * len(ours)


def test_l2_of_zero_and_l1_of_zero_change_no_bit():
    plain, given = new(), new(l1=0, l2=0)
    for model in (plain, given):
        model.learn_packed(b"".join(packed(stream(200))))
    assert state_bytes(plain) == state_bytes(given)


def test_with_l1_what_says_nothing_weighs_exactly_zero_and_is_forgotten():
    """Of names that come once and say nothing the most go when the rows have doubled; what says something stays."""
    model, n = new(l1=0.1), 3000 if kernels.JIT else 800
    examples = [
        (i % 10 > 0, {f"noise {i}": 1, f"more noise {i}": 1} | ({} if i % 10 else {"bad": 1})) for i in range(n)
    ]
    model.learn_packed(b"".join(packed(examples)))
    weights = dict(model.weights)
    assert model.summary()["evicted"] > n
    assert weights["bad"] < -0.5
    assert sum(weight != 0.0 for weight in weights.values()) < 0.4 * n
    contributions = {c.name: c.contribution for c in model.explain_one(examples[-1][1])}
    assert sum(contributions.values()) == pytest.approx(model.score_one(examples[-1][1]), abs=1e-9)
    check(model)


# ---- the spec and the commands ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_features": 99}, "max_features must be a whole number of 100 to 2147483648 (got 99)"),
        ({"max_features": 1e3}, "max_features must be a whole number of 100 to 2147483648 (got 1000.0)"),
        ({"max_features": True}, "max_features must be a whole number of 100 to 2147483648 (got True)"),
        ({"l1": -1}, "l1 must be a number within [0, 1e+06] (got -1)"),
        ({"l2": "a"}, "l2 must be a number within [0, 1e+06] (got 'a')"),
        (
            {"task": "multiclass", "max_features": 500},
            "multiclass task must have the logistic loss and labels of its stream (got max_features)",
        ),
        (
            {"l1": 1, "neural": [4]},
            "l1 must come without neural: the columns of the head would be forgotten, too (got both)",
        ),
    ],
    ids=str,
)
def test_wrong_options_are_refused_in_words(options, message):
    with pytest.raises(SpecError) as caught:
        new(**options)
    assert str(caught.value) == message


def test_a_spec_keeps_the_options():
    model = new(max_features=500, l1=0.1, l2=0.2)
    again = Model.from_spec(json.loads(json.dumps(model.to_spec())))
    assert again.to_spec() == model.to_spec()
    assert (again.spec.max_features, again.spec.l1, again.spec.l2) == (500, 0.1, 0.2)
    assert again.fingerprint not in {new(max_features=501, l1=0.1, l2=0.2).fingerprint, new().fingerprint}


def test_replay_keeps_to_the_cap_and_says_what_became_of_the_features(tmp_path):
    file = tmp_path / "examples.msgpack"
    file.write_bytes(b"".join(packed(stream(300))))
    options = ["--max-features", "120", "--l2", "0.01"]
    run = CliRunner().invoke(main, ["replay", str(file), *options, "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert found["features"] <= 120
    assert found["evicted"] > 0
    run = CliRunner().invoke(main, ["replay", str(file), *options])
    assert run.exit_code == 0, run.output
    assert re.search(r"^features before   \d+ admitted, \d+ times refused, [1-9]\d* evicted$", run.output, re.MULTILINE)
