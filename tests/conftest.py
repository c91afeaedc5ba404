"""A real server for the tests that need one: started for the session, in a folder of its own, gone afterwards."""

from typing import TYPE_CHECKING

import pytest

from learner.server import Embedded, temporary
from learner.server import client as connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[None]":
    """Keep the tests off the developer's servers: without REDIS_URL, and with a LEARNER_HOME of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("REDIS_URL", raising=False)
        patch.setenv("LEARNER_HOME", str(tmp_path_factory.mktemp("home")))
        yield
        Embedded().stop()  # one that a test left running there


@pytest.fixture(scope="session")
def server(environment: None) -> "Iterator[str]":
    """The URL of a real server, shared by the session's tests."""
    with temporary() as url:
        yield url


@pytest.fixture
def redis_url(server: str) -> str:
    """The URL of the session's server, emptied: it is ours, so nobody else's keys can be lost."""
    with connect(server) as connection:
        connection.flushall()
    return server


@pytest.fixture
def client(redis_url: str) -> "Iterator[redis.Redis]":
    """A connection to the session's server, emptied."""
    with connect(redis_url) as connection:
        yield connection
