"""What models are and how they do, over HTTP: as the commands print it with --json."""

import json
import urllib.parse

import pytest

pytest.importorskip("uvicorn", reason="needs the extra serve")
from learner import Client
from learner.http.asking import MAX_ASKING
from learner.http.bodies import BODY_SECONDS, MAX_BODY_BYTES, MAX_TOGETHER_BYTES
from learner.http.description import document
from learner.http.operations import OPERATIONS
from learner.http.running import HEAD_SECONDS, KEPT_SECONDS
from learner.service.store import Store, candidates
from tests.command_line import FILES, invoke, strictly
from tests.pages import PAGES
from tests.streams import KEYS

FLEETING = {"now", "silent", "seen", "request_age", "bytes", "requests_waiting"}  # what another look finds changed


def lasting(value):
    """What stays from one look to the next."""
    if isinstance(value, dict):
        return {name: lasting(item) for name, item in value.items() if name not in FLEETING}
    return [lasting(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def learned(client, redis_url, create, drain, monkeypatch):
    """A model that has learned a little and rejected two, with a candidate; what runs a command."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    create(featurizer="fields")
    Client("m", redis_url).push_many((1 if i % 3 else 0, {"a": i % 7 + 0.5, "w": f"w{i % 5}"}) for i in range(60))
    Client("m", redis_url).push_many([(7, {"a": 1}), (7, {"b": "\ud7ff"})])
    drain()
    Store(client, "m").set({"history": "1h"})
    spec = Store(client, "m").spec()
    candidates.create(Store(client, "m"), "c", spec, {})
    return invoke


def printed(run, *arguments):
    text = run(*arguments, "--json").stdout
    return [strictly(line) for line in text.splitlines()]


def test_models_and_their_states_are_what_the_commands_print(http, learned):
    assert [lasting(http("GET", "/models").data)] == lasting(printed(learned, "top"))
    assert [row["model"] for row in http("GET", "/models").data] == ["m", "m/c"]
    for model in ("m", "m/c"):
        answer = http("GET", f"/models/{urllib.parse.quote(model, safe='')}")
        assert [lasting(answer.data)] == lasting(printed(learned, "status", model))
        assert answer.data["model"] == model


def test_rejected_entries_are_what_the_command_prints(http, learned):
    assert http("GET", "/models/m/rejected").data == printed(learned, "rejected", "list", "m")
    assert http("GET", "/models/m/rejected?n=1").data == printed(learned, "rejected", "list", "m", "-n", "1")
    assert http("GET", "/models/m%2Fc/rejected").data == []


def test_weights_are_those_of_the_command_and_by_effect_those_of_the_picture(http, redis_url, learned):
    committed = Client("m", redis_url).committed().weights
    answer = http("GET", "/models/m/weights?by=size&n=3").data
    assert (answer["model"], answer["commits"], answer["examples"]) == ("m", 1, 60)
    assert {each["name"]: each["weight"] for each in answer["weights"]} == printed(learned, "weights", "m", "-n", "3")[
        0
    ]
    for path, expected in (
        ("n=3", committed.strongest(3)),
        ("n=100&prefix=w", committed.strongest(100, "w")),
        ("prefix=nosuch", []),
    ):
        rows = http("GET", f"/models/m/weights?{path}").data["weights"]
        assert [tuple(row.values()) for row in rows] == expected
    assert http("GET", "/models/m%2Fc/weights").data["weights"] == []


def test_progress_is_a_curve_beside_the_constant_s(http, client, learned):
    answer = http("GET", "/models/m/progress").data
    last, latest = answer["points"][-1], Store(client, "m").latest_progress()
    assert (answer["model"], answer["loss"], answer["drifts"]) == ("m", "logistic", [])
    assert (last["examples"], last["progressive_loss"]) == (60.0, latest["loss"])
    assert last["constant_loss"] == latest["constant_loss"]
    assert http("GET", "/models/m%2Fc/progress").data["points"] == []
    client.xadd(KEYS.progress, {"examples": "x"})
    damaged = http("GET", "/models/m/progress")
    assert (damaged.status, damaged.data["error"].partition(":")[0]) == (
        500,
        "progress of 'm' was damaged or written by something else",
    )


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/models/nosuch", 404, "model 'nosuch' does not exist: make it with 'learner create nosuch'"),
        ("/models/m%2Fnosuch", 404, "'learner create nosuch --beside m'"),
        ("/models/m/nosuch", 404, "path must be one of the server's"),
        ("/models/", 404, "path must be one of the server's"),
        ("/models/m/", 404, "path must be one of the server's"),
        ("/models/../../etc/passwd", 404, "path must be one of the server's"),
        ("/models/..%2F..%2Fetc%2Fpasswd", 400, "candidate name must be 1 to 64 of the characters"),
        ("/models/%7Bm%7D", 400, "model name must be 1 to 64 of the characters"),
        ("/models/m%00", 400, "model name must be 1 to 64 of the characters"),
        ("/models/%ff", 400, "model name must be 1 to 64 of the characters"),
        ("/models/m%0A", 400, "model name must be 1 to 64 of the characters"),
        ("/models/" + "m" * 65, 400, "model name must be 1 to 64 of the characters"),
        ("/models/m/weights?n=0", 400, "n must be a whole number from 1 to 10000 (got '0')"),
        ("/models/m/weights?n=-1", 400, "n must be a whole number"),
        ("/models/m/weights?by=name", 400, "by must be effect or size (got 'name')"),
        ("/models/m/rejected?n=1001", 400, "n must be a whole number from 1 to 1000 (got '1001')"),
    ],
)
def test_what_is_not_there_or_breaks_a_rule_is_said(http, create, path, status, text):
    create(featurizer="fields")
    answer = http("GET", path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert text in answer.data["error"]


def test_health_and_readiness(http):
    for path in ("/health", "/ready"):
        assert (http("GET", path).status, http("GET", path).data) == (200, {"ok": True})


def test_other_methods_are_refused_and_head_has_no_body(http):
    for method, path in (
        ("DELETE", "/models/m"),
        ("OPTIONS", "/models/m"),
        ("GET", "/models/m/predict"),
        ("PUT", "/docs"),
    ):
        answer = http(method, path)
        assert answer.status == 405
        assert answer.headers["allow"]
        assert not [name for name in answer.headers if name.startswith("access-control")]
    head = http("HEAD", "/health")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "12")


def test_every_answer_has_the_headers_that_keep_browsers_safe(http):
    for path in ("/health", "/models", "/docs", "/openapi.json", "/metrics", "/nosuch"):
        headers = http("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
        assert "server" not in headers


def test_a_browser_under_another_name_or_with_a_form_is_refused(http, create):
    create(featurizer="fields")
    for host in ("example.org", "example.org:80", "127.0.0.1.example.org", ""):
        assert http("GET", "/models", headers={"Host": host}).status == 421
    for host in (f"localhost:{http.port}", "LOCALHOST", "[::1]", "[::1]:80", "127.0.0.1"):
        assert http("GET", "/models", headers={"Host": host}).status == 200
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = http("POST", "/models/m/predict", b'{"record": {}}', kind)
        assert (answer.status, "content-type must be application/json" in answer.data["error"]) == (415, True)


def test_metrics_are_prometheus_s_and_name_no_model(http, create):
    parser = pytest.importorskip("prometheus_client.parser")
    create(featurizer="fields")
    http("GET", "/models/m")
    http("GET", "/models/m")
    http("GET", "/models/nosuch")
    answer = http("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in parser.text_string_to_metric_families(answer.body.decode())}
    requests = {tuple(each.labels.values()): each.value for each in families["learner_http_requests"].samples}
    assert requests["GET", "/models/{model}", "200"] >= 2
    assert requests["GET", "/models/{model}", "404"] >= 1
    seconds = {each.name: each for each in families["learner_http_request_seconds"].samples}
    assert seconds["learner_http_request_seconds_count"].value >= 1
    (under_way,) = families["learner_http_requests_under_way"].samples
    assert under_way.value == 1
    assert b"nosuch" not in answer.body


# ---- the description ----
def test_the_document_is_openapi_3_1(http):
    validator = pytest.importorskip("openapi_spec_validator", reason="needs openapi-spec-validator, of the extra test")
    served = http("GET", "/openapi.json").data
    validator.OpenAPIV31SpecValidator(served).validate()
    assert served == json.loads(json.dumps(document()))


def test_the_document_has_every_route_and_status_that_an_operation_gives():
    paths = document()["paths"]
    for operation in OPERATIONS:
        about = paths[operation.path][operation.method.lower()]
        assert {str(status) for status in operation.gives} <= about["responses"].keys()
        assert ("requestBody" in about) == bool(operation.takes)
    assert paths.keys() - {operation.path for operation in OPERATIONS} == {"/metrics", "/openapi.json", "/docs"}


def test_answers_are_as_the_document_has_them(http, learned, serving):
    jsonschema = pytest.importorskip("jsonschema", reason="comes with openapi-spec-validator, of the extra test")
    served = http("GET", "/openapi.json").data

    def check(method, path, status, body=None, kind="application/json"):
        answer = http(method, path.replace("{model}", "m"), body, kind)
        assert answer.status == status, answer.body
        responses = served["paths"][path][method.lower()]["responses"]
        schema = responses[str(status)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.data, schema | {"components": served["components"]})

    with serving():
        for path in ("/health", "/ready", "/models", "/models/{model}"):
            check("GET", path, 200)
        for name in ("progress", "weights", "rejected"):
            check("GET", f"/models/{{model}}/{name}", 200)
        for body in ({"record": {"a": 1}, "explain": True}, {"records": [{}, "\ud800"]}):
            check("POST", "/models/{model}/predict", 200, body)
        check("POST", "/models/{model}/predict", 400, {"records": ["\ud800"]})
        check("POST", "/models/{model}/predict", 400, {})
        check("POST", "/models/{model}/predict", 415, {}, "text/plain")
        check("POST", "/models/{model}/examples", 200, FILES["jsonl"], "application/x-ndjson")
        check("POST", "/models/{model}/examples", 207, [{"a": 1, "target": 1}, {"target": [1]}])
        check("POST", "/models/{model}/outcomes", 400, [{}])


def test_the_page_lists_every_route_and_loads_nothing(http):
    answer = http("GET", "/docs")
    text = answer.body.decode()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for operation in OPERATIONS:
        assert f"<code>{operation.method} {operation.path}</code>" in text
    assert not [word for word in ("<script", "<img", "<link", "@import", "http:", "https:") if word in text]


@pytest.mark.skipif("learner/http/README.md" not in PAGES, reason="the pages are not installed with the package")
def test_the_page_of_the_project_has_every_route_with_its_role_and_the_bounds():
    page = PAGES["learner/http/README.md"].read_text(encoding="utf-8")
    for operation in OPERATIONS:
        assert f"| `{operation.method} {operation.path}` | {operation.role or ''} ".replace("|  ", "| ") in page
    for bound in (MAX_BODY_BYTES, MAX_TOGETHER_BYTES, MAX_ASKING):
        assert f"{bound:,}" in page
    for text in (
        f"within {HEAD_SECONDS:g} seconds",
        f"closed after {KEPT_SECONDS:g}",
        f"more than {BODY_SECONDS:g} seconds",
    ):
        assert text in page
