"""Predictions, examples and outcomes: what the client says to the server, for requests over HTTP."""

import asyncio
import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from learner.client.batches import batches, outcome_entries, outcome_entry
from learner.client.connections import Connections
from learner.client.conversations import Conversations
from learner.client.runs import runs
from learner.errors import ExampleError, FormatError, LearnerError, MissingError, show
from learner.files import FORMATS, Reading
from learner.files.values import importance as checked_importance
from learner.http.bodies import JSON, LINES, elements, parts
from learner.http.refusals import RefusedError, refusal_of
from learner.service.store.durability import Durability
from learner.service.wire import MAX_SHORT_BYTES, decode_value

__all__ = ["MAX_ASKING", "Asking"]

SECONDS, MAX_SECONDS = 5.0, 60.0  # to wait for an answer, by default and at most
MAX_ASKING = (
    1000  # conversations at once, as many as the server has connections: those that no worker answers hold up no others
)
MAX_IDENTITY_BYTES = MAX_SHORT_BYTES - 24  # of a push: its entries add two numbers
MANY = {"records": False, "batch": True}  # the name in a request for many: whether they hold features
OPTIONS = ("explain", "outcome_id", "timeout")
MAX_NAMED = 1000  # bad examples or outcomes that an answer names
FORMS = {JSON: "json", LINES: "jsonl"}

Answer = tuple[int, dict[str, Any]]
Bad = dict[str, Any]


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
        asked = parts(body)
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
        found: list[Any] = []
        for raw in elements(array):
            try:
                found.append(decode_value(raw, "features" if features else "record"))
            except LearnerError as error:
                found.append(error)
        good = [each for each in found if not isinstance(each, LearnerError)]
        replies = iter(await self.connections.run(about.ask_many(good, features, True)) if good else [])
        answers = [each if isinstance(each, LearnerError) else next(replies) for each in found]
        listed = [{"error": str(each)} if isinstance(each, LearnerError) else each for each in answers]
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
        found = await asyncio.to_thread(_Examples, body, FORMS[kind], target, identity)
        await self._require_room(about, options.get("max_lag"))
        pushed = _Pushed(model, found.bad)
        for features, examples, name in found.runs:
            for batch in batches(examples, features, name):
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
        named, bad = await asyncio.to_thread(_outcomes, body, kind)
        pushed = _Pushed(model, bad)
        for entries in outcome_entries(named):
            with pushed.saying_how_far():
                pushed.n += len(await self.connections.run(about.push(entries, None)))
        if not pushed.n:
            await self.connections.run(about.require_model())
        return pushed.answer()


@dataclass
class _Pushed:
    """What was pushed so far, and what could not be."""

    model: str
    bad: list[Bad]
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
        status = 200 if not self.bad else 207 if self.n else 400
        said = {"model": self.model, "pushed": self.n, "bad": len(self.bad), "errors": self.bad[:MAX_NAMED]}
        return status, said


class _Examples:
    """The examples of a body, in runs of one kind, and what is wrong with others."""

    def __init__(self, body: bytes, form: str, target: str, identity: str | None) -> None:
        self.bad: list[Bad] = []
        stream = io.BufferedReader(io.BytesIO(body))
        found = FORMATS[form].read(stream, target, Reading(needs_target=True), self._note)
        self.runs = [(features, list(examples), name) for features, examples, name in runs(found, self._note, identity)]
        self.bad.sort(key=lambda each: each["line"])

    def _note(self, where: str, message: str, raw: bytes) -> None:
        self.bad.append({"line": int(where.rpartition(" ")[2]), "error": message})


def _outcomes(body: bytes, kind: str) -> tuple[list[tuple[Any, Any, Any]], list[Bad]]:
    """Return the outcomes of a body, and what is wrong with others."""
    named: list[tuple[Any, Any, Any]] = []
    bad: list[Bad] = []
    for number, raw in _units(body, kind):
        try:
            named.append(_outcome(decode_value(raw, "outcome")))
        except LearnerError as error:
            bad.append({"line": number, "error": str(error)})
    return named, bad


def _units(body: bytes, kind: str) -> Iterator[tuple[int, bytes]]:
    if kind == LINES:
        yield from ((number, line) for number, line in enumerate(body.splitlines(), 1) if line.strip())
    elif body.lstrip()[:1] == b"[":
        yield from enumerate(elements(body), 1)
    else:
        yield 1, body


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
