"""The service learns, commits and answers for each kind of model what the model itself does."""

import contextlib
import json

import msgpack
import numpy as np
import pytest

from learner import Client, Model, kernels, layout
from learner.errors import ExampleError
from learner.packing import pack
from learner.service.store import Store
from learner.service.wire import Keys
from tests.conftest import commit, state_bytes, wait_until
from tests.unit.streams import SEED, labelled, long_tail, pack_weighed, packed, pixels, scaled_words

CAP = 120
KEYS = Keys("m")


@pytest.mark.skipif(not kernels.JIT, reason="nothing of the service depends on the JIT")
def test_the_worker_learns_arrays_however_they_are_pushed(client, create, serving, committed, redis_url):
    reference, ours, examples = create(), Client("m", redis_url), list(pixels(8))
    with serving():
        for i, (x, y) in enumerate(examples):
            if i % 4 == 0:
                ours.push(x, y)
            elif i % 4 == 1:
                ours.push(features=x, target=y, importance=2.0)
            elif i % 4 == 2:
                ours.push_many([(y, x)], features=i > 4)
            else:
                client.xadd(KEYS.examples, {"features": pack(x), "target": str(y)})
            reference.learn_one(x, y, 2.0 if i % 4 == 1 else 1.0)
        ours.push(features=np.array([np.nan]), target=1)
        ours.push(np.array([1.0, 2.0]), 1)
        reference.learn_one({"0": 1.0, "1": 2.0}, 1)
        with contextlib.suppress(ExampleError):
            reference.learn_one({"0": np.nan}, 1)
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"10")
        x = examples[0][0]
        assert ours.predict(x) == ours.predict(features=x) == reference.predict_proba_one(x)[1]
        assert ours.predict_many([x, x], features=True) == ours.predict_many([x, x]) == [ours.predict(x)] * 2
        assert [tuple(row) for row in ours.explain(x)["contributions"]] == reference.explain_one(x)
    assert state_bytes(committed()) == state_bytes(reference)
    ((_, fields),) = client.xrange(KEYS.rejected)
    assert fields[b"reason"] == b"feature '0' must be finite, at most 1e+30 in size (got nan)"
    assert msgpack.unpackb(fields[b"data"])[1].code == 8


@pytest.mark.skipif(not kernels.JIT, reason="needs a server, and no second try in plain Python")
def test_a_worker_commits_and_resumes_a_named_algorithm(create, drain, committed, redis_url):
    """Two workers one after the other, with a commit between, learn what one learns in memory; bit for bit."""
    from learner.client import Client

    plain = create(optimizer={"name": "ftrl", "alpha": 0.1, "l1": 0.5})
    examples = list(scaled_words("logistic", 400))
    for part in (examples[:150], examples[150:]):
        list(Client("m", redis_url).push_packed([pack_weighed([example]) for example in part], features=True))
        plain.learn_packed(pack_weighed(part))
        drain()
    assert state_bytes(committed()) == state_bytes(plain)


def test_a_worker_learns_and_answers_labels(create, drain, redis_url, serving, committed):
    from learner.client import Client

    create(task="multiclass")
    client = Client("m", redis_url)
    client.push_many((label, x) for label, x, _ in labelled(200))
    drain()
    model = committed()
    assert model.n_examples == 200
    x = {"w1.1": 1.0, "x": 1.0}
    with serving():
        reply = client.ask({"record": json.dumps(x)})
        several = client.ask({"batch": msgpack.packb(x) * 2})
    assert reply["label"] == model.predict_one(x) == "dog"
    assert reply["probabilities"] == model.predict_proba_one(x)
    assert several["labels"] == ["dog", "dog"]


@pytest.mark.parametrize("options", [{}, {"task": "multiclass"}, {"task": "multiclass", "l1": 0.02}], ids=str)
def test_commits_over_sweeps_hold_the_model_bit_for_bit(client, options):
    """Pages, names that moved, and what only a sweep changes; a commit after each few examples, loaded each time."""
    model, store = Model(**options, max_features=CAP, seed=SEED), Store(client, "m")
    store.create(model.to_spec())
    store.ownership.take_over()
    sweeps = set()
    for i in range(0, 400, 20):
        model.learn_packed(b"".join(packed(long_tail(400))[i : i + 20]))
        sweeps.add(float(model.learner.totals[layout.SWEEPS]))
        entry = client.xadd(store.keys.examples, {"x": i})
        commit(store, model, entry, 1, [], model.summary())
        loaded = Store(client, "m").commits.load(model.fingerprint, model.row_width)
        assert state_bytes(loaded.state) == state_bytes(model)
        if i == 200:  # another worker takes over
            store = Store(client, "m")
            store.ownership.take_over()
            model = Model.from_spec(store.spec())
            model.load_state(store.commits.load(model.fingerprint, model.row_width).state)
    assert len(sweeps) > 4
    assert store.status()["progress"]["evicted"] == model.summary()["evicted"] > 0
