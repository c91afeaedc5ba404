"""What a client says to the server, step by step, for the blocking and the asynchronous client alike.

A *conversation* is a generator. It yields each step: a function of the connection or a request, whose result (or error) comes
back into the generator, or a number of seconds to wait. What it returns is the result of the whole. So the rules stand here
once; the two clients only carry out the steps.
"""

import itertools
import json
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import redis

from learner.client import answers, diagnosis
from learner.client.answers import Answer
from learner.client.asking import Asking
from learner.decoding import decode
from learner.errors import AnswerError, ExampleError, LearnerError, MissingError, SilentError, StoreError, show
from learner.packing import utf8
from learner.service.store.cluster import is_of_one, towards
from learner.service.store.durability import Durability
from learner.service.store.topology import is_away, is_undone
from learner.service.wire import MAX_REQUESTS, Keys

__all__ = ["Conversation", "Conversations", "Step"]

FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.05, 0.5  # before it is tried again; each further pause is twice as long
LAG_SECONDS = 0.1  # between two looks at the lag

T = TypeVar("T")
Step = (
    Callable[[Any], Any] | Asking | float
)  # what a connection does, a request with its reply, or the seconds of a pause
Conversation = Generator[Step, Any, T]
_JSON = json.JSONDecoder()


class Conversations:
    """The conversations about a model.

    Parameters
    ----------
    model : str
        The model's name.
    timeout : float
        How many seconds to wait for a reply or a confirmation, and to keep trying to push examples that have an id.
    durability : Durability
        What a push survives once it has returned.
    """

    def __init__(self, model: str, timeout: float, durability: Durability) -> None:
        self.keys = Keys(model)
        self.timeout = timeout
        self.durability = durability

    def _patiently(
        self, attempt: Callable[[], Conversation[T]], may_repeat: Callable[[redis.RedisError], bool]
    ) -> Conversation[T]:
        """Carry out a conversation, and again after a lost connection, where it may be repeated, until the timeout.

        Raises
        ------
        ExampleError
            When one of its texts, such as an id, has a lone surrogate: nothing was sent.
        """
        deadline = time.monotonic() + self.timeout
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return (yield from attempt())
            except (redis.ConnectionError, redis.TimeoutError) as error:
                if not may_repeat(error) or time.monotonic() + pause > deadline:
                    raise
            except UnicodeEncodeError as error:
                raise ExampleError(f"text must have no lone surrogates (got {show(error.object)})") from error
            yield pause
            pause = min(2 * pause, LAST_PAUSE_SECONDS)

    # ---- pushing ----
    def push(self, entries: Sequence[Mapping[str, bytes]], ids: Sequence[str] | None) -> Conversation[list[bytes]]:
        """Push entries and wait for the confirmation; try again while the server doesn't answer if they may come twice.

        That is if they have ids, or are outcomes, of which the first one counts. What a cluster did not carry out may be sent
        again in any case, so there entries without ids are sent one by one.
        """
        may_repeat = ids is not None or all("outcome" in fields for fields in entries)
        if not may_repeat and len(entries) > 1 and (yield is_of_one):
            pushed = []
            for fields in entries:
                pushed += yield from self.push([fields], None)
            return pushed
        return (
            yield from self._patiently(
                lambda: self._push_once(entries, ids),
                lambda error: may_repeat or (len(entries) == 1 and is_undone(error)),
            )
        )

    def push_each(self, entries: Sequence[Mapping[str, bytes]], ids: Sequence[str | None]) -> Conversation[list[str]]:
        """Push entries of which some may have ids, and return their entry ids; if all have ids, try again as `push` does."""
        if not entries:
            return []
        given = [identity for identity in ids if identity is not None]
        if len(given) == len(entries):
            return [entry_id.decode() for entry_id in (yield from self.push(entries, given))]
        named = [
            dict(fields) if identity is None else {**fields, "id": utf8(identity, "id")}
            for fields, identity in zip(entries, ids, strict=True)
        ]
        return [entry_id.decode() for entry_id in (yield from self.push(named, None))]

    def _push_once(
        self, entries: Sequence[Mapping[str, bytes]], ids: Sequence[str] | None
    ) -> Conversation[list[bytes]]:
        def send(connection: Any) -> Any:
            pipe = towards(connection, self.keys.spec).pipeline(transaction=False)
            for i, fields in enumerate(entries):
                identity = {} if ids is None else {"id": ids[i]}
                pipe.xadd(self.keys.examples, {**fields, **identity}, nomkstream=True)
            self.durability.queue(pipe, self.timeout)
            return pipe.execute(raise_on_error=False)

        replies: list[Any] = yield send
        pushed = replies[: len(entries)]
        for reply in pushed:
            if isinstance(reply, Exception):
                raise reply
        if None in pushed:
            raise (yield from self._absent())
        if self.durability.waits:
            self._require_confirmed(replies[-1])
        return pushed

    def _require_confirmed(self, reply: Any) -> None:
        level = self.durability.level
        if isinstance(reply, redis.ResponseError) and "unknown command" in str(reply).lower():
            raise LearnerError(
                f"server: durability {level!r} must have WAITAOF, of Redis >= 7.2 or Valkey (it has not): with appendfsync "
                "always, 'crash' gives as much"
            )
        if isinstance(reply, Exception):
            raise LearnerError(f"examples: durability {level!r} could not be confirmed (got {reply})")
        if not self.durability.confirmed(reply):
            raise LearnerError(
                f"examples must be confirmed as durability {level!r} asks within {self.timeout:g} s (got {reply}): they are on "
                "the server, but may be lost with it; push again those that have an id"
            )

    def read(self, step: Callable[[Any], Any]) -> Conversation[Any]:
        """Carry out a step that changes nothing; of a cluster again while the model's primary is another one, or away."""

        def attempt() -> Conversation[Any]:
            return (yield lambda connection: step(towards(connection, self.keys.spec)))

        return (yield from self._patiently(attempt, is_away))

    def lag(self) -> Conversation[int]:
        """Return how many entries of the stream are not learned yet, or not committed yet."""
        try:
            groups = yield from self.read(lambda connection: connection.xinfo_groups(self.keys.examples))
        except redis.ResponseError as error:
            if "no such key" not in str(error):
                raise
            raise (yield from self._absent()) from error
        lag = diagnosis.lag_in(groups)
        if lag is None:
            raise LearnerError(f"model {self.keys.model!r} must have had a worker for its lag to be known")
        return lag

    def wait(self, max_lag: int | None, on_wait: Callable[[int], None] | None) -> Conversation[None]:
        """Wait while more than `max_lag` entries are not learned."""
        while max_lag is not None and (lag := (yield from self.lag())) > max_lag:
            if on_wait:
                on_wait(lag)
            yield LAG_SECONDS

    def require_model(self) -> Conversation[None]:
        """Make sure that the model exists."""
        if not (yield from self.read(lambda connection: connection.exists(self.keys.spec))):
            raise self._no_model()

    def _absent(self) -> Conversation[LearnerError]:
        """Return the error that a stream of the model is not there: mostly there is no model, but it may be damaged."""
        try:
            yield from self.require_model()
        except (MissingError, redis.RedisError):
            return self._no_model()
        name = self.keys.model
        return StoreError(
            f"model {name!r} must have its streams (it has a spec, but lacks one): see 'learner repair {name}'"
        )

    def _no_model(self) -> MissingError:
        name = self.keys.model
        return MissingError(f"model {name!r} does not exist: make it with 'learner create {name}'")

    # ---- asking ----
    def ask(self, fields: Mapping[str, Any]) -> Conversation[dict[str, Any]]:
        """Send one request and return the reply.

        Each request has an id of its own, drawn from the system, and a list for the reply: so neither threads and tasks nor
        forked processes take each other's. Of a cluster it is asked again while the model's primary is another one, or away.
        """
        request_id, deadline = uuid.uuid4().hex, time.monotonic() + self.timeout

        def attempt() -> Conversation[Any]:
            return (yield self._asking(fields, request_id, max(deadline - time.monotonic(), FIRST_PAUSE_SECONDS)))

        added, popped = yield from self._patiently(attempt, is_away)
        if added is None:
            raise (yield from self._absent())
        if popped is None:
            raise (yield from self._silence())
        reply: dict[str, Any] = decode(popped[1], _JSON)
        if "error" in reply:
            raise AnswerError(reply["error"])
        return reply

    def _asking(self, fields: Mapping[str, Any], request_id: str, seconds: float) -> Asking:
        """Return a request and the wait for its reply."""
        key = f"{self.keys.replies}{request_id}"
        deadline = f"{seconds * 1000:g}"  # after it nobody listens: the worker need not answer
        request = {**fields, "reply": key, "id": request_id, "deadline_ms": deadline}
        bound = ("NOMKSTREAM", "MAXLEN", "~", MAX_REQUESTS)  # without a worker, too
        words = itertools.chain.from_iterable(request.items())
        return Asking(("XADD", self.keys.requests, *bound, "*", *words), ("BLPOP", key, seconds))

    def _silence(self) -> Conversation[LearnerError]:
        """Return the error that no answer came, with what can be known of the reason."""
        try:
            seen = yield from self.read(lambda connection: diagnosis.look(connection, self.keys))
        except redis.RedisError as error:
            seen = [error] * diagnosis.LOOKS
        if not diagnosis.exists(seen):
            return self._no_model()
        why = diagnosis.why_silent(self.keys, seen)
        return SilentError(f"model {self.keys.model!r} did not answer within {self.timeout:g} s: {why}")

    def ask_many(
        self, records: Iterable[Any], features: bool, probabilities: bool
    ) -> Conversation[list[Answer | ExampleError]]:
        """Return the answer to each of many records, or the error, in their order."""
        found: list[Answer | ExampleError] = []
        for many in answers.in_requests(records, features, probabilities):
            reply = (yield from self.ask(many.fields)) if None in many.errors else {}
            found += many.answers(reply)
        return found

    def predict_many(self, records: Iterable[Any], features: bool) -> Conversation[list[Any]]:
        """Return the prediction for each of many records, or the error, in their order."""
        found: list[Any] = []
        for many in answers.in_requests(records, features, probabilities=False):
            found += many.values((yield from self.ask(many.fields)) if None in many.errors else {})
        return found
