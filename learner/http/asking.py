"""Predictions, examples and outcomes: what the client says to the server, for requests over HTTP."""

import asyncio
import contextlib
import io
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from learner.client.batches import Batch, batches, outcome_entries, outcome_entry
from learner.client.connections import Connections
from learner.client.conversations import Conversations
from learner.client.runs import runs
from learner.errors import ExampleError, FormatError, LearnerError, MissingError, show
from learner.files import FORMATS, Reading
from learner.files.values import importance as checked_importance
from learner.http.bodies import JSON, LINES, elements, parts
from learner.http.refusals import RefusedError, refusal_of
from learner.service.store.durability import Durability
from learner.service.wire import MAX_BATCH, MAX_SHORT_BYTES, decode_value

__all__ = ["MAX_ASKING", "Asking"]

SECONDS, MAX_SECONDS = 5.0, 60.0  # to wait for an answer, by default and at most
MAX_ASKING = (
    1000  # conversations at once, as many as the server has connections: those that no worker answers hold up no others
)
MAX_IDENTITY_BYTES = MAX_SHORT_BYTES - 24  # of a push: its entries add two numbers
MANY = {"records": False, "batch": True}  # the name in a request for many: whether they hold features
OPTIONS = ("explain", "outcome_id", "timeout")
LARGE_BYTES = 1 << 16  # of a body
MAX_NAMED = 1000  # bad examples or outcomes that an answer names
FORMS = {JSON: "json", LINES: "jsonl"}

Answer = tuple[int, dict[str, Any]]
T = TypeVar("T")


class Asking:
    """What asks and pushes, for all models of a server.

    Parameters
    ----------
    url : str
        The server's.
    durability : Durability
        What examples that were accepted survive.
    """

    def __init__(self, url: str, durability: Durability) -> None:
        self.connections = Connections(url, MAX_SECONDS, MAX_ASKING)
        self._durability = durability

    def _about(self, model: str, seconds: float = SECONDS) -> Conversations:
        if "/" in model:
            raise LearnerError(f"model must be one of its own for this (got the candidate {model!r})")
        return Conversations(model, seconds, self._durability)

    # ---- predictions ----
    async def predict(self, model: str, body: bytes) -> Answer:
        """Return the answer to one record or features, or those to many."""
        asked = await _apart(parts, body)
        kinds = [name for name in ("record", "features", *MANY) if name in asked]
        if len(kinds) != 1 or (unknown := asked.keys() - {kinds[0], *OPTIONS}):
            came = show(", ".join(sorted(unknown if len(kinds) == 1 else asked)) or "nothing")
            rule = f"one of record, features, {', '.join(MANY)}, and may have {', '.join(OPTIONS)}"
            raise FormatError(f"body must have {rule} (got {came})")
        kind, about = kinds[0], self._about(model, _seconds(asked))
        fields: dict[str, Any] = {kind: asked[kind]}
        if _is_true(asked, "explain"):
            fields["explain"] = "1"
        if "outcome_id" in asked:
            fields["outcome_id"] = _text(asked, "outcome_id")
        if kind in MANY:
            if len(fields) > 1:
                raise FormatError(f"explain and outcome_id must be of one record or features (got {kind})")
            return await self._predict_many(about, asked[kind], MANY[kind])
        return 200, await self.connections.run(about.ask(fields))

    async def _predict_many(self, about: Conversations, array: bytes, features: bool) -> Answer:
        """Return the answer to each of many, or its error, in their order; 400 if there are only errors."""
        raws = await _apart(_listed, array, "batch" if features else "records")
        records = (_decoded(raw, "features" if features else "record") for raw in raws)  # as they are packed
        found = await self.connections.run(about.ask_many(records, features, True))
        listed = [{"error": str(each)} if isinstance(each, LearnerError) else each for each in found]
        return 400 if listed and all("error" in each for each in listed) else 200, {"answers": listed}

    # ---- examples ----
    async def push(self, model: str, body: bytes, kind: str, target: str, options: Mapping[str, str]) -> Answer:
        """Push examples, each checked as ``learner push`` checks it; return how many, and which were bad.

        Parameters
        ----------
        model : str
            The model's name.
        body : bytes
            Of the request.
        kind : {JSON, LINES}
            What it is.
        target : str
            The field of the outcome.
        options : mapping
            ``id``: a name for all of them; ``max_lag``: how many entries may wait to be learned.
        """
        about, identity = self._about(model), options.get("id")
        if identity is not None and not 1 <= len(identity.encode()) <= MAX_IDENTITY_BYTES:
            raise FormatError(f"id must have 1 to {MAX_IDENTITY_BYTES} bytes (got {len(identity.encode())})")
        await self._require_room(about, options.get("max_lag"))
        found, bad = await _apart(_examples, body, FORMS[kind], target, identity)
        pushed = _Pushed(model, bad)
        for batch in found:
            with pushed.saying_how_far():
                await self.connections.run(about.push(batch.entries, batch.ids))
            pushed.n += batch.n_examples
        if not pushed.n:
            await self.connections.run(about.require_model())
        return pushed.answer()

    async def _require_room(self, about: Conversations, text: str | None) -> None:
        """Refuse examples while more entries wait to be learned than the request allows."""
        if text is None:
            return
        if not text.isdecimal() or len(text) > 18:
            raise FormatError(f"max_lag must be a whole number from 0 on (got {show(text)})")
        if (lag := await self.connections.run(about.lag())) > int(text):
            raise RefusedError(429, f"{lag} entries wait to be learned, more than {text}: nothing was pushed", pushed=0)

    async def outcomes(self, model: str, body: bytes, kind: str) -> Answer:
        """Push outcomes of answers; return how many, and which were bad."""
        about = self._about(model)
        named, bad = await _apart(_outcomes, body, kind)
        pushed = _Pushed(model, bad)
        for entries in outcome_entries(named):
            with pushed.saying_how_far():
                pushed.n += len(await self.connections.run(about.push(entries, None)))
        if not pushed.n:
            await self.connections.run(about.require_model())
        return pushed.answer()


class _Bad:
    """What is wrong with examples or outcomes: how many are bad, and what the first of them lack, by line."""

    def __init__(self) -> None:
        self.n = 0
        self.first: list[dict[str, Any]] = []

    def add(self, line: int, error: str) -> None:
        """Count one, and name it if it is among the first."""
        self.n += 1
        if len(self.first) < MAX_NAMED:
            self.first.append({"line": line, "error": error})


@dataclass
class _Pushed:
    """What was pushed so far, and what could not be."""

    model: str
    bad: _Bad
    n: int = 0

    @contextlib.contextmanager
    def saying_how_far(self) -> Iterator[None]:
        """Have an error in a block say how many were pushed before."""
        try:
            yield
        except MissingError:
            raise
        except Exception as error:
            if refusal := refusal_of(error):
                raise RefusedError(
                    503 if refusal.status == 400 else refusal.status, str(refusal), pushed=self.n
                ) from error
            raise

    def answer(self) -> Answer:
        """Return the answer: 207 if some were bad, 400 if all were."""
        status = 200 if not self.bad.n else 207 if self.n else 400
        errors = sorted(self.bad.first, key=lambda each: each["line"])
        return status, {"model": self.model, "pushed": self.n, "bad": self.bad.n, "errors": errors}


# ---- bodies ----
async def _apart(read: Callable[..., T], body: bytes, *options: Any) -> T:
    """Return what a function makes of a body; of a large one in a thread, so that others are answered meanwhile."""
    if len(body) <= LARGE_BYTES:
        return read(body, *options)
    return await asyncio.to_thread(read, body, *options)


def _listed(array: bytes, what: str) -> list[bytes]:
    return list(_few(elements(array), what))


def _decoded(raw: bytes, what: str) -> Any:
    """Return a record or features, or the error why it can't be decoded."""
    try:
        return decode_value(raw, what)
    except LearnerError as error:
        return ExampleError(str(error))


def _examples(body: bytes, form: str, target: str, identity: str | None) -> tuple[list[Batch], _Bad]:
    """Return the examples of a body, in batches of one kind, and what is wrong with others."""
    bad = _Bad()

    def note(where: str, message: str, raw: bytes) -> None:
        bad.add(int(where.rpartition(" ")[2]), message)

    found = FORMATS[form].read(io.BufferedReader(io.BytesIO(body)), target, Reading(needs_target=True), note)
    every = (batches(examples, features, name) for features, examples, name in runs(found, note, identity))
    return list(itertools.chain.from_iterable(every)), bad


def _outcomes(body: bytes, kind: str) -> tuple[list[tuple[Any, Any, Any]], _Bad]:
    """Return the outcomes of a body, and what is wrong with others."""
    named: list[tuple[Any, Any, Any]] = []
    bad = _Bad()
    for number, raw in _few(_units(body, kind), "outcomes"):
        try:
            named.append(_outcome(decode_value(raw, "outcome")))
        except LearnerError as error:
            bad.add(number, str(error))
    return named, bad


def _units(body: bytes, kind: str) -> Iterator[tuple[int, bytes]]:
    """Yield the JSON of each outcome, with its number."""
    if kind == LINES:
        yield from ((number, line) for number, line in enumerate(io.BytesIO(body), 1) if line.strip())
    elif body.lstrip()[:1] == b"[":
        yield from enumerate(elements(body), 1)
    else:
        yield 1, body


def _few(items: Iterator[T], what: str) -> Iterator[T]:
    """Yield items, of which there must not be too many."""
    for number, item in enumerate(items):
        if number == MAX_BATCH:
            raise FormatError(f"{what} must be at most {MAX_BATCH} at once (got more)")
        yield item


def _outcome(value: Any) -> tuple[Any, Any, Any]:
    """Return the name, the target and the importance of an outcome, once it can be one."""
    if not isinstance(value, dict) or not {"id", "target"} <= value.keys() <= {"id", "target", "importance"}:
        raise ExampleError(f"outcome must be a map of id, target and, if it is not 1, importance (got {show(value)})")
    outcome = value["id"], value["target"], checked_importance(value.get("importance", 1.0))
    outcome_entry(*outcome)
    return outcome


# ---- the options of a question ----
def _is_true(asked: Mapping[str, bytes], name: str) -> bool:
    value = decode_value(asked.get(name, b"false"), name)
    if not isinstance(value, bool):
        raise FormatError(f"{name} must be true or false (got {show(value)})")
    return value


def _text(asked: Mapping[str, bytes], name: str) -> bytes:
    value = decode_value(asked[name], name)
    if not isinstance(value, str):
        raise FormatError(f"{name} must be a text (got {show(value)})")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"{name} must have no lone surrogates (got {show(value)})") from error


def _seconds(asked: Mapping[str, bytes]) -> float:
    value = decode_value(asked.get("timeout", b"%g" % SECONDS), "timeout")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value <= MAX_SECONDS:
        raise FormatError(f"timeout must be seconds above 0, at most {MAX_SECONDS:g} (got {show(value)})")
    return float(value)
