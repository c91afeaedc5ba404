"""A watch tells of new entries without a round trip, and never passes over any."""

import pytest
import redis

from learner.service.store import watch
from learner.service.store.position import NEVER
from learner.service.store.watch import Watch
from tests.conftest import wait_until


@pytest.fixture
def watching(client, monkeypatch):
    """A watch whose server answers only when entries come, within a test."""
    monkeypatch.setattr(watch, "WATCH_MS", 60_000)
    monkeypatch.setattr(watch, "LOST_SECONDS", 60.0)
    watching = Watch(client)
    yield watching
    watching._line.drop()


def test_it_tells_of_entries_once_they_have_come(watching, client):
    assert watching.look("s", NEVER) is None  # the server has just been asked
    assert watching.look("s", NEVER) == []
    first, second = client.xadd("s", {"a": "1"}), client.xadd("s", {"a": "2"})
    found: list[bytes] = []
    wait_until(lambda: found.extend(i for i, _ in watching.look("s", found[-1] if found else NEVER)) or len(found) == 2)
    assert found == [first, second]
    assert watching.look("s", second) == []


def test_it_does_not_tell_again_of_what_was_read_elsewhere(watching, client):
    watching.look("s", NEVER)
    first, second = client.xadd("s", {"a": "1"}), client.xadd("s", {"a": "2"})
    wait_until(watching._line.is_ready)
    assert watching.look("s", second) == []
    assert watching.look("s", first) is None  # read anew from an entry on: nothing is known of those between
    third = client.xadd("s", {"a": "3"})
    wait_until(watching._line.is_ready)
    assert watching.look("s", first) is None
    wait_until(watching._line.is_ready)
    assert [i for i, _ in watching.look("s", first)] == [second, third]


def test_streams_take_turns(watching, client):
    watching.look("s", NEVER)
    assert watching.look("other", NEVER) is None
    client.xadd("s", {"a": "1"})
    wait_until(watching._line.is_ready)
    assert watching.look("other", NEVER) is None  # and from now on it is asked about this one
    assert watching.look("other", NEVER) == []
    assert watching.look("s", NEVER) is None


def test_a_lost_connection_and_a_key_of_another_kind_are_errors_and_then_it_asks_again(watching, client):
    watching.look("s", NEVER)
    client.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(redis.RedisError):
        wait_until(watching._line.is_ready)
    assert watching.look("s", NEVER) is None
    assert watching.look("s", NEVER) == []
    client.set("text", "t")
    other = Watch(client)
    other.look("text", NEVER)
    wait_until(other._line.is_ready)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        other.look("text", NEVER)


def test_a_server_that_does_not_answer_is_asked_again(watching, monkeypatch):
    watching.look("s", NEVER)
    monkeypatch.setattr(watch, "LOST_SECONDS", -1.0)
    assert watching.look("s", NEVER) is None
