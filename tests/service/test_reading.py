"""How much is read at once."""

from typing import TYPE_CHECKING

import pytest
import redis

from learner.client import Client
from learner.service.reading import READ_ENTRIES, Reading
from learner.service.store import Store
from learner.service.store.position import NEVER, stream_id
from learner.service.store.reading import UNMEASURED_ENTRIES
from learner.service.wire import MAX_ENTRY_BYTES, REJECTED_BYTES, size_of
from tests.streams import GOOD, KEYS, rejected

if TYPE_CHECKING:
    from learner.service.reading import Batch
    from learner.service.store.reading import Entries


def test_entries_are_read_until_there_are_so_many_bytes(client, create):
    create()
    store = Store(client, "m")
    for size in (1, 700_000, 700_000, 700_000, 700_000):
        client.xadd(KEYS.examples, {"batch": bytes(size)})
    client.xadd(KEYS.requests, {"record": "{}"})
    examples, requests = store.stream.read(b"0-0", b"0-0", 1000, 1000, None)
    assert [len(fields[b"batch"]) for _, fields in examples] == [1, 700_000, 700_000, 700_000]
    assert requests == client.xrange(KEYS.requests)
    again, requests = store.stream.read(examples[-1][0], None, 1000, 1000, None)
    assert again == client.xrange(KEYS.examples)[-1:]
    assert requests == []
    assert store.stream.read(again[0][0], requests_after=None, n_examples=1000, n_requests=16, block_ms=None) == (
        [],
        [],
    )


def test_of_an_entry_too_large_only_its_start_is_read_and_it_is_rejected_with_its_size(client, create, drain):
    create()
    size = 2 * MAX_ENTRY_BYTES
    large = client.xadd(KEYS.examples, {"batch": b"\x92" * size})
    client.xadd(KEYS.examples, {"batch": GOOD})
    examples, _ = Store(client, "m").stream.read(b"0-0", b"0-0", 1000, 16, None)
    assert examples[0] == (large, {b"batch": b"\x92" * REJECTED_BYTES})
    assert size_of(examples[0][1]) == size + 5
    owner = drain()
    (found,) = rejected(client)
    assert found[b"reason"].decode() == f"entry must be at most {MAX_ENTRY_BYTES} bytes (got {size + 5})"
    assert (len(found[b"data"]), found[b"bytes"]) == (REJECTED_BYTES, b"%d" % (size + 5))
    assert owner.model.n_examples == 1


def test_a_producer_sees_how_many_entries_are_not_learned_and_waits_for_them(client, redis_url, create, drain):
    create()
    producer = Client("m", redis_url)
    assert producer.lag() == 0
    client.xadd(KEYS.examples, {"batch": GOOD})
    assert producer.lag() == 1
    lags = []

    def on_wait(lag):
        lags.append(lag)
        if len(lags) % 2 == 0:
            drain()

    assert producer.push_many([(1, {"a": 1})] * 8000, features=True, max_lag=0, on_wait=on_wait) == 8000
    assert lags == [1, 1, 20, 20]
    assert producer.lag() == 20
    assert client.xlen(KEYS.examples) == 21  # the one at the cursor, and those after it


@pytest.mark.parametrize("name", ["(bytes)", "bytes", "size", "entry", "stage", "field", "data", "reason"])
def test_no_field_of_an_entry_or_a_request_switches_a_bound_off(client, create, drain, name):
    create()
    for value in ("0", "5", str(MAX_ENTRY_BYTES)):
        client.xadd(KEYS.examples, {name: value, "batch": GOOD * 1_100_000})
        client.xadd(KEYS.requests, {name: value, "batch": b"\x80" * 4_200_000, "reply": "learner:replies:me"})
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (0, 3)
    for reply in client.lrange("learner:replies:me", 0, -1):
        assert b"request must be at most 4194304 bytes (got 42000" in reply
    assert client.llen("learner:replies:me") == 3


def read_on(reading: Reading, learned: bytes, collected: "Entries" = ()) -> "Batch":
    return reading.read(learned, list(collected), b"0-0", wait=False, measured=False)


def test_what_is_read_ahead_comes_once_in_order_and_is_noted_before_it_may_be_learned(client, create):
    create()
    store, n = Store(client, "m"), 2 * READ_ENTRIES + 500
    with client.pipeline() as pipe:
        for i in range(n):
            pipe.xadd(KEYS.examples, {"batch": GOOD}, id=f"{i + 1}-0")
        pipe.execute()
    client.xadd(KEYS.requests, {"record": "{}"})
    reading, learned, seen = Reading(store.stream, reads_ahead=True), NEVER, []
    while examples := read_on(reading, learned).examples:
        noted = stream_id(client.hget(KEYS.attempt, "reading"))
        assert noted == stream_id(learned)
        assert stream_id(examples[-1][0])[0] - noted[0] <= READ_ENTRIES
        seen += [entry_id for entry_id, _ in examples]
        learned = seen[-1]
    assert seen == [b"%d-0" % (i + 1) for i in range(n)]


def test_with_collected_entries_no_more_is_returned_than_may_be_learned_at_once(client, create):
    create()
    store = Store(client, "m")
    with client.pipeline() as pipe:
        for i in range(2 * READ_ENTRIES):
            pipe.xadd(KEYS.examples, {"batch": GOOD}, id=f"{i + 1}-0")
        pipe.execute()
    reading = Reading(store.stream, reads_ahead=True)
    collected = read_on(reading, NEVER).examples
    while len(collected) < READ_ENTRIES:
        more = read_on(reading, NEVER, collected).examples
        assert more[0][0] == b"%d-0" % (len(collected) + 1)
        collected += more
    assert len(collected) == READ_ENTRIES
    after = read_on(reading, collected[-1][0]).examples
    assert after[0][0] == b"%d-0" % (READ_ENTRIES + 1)


def test_a_read_of_requests_that_fails_loses_none_of_the_examples_that_were_read_ahead(client, create):
    create()
    for i in range(3 * UNMEASURED_ENTRIES):
        client.xadd(KEYS.examples, {"batch": GOOD}, id=f"{i + 1}-0")
    reading = Reading(Store(client, "m").stream, reads_ahead=True)
    (*_, (last, _)) = read_on(reading, NEVER).examples
    client.rename(KEYS.requests, "away")
    client.set(KEYS.requests, "no stream")
    with pytest.raises(redis.ResponseError):
        read_on(reading, last)
    examples = reading.read(last, [], None, wait=False, measured=False).examples
    assert [entry_id for entry_id, _ in examples] == [
        b"%d-0" % (i + 1) for i in range(UNMEASURED_ENTRIES, 3 * UNMEASURED_ENTRIES)
    ]


def test_what_was_read_ahead_after_another_entry_is_dropped(client, create):
    create()
    for i in range(3 * UNMEASURED_ENTRIES):
        client.xadd(KEYS.examples, {"batch": GOOD}, id=f"{i + 1}-0")
    reading = Reading(Store(client, "m").stream, reads_ahead=True)
    read_on(reading, NEVER)
    assert read_on(reading, b"5-0").examples[0][0] == b"6-0"
