"""Questions over HTTP: the answers are the wire's to the last digit, and so are the refusals."""

import asyncio
import contextlib
import json
import math
import re
import socket
import threading

import pytest

pytest.importorskip("uvicorn", reason="needs the extra serve")
from learner import Client
from learner.errors import LearnerError
from learner.http import application
from learner.http import asking as asking_module
from learner.http.asking import Asking
from learner.http.refusals import RefusedError
from learner.service.store.durability import Durability
from learner.service.wire import MAX_BATCH, MAX_VALUE_BYTES
from tests.benchmarks.web import load, over_http
from tests.conftest import wait_until
from tests.streams import KEYS

RECORDS = [{"a": i % 7 / 3, "word": f"w{i % 5}", "b": -i / 7} for i in range(60)]
KINDS = {
    "labels": ({"labels": ["ham", "spam"]}, lambda i: ("ham", "spam")[i % 2]),
    "multiclass": ({"task": "multiclass"}, lambda i: f"class {i % 3}"),
    "regression": ({"task": "regression"}, lambda i: math.sin(i) / 3),
}


def asked_on_the_wire(url, fields):
    return Client("m", url, timeout=30).ask({name: value for name, value in fields.items() if value is not None})


def same(over_http, on_the_wire):
    """Whether two replies are the same JSON, but for the number of the request, which counts among its bytes."""
    texts = (json.dumps(reply | {"id": ""}) for reply in (over_http, on_the_wire))
    return len({re.sub(r"bytes \(got \d+\)", "bytes (got many)", text) for text in texts}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_wire_s_to_the_last_digit(http, redis_url, create, serving, kind):
    options, target = KINDS[kind]
    create(featurizer="fields", columns={"a": "number", "c": "number"}, **options)
    client = Client("m", redis_url, timeout=30)
    client.push_many((target(i), record) for i, record in enumerate(RECORDS))
    with serving(commit_seconds=1000.0) as owner:
        wait_until(lambda: owner.model.n_examples == len(RECORDS))  # then both answers know the same
        answer = http("POST", "/models/m/predict", {"record": RECORDS[3]})
        assert answer.status == 200
        assert {"task", "score", "prediction", "missing_fields"} <= answer.data.keys()
        assert same(answer.data, asked_on_the_wire(redis_url, {"record": json.dumps(RECORDS[3])}))
        for fields, body in (
            ({"record": '{"new": 1}'}, {"record": {"new": 1}}),
            ({"features": '{"a": 0.1, "b": 1}'}, {"features": {"a": 0.1, "b": 1}}),
            ({"record": '{"a": 2}', "explain": "1"}, {"record": {"a": 2}, "explain": True, "timeout": 20}),
            ({"record": "{}"}, {"record": {}, "explain": False}),
        ):
            answer = http("POST", "/models/m/predict", body)
            assert answer.status == 200
            assert same(answer.data, asked_on_the_wire(redis_url, fields))
            assert ("contributions" in answer.data) == ("explain" in fields)
        many = http("POST", "/models/m/predict", {"records": RECORDS})
        assert (many.status, many.data) == (200, {"answers": client.ask_many(RECORDS, probabilities=True)})
        batch = [{"a": i / 3, "b": 1.0} for i in range(5)]
        many = http("POST", "/models/m/predict", {"batch": batch})
        assert many.data == {"answers": client.ask_many(batch, features=True, probabilities=True)}


BAD_RECORDS = {  # a record's JSON as it comes
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice, deeper": b'{"a": {"b": 1, "b": 2}}',
    "a number too large": b'{"a": 1e999}',
    "an integer of thousands of digits": b'{"a": %s}' % (b"9" * 5000),
    "an integer beyond 64 bits": b'{"a": %d}' % 2**70,
    "no UTF-8": b'{"a": "\xff"}',
    "half of a surrogate pair": b'{"a": "\\ud800"}',
    "33 deep": b"[" * 33 + b"]" * 33,
    "a thousand deep": b"[" * 990 + b"]" * 990,
    "brackets that don't fit": b'{"a": [1}, 2]',
    "no value": b'{"a": }',
    "words": b"tru",
    "a comma too many": b"[1,]",
    "brackets in a text": b'{"a": "]}", "b": "\\"]}"}',
    "too large": b'{"a": "%s"}' % (b"x" * MAX_VALUE_BYTES),
    "too large for a request": b'{"a": "%s"}' % (b"x" * 5 * MAX_VALUE_BYTES),
    "no map": b"5",
    "null": b"null",
    "a name too long": b'{"%s": 1}' % (b"x" * 300),
    "too many features": json.dumps({f"f{i}": 1 for i in range(10_001)}).encode(),
}
BAD_FEATURES = {
    "a text": b'{"a": "x"}',
    "a list": b"[1, 2]",
    "a number": b"7",
    "a key twice": b'{"a": 1, "a": 2}',
    "infinite": b'{"a": 1e400}',
    "above the bound": b'{"a": 1e31}',
    "no name": b'{"": 1}',
}
BAD = [("record", *item) for item in BAD_RECORDS.items()] + [("features", *item) for item in BAD_FEATURES.items()]


def test_refusals_are_the_wire_s_to_the_letter(http, redis_url, create, serving):
    """A record goes to the worker as it came, so whatever is wrong with it is said in the same words; or nothing is wrong."""
    create(featurizer="fields")
    n_refused = 0
    with serving():
        for field, what, data in BAD:
            try:
                status, expected = 200, asked_on_the_wire(redis_url, {field: data})
            except LearnerError as error:
                status, expected = 400, {"error": str(error)}
                n_refused += 1
            answer = http("POST", "/models/m/predict", b'{"%s": %s, "timeout": 30}' % (field.encode(), data))
            assert answer.status == status, what
            assert same(answer.data, expected), (what, answer.data, expected)
    assert n_refused >= len(BAD) - 6, "most of them must be wrong"


BODIES = {  # bodies that are no question, and what their errors say
    b"": "(got b'': expecting '{')",
    b"{": "expecting a name",
    b"[1]": "expecting '{'",
    b"7": "expecting '{'",
    b'{"record": {}} x': "more follows",
    b'{"record": {}': "expecting ',' or '}'",
    b'{"record" {}}': "expecting ':'",
    b'{"record": }': "expecting a value",
    b'{"record": ]}': "expecting a value",
    b'{"record": {"a": [}}': "expecting ',' or '}'",
    b'{"record": {"a": [}}}': "record must be JSON",
    b'{"records": [{}, {]}': "expecting",
    b'{"record": "abc': "expecting ',' or '}'",
    b'{"record": "abc\\': "expecting ',' or '}'",
    b'{"record": 1 2}': "expecting ',' or '}'",
    b'{"record": , "timeout": 1}': "expecting a value",
    b"{7: {}}": "expecting a name",
    b"{[[]]: {}}": "expecting a name",
    b'{"rec\nord": {}}': "Invalid control character",
    b'{"record": {},}': "expecting",
    b'{"record": {}, "record": {}}': "'record' is there twice",
    b'{"record": {"record": 1}, "re\\u0063ord": {}}': "'record' is there twice",
    b'{"record": %s}' % (b"[" * 100_000): "expecting a value",
    b'{"record": %s%s}' % (b"[" * 100_000, b"]" * 100_000): "record must be JSON",
    b'\xff{"record": {}}': "expecting '{'",
    b"{}": "body must have one of record, features, records, batch, and may have explain, outcome_id, timeout (got 'nothing')",
    b'{"record": {}, "features": {}}': "(got 'features, record')",
    b'{"record": {}, "x": 1}': "(got 'x')",
    b'{"record": {}, "explain": 1}': "explain must be true or false (got 1)",
    b'{"record": {}, "timeout": 0}': "timeout must be seconds above 0, at most 60 (got 0)",
    b'{"record": {}, "timeout": 61}': "timeout must be",
    b'{"record": {}, "timeout": true}': "timeout must be",
    b'{"record": {}, "timeout": 1e999}': "timeout must be",
    b'{"record": {}, "outcome_id": 7}': "outcome_id must be a text (got 7)",
    b'{"record": {}, "outcome_id": "\\ud800"}': "outcome_id must have no lone surrogates",
    b'{"record": {}, "outcome_id": ""}': "outcome_id must have 1 to 256 bytes (got 0)",
    b'{"records": 7}': "expecting '['",
    b'{"records": [{}], "explain": true}': "explain and outcome_id must be of one record or features (got records)",
    b'{"batch": [{}], "outcome_id": "a"}': "explain and outcome_id must be of one record or features (got batch)",
}


def test_bodies_that_are_no_question_are_refused_with_the_rule(http, create, serving):
    create(featurizer="fields")
    with serving():
        for body, text in BODIES.items():
            answer = http("POST", "/models/m/predict", body)
            assert answer.status == 400, body
            assert text in answer.data["error"], body
        assert http("POST", "/models/m/predict", {"record": {}}).status == 200


def test_of_many_each_bad_one_has_its_error_in_its_place(http, redis_url, create, serving):
    create(featurizer="fields")
    bad = {
        b'{"a": NaN}': "NaN is not a number",
        b"[" * 40 + b"]" * 40: "32 deep",
        b'{"a": 1, "a": 2}': "'a' is there twice",
        b'{"a": "\\ud800"}': "no lone surrogates",
        b'{"a": %d}' % 2**70: "must be numbers, strings, lists and maps",
        b'"\xff"': "can't decode byte 0xff",
    }
    body = b'{"records": [{"a": 1}, %s, {"a": 2}]}' % b", ".join(bad)
    with serving():
        answer = http("POST", "/models/m/predict", body)
        assert answer.status == 200
        first, *errors, last = answer.data["answers"]
        assert [first, last] == Client("m", redis_url).ask_many([{"a": 1}, {"a": 2}], probabilities=True)
        for error, rule in zip(errors, bad.values(), strict=True):
            assert rule in error["error"]
        assert http("POST", "/models/m/predict", {"records": []}).data == {"answers": []}
        only = http("POST", "/models/m/predict", {"records": ["\ud800"]})
        assert (only.status, len(only.data["answers"])) == (400, 1)
        many = http("POST", "/models/m/predict", {"records": [{}] * (MAX_BATCH + 1)})
        assert (many.status, many.data["error"]) == (400, "records must be at most 10000 at once (got more)")


def test_answers_to_many_are_bounded_in_bytes_and_the_error_says_how_many_would_do(
    redis_url, create, serving, monkeypatch
):
    create(featurizer="fields")
    asking = Asking(redis_url, Durability("crash"))
    records = [{"a": 1}] * 250

    async def ask(n, take):
        body = json.dumps({"records": records[:n], "timeout": 30})
        try:
            return await asking.predict("m", body.encode(), take)
        finally:
            await asking.connections.aclose()

    with serving():
        taken = []
        status, whole = asyncio.run(ask(250, taken.append))
        n_bytes = sum(map(len, whole.pieces))
        assert (status, len(json.loads(b"".join(whole.pieces))["answers"])) == (200, 250)
        assert 0 < n_bytes - sum(taken) < 30, "room must be taken for all but the brackets"
        monkeypatch.setattr(asking_module, "MAX_ANSWERS_BYTES", n_bytes // 2)
        with pytest.raises(
            RefusedError, match=r"answers must be at most \d+ bytes together \(those to 200 of 250"
        ) as refused:
            asyncio.run(ask(250, taken.append))
        assert refused.value.status == 413
        fitting = int(str(refused.value).split()[-3])
        assert 100 < fitting <= 125
        assert asyncio.run(ask(fitting, taken.append))[0] == 200


@pytest.mark.parametrize("is_read", [True, False])
def test_a_large_answer_is_sent_in_pieces_while_it_is_read(monkeypatch, is_read):
    monkeypatch.setattr(application, "SEND_SECONDS", 0.01)
    sent = []

    async def send(message):
        sent.append(message)
        if not is_read and len(sent) == 2:
            await asyncio.sleep(30)

    response = application._Pieces(200, [b"[1, ", b"2]"])
    with contextlib.nullcontext() if is_read else pytest.raises(TimeoutError):
        asyncio.run(response({"type": "http"}, None, send))
    assert (b"content-length", b"6") in sent[0]["headers"]
    assert b"".join(message.get("body", b"") for message in sent) == (b"[1, 2]" if is_read else b"[1, ")


def test_without_a_worker_or_a_model_the_client_s_words_come_with_503_or_404(http, redis_url, create):
    create(featurizer="fields")
    question = {"record": {}, "timeout": 0.1}
    with pytest.raises(LearnerError) as silent:
        Client("m", redis_url, timeout=0.1).predict({})
    answer = http("POST", "/models/m/predict", question)
    assert (answer.status, answer.data) == (503, {"error": str(silent.value).replace("1 requests", "2 requests")})
    assert answer.headers["retry-after"] == "1"
    with pytest.raises(LearnerError) as missing:
        Client("nosuch", redis_url).predict({})
    answer = http("POST", "/models/nosuch/predict", question)
    assert (answer.status, answer.data) == (404, {"error": str(missing.value)})
    assert http("POST", "/models/m%2Fc/predict", question).data == {
        "error": "model must be one of its own for this (got the candidate 'm/c')"
    }


def test_a_request_that_came_too_late_or_among_too_many_is_504_or_503(http, redis_url, create, own):
    create(featurizer="fields")
    owner = own()
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(http("POST", "/models/m/predict", {"record": {}, "timeout": 10}))
    )
    asking.start()
    wait_until(lambda: owner.store.client.xlen(owner.store.keys.requests))
    owner.answering.clock.now_ms = lambda: 1e14  # type: ignore[method-assign]
    owner.answering.take(
        owner.store.stream.read_requests(owner.answering.last_request), more=False, examples_wait=False
    )
    asking.join(30)
    assert answers[0].status == 504
    assert "must be answered within its deadline_ms" in answers[0].data["error"]


def test_more_questions_than_redis_py_has_connections_wait_and_are_answered(http, client, create, serving):
    """They hold up nobody else, as when their worker is away."""
    create(featurizer="fields")
    body = b'{"record": {}, "timeout": 30}'
    head = b"POST /models/m/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with contextlib.ExitStack() as opened:
        address = ("127.0.0.1", http.port)
        connections = [opened.enter_context(socket.create_connection(address, 30)) for _ in range(120)]
        for connection in connections:
            connection.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: client.xlen(KEYS.requests) == 120)
        assert http("POST", "/models/m/examples", {"a": 1, "target": 1}).status == 200
        with serving():
            assert [connection.recv(15) for connection in connections] == [b"HTTP/1.1 200 OK"] * 120


def test_16_connections_are_all_answered(http, create, serving):
    create(featurizer="fields")
    body = lambda record: {"record": record}  # noqa: E731
    with serving():
        found = load(lambda: over_http(http.port, "/models/m/predict", body), 320)
    assert (found["requests"], found["failures"]) == (320, 0)
