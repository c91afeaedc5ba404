"""Answering: requests wait in a queue and are answered for a fair share of the time, or refused."""

import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from learner.errors import LearnerError
from learner.service.recovery import Recovery
from learner.service.store import Store
from learner.service.store.position import NEVER
from learner.service.store.reading import READ_BYTES, Entries
from learner.service.wire import (
    MAX_SHORT_BYTES,
    REPLIES,
    RawRecord,
    deadline_ms,
    decode_request,
    encode_reply,
)

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["Answering"]

MAX_WAITING = 10_000  # requests; when more wait, the oldest are refused
MAX_KEPT_WAITING = 100_000  # requests; when more wait, the oldest are dropped without a reply
MAX_EXPLAINED = 20_000  # contributions in one reply
ANSWER_SECONDS = 0.1  # the longest time for answers at a stretch
ANSWER_SHARE = 0.8  # of the time of learning, for answers while examples wait: learning has more than half of the time
CLOCK_SECONDS = 10.0  # between two looks at the server's clock

Fields = Mapping[bytes, bytes]


class Answering:
    """The requests that wait, and the time there is for them.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    model : Model
        Predicts.
    recovery : Recovery
        Knows which requests may have killed the worker before.

    Attributes
    ----------
    last_request : bytes
        The last one answered; requests up to it are removed from their stream.
    waiting : deque of (request id, fields)
        Requests that were read and are not answered yet.
    credit : float
        Seconds for answers while examples wait, earned by learning.
    """

    def __init__(self, store: Store, model: "Model", recovery: Recovery) -> None:
        self.store = store
        self.model = model
        self.recovery = recovery
        self.last_request = NEVER
        self.waiting: deque[tuple[bytes, dict[bytes, bytes]]] = deque()
        self.credit = 0.0
        self._n_to_refuse = 0  # of the oldest, because too many wait
        self._clock = (0.0, -CLOCK_SECONDS)  # the server's time in ms, and our own in s, of the same moment

    # ---- the queue ----
    def take(self, requests: Entries, more: bool, examples_wait: bool) -> None:
        """Queue requests and answer for a while.

        Parameters
        ----------
        requests : entries
            Those that were read.
        more : bool
            Whether still more may wait.
        examples_wait : bool
            Whether examples do: then answers take no longer than their share of the time that learning took.
        """
        self.waiting.extend(requests)
        self.answer(examples_wait)
        if more:
            self._refuse_oldest()

    def earn(self, seconds: float) -> None:
        """Give answers their share of the time that learning took."""
        self.credit = min(self.credit + ANSWER_SHARE * seconds, ANSWER_SECONDS)

    def answer(self, examples_wait: bool) -> None:
        """Answer requests for a while; all replies of that time, and the end of their requests, are one transaction."""
        seconds = self.credit if examples_wait else ANSWER_SECONDS
        if not self.waiting or seconds <= 0.0:
            return
        started, now, n_bytes = time.monotonic(), self._now_ms(), 0
        replies: list[tuple[bytes, bytes]] = []
        while self.waiting and n_bytes < READ_BYTES and time.monotonic() - started < seconds:
            self.last_request, fields = self.waiting.popleft()
            refusal = self._refusal(self.last_request, fields, now)
            key = fields.get(b"reply", b"")
            if key.startswith(REPLIES.encode()) and len(key) <= MAX_SHORT_BYTES:  # nobody makes us write to another key
                reply = encode_reply(_identity(fields) | (refusal or self.reply(fields)))
                n_bytes += len(reply)
                replies.append((key, reply))
            if self.recovery.request_done():
                break  # its reply is sent before the next request can kill
        self.store.requests.answer(replies, self.last_request)
        if examples_wait:
            self.credit -= time.monotonic() - started

    # ---- refusing ----
    def _refusal(self, request_id: bytes, fields: Fields, now: float) -> dict[str, Any] | None:
        """Return the reply to a request that must not be answered: it is deadly, too late, or among too many."""
        self._n_to_refuse -= 1
        if self.recovery.killed(request_id):
            return {"error": "request must not kill the worker (it did)"}
        deadline = deadline_ms(request_id, fields)
        if deadline is not None and now > deadline:
            return {
                "error": f"request must be answered within its deadline_ms (it is {now - deadline:.0f} ms too late)"
            }
        if self._n_to_refuse >= 0:
            return {"error": f"requests that wait must be at most {MAX_WAITING} (more do; this was among the oldest)"}
        return None

    def _refuse_oldest(self) -> None:
        """Have the oldest requests refused when too many wait, and drop them when far too many do."""
        n = self.store.requests.bound(MAX_KEPT_WAITING)
        self._n_to_refuse = max(n - MAX_WAITING, 0)

    def _now_ms(self) -> float:
        """Return the time by the server's clock, as it goes on since the last look at it."""
        now = time.monotonic()
        if now - self._clock[1] >= CLOCK_SECONDS:
            self._clock = (self.store.requests.now_ms(), now)
        return self._clock[0] + 1e3 * (now - self._clock[1])

    # ---- replies ----
    def reply(self, fields: Fields) -> dict[str, Any]:
        """Return the reply to one request."""
        vectors, is_single = decode_request(fields)
        explain = b"explain" in fields
        room, answers = MAX_EXPLAINED, []
        for vector in vectors:
            answers.append(self._predict(vector, room if explain else None))
            room -= len(answers[-1].get("contributions", ()))
        if is_single:
            return answers[0]
        columns: dict[str, Any] = {
            "predictions": [answer.get("prediction") for answer in answers],
            "scores": [answer.get("score") for answer in answers],
        }
        if any("label" in answer for answer in answers):
            columns["labels"] = [answer.get("label") for answer in answers]
        if explain:
            columns["contributions"] = [answer.get("contributions") for answer in answers]
        if errors := {str(i): answer["error"] for i, answer in enumerate(answers) if "error" in answer}:
            columns["errors"] = errors
        return columns

    def _predict(self, vector: bytes | RawRecord | LearnerError, room: int | None) -> dict[str, Any]:
        """Return an answer, explained with as many contributions as there is room for (None: not explained)."""
        try:
            if isinstance(vector, LearnerError):
                raise vector
            packed = self.model.pack(vector.record) if isinstance(vector, RawRecord) else vector
            answer = self.model.answer(packed, room is not None and room > 0)
            if room is not None and (room <= 0 or len(answer["contributions"]) > room):
                raise LearnerError(f"contributions must be at most {MAX_EXPLAINED} in a reply (more were asked for)")
        except LearnerError as error:
            return {"error": str(error)}
        return answer


def _identity(fields: Fields) -> dict[str, str]:
    return {"id": fields[b"id"][:MAX_SHORT_BYTES].decode(errors="replace")} if b"id" in fields else {}
