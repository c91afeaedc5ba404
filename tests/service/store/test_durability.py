"""A push that is confirmed is durable, on a real server."""

import pytest

from learner.client import Client
from learner.errors import LearnerError
from learner.service.wire import Keys

KEYS = Keys("m")


def test_a_push_is_confirmed_or_says_that_it_is_not(client, redis_url, create, waitaof):
    create()
    Client("m", redis_url, durability="power").push(features={"a": 1.0}, target=1)
    assert client.info("commandstats")["cmdstat_waitaof"]["calls"] >= 1
    with pytest.raises(LearnerError, match=r"confirmed as durability 'failover' asks within 0.1 s \(got 0\)"):
        Client("m", redis_url, timeout=0.1, durability="failover").push(features={"a": 1.0}, target=1)
    assert client.xlen(KEYS.examples) == 2
