"""Replies and the deletion of their requests are one transaction; neither replies nor requests pile up without bound."""

import time

import pytest

from learner.service.store import Store, requests
from learner.service.store.position import NEVER
from learner.service.store.requests import Answer
from learner.service.wire import REPLIES, REPLY_SECONDS

KEY = f"{REPLIES}me".encode()


@pytest.fixture
def store(client) -> Store:
    store = Store(client, "m")
    store.create({})
    return store


def asked(client, store, n):
    """Add n requests; return their ids."""
    return [client.xadd(store.keys.requests, {"x": i}) for i in range(n)]


def test_replies_are_appended_and_their_requests_are_deleted(client, store):
    first, second, left, third = asked(client, store, 4)
    answers = [Answer(first, KEY, b"first"), Answer(second, KEY + b"2", b"other"), Answer(third, KEY, b"second")]
    assert store.requests.answer(answers) == [1, 1, 2]
    assert client.lrange(KEY, 0, -1) == [b"first", b"second"]
    assert client.lrange(KEY + b"2", 0, -1) == [b"other"]
    assert 0 < client.ttl(KEY) <= REPLY_SECONDS
    assert [entry_id for entry_id, _ in client.xrange(store.keys.requests)] == [left]


def test_what_was_answered_is_not_answered_again(client, store):
    answers = [Answer(request, KEY, b"{}", b"name", b"kept") for request in asked(client, store, 2)]
    assert store.requests.answer(answers[:1]) == [1]
    client.delete(store.keys.kept_answer(b"name"))
    assert store.requests.answer(answers) == [0, 2]
    assert client.get(store.keys.kept_answer(b"name")) == b"kept"
    assert client.llen(KEY) == 2
    assert store.requests.answer([]) == []


def test_requests_that_want_no_reply_are_deleted_too(client, store):
    (request,) = asked(client, store, 1)
    assert store.requests.answer([Answer(request, b"", b"")]) == [1]
    assert client.xlen(store.keys.requests) == 0


def test_a_reply_key_of_another_type_harms_no_other_reply(client, store):
    client.set(KEY, "a string")
    first, second = asked(client, store, 2)
    wrong, right = store.requests.answer([Answer(first, KEY, b"lost"), Answer(second, KEY + b"2", b"kept")])
    assert wrong.startswith(b"WRONGTYPE")
    assert right == 1
    assert client.get(KEY) == b"a string"
    assert client.lrange(KEY + b"2", 0, -1) == [b"kept"]
    assert client.xlen(store.keys.requests) == 0


def test_of_replies_that_nobody_fetches_the_oldest_are_dropped(client, store, monkeypatch):
    monkeypatch.setattr(requests, "MAX_REPLIES", 3)
    store.requests.answer([Answer(request, KEY, b"%d" % i) for i, request in enumerate(asked(client, store, 5))])
    assert client.lrange(KEY, 0, -1) == [b"2", b"3", b"4"]


def test_each_answers_only_when_it_is_its_turn(client, store):
    answer = [Answer(asked(client, store, 1)[0], KEY, b"{}")]
    store.ownership.take_over()
    token = store.ownership.token
    assert store.requests.answer(answer) is None
    assert store.requests.answer(answer, b"of another owner") is None
    store.ownership.note_leaving(True)
    assert store.requests.answer(answer, token) is None
    store.ownership.note_leaving(False)
    assert store.requests.answer(answer, dead=b"of another owner") is None
    assert client.llen(KEY) == 0
    assert store.requests.answer(answer, token) == [1]
    assert store.requests.answer(answer, dead=token) == [0]
    store.ownership.release()
    assert store.requests.answer(answer) == [0]


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


def n_reads(client):
    return client.info("commandstats").get("cmdstat_xread", {"calls": 0})["calls"]


def test_a_read_that_was_sent_along_with_replies_is_not_sent_again(client, store):
    first, second = asked(client, store, 2)
    client.config_resetstat()
    ahead = store.stream.ahead(NEVER, first, 16, 60_000, NEVER)
    assert store.requests.answer([Answer(first, KEY, b"first")], ahead=ahead) == [1]
    assert store.stream.read(NEVER, first, 16, 16, 60_000) == ([], [(second, {b"x": b"1"})])
    assert n_reads(client) == 1


def test_another_read_than_the_one_sent_along_is_sent_anew(client, store):
    first, second = asked(client, store, 2)
    for cursor, after in ((NEVER, NEVER), (b"1-0", second)):
        store.requests.answer([], ahead=store.stream.ahead(NEVER, second, 16, 60_000, NEVER))
        client.xadd(store.keys.examples, {"x": 1}, id="2-0")
        examples, found = store.stream.read(cursor, after, 16, 16, 60_000)
        assert [entry_id for entry_id, _ in examples] == [b"2-0"]
        assert [entry_id for entry_id, _ in found] == ([first, second] if after == NEVER else [])
        client.delete(store.keys.examples)


def test_replies_do_not_end_a_read_that_was_sent_along(client, store):
    first, second = asked(client, store, 2)
    client.config_resetstat()
    store.requests.answer([Answer(first, KEY, b"first")], ahead=store.stream.ahead(NEVER, second, 16, 60_000, NEVER))
    assert store.requests.answer([Answer(second, KEY, b"second")]) == [2]
    (third,) = asked(client, store, 1)
    assert store.stream.read(NEVER, second, 16, 16, 60_000) == ([], [(third, {b"x": b"0"})])
    assert n_reads(client) == 1


def test_what_was_sent_along_is_forgotten_where_all_is_read_again(client, store):
    (first,) = asked(client, store, 1)
    store.requests.answer([], ahead=store.stream.ahead(NEVER, NEVER, 16, 60_000, NEVER))
    client.xdel(store.keys.requests, first)
    store.stream.forget_ahead()
    (second,) = asked(client, store, 1)
    assert [entry_id for entry_id, _ in store.stream.read(NEVER, NEVER, 16, 16, 60_000)[1]] == [second]
