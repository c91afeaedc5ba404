"""What is asked of the server at each level of durability, and that what is confirmed is."""

import pytest

from learner.client import Client
from learner.commands.show import status_lines
from learner.errors import LearnerError, ServerError
from learner.service.store import Store
from learner.service.store.durability import LEVELS, Durability
from learner.service.wire import Keys
from tests.conftest import wait_until
from tests.test_stream import url

KEYS = Keys("m")


class Told:
    """A server that says what it is told to say, or refuses CONFIG."""

    def __init__(self, config: "dict[str, str] | None" = None, **info) -> None:
        self._info = {"redis_version": "7.2.4", "aof_enabled": 1, "role": "master", "connected_slaves": 0} | info
        self._config = config

    def info(self):
        return self._info

    def config_get(self, pattern):
        if self._config is None:
            import redis

            raise redis.ResponseError("NOPERM")
        return self._config


@pytest.mark.parametrize(
    ("level", "server", "words"),
    [
        ("crash", Told(), []),
        ("crash", Told(aof_enabled=0), ["appendonly must be yes"]),
        ("crash", Told(maxmemory_policy="allkeys-lru"), ["maxmemory-policy must be noeviction (got allkeys-lru"]),
        ("power", Told(), []),
        ("power", Told({"appendfsync": "always"}, redis_version="7.0.15"), []),
        ("power", Told({"appendfsync": "everysec"}, redis_version="7.0.15"), ["appendfsync must be always"]),
        ("power", Told(redis_version="7.0.15"), ["CONFIG GET is refused"]),
        ("failover", Told({"min-replicas-to-write": "1"}, connected_slaves=1), []),
        (
            "failover",
            Told({"min-replicas-to-write": "0"}, role="slave"),
            ["role must be master (got slave)", "replicas must be at least 1 (got 0)", "min-replicas-to-write must be"],
        ),
    ],
)
def test_a_server_that_can_not_give_what_is_asked_is_refused_in_words(level, server, words):
    found = Durability(level).shortcomings(server)
    assert len(found) == len(words), found
    assert all(part in text for part, text in zip(words, found, strict=True))
    if words:
        with pytest.raises(ServerError, match=f"durability '{level}' asks for more"):
            Durability(level).on(server)


def test_without_waitaof_a_server_that_syncs_every_write_needs_no_waiting():
    assert not Durability("power").on(Told({"appendfsync": "always"}, redis_version="7.0.15")).waits
    assert Durability("power").on(Told({"appendfsync": "always"})).waits


@pytest.mark.parametrize(("level", "replicas"), [("safe", 1), ("failover", 0)])
def test_a_wrong_level_is_refused(level, replicas):
    with pytest.raises(LearnerError, match="must be"):
        Durability(level, replicas)


@pytest.fixture
def waitaof(client) -> None:
    """Skip where the server has no WAITAOF."""
    if not Durability._has_waitaof(client.info()):
        pytest.skip("needs Redis >= 7.2 or Valkey")


def test_a_push_is_confirmed_or_says_that_it_is_not(client, create, waitaof):
    create()
    Client("m", url(client), durability="power").push(features={"a": 1.0}, target=1)
    assert client.info("commandstats")["cmdstat_waitaof"]["calls"] >= 1
    with pytest.raises(LearnerError, match=r"confirmed as durability 'failover' asks within 0.1 s \(got 0\)"):
        Client("m", url(client), timeout=0.1, durability="failover").push(features={"a": 1.0}, target=1)
    assert client.xlen(KEYS.examples) == 2


def test_status_shows_the_level_and_what_is_confirmed(client, redis_url, create, waitaof, start_worker, start):
    create()
    worker = start_worker(redis_url, "m", "--durability", "power", "--commit-seconds", "0.01", "--lease-seconds", "0.5")
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    wait_until(lambda: Store(client, "m").status()["confirmed"] == 1)
    lines = list(status_lines(Store(client, "m").status() | {"task": "binary", "loss": "logistic"}))
    assert "durability        power, confirmed up to commit 1 of 1" in lines
    worker.terminate()
    assert worker.wait(5) == 0
    _, err = start(redis_url, "worker", "m", "--burst", "--durability", "failover").communicate(timeout=60)
    assert err.startswith(
        "Error: server: durability 'failover' asks for more: replicas must be at least 1 (got 0); min-"
    )
    assert set(LEVELS) == {"crash", "power", "failover"}
