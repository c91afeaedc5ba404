"""Answering: requests wait in a queue and are answered for a fair share of the time, or refused."""

import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from learner.errors import LearnerError, show
from learner.messages import tell
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
MAX_NOTED = 100  # reply keys that a worker says something about

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
        self._noted: set[bytes] = set()  # reply keys that were said not to be written to
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
            if self._may_write(key):
                reply = encode_reply(_identity(fields) | (refusal or self.reply(fields)))
                n_bytes += len(reply)
                replies.append((key, reply))
            if self.recovery.request_done():
                break  # its reply is sent before the next request can kill
        for key, error in self.store.requests.answer(replies, self.last_request):
            self._note(key, f"could not be written to ({error})")
        if examples_wait:
            self.credit -= time.monotonic() - started

    def _may_write(self, key: bytes) -> bool:
        """Tell whether a key is for replies; if not, say so: nobody makes a worker write to another key."""
        prefixes = (self.store.keys.replies, REPLIES)
        if key.startswith(tuple(prefix.encode() for prefix in prefixes)) and len(key) <= MAX_SHORT_BYTES:
            return True
        self._note(key, f"must start with {' or '.join(prefixes)} and have at most {MAX_SHORT_BYTES} bytes")
        return False

    def _note(self, key: bytes, why: str) -> None:
        """Say once for each reply key that requests with it have no answer, and why."""
        if key not in self._noted and len(self._noted) < MAX_NOTED:
            self._noted.add(key[: MAX_SHORT_BYTES + 1])
            name = show(key.decode(errors="replace"))
            tell(f"worker of {self.store.keys.model}: requests with reply {name} have no answer: it {why}")

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
        if is_single:
            return self._reply_to_one(next(vectors), explain=b"explain" in fields)
        explain, wants_probabilities = b"explain" in fields, b"probabilities" in fields
        room, answers = MAX_EXPLAINED, []
        for vector in vectors:
            answer = self._predict(vector, room if explain else None)
            if wants_probabilities:
                self._add_probabilities(answer)
            else:
                answer.pop("probabilities", None)
            answers.append(answer)
            room -= len(answer.get("contributions", ()))
        columns: dict[str, Any] = {
            "task": self.model.task,
            "predictions": [answer.get("prediction") for answer in answers],
            "scores": [answer.get("score") for answer in answers],
        }
        for name, column in (("label", "labels"), ("probabilities", "probabilities")):
            if any(name in answer for answer in answers):
                columns[column] = [answer.get(name) for answer in answers]
        if explain:
            columns["contributions"] = [answer.get("contributions") for answer in answers]
        if errors := {str(i): answer["error"] for i, answer in enumerate(answers) if "error" in answer}:
            columns["errors"] = errors
        return columns

    def _reply_to_one(self, vector: bytes | RawRecord | LearnerError, explain: bool) -> dict[str, Any]:
        answer = self._predict(vector, MAX_EXPLAINED if explain else None, names_unknown=True)
        if "error" in answer:
            return answer
        self._add_probabilities(answer)
        return {"task": self.model.task} | answer

    def _add_probabilities(self, answer: dict[str, Any]) -> None:
        """Add the probabilities of two classes; an answer about many classes has them already."""
        if "label" in answer and "probabilities" not in answer:
            p = answer["prediction"]
            answer["probabilities"] = dict(zip(self.model.classes, (1.0 - p, p), strict=True))

    def _predict(
        self, vector: bytes | RawRecord | LearnerError, room: int | None, names_unknown: bool = False
    ) -> dict[str, Any]:
        """Return an answer, explained with as many contributions as there is room for (None: not explained).

        With `names_unknown` it names the record's fields of which the model knows no feature, and the declared ones it lacks.
        """
        try:
            if isinstance(vector, LearnerError):
                raise vector
            packed = self.model.pack(vector.record) if isinstance(vector, RawRecord) else vector
            answer = self.model.answer(packed, room is not None and room > 0)
            if names_unknown and isinstance(vector, RawRecord):
                unknown = self.model.unknown_fields(vector.record, packed)
                missing = self.model.missing_fields(vector.record)
                answer |= {"unknown_fields": unknown} if unknown else {}
                answer |= {"missing_fields": missing} if missing else {}
            if room is not None and (room <= 0 or len(answer["contributions"]) > room):
                raise LearnerError(f"contributions must be at most {MAX_EXPLAINED} in a reply (more were asked for)")
        except LearnerError as error:
            return {"error": str(error)}
        return answer


def _identity(fields: Fields) -> dict[str, str]:
    return {"id": fields[b"id"][:MAX_SHORT_BYTES].decode(errors="replace")} if b"id" in fields else {}
