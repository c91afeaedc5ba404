"""Connections to a real server."""

import socket
import tempfile
import threading
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import redis

from learner.errors import ServerError
from learner.service.store.connection import client as connect
from learner.service.store.connection import require_version


class Proxy:
    """Passes everything on to a port, but with `drop` swallows the reply to the first XADD and hangs up."""

    def __init__(self, listening, port, drop=False):
        self.listening, self.port, self.drop, self.n_xadds = listening, port, drop, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=self.listening.accept()[:1], daemon=True).start()

    def serve(self, near):
        with near, socket.create_connection(("127.0.0.1", self.port)) as far, suppress(OSError):
            while sent := near.recv(65536):
                far.sendall(sent)
                received = far.recv(65536)
                self.n_xadds += b"XADD" in sent
                if self.drop and b"XADD" in sent and self.n_xadds == 1:
                    return
                near.sendall(received)


def test_a_command_whose_reply_is_lost_is_not_repeated(redis_url, client):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = Proxy(listening, urlsplit(redis_url).port, drop=True)
        url = redis_url.replace(f":{proxy.port}/", f":{listening.getsockname()[1]}/")
        with pytest.raises(redis.ConnectionError):
            connect(url).xadd("examples", {"record": "once"})
    assert client.xlen("examples") == 1
    assert proxy.n_xadds == 1


def test_a_unix_socket_will_do(redis_url):
    # not in tmp_path, whose length may exceed what a socket's path can have
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/s")
        listening.listen()
        Proxy(listening, urlsplit(redis_url).port)
        with connect(f"unix://{folder}/s?password={urlsplit(redis_url).password}") as connection:
            assert connection.ping()
        with connect(f"unix://{folder}/s?password=secret") as connection:
            with pytest.raises(ServerError, match=f"server {folder}/s: must answer INFO") as error:
                require_version(connection)
            assert "secret" not in str(error.value)


def test_a_connection_outwaits_the_command_that_blocks(redis_url):
    options = connect(redis_url, block_ms=2000).connection_pool.connection_kwargs
    assert options["socket_timeout"] == 7
    assert connect(redis_url).connection_pool.connection_kwargs["socket_timeout"] == 5
    assert connect(redis_url, block_ms=100).blpop("nothing", timeout=0.1) is None
