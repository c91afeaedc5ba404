"""History on a real server: learned entries stay in the stream for a while, and every check still holds."""

import time

import pytest

from learner.errors import StreamError
from learner.service.store import Store
from learner.service.store import position as positions
from tests.command_line import invoke, strictly
from tests.conftest import state_bytes
from tests.service.store.conftest import Pair
from tests.streams import KEYS, push_batches, zipf_examples

EXAMPLES = zipf_examples(60, 5, 1)


@pytest.fixture
def counted(monkeypatch):
    """How often a stream's entries had to be counted one by one."""
    calls = []
    count = positions.count_between
    monkeypatch.setattr(positions, "count_between", lambda *arguments: calls.append(arguments) or count(*arguments))
    return calls


def old_entries(client, ages):
    """Add an entry for each age in seconds; return their ids."""
    now = 1000 * client.time()[0]
    return [client.xadd(KEYS.examples, {"x": 1}, id=f"{now - 1000 * age}-0") for age in ages]


@pytest.fixture
def kept(client):
    """A model with entries that came 1000, 900, ... 100 seconds ago, of which those of the last 450 s are kept."""
    client.delete(KEYS.examples)
    pair = Pair(client)
    client.delete(KEYS.examples)
    pair.ids = old_entries(client, range(1000, 0, -100))
    pair.store.commits.history = 450.0
    return pair


def ids(client):
    return [entry_id for entry_id, _ in client.xrange(KEYS.examples)]


def test_entries_stay_for_as_long_as_the_setting_says_and_never_beyond_the_cursor(kept, client, counted):
    kept.commit(2)
    assert ids(client) == kept.ids
    kept.commit(7)
    assert ids(client) == kept.ids[2:]  # a commit trims up to the one before it: its own may not come to pass
    kept.commit(8)
    assert ids(client) == kept.ids[6:]
    kept.commit(9)
    assert counted == []
    assert client.hget(KEYS.head, "removed") == b"6"
    position = Store(client, "m").stream.committed_position()
    assert (position.trouble, position.history, position.learned) == (None, 4, 10)
    assert counted == []
    kept.store.commits.history = 0.0
    kept.ids += [client.xadd(KEYS.examples, {"x": 1})]
    kept.commit(10)
    assert ids(client) == kept.ids[10:]
    assert client.hget(KEYS.head, "removed") == b""
    kept.store.stream.check(kept.ids[10])
    assert kept.load().cursor == kept.ids[10]


def test_lost_entries_are_seen_and_learned_ones_may_go(kept, client):
    kept.commit(4)
    kept.commit(5)
    client.xdel(KEYS.examples, kept.ids[5])  # learned
    assert Store(client, "m").stream.committed_position().trouble is None
    kept.commit(6)
    assert Store(client, "m").stream.committed_position().trouble is None
    client.xdel(KEYS.examples, kept.ids[8])  # not learned
    assert "1 entries of stream" in Store(client, "m").stream.committed_position().trouble
    with pytest.raises(StreamError, match="1 entries of stream"):
        kept.commit(9)


def test_a_stream_that_was_replaced_is_seen(kept, client):
    kept.commit(2)
    kept.commit(3)
    client.delete(KEYS.examples)
    for _ in range(10):
        client.xadd(KEYS.examples, {"x": 1})
    assert Store(client, "m").stream.committed_position().trouble
    with pytest.raises(StreamError):
        kept.commit(4)


def test_ids_of_times_to_come_are_not_kept_for_ever(client, kept):
    kept.ids += old_entries(client, [-400, -86_400, -86_401])
    kept.commit(11)
    kept.commit(12)
    assert kept.ids[11] not in ids(client)[:-2]
    kept.ids.append(client.xadd(KEYS.examples, {"x": 1}))
    kept.commit(13)
    assert ids(client)[0] == kept.ids[12]
    assert kept.load().cursor == kept.ids[13]


def test_a_worker_learns_the_same_and_status_says_what_is_kept(
    client, create, drain, redis_url, monkeypatch, committed
):
    monkeypatch.setenv("REDIS_URL", redis_url)
    reference = create()
    store = Store(client, "m")
    store.set({"history": "1d"})
    for part in (EXAMPLES[:20], EXAMPLES[20:40], EXAMPLES[40:]):
        push_batches(client, "batch", part, 1)
        drain()
    reference.learn_packed(b"".join(EXAMPLES))
    assert state_bytes(committed()) == state_bytes(reference)
    entries = [fields for _, fields in client.xrange(KEYS.examples) if b"learn" not in fields]
    assert [fields[b"batch"] for fields in entries] == EXAMPLES
    found = strictly(invoke("status", "m", "--json").stdout)
    assert (found["lag_entries"], found["trouble"]) == (0, None)
    assert found["history"]["entries"] == client.xlen(KEYS.examples)
    assert found["history"]["seconds"] == 86_400.0
    assert abs(found["history"]["since"] - time.time()) < 600
    assert "entries that were learned, kept for 86400 s, since" in invoke("status", "m").stdout


def test_repairs_keep_the_count_right(client, create, drain, redis_url, monkeypatch, committed):
    monkeypatch.setenv("REDIS_URL", redis_url)
    create()
    Store(client, "m").set({"history": "1d"})
    push_batches(client, "batch", EXAMPLES[:10], 1)
    drain()
    push_batches(client, "batch", EXAMPLES[10:13], 1)
    learned = committed().n_examples
    last = ids(client)[-3]
    invoke("repair", "m", "--skip-entry", last.decode())
    assert "11 entries learned up to" in invoke("repair", "m").stdout
    drain()
    assert committed().n_examples == learned + 2
    invoke("repair", "m", "--renew")
    assert client.xlen(KEYS.examples) == 0
    push_batches(client, "batch", EXAMPLES[13:20], 1)
    drain()
    assert committed().n_examples == learned + 9
    invoke("repair", "m", "--forget")
    drain()
    assert committed().n_examples == 7
