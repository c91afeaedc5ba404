"""What somebody may send that is no request, or is one that never ends: the server goes on."""

import asyncio
import socket

import pytest

pytest.importorskip("uvicorn", reason="needs the extra serve")
import starlette.requests
import uvicorn

from learner.http import bodies, running
from learner.http.application import _of_fault
from learner.http.bodies import Bodies
from learner.http.refusals import RefusedError
from learner.http.tokens import Tokens
from learner.model import Model
from learner.service.store import Store
from learner.service.store.connection import client as connect
from tests.service.http.conftest import serve

MANY = 1 << 20  # bytes of a head, more than are read at a time
WHOLE = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
HEAD = b"POST /models/m/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 1000,
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: localhost\r\nx y: 1\r\n\r\n",
        HEAD + b"content-length: x\r\n\r\n",
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        HEAD + b"transfer-encoding: chunked\r\n\r\nx\r\n{}\r\n",
        HEAD + b"".join(b"x%d: %s\r\n" % (i, b"y" * 1000) for i in range(MANY // 1000)) + b"\r\n",
        b"GET /" + b"x" * MANY + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_with_400_and_the_connection_closed(http, data):
    answer = http.raw(data)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert http("GET", "/health").status == 200


def request(pieces, headers=(), wait=0.0):
    """A request whose body comes in pieces, and which may then stop coming."""
    left = list(pieces)

    async def receive():
        if not left:
            await asyncio.sleep(wait)
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    given = [(b"content-type", b"application/json"), *headers]
    return starlette.requests.Request({"type": "http", "method": "POST", "headers": given}, receive)


async def read(taken, asked):
    async with taken.read(asked, "application/json") as body:
        return body


def refused(taken, asked):
    with pytest.raises(RefusedError) as error:
        asyncio.run(read(taken, asked))
    return error.value.status, str(error.value)


def test_a_body_that_does_not_come_is_given_up(monkeypatch):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.01)
    status, text = refused(Bodies(), request([b"{"], wait=30.0))
    assert (status, text) == (408, "body must come within 0.01 s (it did not)")


def test_bodies_have_room_together_and_give_it_back(monkeypatch):
    monkeypatch.setattr(bodies, "MAX_TOGETHER_BYTES", 10)
    taken = Bodies()
    for _ in range(3):
        assert refused(taken, request([b"x" * 6, b"x" * 5])) == (
            503,
            "bodies of requests under way must be at most 10 bytes (they are more): try again",
        )
        assert asyncio.run(read(taken, request([b"x" * 6, b"x" * 4]))) == b"x" * 10


def test_a_fault_of_this_program_is_500_and_neither_the_answer_nor_the_log_holds_the_request(capsys):
    try:
        raise KeyError("a secret record")
    except KeyError as error:
        answer = _of_fault(request([b"a secret record"]), error)
    assert answer.status_code == 500
    said = capsys.readouterr().err
    assert "KeyError in test_a_fault_of_this_program" in said
    assert "secret" not in said + answer.body.decode()


def test_a_head_that_does_not_come_is_given_up(monkeypatch):
    """The first one of a connection, and a further one that has begun; a connection that waits for none may stay."""
    monkeypatch.setattr(running, "HEAD_SECONDS", 0.2)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def answers():
        config = uvicorn.Config(app, http=running._Protocol, lifespan="off", log_config=None)
        state = uvicorn.server.ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: running._Protocol(config, state, {}), "127.0.0.1", 0
        )
        found = []
        for first, rest in ((b"GET / HT", None), (b"", None), (WHOLE, b"GET / HT"), (WHOLE, WHOLE)):
            reading, writing = await asyncio.open_connection(*server.sockets[0].getsockname())
            writing.write(first)
            if rest:
                await reading.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.3)
                writing.write(rest)
            try:
                found.append(await asyncio.wait_for(reading.read(100), 5))
            finally:
                writing.close()
        server.close()
        return found

    first, silent, further, kept = asyncio.run(answers())
    assert (first, silent, further) == (b"", b"", b"")
    assert kept.startswith(b"HTTP/1.1 200 OK")


def test_answers_are_not_held_back_for_acknowledgements():
    """An answer is sent in two pieces: without TCP_NODELAY the second one waits for 40 ms."""

    async def accepted():
        found = asyncio.get_running_loop().create_future()
        listener = running._listening("127.0.0.1", 0, Tokens(None))
        server = await asyncio.start_server(lambda _, writing: found.set_result(writing), sock=listener)
        _, writing = await asyncio.open_connection(*listener.getsockname())
        is_set = (await found).get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writing.close()
        server.close()
        return is_set

    assert asyncio.run(accepted())


def test_who_goes_away_while_it_waits_does_no_harm(http, client, create, serving):
    create(featurizer="fields")
    http.raw_without_reading(HEAD + b"content-length: 14\r\n\r\n" + b'{"record": {}}')
    http.raw_without_reading(HEAD + b"content-length: 14\r\n\r\n" + b'{"rec')
    with serving():
        assert http("POST", "/models/m/predict", {"record": {}, "timeout": 30}).status == 200


def test_a_server_that_hangs_is_503_and_health_goes_on(hanging, create):
    url, hang = hanging
    with connect(url) as connection:
        Store(connection, "m").create(Model(featurizer="fields").to_spec())
    process, http = serve(url)
    try:
        assert http("GET", "/models/m").status == 200
        hang()
        assert http("GET", "/health").status == 200
        answer = http("GET", "/ready")
        assert (answer.status, answer.data["error"]) == (503, "server must answer within 2 s (it did not)")
    finally:
        process.terminate()
        process.communicate(timeout=40)
    assert process.returncode == 0
