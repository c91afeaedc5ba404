"""Replies and the deletion of their requests are one transaction; neither replies nor requests pile up without bound."""

import time

import pytest

from learner.service.store import Store, requests
from learner.service.wire import REPLIES, REPLY_SECONDS

KEY = f"{REPLIES}me".encode()


@pytest.fixture
def store(client) -> Store:
    store = Store(client, "m")
    store.create({})
    return store


def test_replies_are_appended_and_the_requests_up_to_the_last_one_answered_are_deleted(client, store):
    ids = [client.xadd(store.keys.requests, {"x": i}) for i in range(5)]
    store.requests.answer([(KEY, b"first"), (KEY + b"2", b"other"), (KEY, b"second")], ids[2])
    assert client.lrange(KEY, 0, -1) == [b"first", b"second"]
    assert client.lrange(KEY + b"2", 0, -1) == [b"other"]
    assert 0 < client.ttl(KEY) <= REPLY_SECONDS
    assert [entry_id for entry_id, _ in client.xrange(store.keys.requests)] == ids[3:]


def test_requests_that_want_no_reply_are_deleted_too(client, store):
    last = client.xadd(store.keys.requests, {"x": 1})
    store.requests.answer([], last)
    assert client.xlen(store.keys.requests) == 0


def test_a_reply_key_of_another_type_harms_no_other_reply(client, store):
    client.set(KEY, "a string")
    last = client.xadd(store.keys.requests, {"x": 1})
    store.requests.answer([(KEY, b"lost"), (KEY + b"2", b"kept")], last)
    assert client.get(KEY) == b"a string"
    assert client.lrange(KEY + b"2", 0, -1) == [b"kept"]
    assert client.xlen(store.keys.requests) == 0


def test_of_replies_that_nobody_fetches_the_oldest_are_dropped(client, store, monkeypatch):
    monkeypatch.setattr(requests, "MAX_REPLIES", 3)
    store.requests.answer([(KEY, b"%d" % i) for i in range(5)], b"1-0")
    assert client.lrange(KEY, 0, -1) == [b"2", b"3", b"4"]


def test_the_number_of_waiting_requests_is_told_and_the_oldest_of_too_many_are_deleted(client, store):
    for i in range(1000):
        client.xadd(store.keys.requests, {"x": i})
    assert store.requests.bound(1000) == 1000
    assert client.xlen(store.keys.requests) == 1000
    assert store.requests.bound(300) == 1000
    assert 300 <= client.xlen(store.keys.requests) < 600
    assert client.xrevrange(store.keys.requests, count=1)[0][1] == {b"x": b"999"}


def test_the_server_s_clock_is_ours_on_the_same_machine(store):
    assert abs(store.requests.now_ms() - 1e3 * time.time()) < 5000
