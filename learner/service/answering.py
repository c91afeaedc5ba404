"""Answering: requests wait in a queue and are answered for a fair share of the time, or refused."""

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from learner.errors import show
from learner.service import log
from learner.service.clock import ServerClock
from learner.service.counting import Counts
from learner.service.recovery import Recovery
from learner.service.replying import Reply
from learner.service.store import Store
from learner.service.store.position import LAST, NEVER, stream_id
from learner.service.store.reading import READ_BYTES, Entries
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
    recovery : Recovery
        Knows which requests may have killed the worker before.
    counts : Counts
        Counts replies, and how long they took.

    Attributes
    ----------
    last_request : bytes
        The last one read. Requests are removed from their stream once they and all before them are answered.
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
    """

    def __init__(self, store: Store, model: "Model", recovery: Recovery, counts: Counts | None = None) -> None:
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
        self._replies: list[tuple[bytes, bytes]] = []  # to be sent, with the ids of their requests
        self._done: list[bytes] = []
        self._kept: list[tuple[int, int]] = []  # requests that were answered, but come after one that is not
        self._oldest: tuple[int, int] | None = (0, 0)  # that was not answered, when replies were sent last
        self._was_suspect = False  # the request that was answered last
        self._n_to_refuse = 0  # of the oldest, because too many wait
        self._noted: set[bytes] = set()  # reply keys that were said not to be written to
        self.clock = ServerClock(store)
        self.keeping: Keeping | None = None
        self.notice = ""
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
        return not (self.waiting or self.many or self._done)

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
        if self._done:  # whose sending failed
            self._send()
        self._was_suspect = False
        while (self.waiting or self.many) and time.monotonic() - started < seconds:
            self._answer_many() if self._is_turn_of_many() else self._answer_one()
            if self._n_reply_bytes >= READ_BYTES or self._was_suspect:
                break
        self._send()
        self._answered_at = time.monotonic()
        if examples_wait:
            self.credit -= self._answered_at - started

    @property
    def is_due(self) -> bool:
        """Whether requests may have waited for a while in the middle of learning."""
        return not self._is_cut_off and time.monotonic() - self._answered_at > MEANWHILE_SECONDS

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
        self._done.append(request_id)
        self._came_ms.pop(request_id, None)
        self.counts.n_errors += "error" in reply
        if self._may_write(key := fields.get(b"reply", b"")):
            notice = {"notice": self.notice} if self.notice else {}
            if key.startswith(REPLIES.encode()) and "error" not in reply:
                reply["model"] = self.store.keys.model  # whoever waits there can tell whose answer it is
            self._replies.append((key, encode_reply(_identity(fields) | reply | notice)))
            self._n_reply_bytes += len(self._replies[-1][1])
        self._was_suspect = self.recovery.request_done()  # then its reply is sent before the next request can kill

    def _send(self) -> None:
        """Send the replies, and remove the requests up to the oldest that is not answered."""
        left = [self.waiting[0][0]] if self.waiting else []
        left += [asked.request_id for asked in self.many]
        oldest = min(map(stream_id, left), default=None)
        done = [*self._kept, *map(stream_id, self._done)]
        gone = done if oldest is None else []
        if oldest and oldest != self._oldest:  # otherwise all before it was removed before
            gone = [place for place in done if place < oldest]
        up_to = b"%d-%d" % max(gone) if gone else NEVER
        to_keep = self.keeping.pending if self.keeping else {}
        for key, error in self.store.requests.answer(self._replies, up_to, to_keep):
            self._note(key, f"could not be written to ({error})")
        if self.keeping:
            self.keeping.sent()
        now = self.clock.now_ms()
        for request_id in self._done:
            self.counts.request_seconds.observe(max(now - stream_id(request_id)[0], 0.0) / 1e3)
        if up_to == LAST:  # the stream began anew
            self.last_request = NEVER
        self._kept = [place for place in done if oldest and place > oldest]
        self._done, self._replies, self._n_reply_bytes, self._oldest = [], [], 0, oldest

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
            return {"error": "request must not kill the worker (it did)"}
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
        n = self.store.requests.bound(MAX_REQUESTS)
        self._n_to_refuse = max(n - len(self._kept) - MAX_WAITING, 0)

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
