"""Entries and requests that kill the process."""

import json

import msgpack

from learner.client import Client
from learner.service.store import Store
from learner.service.store.rejected import put_back
from learner.service.wire import REPLIES
from tests.conftest import state_bytes
from tests.reliability.hostile import run_deadly
from tests.streams import KEYS


def replies(client, key="me"):
    return [json.loads(reply) for reply in client.lrange(REPLIES + key, 0, -1)]


def test_an_entry_that_kills_is_quarantined_after_the_second_time_and_comes_back_by_its_id_only(
    client, redis_url, create
):
    reference = create(featurizer="fields")
    client.xadd(KEYS.examples, {"record": '{"a": 1}', "target": "1"})
    deadly = client.xadd(KEYS.examples, {"record": '{"deadly": 1}', "target": "1"})
    client.xadd(KEYS.examples, {"record": '{"a": 2}', "target": "0"})
    assert [run_deadly(redis_url, "SIGKILL") for _ in range(3)] == [-9, -9, 0]
    ((rejected_id, found),) = client.xrange(KEYS.rejected)
    assert (found[b"entry"], found[b"stage"]) == (deadly, b"killed")
    assert b"SIGKILL" in found[b"reason"]
    assert msgpack.unpackb(found[b"data"]) == {"record": b'{"deadly": 1}', "target": b"1"}
    reference.learn_one({"a": 1}, 1)
    reference.count_rejected(1)
    reference.learn_one({"a": 2}, 0)
    assert state_bytes(Client("m", redis_url).committed()) == state_bytes(reference)
    store = Store(client, "m")
    assert list(put_back(store, None)) == [(rejected_id.decode(), "it killed a worker: put back only by its id")]
    assert list(put_back(store, [rejected_id.decode()])) == [(rejected_id.decode(), None)]


def test_a_request_that_kills_is_refused_the_third_time(client, redis_url, create):
    create(featurizer="fields")
    for key in ("before", "deadly", "after"):
        client.xadd(KEYS.requests, {"record": json.dumps({key: 1}), "reply": REPLIES + key})
    assert [run_deadly(redis_url, "SIGSEGV") for _ in range(3)] == [-11, -11, 0]
    assert replies(client, "before")[0]["prediction"] == replies(client, "after")[0]["prediction"] == 0.5
    assert replies(client, "deadly") == [{"error": "request must not kill the worker (it did)"}]
