"""The routes: who may use each, what it takes, and what it does. The application and its description are made of this table."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from learner.errors import FormatError, show
from learner.http.asking import Asking
from learner.http.bodies import JSON, LINES, Bodies, kind_of
from learner.http.looking import Looking
from learner.http.tokens import Token

__all__ = ["OPERATIONS", "Asked", "Operation", "Service"]

MAX_ROWS = 10_000  # that an answer lists
DEFAULT_ROWS = 20
DEFAULT_TARGET = "target"
READY_SECONDS = 2.0  # for the server to answer

Answer = tuple[int, Any]


@dataclass(frozen=True)
class Service:
    """What the operations work with."""

    asking: Asking
    looking: Looking
    bodies: Bodies = field(default_factory=Bodies)


@dataclass(frozen=True)
class Asked:
    """A request, its model's name (empty where it is about none), and who asks."""

    request: Request
    model: str
    token: Token

    def number(self, name: str, default: int, most: int) -> int:
        """Return a whole number of the query, from 1 on."""
        text = self.request.query_params.get(name, str(default))
        if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= most:
            raise FormatError(f"{name} must be a whole number from 1 to {most} (got {show(text)})")
        return int(text)


@dataclass(frozen=True)
class Parameter:
    """A parameter of the query: its name, what it is, and its schema."""

    name: str
    text: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """A route.

    Attributes
    ----------
    method, path : str
        Of HTTP; ``{model}`` in the path is a model's name.
    role : str or None
        Whose it is; None: everybody's.
    text : str
        What it does.
    work : callable
        Does it: gets the `Service` and the `Asked`, returns status and data.
    parameters : tuple of Parameter
        Of the query.
    takes : mapping
        The schema of the body by content type; empty: it has none.
    gives : mapping
        What the answer is, in words, by status; errors that all operations have are left out.
    answer : str
        The name of the answer's schema.
    """

    method: str
    path: str
    role: str | None
    text: str
    work: Callable[[Service, Asked], Awaitable[Answer]]
    parameters: tuple[Parameter, ...] = ()
    takes: Mapping[str, str] = field(default_factory=dict)
    gives: Mapping[int, str] = field(default_factory=lambda: {200: "The answer."})
    answer: str = "Anything"


# ---- what they do ----
async def _health(service: Service, asked: Asked) -> Answer:
    return 200, {"ok": True}


async def _ready(service: Service, asked: Asked) -> Answer:
    await service.asking.connections.ping(READY_SECONDS)
    return 200, {"ok": True}


async def _models(service: Service, asked: Asked) -> Answer:
    return 200, [row for row in await service.looking.models() if asked.token.allows(row["model"])]


async def _status(service: Service, asked: Asked) -> Answer:
    return 200, await service.looking.status(asked.model)


async def _progress(service: Service, asked: Asked) -> Answer:
    return 200, await service.looking.progress(asked.model)


async def _fields(service: Service, asked: Asked) -> Answer:
    return 200, await service.looking.fields(asked.model, "administrator" in asked.token.roles)


async def _weights(service: Service, asked: Asked) -> Answer:
    query = asked.request.query_params
    if (by := query.get("by", "effect")) not in ("effect", "size"):
        raise FormatError(f"by must be effect or size (got {show(by)})")
    n = asked.number("n", DEFAULT_ROWS, MAX_ROWS)
    return 200, await service.looking.weights(asked.model, n, query.get("prefix", ""), by == "effect")


async def _rejected(service: Service, asked: Asked) -> Answer:
    return 200, await service.looking.rejected(asked.model, asked.number("n", DEFAULT_ROWS, 1000))


async def _predict(service: Service, asked: Asked) -> Answer:
    async with service.bodies.read(asked.request, JSON) as body:
        return await service.asking.predict(asked.model, body)


async def _examples(service: Service, asked: Asked) -> Answer:
    async with service.bodies.read(asked.request, JSON, LINES) as body:
        query = asked.request.query_params
        target = query.get("target") or await service.looking.target(asked.model) or DEFAULT_TARGET
        return await service.asking.push(asked.model, body, kind_of(asked.request), target, query)


async def _outcomes(service: Service, asked: Asked) -> Answer:
    async with service.bodies.read(asked.request, JSON, LINES) as body:
        return await service.asking.outcomes(asked.model, body, kind_of(asked.request))


# ---- the table ----
NUMBER = {"type": "integer", "minimum": 1}
ROWS = Parameter("n", f"How many, by default {DEFAULT_ROWS}.", NUMBER | {"maximum": MAX_ROWS})
PUSHED = {
    200: "All were pushed.",
    207: "Some were pushed; `errors` names the others by line.",
    400: "None could be pushed.",
    429: "More entries wait to be learned than max_lag: nothing was pushed.",
}
OPERATIONS = (
    Operation("GET", "/health", None, "Whether this server runs.", _health, answer="Ok"),
    Operation(
        "GET",
        "/ready",
        None,
        "Whether the Redis or Valkey server answers.",
        _ready,
        gives={200: "It does.", 503: "It does not."},
        answer="Ok",
    ),
    Operation("GET", "/models", "monitor", "The models and their candidates: `learner top --json`.", _models),
    Operation("GET", "/models/{model}", "monitor", "How a model is doing: `learner status MODEL --json`.", _status),
    Operation(
        "GET",
        "/models/{model}/progress",
        "monitor",
        "The losses over time, beside the best constant's, and the rises that were found.",
        _progress,
        answer="Progress",
    ),
    Operation(
        "GET",
        "/models/{model}/fields",
        "asker",
        "The fields of a record that the model names, with their kinds; for an administrator also the last record pushed.",
        _fields,
        answer="Fields",
    ),
    Operation(
        "GET",
        "/models/{model}/weights",
        "administrator",
        "The committed weights, the strongest first.",
        _weights,
        (
            ROWS,
            Parameter("prefix", "Only features whose name starts with it.", {"type": "string"}),
            Parameter(
                "by",
                "effect: by how much the feature changes scores from example to example; size: of the weight.",
                {"enum": ["effect", "size"], "default": "effect"},
            ),
        ),
        answer="Weights",
    ),
    Operation(
        "GET",
        "/models/{model}/rejected",
        "administrator",
        "What could not be learned, with the reasons, the latest last: `learner rejected list MODEL --json`.",
        _rejected,
        (Parameter("n", f"How many, by default {DEFAULT_ROWS}.", NUMBER | {"maximum": 1000}),),
    ),
    Operation(
        "POST",
        "/models/{model}/predict",
        "asker",
        "Ask for the prediction of one record or features, or of many.",
        _predict,
        takes={JSON: "Question"},
        gives={200: "The reply; of many a list, in order, of replies and errors.", 400: "None could be answered."},
        answer="Prediction",
    ),
    Operation(
        "POST",
        "/models/{model}/examples",
        "producer",
        "Push examples: as `learner push` takes them in JSON, one, a list, or one a line.",
        _examples,
        (
            Parameter("target", "The outcome's field; by default the model's, or target.", {"type": "string"}),
            Parameter(
                "id", "A name for all of them: pushed again under it, they are not learned again.", {"type": "string"}
            ),
            Parameter(
                "max_lag", "Push nothing while more entries wait to be learned.", {"type": "integer", "minimum": 0}
            ),
        ),
        takes={JSON: "Examples", LINES: "Lines"},
        gives=PUSHED,
        answer="Pushed",
    ),
    Operation(
        "POST",
        "/models/{model}/outcomes",
        "producer",
        "Push what came of answers that were asked for with an outcome_id: one, a list, or one a line.",
        _outcomes,
        takes={JSON: "Outcomes", LINES: "Lines"},
        gives={status: text for status, text in PUSHED.items() if status != 429},
        answer="Pushed",
    ),
)
