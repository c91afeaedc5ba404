"""learner erase: nothing of an entry or a feature stays in any key, and the rest keeps its bits."""

import json
import threading

import numpy as np
import pytest

from learner import layout
from learner.client import Client
from learner.learners import sweeping
from learner.model import Model
from learner.packing import pack
from learner.service.store import Store, candidates, snapshots
from learner.service.store.connection import client as connect
from learner.service.wire import Keys
from tests.command_line import strictly
from tests.conftest import SEED, state_bytes, wait_until

KEYS = Keys("m")
NAME = "email=bob@example.org"
TASKS = [{}, {"task": "multiclass"}, {"optimizer": "ftrl"}, {"max_features": 2000}]


def record(i):
    own = {"email": "bob@example.org"} if i % 13 == 5 else {"email": f"a{i % 40}@example.org"}
    return {"a": i % 7 + 0.5, "w": f"w{i % 5}", **own}


def push(client, first, last, **fields):
    for i in range(first, last):
        client.xadd(
            KEYS.examples, {"record": json.dumps(record(i)), "target": str(i % 2), "id": f"order {i}", **fields}
        )


def holding(client, text):
    """The keys of the model that have a text in them, deleted entries of streams included."""
    found = [key for key in client.keys(KEYS.everything) if text.encode() in key]
    for key in client.keys(KEYS.everything):
        raw = client.get(key) if client.type(key) == b"string" else b""
        if text.encode() in (raw or b"") + (client.dump(key) or b""):
            found.append(key)
    return found


@pytest.fixture
def uncompressed(client):
    """Have DUMP show the bytes as they are."""
    client.config_set("rdbcompression", "no")
    yield
    client.config_set("rdbcompression", "yes")


@pytest.mark.parametrize("options", TASKS, ids=str)
def test_an_erased_feature_leaves_the_bits_of_all_others(options):
    model = Model(**{"task": "binary", "featurizer": "fields", "seed": SEED} | options)
    for i in range(600):
        model.learn_one(record(i), i % 2)
    learner = model.learner
    table = learner.weight_dict
    before = {(table.name(slot), int(table.classes[slot])): row.tobytes() for slot, row in enumerate(table.matrix)}
    small = {name: array.copy() for name, array in learner.arrays().items() if "totals" not in name and name != "aged"}
    derived = {name for name, _ in before if NAME in name and name != NAME}
    names, n = sweeping.erase(learner, lambda name: name == NAME)
    assert names == {NAME}
    n_classes = len(model.classes) if model.task == "multiclass" else 1
    assert len(derived) <= n - 1 <= n_classes * (len(derived) + 1)
    after = {(table.name(slot), int(table.classes[slot])): row for slot, row in enumerate(table.matrix)}
    assert after.keys() == {key for key in before if NAME not in key[0]}
    for key, row in after.items():
        old = np.frombuffer(before[key], np.float32)
        moved = {layout.NAME} | ({layout.MEAN} if row.view(np.uint32)[layout.DENSE] >= layout.DERIVED else set())
        same = [
            word for word in range(len(row)) if word not in moved
        ]  # the others are places of names, and parents' slots
        assert old[same].tobytes() == row[same].tobytes()
    for name, array in small.items():
        assert array.tobytes() == learner.arrays()[name].tobytes()
    assert NAME.encode() not in state_bytes(model)["names"]
    again = Model.from_spec(model.to_spec())
    again.load_state({name: array.copy() for name, array in model.state().items()})
    for i in range(600, 700):
        model.learn_one({**record(i), "email": "c@example.org"}, i % 2)
        again.learn_one({**record(i), "email": "c@example.org"}, i % 2)
    assert state_bytes(again) == state_bytes(model)


def test_a_number_that_most_examples_have_is_not_erased(fails, create, client, drain, committed):
    create(featurizer="fields")
    push(client, 0, 100)
    drain()
    before = state_bytes(committed())
    assert fails("erase", "m", "--feature", "a", "--yes") == (
        "Error: feature to erase must be no number that most examples have (got 'a'): it is nobody's alone, and other weights "
        "depend on it; create a model without it"
    )
    assert state_bytes(committed()) == before


def test_after_erasing_no_key_has_a_feature_any_more(run, client, create, drain, committed, uncompressed):
    create(featurizer="fields")
    push(client, 0, 300)
    drain()
    run("snapshot", "m", "monday")
    push(client, 300, 320)
    client.xadd(KEYS.examples, {"record": json.dumps({"email": "a@example.org"}), "target": "1"})
    drain()
    client.zadd(KEYS.prefix + "kept", {"one": 1, "two": 2})
    client.set(KEYS.prefix + "kept_bytes", 100)
    client.set(KEYS.prefix + "kept:one", pack([0.5, pack({NAME: 1.0})]))
    client.set(KEYS.prefix + "kept:two", pack([0.5, pack({"w=w1": 1.0})]))
    expected = committed()
    assert len(holding(client, "bob@example.org")) >= 3
    found = strictly(run("erase", "m", "--feature", NAME, "--yes", "--json").stdout)
    assert found.pop("rows") >= 1
    assert found.pop("log") in (True, False)
    counts = {"waiting": 0, "learned": 0, "rejected": 0, "kept": 1}
    assert found == {"model": "m", **counts, "features": [NAME], "snapshots": ["monday"], "candidates": [], "found": {}}
    assert holding(client, "bob@example.org") == []
    assert client.zrange(KEYS.prefix + "kept", 0, -1) == [b"two"]
    assert int(client.get(KEYS.prefix + "kept_bytes")) == 100 - len(pack([0.5, pack({NAME: 1.0})]))
    sweeping.erase(expected.learner, lambda name: name == NAME)
    assert state_bytes(committed()) == state_bytes(expected)
    status = Store(client, "m").status()
    assert (status["trouble"], status["lag_entries"], status["progress"]["examples"]) == (None, 0, 321)
    run("rollback", "m", "monday")
    assert NAME not in committed().weights
    assert committed().n_examples == 300
    push(client, 400, 404)
    assert drain().model.n_examples == 304
    assert holding(client, "bob@example.org") == []


def test_a_worker_that_runs_goes_on_with_the_erased_state(run, client, create, serving, committed, drain):
    create(featurizer="fields")
    push(client, 0, 50)
    expected = drain().model
    with serving() as worker:
        wait_until(lambda: worker.store.ownership.epoch)
        epoch = worker.store.ownership.epoch
        assert "erased features: " in run("erase", "m", "--prefix", "email=b", "--yes").stdout
        wait_until(lambda: worker.store.ownership.epoch == epoch + 2)
        push(client, 51, 55)
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"54")
    sweeping.erase(expected.learner, lambda name: name.startswith("email=b"))
    for i in range(51, 55):
        expected.learn_one(record(i), i % 2)
    assert state_bytes(committed()) == state_bytes(expected)


def test_a_worker_goes_on_after_two_erasures_of_which_it_noticed_nothing(run, client, create, own):
    create(featurizer="fields")
    worker = own(lease_seconds=0.5)
    for _ in range(2):
        run("erase", "m", "--id", "nobody", "--yes")
    push(client, 0, 5)
    worker.run(burst=True)
    assert worker.model.n_examples == 5


def test_what_is_pushed_while_something_is_erased_is_learned_once(run, client, redis_url, create, serving):
    create(featurizer="fields")
    push(client, 0, 50)
    n, stopping = 50, threading.Event()

    def push_on():
        nonlocal n
        with connect(redis_url) as connection:
            while not stopping.wait(0.01):  # at a pace with which erasing keeps up
                push(connection, n, n + 50)
                n += 50

    pushing = threading.Thread(target=push_on)
    with serving() as worker:
        pushing.start()
        try:
            for _ in range(3):
                run("erase", "m", "--id", "nobody", "--prefix", "email=b", "--yes")
        finally:
            stopping.set()
            pushing.join()
        wait_until(lambda: worker.model.n_examples == n)
    status = Store(client, "m").status()
    assert (status["trouble"], status["lag_entries"], status["progress"]["repeated"]) == (None, 0, 0)


def test_entries_are_erased_where_they_wait_and_where_they_were_rejected_or_learned(
    run, client, create, drain, committed, uncompressed
):
    model = create(featurizer="fields")
    Store(client, "m").set({"history": "1d", "max_rejected": 1.0})
    push(client, 0, 10)
    by_id = client.xadd(KEYS.examples, {"record": '{"email": "secret', "target": "1"})  # no JSON
    client.xadd(KEYS.examples, {"record": '{"email": "secret', "target": "1", "id": "order x"})
    drain()
    assert client.xlen(KEYS.rejected) == 2
    waits = client.xadd(KEYS.examples, {"record": json.dumps({"email": "secret 1"}), "target": "1"})
    push(client, 10, 14)
    out = run("erase", "m", "--entry", waits.decode(), "--entry", by_id.decode(), "--id", "order x", "--id", "order 12",
              "--id", "order 3", "--yes").stdout  # fmt: skip
    assert out.startswith("erased 2 entries that waited, 3 learned ones, 2 rejected ones, 0 kept answers\n")
    assert holding(client, "secret") == holding(client, "order 12") == holding(client, "order 3\x00") == []
    store = Store(client, "m")
    assert (store.status()["trouble"], store.status()["lag_entries"]) == (None, 3)
    assert client.xlen(KEYS.examples) == 9 + 3
    for i in [*range(12), 13]:
        model.learn_one(record(i), i % 2)
    assert state_bytes(drain().model)["rows"] == state_bytes(model)["rows"]
    assert store.status()["trouble"] is None
    push(client, 20, 21)
    assert drain().model.n_examples == 14


def test_candidates_forget_too_and_miss_no_other_entry(run, client, create, drain, uncompressed):
    """Also what OLD has learned and the candidate hasn't, and the other way round; each goes on with the rest."""
    spec = create(featurizer="fields").to_spec()
    store, beside = Store(client, "m"), Store(client, "m/c")
    store.set({"history": "1d"})
    for name in ("c", "new"):  # nobody works for the second one
        assert candidates.create(store, name, spec, {"history": "1d", "max_rejected": "1"}, from_history=True)
    push(client, 0, 20)
    drain()
    drain("m/c")
    snapshots.take(beside, "monday")
    client.xadd(KEYS.examples, {"record": '{"email": "secret', "target": "1"})  # no JSON
    push(client, 20, 30)
    drain()
    push(client, 30, 40)
    run("erase", "m", "--id", "order 22", "--id", "order 35", "--yes")
    assert beside.status()["lag_entries"] == 11 - 1 + 10 - 1
    push(client, 40, 50)
    alone = drain("m/c").model
    assert (alone.n_examples, beside.status()["lag_entries"], beside.status()["progress"]["rejected"]) == (48, 0, 1)
    waits = client.xadd(KEYS.examples, {"record": '{"email": "a0@example.org"}', "target": "1"}).decode()
    (entry_id, fields), *_ = client.xrange(KEYS.examples, count=1, min=b"(" + client.xrange(KEYS.examples)[19][0])
    assert b"secret" in fields[b"record"]
    out = run("erase", "m", "--entry", waits, "--entry", entry_id.decode(), "--feature", NAME, "--yes").stdout
    assert out.startswith("erased 1 entries that waited, 1 learned ones, 2 rejected ones, 0 kept answers\n")
    assert "erased features from candidates: m/c\n" in out
    assert holding(client, "secret") == []
    assert [key for key in holding(client, NAME) if b"examples" not in key] == []
    sweeping.erase(alone.learner, lambda name: name == NAME)
    push(client, 50, 51)
    alone.learn_one(record(50), 0)
    owner = drain("m/c")
    assert state_bytes(owner.model) == state_bytes(alone)
    assert drain().model.n_examples == 50  # it had learned one of the entries before
    assert drain("m/new").model.n_examples == 49
    for each in (store, beside, Store(client, "m/new")):
        assert (each.status()["trouble"], each.status()["lag_entries"]) == (None, 0)


def test_what_was_learned_and_trimmed_is_gone_from_the_stream_after_erasing_anything(
    run, client, create, drain, uncompressed
):
    create(featurizer="fields")
    push(client, 0, 10)
    drain()
    assert (client.xlen(KEYS.examples), KEYS.examples.encode() in holding(client, "a7@example.org")) == (1, True)
    run("erase", "m", "--id", "nobody", "--yes")
    assert KEYS.examples.encode() not in holding(client, "a7@example.org")
    push(client, 10, 12)
    assert drain().model.n_examples == 12


def test_entries_in_which_an_erased_value_still_stands_are_named(run, client, create, drain):
    create(featurizer="fields")
    push(client, 0, 10)
    drain()
    entry = client.xadd(KEYS.examples, {"record": json.dumps({"email": "bob@example.org"}), "target": "1"}).decode()
    out = run("erase", "m", "--feature", NAME, "--yes").stdout
    assert f"remains in 1 entries of examples (learned, they bring it back): {entry}\n" in out


def test_an_id_of_a_push_of_many_means_all_its_entries(run, client, redis_url, create):
    create(featurizer="fields")
    pushing = Client("m", redis_url)
    assert list(pushing.push_packed([pack([1, {"a": 1}])] * 3, features=False, id="order")) == [3]
    for name in ("order/0/7", "order/x", "order 1", "other/order/0"):
        pushing.push({"a": 1}, 1, id=name)
    assert run("erase", "m", "--id", "order", "--yes").stdout.startswith("erased 2 entries that waited")
    assert [fields[b"id"] for _, fields in client.xrange(KEYS.examples)] == [b"order/x", b"order 1", b"other/order/0"]


def test_erasing_must_be_told_what_and_confirmed(fails, create):
    create()
    assert "--entry must be an entry's id, as 1700000000000-0 (got 'zzz')" in fails(
        "erase", "m", "--entry", "zzz", "--yes"
    )
    assert fails("erase", "m", "--yes") == "Error: erase must be told what: --entry, --id, --feature or --prefix"
    assert fails("erase", "m", "--prefix", "", "--yes") == "Error: what to erase must be named (got an empty text)"
    assert (
        fails("erase", "m", "--id", "x")
        == "Error: erasing from 'm' must be confirmed: add --yes (nobody can be asked here)"
    )
