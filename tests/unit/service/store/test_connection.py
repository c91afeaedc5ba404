"""URLs and versions: what is refused, and in which words."""

import pytest
import redis

from learner.errors import ServerError
from learner.service.store.connection import client as connect
from learner.service.store.connection import require_version
from learner.service.store.embedded import free_port


@pytest.mark.parametrize("url", ["http://ann:secret@host", "redis://ann:secret@host:port", "ann:secret@host"])
def test_a_url_that_is_none_is_refused_without_its_password(url):
    with pytest.raises(ServerError, match="must be redis://") as error:
        connect(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("info", "version"),
    [
        ({"redis_version": "7.0.0"}, "Redis 7.0.0"),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.0.1"}, "Valkey 8.0.1"),
        ({"redis_version": 10.1}, "Redis 10.1"),
    ],
)
def test_a_recent_server_is_accepted(info, version):
    connection = redis.Redis()
    connection.info = lambda: info
    assert require_version(connection) == version


@pytest.mark.parametrize(
    ("info", "version"),
    [
        ({"redis_version": "6.2.14"}, "Redis 6.2.14"),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "7.2.8"}, "Valkey 7.2.8"),
    ],
)
def test_a_server_too_old_is_refused_by_name(info, version):
    connection = redis.Redis(host="example.org", port=7000)
    connection.info = lambda: info
    with pytest.raises(ServerError) as error:
        require_version(connection)
    assert str(error.value) == f"server example.org:7000: must be Redis >= 7.0 or Valkey >= 8 (got {version})"


def test_a_server_that_is_not_there_is_reported():
    port = free_port()
    with pytest.raises(ServerError, match=rf"server 127\.0\.0\.1:{port}: must answer INFO"):
        require_version(connect(f"redis://127.0.0.1:{port}"))
