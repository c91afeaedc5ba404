"""What each level of durability requires of a server."""

import pytest
import redis

from learner.errors import LearnerError, ServerError
from learner.service.store.durability import Durability
from learner.settings import LEVELS


class FakeServer:
    """A server with this INFO and CONFIG; without a configuration it refuses CONFIG."""

    def __init__(self, config: "dict[str, str] | None" = None, **info) -> None:
        self._info = {"redis_version": "7.2.4", "aof_enabled": 1, "role": "master", "connected_slaves": 0} | info
        self._config = config

    def info(self):
        return self._info

    def config_get(self, pattern):
        if self._config is None:
            raise redis.ResponseError("NOPERM")
        return self._config


@pytest.mark.parametrize(
    ("level", "server", "words"),
    [
        ("crash", FakeServer(), []),
        ("crash", FakeServer(aof_enabled=0), ["appendonly must be yes"]),
        ("crash", FakeServer(maxmemory_policy="allkeys-lru"), ["maxmemory-policy must be noeviction (got allkeys-lru"]),
        ("power", FakeServer(), []),
        ("power", FakeServer({"appendfsync": "always"}, redis_version="7.0.15"), []),
        ("power", FakeServer({"appendfsync": "everysec"}, redis_version="7.0.15"), ["appendfsync must be always"]),
        ("power", FakeServer(redis_version="7.0.15"), ["CONFIG GET is refused"]),
        ("failover", FakeServer({"min-replicas-to-write": "1"}, connected_slaves=1), []),
        (
            "failover",
            FakeServer({"min-replicas-to-write": "0"}, role="slave"),
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
    assert not Durability("power").on(FakeServer({"appendfsync": "always"}, redis_version="7.0.15")).waits
    assert Durability("power").on(FakeServer({"appendfsync": "always"})).waits


@pytest.mark.parametrize(("level", "replicas"), [("safe", 1), ("failover", 0)])
def test_a_wrong_level_is_refused(level, replicas):
    with pytest.raises(LearnerError, match="must be"):
        Durability(level, replicas)


def test_there_are_three_levels():
    assert set(LEVELS) == {"crash", "power", "failover"}
