"""The process of ``learner serve``: how it starts, what it refuses to start with, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from tests.command_line import invoke_failing
from tests.conftest import wait_until

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")
from tests.service.http.conftest import serve

TOKENS = "[[token]]\ntoken = 'sixteen-characters'\nroles = ['asker']\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_once_what_is_under_way_is_answered(client, redis_url, create, number):
    create(featurizer="fields")
    process, http = serve(redis_url)
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(http("POST", "/models/m/predict", {"record": {}, "timeout": 1}))
    )
    asking.start()
    wait_until(lambda: client.xlen("learner:{m}:requests"))
    process.send_signal(number)
    _, log = process.communicate(timeout=20)
    asking.join(10)
    assert (process.returncode, answers[0].status) == (0, 503)
    assert "no worker runs" in answers[0].data["error"]
    assert log.count("\n") == 1
    assert "event=stop" in log


def test_an_idle_connection_does_not_hold_the_end_up(redis_url):
    process, http = serve(redis_url)
    with socket.create_connection(("127.0.0.1", http.port)) as idle, socket.create_connection(("127.0.0.1", http.port)):
        idle.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert idle.recv(100).startswith(b"HTTP/1.1 200 OK")
        process.terminate()
        assert process.communicate(timeout=20)
    assert process.returncode == 0


def test_what_it_does_not_start_with_is_said_in_one_line(redis_url, tmp_path, monkeypatch):
    monkeypatch.setenv("REDIS_URL", redis_url)
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)
    tokens.chmod(0o644)
    rule = "must be an address of the loopback, as 127.0.0.1, without --tokens"
    assert invoke_failing("serve", "--listen", "0.0.0.0:0") == f"Error: --listen {rule} (got 0.0.0.0)"
    assert invoke_failing("serve", "--listen", "[::]:0") == f"Error: --listen {rule} (got ::)"
    assert "chmod 600" in invoke_failing("serve", "--tokens", str(tokens))
    wrong = invoke_failing("serve", "--listen", "nowhere")
    assert wrong == "Error: --listen must be HOST:PORT or PORT (got 'nowhere')"
    assert "must be an address of this machine" in invoke_failing("serve", "--listen", "no.such.host.invalid:0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wrong = invoke_failing("serve", "--listen", str(port))
        assert wrong.startswith(f"Error: --listen must be an address that is free (got 127.0.0.1:{port}: ")


def test_without_the_extra_it_says_what_to_install():
    hidden = "import sys; sys.modules['starlette'] = None; from learner.commands import main; main()"
    run = subprocess.run([sys.executable, "-c", hidden, "serve"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("Error: serve must have starlette and uvicorn: pip install 'streaming-learner[serve]'")


def test_with_tokens_it_listens_elsewhere_and_takes_any_host(redis_url, tmp_path):
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "learner",
            "serve",
            "--listen",
            "0.0.0.0:0",
            "--tokens",
            str(tokens),
            "--log-format",
            "json",
        ],
        env={**os.environ, "REDIS_URL": redis_url},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = json.loads(process.stderr.readline())
        assert (said["event"], "with tokens" in said["message"]) == ("serve", True)
        port = int(said["url"].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /models HTTP/1.1\r\nhost: example.org\r\nconnection: close\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_it_needs_no_numpy_until_somebody_asks_for_weights():
    loaded = "import json, sys, learner.http.running; print(json.dumps([*sys.modules]))"
    run = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert not {"numpy", "numba", "llvmlite", "rich", "prometheus_client"} & {*json.loads(run.stdout)}
