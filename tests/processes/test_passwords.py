"""Passwords of worker processes: taken from the environment, and never shown."""

from urllib.parse import urlsplit

from learner.service.store import acl
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


def test_a_wrong_password_is_not_shown_either(redis_url, start):
    port = urlsplit(redis_url).port
    process = start(f"redis://:{SECRET}@127.0.0.1:{port}/0", "worker", "m")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert SECRET not in out + err
