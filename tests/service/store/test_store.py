"""The spec of a model, and how it is doing, on a real server."""

import pytest

from learner.errors import StoreError
from learner.service.store import Store
from learner.service.store.connection import client as connect
from learner.service.wire import GROUP
from tests.conftest import commit
from tests.service.store.conftest import learn


def test_a_name_can_be_created_once(client):
    store = Store(client, "m")
    spec = {"task": "binary", "outcomes": "late"}
    assert store.create(spec)
    assert not Store(client, "m").create({"task": "regression"})
    assert store.spec() == spec
    assert client.xinfo_groups(store.keys.examples)[0]["name"] == GROUP.encode()


def test_a_missing_model_is_named_with_the_command_that_makes_it(client):
    with pytest.raises(StoreError, match="model 'm' does not exist: make it with 'learner create m'"):
        Store(client, "m").spec()
    assert client.keys("*") == []


def test_a_model_that_an_older_learner_made_is_refused_with_the_way_out(client):
    Store(client, "m").create({"version": 1, "task": "binary", "parts": ["trends"]})
    words = r"spec of 'm' must say how outcomes come \(it does not: an older .*\); push the stream again to a new model"
    with pytest.raises(StoreError, match=words):
        Store(client, "m").spec()


def test_status_tells_what_was_committed(pair):
    learn(pair.model, ["a", "b"])
    pair.commit(2)
    pair.client.xadd(pair.store.keys.requests, {"x": 1})
    found = pair.store.status()
    assert found["cursor"] == pair.ids[2].decode()
    assert (found["commits"], found["features"], found["lag_entries"], found["requests_waiting"]) == (1, 3, 7, 1)
    assert found["owner"]["epoch"] == "1"
    assert found["progress"] == {"n": 2.0}


def test_the_consumer_group_s_lag_is_what_is_not_learned_yet(pair):
    def group():
        return pair.client.xinfo_groups(pair.store.keys.examples)[0]

    assert group()["lag"] == 10
    for cursor, n, lag in ((3, 4, 6), (8, 5, 1), (9, 1, 0)):
        commit(pair.store, pair.model, pair.ids[cursor], n, [], {"n": 1})
        assert group()["lag"] == lag
        assert group()["last-delivered-id"] == pair.ids[cursor]
        assert pair.store.status()["lag_entries"] == lag
    pair.client.xadd(pair.store.keys.examples, {"x": 1})
    assert group()["lag"] == 1


def test_a_new_connection_is_every_part_s(client, redis_url):
    store = Store(connect("redis://127.0.0.1:1"), "m")
    store.client = client
    assert store.create({"task": "binary"})
    assert store.ownership.take_over() == 1
    assert store.attempts.begin() is None
    assert store.stream.read(b"0-0", b"0-0", 1, 1, None) == ([], [])
    assert store.requests.bound(1) == 0
    assert store.commits.load("", 1) is None
    assert list(store.processes.list()) == []
