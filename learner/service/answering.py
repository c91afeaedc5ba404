"""Answering: requests wait in a queue and are answered for a fair share of the time, or refused."""

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from learner.errors import StoreError, show
from learner.service import log
from learner.service.clock import ServerClock
from learner.service.counting import Counts
from learner.service.replying import Reply
from learner.service.store import Store
from learner.service.store.line import Command
from learner.service.store.position import LAST, NEVER, stream_id
from learner.service.store.reading import READ_BYTES, Entries
from learner.service.store.requests import Answer
from learner.service.wire import (
    MAX_REQUESTS,
    MAX_SHORT_BYTES,
    REPLIES,
    TOO_LATE,
    TOO_MANY,
    deadline_ms,
    encode_reply,
    size_of,
)

if TYPE_CHECKING:
    from learner.model import Model
    from learner.service.keeping import Keeping

__all__ = ["Answering"]

MAX_WAITING = 10_000  # requests; when more wait, the oldest are refused
MAX_MANY_BYTES = 64 << 20  # of requests for many that wait; beyond, the one that took most work is refused
ANSWER_SECONDS = 0.1  # the longest time for answers at a stretch
LEVEL_SECONDS = (0.0, 0.1, 1.0)  # of work on a request for many, after each of which others come first
SLICE_SECONDS = 0.02  # of work on a request for many before others have their turn
MANY_SHARE = 0.5  # of the time of requests for one, for those for many while both wait
MEANWHILE_SECONDS = 0.001  # between answers while examples are learned
ASKING_SECONDS = 0.004  # between requests that are looked for by a round trip meanwhile
ANSWER_SHARE = 0.8  # of the time of learning, for answers while examples wait: learning has more than half of the time
MAX_NOTED = 100  # reply keys that a worker says something about

Fields = Mapping[bytes, bytes]


class Suspects(Protocol):
    """What is known of requests that may kill the process, such as the owner's `learner.service.recovery.Recovery`."""

    victim: str  # what they must not kill, in a word

    def killed(self, request_id: bytes) -> bool:
        """Tell whether a request must not be tried again."""

    def request_done(self) -> bool:
        """Count a request as taken; return whether it was a suspect."""


@dataclass(order=True)
class Asked:
    """A request for many that waits: those on the lowest level come first, of these the oldest.

    The level is how many of `LEVEL_SECONDS` the work so far exceeds: what takes little work waits for nothing that takes much.
    """

    level: int
    number: int
    request_id: bytes = field(compare=False)
    fields: Fields = field(compare=False)
    reply: Reply = field(compare=False)


class Answering:
    """The requests that wait, and the time there is for them.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    model : Model
        Predicts.
    recovery : Suspects
        Knows which requests may have killed the process before.
    counts : Counts
        Counts replies, and how long they took.

    Attributes
    ----------
    last_request : bytes
        The last one read. Requests are removed from their stream when they are answered.
    waiting : deque of (request id, fields)
        Requests for one prediction that were read and are not answered yet, in order.
    many : heap of Asked
        Requests for many, likewise. They are worked on a little at a time, in turns.
    credit : float
        Seconds for answers while examples wait, earned by learning.
    keeping : Keeping or None
        Keeps the answers to requests with an ``outcome_id``; None: there are none.
    notice : str
        What every reply says in the field ``notice``; empty: nothing.
    is_left : bool
        Whether requests are left to answerers, so that none is read.
    next_read : callable
        Returns the commands of the next read, which are sent along with the last replies before the worker waits.
    """

    def __init__(self, store: Store, model: "Model", recovery: Suspects, counts: Counts | None = None) -> None:
        self.counts = counts or Counts()
        self.store = store
        self.model = model
        self.recovery = recovery
        self.last_request = NEVER
        self.waiting: deque[tuple[bytes, dict[bytes, bytes]]] = deque()
        self.many: list[Asked] = []
        self.pack: Callable[[Any], bytes] = model.pack
        self.credit = 0.0
        self._number = self._n_many_bytes = self._n_reply_bytes = 0
        self._many_due = 0.0  # seconds for requests for many, earned by those for one
        self._answered_at = time.monotonic()
        self._asked_at = -ASKING_SECONDS
        self._is_cut_off = False  # a look for requests in the middle of learning failed
        self._answers: list[Answer] = []  # to be sent
        self._was_suspect = False  # the request that was answered last
        self._n_to_refuse = 0  # of the oldest, because too many wait
        self._noted: set[bytes] = set()  # reply keys that were said not to be written to
        self.clock = ServerClock(store)
        self.keeping: Keeping | None = None
        self.notice = ""
        self.is_left = False
        self.next_read: Callable[[], Sequence[Command]] = tuple
        self._came_ms: dict[bytes, float] = {}  # of those that wait and whose id is a time that was still to come

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
        last = stream_id(self.last_request)
        for request_id, fields in requests:
            if stream_id(request_id) <= last:  # it was read in the middle of learning, too, since these were read
                continue
            self.last_request = request_id
            if b"deadline_ms" in fields and (came := self.clock.came_ms(request_id)) < stream_id(request_id)[0]:
                self._came_ms[request_id] = came
            if b"batch" in fields or b"records" in fields:
                self._number += 1
                self._n_many_bytes += size_of(fields)
                asked = Asked(0, self._number, request_id, fields, Reply(self.model, fields, self.pack))
                heapq.heappush(self.many, asked)
            else:
                self.waiting.append((request_id, fields))
        self._refuse_largest()
        self.answer(examples_wait)
        if more:
            self._refuse_oldest()

    @property
    def is_idle(self) -> bool:
        """Whether all requests that were read are answered."""
        return not (self.waiting or self.many or self._answers)

    def earn(self) -> None:
        """Give answers their share of the time that learning took since they had their last turn."""
        seconds = time.monotonic() - self._answered_at
        self.credit = min(self.credit + ANSWER_SHARE * seconds, ANSWER_SECONDS)

    def answer(self, examples_wait: bool) -> None:
        """Answer requests for a while; all replies of that time, and the end of their requests, are one transaction."""
        self._answered_at = started = time.monotonic()
        self._is_cut_off = False
        seconds = self.credit if examples_wait else ANSWER_SECONDS
        if self.is_idle or seconds <= 0.0:
            return
        if self._answers:  # whose sending failed
            self._send()
        self._was_suspect = False
        while (self.waiting or self.many) and time.monotonic() - started < seconds:
            self._answer_many() if self._is_turn_of_many() else self._answer_one()
            if self._n_reply_bytes >= READ_BYTES or self._was_suspect:
                break
        self._send(() if examples_wait or self.waiting or self.many else self.next_read())
        self._answered_at = time.monotonic()
        if examples_wait:
            self.credit -= self._answered_at - started

    @property
    def is_due(self) -> bool:
        """Whether requests may have waited for a while in the middle of learning."""
        return not (self._is_cut_off or self.is_left) and time.monotonic() - self._answered_at > MEANWHILE_SECONDS

    def meanwhile(self) -> None:
        """Answer for a while in the middle of learning; after a failure not again before the loop has reached the server."""
        self.earn()
        self._is_cut_off = True  # until `answer`
        self.take([] if self.waiting else self._look(), more=False, examples_wait=True)

    def _look(self) -> Entries:
        """Return the next requests: those that the server has told of, or now and then what it has when it is asked."""
        requests = self.store.stream.watch_requests(self.last_request)
        if requests is None and time.monotonic() - self._asked_at > ASKING_SECONDS:
            self._asked_at = time.monotonic()
            requests = self.store.stream.read_requests(self.last_request)
        return requests or []

    # ---- turns ----
    def _is_turn_of_many(self) -> bool:
        return bool(self.many) and (not self.waiting or self._many_due > 0.0)

    def _answer_one(self) -> None:
        """Answer the oldest request for one prediction."""
        started = time.monotonic()
        request_id, fields = self.waiting[0]
        reply = self._refusal(request_id, fields) or self.reply(fields)
        self.waiting.popleft()
        self._finish(request_id, fields, reply)
        self._many_due = min(self._many_due + MANY_SHARE * (time.monotonic() - started), SLICE_SECONDS)

    def _answer_many(self) -> None:
        """Work for a moment on the first request for many."""
        started = time.monotonic()
        asked = heapq.heappop(self.many)
        self._n_to_refuse += asked.level > 0  # it was counted at its first turn
        reply = self._refusal(asked.request_id, asked.fields) or asked.reply.work(SLICE_SECONDS)
        if reply is None:
            asked.level = sum(asked.reply.seconds > seconds for seconds in LEVEL_SECONDS)
            heapq.heappush(self.many, asked)
        else:
            self._n_many_bytes -= size_of(asked.fields)
            self._finish(asked.request_id, asked.fields, reply)
        self._many_due -= time.monotonic() - started if self.waiting else self._many_due

    def _finish(self, request_id: bytes, fields: Fields, reply: dict[str, Any]) -> None:
        """Have a reply sent with the next transaction."""
        self._came_ms.pop(request_id, None)
        self.counts.n_errors += "error" in reply
        answer = Answer(request_id, b"", b"")
        if self._may_write(key := fields.get(b"reply", b"")):
            more: dict[str, Any] = {"notice": self.notice} if self.notice else {}
            if "error" not in reply:
                more["commit"] = self.store.commits.number
                if key.startswith(REPLIES.encode()):
                    more["model"] = self.store.keys.model  # whoever waits there can tell whose answer it is
            answer = answer._replace(key=key, reply=encode_reply(_identity(fields) | reply | more))
            self._n_reply_bytes += len(answer.reply)
        if self.keeping and "error" not in reply and (name := fields.get(b"outcome_id", b"")) in self.keeping.pending:
            answer = answer._replace(name=name, kept=self.keeping.pending.pop(name))
        self._answers.append(answer)
        self._was_suspect = self.recovery.request_done()  # then its reply is sent before the next request can kill

    def _send(self, ahead: Sequence[Command] = ()) -> None:
        """Send the replies, and remove their requests; send a read along."""
        results = self._deliver(self._answers, ahead)
        if self.keeping:
            self.keeping.sent()
        now = self.clock.now_ms()
        for answer, result in zip(self._answers, results, strict=True):
            if isinstance(result, bytes):
                self._note(answer.key, f"could not be written to ({result.decode(errors='replace')})")
            if result:
                self.counts.request_seconds.observe(max(now - stream_id(answer.request)[0], 0.0) / 1e3)
        if any(answer.request == LAST for answer in self._answers):  # the stream began anew
            self.last_request = NEVER
        self._answers, self._n_reply_bytes = [], 0

    def _deliver(self, answers: Sequence[Answer], ahead: Sequence[Command]) -> Sequence[int | bytes]:
        """Send replies as the owner; return what `Requests.answer` does.

        Raises
        ------
        LearnerError
            When this process is not the owner any more.
        """
        ownership = self.store.ownership
        results = self.store.requests.answer(answers, ownership.token, ahead=ahead)
        if results is None:
            ownership.require()
            raise StoreError(f"owner of {self.store.keys.model!r} must answer itself (its note says that others do)")
        return results

    def drop(self) -> None:
        """Forget the requests that were read, and what was not sent: whoever answers now reads them again."""
        self.waiting.clear()
        self.many, self._n_many_bytes, self._many_due = [], 0, 0.0
        self._answers, self._n_reply_bytes, self._n_to_refuse = [], 0, 0
        self._came_ms, self.last_request = {}, NEVER
        if self.keeping:
            self.keeping.sent()

    def _may_write(self, key: bytes) -> bool:
        """Tell whether a key is for replies; if not, say so: nobody makes a worker write to another key."""
        if self.store.requests.may_be_replied_to(key) and len(key) <= MAX_SHORT_BYTES:
            return True
        prefixes = " or ".join(self.store.requests.reply_prefixes)
        self._note(key, f"must start with {prefixes} and have at most {MAX_SHORT_BYTES} bytes")
        return False

    def _note(self, key: bytes, why: str) -> None:
        """Say once for each reply key that requests with it have no answer, and why."""
        if key not in self._noted and len(self._noted) < MAX_NOTED:
            self._noted.add(key[: MAX_SHORT_BYTES + 1])
            name = show(key.decode(errors="replace"))
            text = f"requests with reply {name} have no answer: it {why}"
            log.event(self.store.keys.model, "unanswered", text, "warning")

    # ---- refusing ----
    def _refusal(self, request_id: bytes, fields: Fields) -> dict[str, Any] | None:
        """Return the reply to a request that must not be answered: it is deadly, too late, or among too many."""
        self._n_to_refuse -= 1
        if self.recovery.killed(request_id):
            return {"error": f"request must not kill the {self.recovery.victim} (it did)"}
        came, now = self._came_ms.get(request_id, stream_id(request_id)[0]), self.clock.now_ms()
        deadline = deadline_ms(came, fields)
        if deadline is not None and now > deadline:
            return {"error": f"{TOO_LATE} (it is {now - deadline:.0f} ms too late)"}
        if self._n_to_refuse >= 0:
            return {"error": f"{TOO_MANY[0]} {MAX_WAITING} (more do; this was among the oldest)"}
        return None

    def _refuse_largest(self) -> None:
        """Refuse requests for many, those that took most work first, while too many of them wait."""
        if self._n_many_bytes <= MAX_MANY_BYTES and len(self.many) <= MAX_WAITING:
            return
        self.many.sort()  # which keeps it a heap
        while self._n_many_bytes > MAX_MANY_BYTES or len(self.many) > MAX_WAITING:
            asked = self.many.pop()
            self._n_many_bytes -= size_of(asked.fields)
            rule = f"{TOO_MANY[1]} {MAX_WAITING}, and {MAX_MANY_BYTES} bytes (more do)"
            self._finish(asked.request_id, asked.fields, {"error": rule})

    def _refuse_oldest(self) -> None:
        """Have the oldest requests refused when too many wait, and drop them when far too many do."""
        self._n_to_refuse = max(self.store.requests.bound(MAX_REQUESTS) - MAX_WAITING, 0)

    # ---- replies ----
    def reply(self, fields: Fields) -> dict[str, Any]:
        """Return the whole reply to one request, which is kept with its sending if it has an outcome."""
        reply = Reply(self.model, fields, self.pack)
        answer = cast("dict[str, Any]", reply.work(math.inf))
        if b"outcome_id" in fields and self.keeping and "error" not in answer:
            return self.keeping.keep(fields[b"outcome_id"], answer, reply.features)
        return answer


def _identity(fields: Fields) -> dict[str, str]:
    return {"id": fields[b"id"][:MAX_SHORT_BYTES].decode(errors="replace")} if b"id" in fields else {}
