"""``learner serve`` as a process beside the session's server, and what asks it."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from http.client import HTTPConnection
from typing import Any, NamedTuple

import pytest

from tests.command_line import file  # noqa: F401


class Answer(NamedTuple):
    """What came back: the status, the headers by lower-case name, and the body."""

    status: int
    headers: "dict[str, str]"
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)


class Http:
    """Asks a server, over a new connection each time."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "application/json",
        headers: "dict[str, str] | None" = None,
    ) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {} if body is None else {"Content-Type": kind}
        connection.request(method, path, data, sent | (headers or {}))
        response = connection.getresponse()
        answer = Answer(response.status, {n.lower(): v for n, v in response.getheaders()}, response.read())
        connection.close()
        return answer

    def raw_without_reading(self, data: bytes) -> None:
        """Send bytes and go away."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(data)

    def raw(self, *pieces: bytes) -> bytes:
        """Send bytes as they are, and return all that comes back until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            with contextlib.suppress(ConnectionError):  # it may be closed before all is sent
                for piece in pieces:
                    connection.sendall(piece)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(1 << 16):
                    answer += piece
            return answer


def serve(url: str, *options: str) -> "tuple[subprocess.Popen[str], Http]":
    """Start ``learner serve`` on any port that is free."""
    pytest.importorskip("uvicorn", reason="needs the extra serve")
    process = subprocess.Popen(
        [sys.executable, "-m", "learner", "serve", "--listen", "127.0.0.1:0", *options],
        env={**os.environ, "REDIS_URL": url},
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stderr.readline()
    if not (found := re.search(r"url=http://127\.0\.0\.1:(\d+)", line)):
        process.kill()
        pytest.fail(line + process.communicate()[1])
    return process, Http(int(found[1]))


@pytest.fixture(scope="package")
def serving_http(server):
    """A server without tokens, for all tests of this folder."""
    process, http = serve(server)
    yield http
    process.terminate()
    assert process.communicate(timeout=30)[1].count("\n") == 1, "the log must have one line more: that it stopped"
    assert process.returncode == 0


@pytest.fixture
def http(serving_http, redis_url):
    """What asks that server, whose models are gone."""
    return serving_http
