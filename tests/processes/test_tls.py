"""TLS between programs and the server."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pytest
import redis

from learner.client import AsyncClient, Client
from learner.service.store import Store
from learner.service.store.connection import client as connect
from tests.clusters import lone
from tests.conftest import wait_until


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
    """The port of the session's server for TLS."""
    with taken_off(certificate, urlsplit(redis_url).port) as port:
        yield port


@contextmanager
def taken_off(certificate, port):
    """The port of something that takes TLS off and passes everything on to a server, whose binary has none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

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


def test_the_nodes_of_a_cluster_are_found_over_tls(certificate):
    with lone() as (node, _), taken_off(certificate, node.port) as port:
        node.client.config_set("cluster-announce-port", port)
        url = f"rediss+cluster://:secret@127.0.0.1:{port}?ssl_ca_certs={certificate[0]}"
        with connect(url) as client:
            assert Store(client, "m").create({"seed": ""})
        client = Client("m", url)
        client.push(features={"a": 1}, target=1)
        assert client.lag() == 1
        assert asyncio.run(AsyncClient("m", url).lag()) == 1
