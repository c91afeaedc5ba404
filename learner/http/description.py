"""The operations as an OpenAPI 3.1 document, and as a page for people."""

import functools
import html
from typing import Any

from learner import __version__
from learner.http.operations import OPERATIONS, Operation

__all__ = ["document", "page"]

TEXT = (
    "Models that learn while they serve. Answers, bounds and error words are those of the protocol over Redis. A candidate's "
    "name is OLD%2FNEW in a path."
)
VALUE: dict[str, Any] = {"description": "Whatever the model's featurizer takes: mostly a map of fields."}
FEATURES: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "number"}}
NUMBER: dict[str, Any] = {"type": ["number", "null"]}
POINT = ("examples", "time", "progressive_loss", "recent_loss", "constant_loss", "late_loss", "answered_loss")
DRIFT = ("examples", "time", "before", "after")
OPTIONS: dict[str, Any] = {
    "explain": {"type": "boolean", "description": "With what each feature adds to the score."},
    "outcome_id": {"type": "string", "description": "A name under which the outcome is pushed later."},
    "timeout": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 60,
        "description": "Seconds to wait; by default 5.",
    },
}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _one_or_many(name: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{name}"}
    return {"oneOf": [reference, {"type": "array", "items": reference}]}


SCHEMAS: dict[str, Any] = {
    "Anything": {"description": "As the command prints it."},
    "Ok": _object({"ok": {"type": "boolean"}}, ["ok"]),
    "Error": _object({"error": {"type": "string"}, "pushed": {"type": "integer"}}, ["error"]),
    "Question": {
        "oneOf": [
            _object({"record": VALUE, **OPTIONS}, ["record"]),
            _object({"features": FEATURES, **OPTIONS}, ["features"]),
            _object({"records": {"type": "array", "items": VALUE}, "timeout": OPTIONS["timeout"]}, ["records"]),
            _object({"batch": {"type": "array", "items": FEATURES}, "timeout": OPTIONS["timeout"]}, ["batch"]),
        ]
    },
    "Reply": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "task": {"type": "string"},
            "prediction": NUMBER,
            "score": {"type": ["number", "array", "null"]},
            "label": {"type": ["string", "integer", "null"]},
            "probabilities": {"type": "object", "additionalProperties": NUMBER},
            "unknown_fields": {"type": "array", "items": {"type": "string"}},
            "missing_fields": {"type": "array", "items": {"type": "string"}},
            "contributions": {
                "type": "array",
                "description": "Of each feature: name, value, mean, weight, what it adds.",
                "items": {"type": "array"},
            },
            "commit": {"type": "integer"},
            "notice": {"type": "string"},
            "error": {"type": "string"},
        },
    },
    "Prediction": {
        "anyOf": [
            {"$ref": "#/components/schemas/Reply"},
            _object({"answers": {"type": "array", "items": {"$ref": "#/components/schemas/Reply"}}}, ["answers"]),
        ]
    },
    "Example": {
        "type": "object",
        "description": "A record that includes its outcome; or record or features, the outcome, and importance if it is not 1.",
        "examples": [
            {"price": 3, "city": "Lyon", "target": 1},
            {"target": 1, "record": {"price": 3}, "importance": 2},
            {"target": 1, "features": {"price": 3.0}},
        ],
    },
    "Examples": _one_or_many("Example"),
    "Outcome": _object(
        {
            "id": {"type": "string"},
            "target": {"type": ["number", "string", "boolean"]},
            "importance": {"type": "number"},
        },
        ["id", "target"],
    ),
    "Outcomes": _one_or_many("Outcome"),
    "Lines": {"type": "string", "description": "One object a line."},
    "Pushed": _object(
        {
            "model": {"type": "string"},
            "pushed": {"type": "integer"},
            "bad": {"type": "integer"},
            "errors": {
                "type": "array",
                "items": _object({"line": {"type": "integer"}, "error": {"type": "string"}}, ["line", "error"]),
            },
        },
        ["model", "pushed", "bad", "errors"],
    ),
    "Progress": _object(
        {
            "model": {"type": "string"},
            "loss": {"type": "string"},
            "unit": {"type": "string"},
            "points": {"type": "array", "items": {"type": "object", "properties": dict.fromkeys(POINT, NUMBER)}},
            "drifts": {"type": "array", "items": {"type": "object", "properties": dict.fromkeys(DRIFT, NUMBER)}},
        },
        ["model", "points", "drifts"],
    ),
    "Fields": _object(
        {
            "model": {"type": "string"},
            "target": {"type": ["string", "null"]},
            "fields": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
            "record": VALUE,
        },
        ["model", "fields"],
    ),
    "Weights": _object(
        {
            "model": {"type": "string"},
            "commits": {"type": "integer"},
            "examples": {"type": "number"},
            "weights": {
                "type": "array",
                "items": _object(
                    {"name": {"type": "string"}, "weight": {"type": "number"}, "effect": {"type": "number"}},
                    ["name", "weight"],
                ),
            },
        },
        ["model", "weights"],
    ),
}
ERRORS = {
    400: "The request breaks a rule, which `error` says.",
    401: "There is no token that is known.",
    403: "The token is not for this role or model.",
    404: "There is no such model.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is of another kind.",
    500: "What is stored is damaged, or this server failed.",
    503: "No worker or no server answers, or too much waits; it may be tried again.",
    504: "The worker came to the request too late.",
}
WITHOUT_BODY = (408, 413, 415, 504)


@functools.cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    for path, text, kind in (
        ("/metrics", "This server's own metrics, for Prometheus.", "text/plain"),
        ("/openapi.json", "This document.", "application/json"),
        ("/docs", "This document, for people.", "text/html"),
    ):
        security = [{"token": ["monitor"]}] if path == "/metrics" else []
        answer = {"200": {"description": "It.", "content": {kind: {}}}}
        paths[path] = {"get": {"summary": text, "security": security, "responses": answer}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "learner", "version": __version__, "description": TEXT, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    about: dict[str, Any] = {
        "summary": operation.text,
        "operationId": operation.work.__name__.strip("_"),
        "security": [{"token": [operation.role]}] if operation.role else [],
    }
    parameters = [
        {"name": each.name, "in": "query", "description": each.text, "schema": dict(each.schema)}
        for each in operation.parameters
    ]
    if "{model}" in operation.path:
        schema = {"type": "string"}
        parameters.insert(0, {"name": "model", "in": "path", "required": True, "schema": schema})  # type: ignore[dict-item]
    if parameters:
        about["parameters"] = parameters
    if operation.takes:
        about["requestBody"] = {
            "required": True,
            "content": {kind: _schema(name) for kind, name in operation.takes.items()},
        }
    errors = {
        status: text
        for status, text in ERRORS.items()
        if operation.role and (operation.takes or status not in WITHOUT_BODY)
    }
    about["responses"] = {
        str(status): {
            "description": text,
            "content": {"application/json": _schema(operation.answer if status in operation.gives else "Error")},
        }
        for status, text in sorted((errors | dict(operation.gives)).items())
    }
    for status in operation.gives:
        if status >= 400:
            either = {"anyOf": [_schema(operation.answer)["schema"], _schema("Error")["schema"]]}
            about["responses"][str(status)]["content"]["application/json"] = {"schema": either}
    return about


def _schema(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}


# ---- the page ----
STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font-family:ui-monospace,monospace}h2{font-size:1.1rem;margin:2rem 0 .25rem}p,ul{margin:.25rem 0}"
)


@functools.cache
def page() -> str:
    """Return the operations as a page of HTML, which loads nothing."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>learner over HTTP</title><style>{STYLE}</style><h1>learner over HTTP</h1><p>{html.escape(TEXT)} ",
        "The same as data: <a href=openapi.json>openapi.json</a>.</p>",
    ]
    for path, methods in document()["paths"].items():
        for method, about in methods.items():
            roles = [role for each in about["security"] for role in each["token"]]
            parts.append(
                f"<h2><code>{method.upper()} {html.escape(path)}</code></h2><p>{html.escape(about['summary'])}"
            )
            parts.append(f" Role: {roles[0]}.</p>" if roles else " Needs no token.</p>")
            parts += _details(about)
    return "".join(parts)


def _details(about: dict[str, Any]) -> list[str]:
    """Return what an operation takes and gives, as a list."""
    rows = [
        f"<code>{each['name']}</code>: {html.escape(each.get('description', 'its name'))}"
        for each in about.get("parameters", ())
    ]
    for kind, content in about.get("requestBody", {}).get("content", {}).items():
        rows.append(f"takes <code>{kind}</code>: {content['schema']['$ref'].rpartition('/')[2]}")
    rows += [f"{status}: {html.escape(answer['description'])}" for status, answer in about["responses"].items()]
    return ["<ul>", *(f"<li>{row}</li>" for row in rows), "</ul>"]
