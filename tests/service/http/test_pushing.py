"""Examples and outcomes over HTTP: checked as ``learner push`` checks them, with the same errors; nothing accepted is lost."""

import json

import pytest

pytest.importorskip("uvicorn", reason="needs the extra serve")
from learner import Client
from learner.http.bodies import MAX_BODY_BYTES
from learner.service.store import Store
from learner.service.wire import MAX_BATCH, MAX_VALUE_BYTES
from tests.command_line import BAD_LINE, FILES, errors, invoke, reference
from tests.conftest import state_bytes, wait_until
from tests.streams import KEYS

LINES = "application/x-ndjson"
BAD_LINES = [
    b'{"a": 1, "a": 2, "target": 1}',
    b'{"a": NaN, "target": 1}',
    b'{"a": 1e999, "target": 1}',
    b'{"a": %d, "target": 1}' % 2**70,
    b'{"a": %s, "target": 1}' % (b"9" * 5000),
    b'{"a": "\xff", "target": 1}',
    b'{"a": "\\ud800", "target": 1}',
    b'{"a": %s, "target": 1}' % (b"[" * 2000 + b"]" * 2000),
    b'{"a": "%s", "target": 1}' % (b"x" * MAX_VALUE_BYTES),
    b'{"target": [1], "a": 1}',
    b'{"target": 1, "record": 7}',
    b'{"target": 1, "record": {}, "extra": 1}',
    b'{"target": 1, "features": {"a": "x"}}',
    b'{"target": 1, "features": {"": 1}}',
    b'{"target": 1, "record": {}, "importance": -1}',
    b"[1]",
    b"7",
    b"{",
]


@pytest.mark.parametrize(("form", "kind"), [("jsonl", LINES), ("json", "application/json")])
def test_examples_are_learned_as_those_of_a_file(http, create, drain, file, form, kind):
    create(featurizer="fields")
    content = FILES[form] if form == "jsonl" else json.dumps([json.loads(line) for line in FILES["jsonl"].splitlines()])
    content = content if isinstance(content, bytes) else content.encode()
    answer = http("POST", "/models/m/examples", content, kind)
    assert (answer.status, answer.data) == (200, {"model": "m", "pushed": 60, "bad": 0, "errors": []})
    assert state_bytes(drain().model) == state_bytes(reference("jsonl", file("x.jsonl", FILES["jsonl"])))


def test_one_example_and_features_and_a_target_of_another_name(http, create, drain):
    create(featurizer="fields", target="late")
    path = "/models/m/examples"
    assert http("POST", path, b'{\n "a": 1,\n "late": 1\n}').data["pushed"] == 1
    assert http("POST", path, {"late": 0, "features": {"b": 2.5}, "importance": 2}).data["pushed"] == 1
    assert http("POST", path + "?target=y", {"y": 1, "a": 2}).data["pushed"] == 1
    refused = http("POST", path, {"target": 1, "a": 2})
    assert (refused.status, refused.data["error"]) == (
        400,
        "target must be a key of the objects: target, a (got 'late': see --target)",
    )
    assert drain().model.n_examples == 3


def test_bad_examples_are_named_by_line_in_the_words_of_push(http, redis_url, create, drain, file, monkeypatch):
    create(featurizer="fields")
    monkeypatch.setenv("REDIS_URL", redis_url)
    good = '{"a": "é", "target": 1}'.encode()
    content = b"\n".join([good, *BAD_LINES, b"", good])
    answer = http("POST", "/models/m/examples", content, LINES)
    assert (answer.status, answer.data["pushed"], answer.data["bad"]) == (207, 2, len(BAD_LINES))
    assert [each["line"] for each in answer.data["errors"]] == list(range(2, len(BAD_LINES) + 2))
    monkeypatch.setattr("learner.commands.examples.SHOWN_ERRORS", 100)
    pushed = invoke("push", "m", file("x.jsonl", content), code=3)
    named = [f"Error: line {each['line']}: {each['error']}" for each in answer.data["errors"]]
    assert sorted(errors(pushed)) == sorted(named)
    assert drain().model.n_examples == 4
    none = http("POST", "/models/m/examples", good + b"\n" + BAD_LINE["jsonl"], LINES)
    assert (none.status, none.data["pushed"]) == (207, 1)
    only = http("POST", "/models/m/examples", b'[{"a": 1, "target": [1]}]')
    assert (only.status, only.data["pushed"], only.data["errors"][0]["line"]) == (400, 0, 1)
    broken = http("POST", "/models/m/examples", b'[{"a": 1, "target": 1}, {"a": ')
    assert (broken.status, broken.data["pushed"]) == (207, 1)
    assert "nothing after it is read" in broken.data["errors"][0]["error"]


def test_of_very_many_bad_examples_the_first_are_named(http, create):
    create(featurizer="fields")
    answer = http("POST", "/models/m/examples", b'{"target": 1}\n' + b"{\n" * 200_000, LINES)
    assert (answer.status, answer.data["pushed"], answer.data["bad"]) == (207, 1, 200_000)
    assert [each["line"] for each in answer.data["errors"]] == list(range(2, 1002))


def test_a_push_with_an_id_that_is_repeated_is_learned_once(http, create, drain):
    create(featurizer="fields")
    for _ in range(2):
        answer = http("POST", "/models/m/examples?id=monday", FILES["jsonl"] * 5, LINES)
        assert (answer.status, answer.data["pushed"]) == (200, 300)
    assert drain().model.n_examples == 300
    for name in ("", "x" * 233):
        refused = http("POST", f"/models/m/examples?id={name}", FILES["jsonl"], LINES)
        assert (refused.status, refused.data["error"]) == (400, f"id must have 1 to 232 bytes (got {len(name)})")


def test_while_too_much_waits_nothing_is_pushed(http, client, create, drain):
    create(featurizer="fields")
    path = "/models/m/examples?max_lag="
    assert http("POST", path + "0", FILES["jsonl"], LINES).data["pushed"] == 60
    refused = http("POST", path + "0", FILES["jsonl"], LINES)
    assert refused.status == 429
    assert refused.data == {"error": "1 entries wait to be learned, more than 0: nothing was pushed", "pushed": 0}
    assert refused.headers["retry-after"] == "1"
    assert http("POST", path + "1", FILES["jsonl"], LINES).status == 200
    assert http("POST", path + "x", FILES["jsonl"], LINES).status == 400
    assert client.xlen(KEYS.examples) == 2


def test_a_server_that_takes_no_more_is_503_with_how_many_were_pushed(http, client, create):
    create(featurizer="fields")
    limit = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", 1)
    try:
        answer = http("POST", "/models/m/examples", FILES["jsonl"], LINES)
    finally:
        client.config_set("maxmemory", limit)
    assert (answer.status, answer.data) == (
        503,
        {"error": "server: the server's memory is full (maxmemory)", "pushed": 0},
    )


def test_outcomes_are_learned_from_what_was_answered(http, redis_url, client, create, serving):
    create(featurizer="fields")
    path = "/models/m/outcomes"
    with serving() as owner:
        for i in range(5):
            http("POST", "/models/m/predict", {"record": {"a": i}, "outcome_id": f"order-{i}"})
        assert Store(client, "m").status()["kept"] == 5
        assert http("POST", path, {"id": "order-0", "target": 1}).data == {
            "model": "m",
            "pushed": 1,
            "bad": 0,
            "errors": [],
        }
        assert http("POST", path, [{"id": "order-1", "target": True, "importance": 2}]).data["pushed"] == 1
        bad = [{"id": 7, "target": 1}, {"id": "x"}, {"id": "x", "target": 1, "y": 1}, {"id": "x", "target": None}, 7]
        bad += [{"id": "x", "target": 1, "importance": -1}]
        lines = b"\n".join(json.dumps(each).encode() for each in [{"id": "order-2", "target": 0}, *bad])
        answer = http("POST", path, lines, LINES)
        assert (answer.status, answer.data["pushed"]) == (207, 1)
        assert [each["line"] for each in answer.data["errors"]] == [2, 3, 4, 5, 6, 7]
        assert answer.data["errors"][0]["error"] == "outcome_id must be a string of 1 to 256 bytes (got 7)"
        assert http("POST", path, bad[:1]).status == 400
        many = http("POST", path, b"{}\n" * (MAX_BATCH + 1), LINES)
        assert (many.status, many.data["error"]) == (400, "outcomes must be at most 10000 at once (got more)")
        wait_until(lambda: Client("m", redis_url).lag() == 0)
    assert owner.learning.model.n_examples == 3


def test_a_model_that_is_not_there_takes_nothing(http, client, create):
    create(featurizer="fields")
    for path, body in (("examples", {"a": 1, "target": 1}), ("outcomes", {"id": "a", "target": 1}), ("outcomes", [])):
        answer = http("POST", f"/models/nosuch/{path}", body)
        assert (answer.status, answer.data["error"]) == (
            404,
            "model 'nosuch' does not exist: make it with 'learner create nosuch'",
        )
    assert not list(client.scan_iter("*nosuch*"))


def test_a_body_beyond_the_bound_is_refused_while_it_comes(http, create, client):
    create(featurizer="fields")
    head = b"POST /models/m/examples HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n"
    assert http.raw(head + b"content-length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1)).startswith(b"HTTP/1.1 413 ")
    chunk = b"100000\r\n" + b'{"a": 1, "target": 1}\n'.ljust(1 << 20) + b"\r\n"
    pieces = [chunk] * (MAX_BODY_BYTES // (1 << 20) + 1)
    assert http.raw(head + b"transfer-encoding: chunked\r\n\r\n", *pieces).startswith(b"HTTP/1.1 413 ")
    assert not client.xlen(KEYS.examples)
    assert http("POST", "/models/m/examples", FILES["jsonl"], LINES, {"Content-Encoding": "gzip"}).status == 415
