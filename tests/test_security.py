"""The way to the server: TLS, passwords that stay where they are, and what the README says of bounds and roles."""

import json
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from click.testing import CliRunner

import worker
from learner import layout
from learner.client import Client
from learner.commands import main
from learner.errors import ServerError
from learner.service import wire
from learner.service.store import acl, journal, segments, writing
from learner.service.store.connection import client as connect
from learner.service.wire import Keys
from tests.conftest import wait_until

ROOT = Path(__file__).parent.parent


# ---- TLS -------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that only its file vouches for, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=learner", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-out", paths[0], "-keyout", paths[1]),
        ],
        check=True,
        capture_output=True,
    )
    return paths


@pytest.fixture
def tls_port(certificate, redis_url):
    """The port of something that takes TLS off and passes everything on to the server, whose binary has none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    port = urlsplit(redis_url).port

    def copy(source, sink):
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for side in (source, sink):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def serve(raw):
        with (
            suppress(OSError),
            context.wrap_socket(raw, server_side=True) as near,
            socket.create_connection(("127.0.0.1", port)) as far,
        ):
            back = threading.Thread(target=copy, args=(far, near), daemon=True)
            back.start()
            copy(near, far)
            back.join()

    def accept():
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listening.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def test_a_worker_and_a_client_speak_tls_when_the_url_says_so(
    client, redis_url, create, start_worker, tls_port, certificate
):
    create()
    url = f"rediss://:{urlsplit(redis_url).password}@127.0.0.1:{tls_port}/0?ssl_ca_certs={certificate[0]}"
    process = start_worker(url, "m", "--commit-seconds", "0.05")
    producer = Client("m", url)
    producer.push(features={"a": 1}, target=1)
    wait_until(lambda: producer.lag() == 0)
    assert producer.predict(features={"a": 1}) > 0.5
    process.terminate()
    assert process.wait(10) == 0


@pytest.mark.parametrize(("host", "ca"), [("127.0.0.1", False), ("localhost", True)])
def test_a_certificate_nobody_vouches_for_or_of_another_host_is_refused(redis_url, tls_port, certificate, host, ca):
    query = f"?ssl_ca_certs={certificate[0]}" if ca else ""
    url = f"rediss://:{urlsplit(redis_url).password}@{host}:{tls_port}/0{query}"
    with connect(url) as connection, pytest.raises(redis.ConnectionError, match="certificate"):
        connection.ping()


# ---- passwords -------------------------------------------------------------------------------------------------------------
def credentials(url):
    options = connect(url).connection_pool.connection_kwargs
    return options.get("username"), options.get("password")


def test_a_url_without_a_password_takes_it_from_the_environment_or_a_file(monkeypatch, tmp_path):
    assert credentials("redis://h/0") == (None, None)
    (tmp_path / "password").write_text("from a file\n")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    assert credentials("redis://h/0") == (None, "from a file")
    monkeypatch.setenv("REDIS_PASSWORD", "of the environment")
    monkeypatch.setenv("REDIS_USERNAME", "ann")
    assert credentials("rediss://h/0") == ("ann", "of the environment")
    assert credentials("unix:///s") == ("ann", "of the environment")
    assert credentials("redis://bob:own@h/0") == ("bob", "own")
    assert credentials("redis://:own@h/0") == (None, "own")
    assert credentials("unix:///s?password=own") == (None, "own")
    monkeypatch.delenv("REDIS_PASSWORD")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(tmp_path / "missing"))
    with pytest.raises(ServerError, match="REDIS_PASSWORD_FILE: must be a file with the password"):
        connect("redis://h/0")


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


SECRET = "s3cr3t-of-nobody"  # noqa: S105


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@127.0.0.1:1/0",
        f"redis://ann:{SECRET}@127.0.0.1:1/0",
        f"rediss://:{SECRET}@127.0.0.1:1/0",
        f"unix:///nosuch.sock?password={SECRET}",
        f"http://:{SECRET}@127.0.0.1",
        f"redis://:{SECRET}@127.0.0.1:port/0",
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ["status", "m"],
        ["push", "m", "-"],
        ["predict", "m", "{}"],
        ["worker", "m", "--burst"],
        ["rejected", "list", "m"],
    ],
)
def test_no_message_shows_a_password(url, command, monkeypatch):
    monkeypatch.setenv("REDIS_URL", url)
    result = CliRunner().invoke(main, command, input="")
    assert result.exit_code == 2
    assert SECRET not in result.output
    assert SECRET not in str(result.exception)


def test_a_wrong_password_is_not_shown_either(redis_url, start):
    port = urlsplit(redis_url).port
    process = start(f"redis://:{SECRET}@127.0.0.1:{port}/0", "worker", "m")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert SECRET not in out + err


def test_a_password_on_the_command_line_is_warned_of(redis_url):
    result = CliRunner().invoke(main, ["status", "m", "--redis-url", f"redis://:{SECRET}@127.0.0.1:1/0"])
    assert "every user of this machine sees a password on the command line" in result.stderr
    result = CliRunner().invoke(main, ["status", "m", "--redis-url", "redis://127.0.0.1:1/0"])
    assert "command line" not in result.stderr


# ---- learner acl -----------------------------------------------------------------------------------------------------------
def test_the_rules_are_printed_for_people_and_programs_and_run_by_the_server(client, tmp_path, monkeypatch):
    path = tmp_path / "passwords.json"
    result = CliRunner().invoke(main, ["acl", "m", "--passwords", str(path)])
    assert result.exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    found = json.loads(path.read_text())
    assert set(found) == set(acl.ROLES)
    assert len(set(found.values())) == 4
    assert not any(password in result.output for password in found.values())

    for line in result.stdout.splitlines():
        assert client.execute_command(*shlex.split(line)) in (True, b"OK")
        client.execute_command("ACL", "DELUSER", shlex.split(line)[2])
    again = CliRunner().invoke(main, ["acl", "m", "--passwords", str(path)])
    assert again.output == result.output
    monkeypatch.setenv("LEARNER_ASKER_PASSWORD", "mine")
    one = CliRunner().invoke(main, ["acl", "m", "--role", "asker", "--json"])
    assert json.loads(one.stdout)["command"] == acl.set_user("m", "asker", "mine")
    assert one.stderr == ""
    nobody = CliRunner().invoke(main, ["acl", "m", "--role", "worker"])
    assert "m-worker has no password yet" in nobody.stderr
    path.chmod(0o644)
    assert "for your eyes only" in CliRunner().invoke(main, ["acl", "m", "--passwords", str(path)]).stderr


# ---- what the README says --------------------------------------------------------------------------------------------------
BOUNDS = {
    "an entry or a request": (wire.MAX_ENTRY_BYTES, "bytes"),
    "a record, or features in JSON": (wire.MAX_VALUE_BYTES, "bytes"),
    "maps and lists in one another": (wire.MAX_DEPTH, ""),
    "examples in an entry, or feature maps in a request": (wire.MAX_BATCH, ""),
    "features in an example": (layout.MAX_FEATURES, ""),
    "a feature's name, a target, an importance, an id": (layout.MAX_NAME_BYTES, "bytes"),
    "contributions in a reply": (worker.MAX_EXPLAINED, ""),
    "of a rejected entry kept": (wire.REJECTED_BYTES, "bytes"),
    "rejected entries kept": (writing.MAX_REJECTED, ""),
    "requests that wait": (worker.MAX_WAITING, ""),
    "replies that nobody fetches, a key": (worker.MAX_REPLIES, ""),
}


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="the README is not installed with the package")
def test_the_readme_s_bounds_are_the_constants():
    text = (ROOT / "README.md").read_text().partition("## Hostile input")[2].partition("\n## ")[0]
    table = dict(re.findall(r"^\| (.*?) \| ([\d,]+(?: bytes)?) \|$", text, re.MULTILINE))
    assert table == {what: f"{n:,} {unit}".strip() for what, (n, unit) in BOUNDS.items()}
    assert wire.MAX_SHORT_BYTES == layout.MAX_NAME_BYTES
    for number in (layout.MAX_NUMBER, layout.MAX_IMPORTANCE):
        assert f"{number:g}".replace("+", "") in text
    assert f"share of {worker.MAX_REJECTED_SHARE:g} of the last {worker.REJECTED_WINDOW:,}" in text


def test_the_embedded_server_takes_all_that_a_commit_writes_and_nothing_larger(client):
    assert int(client.config_get("proto-max-bulk-len")["proto-max-bulk-len"]) == journal.MAX_DELTA_BYTES
    assert segments.SEGMENT_BYTES <= journal.MAX_DELTA_BYTES
