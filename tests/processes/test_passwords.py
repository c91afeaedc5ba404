"""Passwords of worker processes: taken from the environment, and never shown."""

import os
from urllib.parse import urlsplit

import pytest

from learner.errors import ServerError
from learner.service.store import acl, connection
from learner.service.wire import Keys

SECRET = "s3cr3t-of-nobody"  # noqa: S105


def test_the_environment_s_password_opens_a_role(client, redis_url, create, start, monkeypatch, tmp_path):
    create()
    client.execute_command(*acl.set_user("m", "worker", "of a file"))
    (tmp_path / "password").write_text("of a file\n")
    monkeypatch.setenv("REDIS_USERNAME", "m-worker")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    client.xadd(Keys("m").examples, {"features": '{"a": 1}', "target": "1"})
    where = f"redis://127.0.0.1:{urlsplit(redis_url).port}/0"
    process = start(where, "worker", "m", "--burst", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert '"examples": 1' in out
    client.execute_command("ACL", "DELUSER", "m-worker")


def test_a_password_file_that_others_may_read_is_warned_of_and_one_they_may_write_is_refused(
    redis_url, monkeypatch, tmp_path, capsys
):
    path = tmp_path / "password"
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(path))
    where = "redis://127.0.0.1:1/0"
    path.write_text("x\n")
    for mode, warned in ((0o600, 0), (0o644, 1), (0o644, 0)):  # said once
        path.chmod(mode)
        connection._require_own.cache_clear() if mode == 0o600 or warned else None
        assert connection.credentials(where) == {"password": "x"}
        assert capsys.readouterr().err.count("Warning: other users may read") == warned
    connection._require_own.cache_clear()
    path.chmod(0o666)
    with pytest.raises(ServerError, match=r"be writable by no other user \(got user \d+, mode 666\)"):
        connection.credentials(where)
    path.chmod(0o600)
    another = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: another)
    if another > 1:
        with pytest.raises(ServerError, match=rf"must belong to user {another}, or to root"):
            connection.credentials(where)


@pytest.mark.skipif(os.getuid() != 0, reason="needs a file of root's")
def test_a_file_that_root_lets_only_our_group_read_is_not_warned_of(monkeypatch, tmp_path, capsys):
    path = tmp_path / "password"
    path.write_text("x\n")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(path))
    monkeypatch.setattr(os, "getuid", lambda: 10001)
    for mode, warned in ((0o440, 0), (0o444, 1)):
        path.chmod(mode)
        connection._require_own.cache_clear()
        assert connection.credentials("redis://127.0.0.1:1/0") == {"password": "x"}
        assert capsys.readouterr().err.count("Warning: other users may read") == warned
    connection._require_own.cache_clear()


def test_a_wrong_password_is_not_shown_either(redis_url, start):
    port = urlsplit(redis_url).port
    process = start(f"redis://:{SECRET}@127.0.0.1:{port}/0", "worker", "m")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert SECRET not in out + err
