"""Answering beside others: an answerer takes requests from a group, and answers from the commit that it has.

A request that kills answerers is known by how many times it was handed out: from the third time on it is answered alone, and
after `MAX_TIMES` it is refused.
"""

import heapq
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from learner.service.answering import Answering, Fields
from learner.service.counting import Counts
from learner.service.hanging import or_die
from learner.service.keeping import Keeping
from learner.service.store import Store
from learner.service.store.line import Command
from learner.service.store.position import NEVER
from learner.service.store.reading import UNMEASURED_ENTRIES, Entries
from learner.service.store.requests import Answer
from learner.service.store.sharing import Pending
from learner.service.tailing import Tailing
from learner.service.wire import size_of

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["SharedAnswering"]

MAX_TIMES = 3  # that a request is handed out to be answered; the next time it is refused
CLAIM_SECONDS = 0.5  # between two looks for requests of answerers that died
IDLE_MS = 1000  # since a request was handed out, until somebody asks whether its answerer lives
HOLD_SECONDS = 0.5  # between two signs of life for what takes long
MAX_HELD_BYTES = 16 << 20  # of requests for many in hand, beyond which no more are taken: others may have room
BOUND_SECONDS = 0.5  # between two looks at how many requests wait


class Repeated:
    """What is known of the requests that were handed out before; in place of the owner's `Recovery`."""

    victim = "answerer"

    def __init__(self) -> None:
        self.times: dict[bytes, int] = {}

    def killed(self, request_id: bytes) -> bool:
        """Tell whether a request was handed out so many times that it must be deadly."""
        return self.times.get(request_id, 0) >= MAX_TIMES

    def request_done(self) -> bool:
        """Return whether a request was a suspect, whose reply is sent at once."""
        return bool(self.times)


class SharedAnswering(Answering):
    """The requests that this answerer has, and the time there is for them.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    tailing : Tailing
        Its model answers.
    counts : Counts
        Counts replies, and how long they took.

    Attributes
    ----------
    dead : bytes
        The token of an owner that is known to be dead.
    may : bool
        Whether it was answerers' turn when replies were sent last.
    """

    recovery: Repeated

    def __init__(self, store: Store, tailing: Tailing, counts: Counts | None = None) -> None:
        super().__init__(store, tailing.model, Repeated(), counts)
        self.pack = or_die(tailing.model.pack)
        self.keeping = Keeping(store, tailing)
        self.sharing = store.sharing
        self.dead, self.may = b"", True
        self._has_more = False  # whether still more requests may wait
        self._waits = False  # for a commit to be taken in
        self._later: Entries = []  # requests for many that are begun after that
        self._claimed_at = self._held_at = self._bounded_at = -CLAIM_SECONDS

    # ---- the queue ----
    def read(self, block_ms: int) -> Entries:
        """Return requests that nobody has, or that a dead answerer had; while some wait here, or much does, none."""
        if self.waiting or self.recovery.times or self._n_many_bytes > MAX_HELD_BYTES:
            return []
        orphans = self._orphans_if_due()
        if orphans:
            return self._claim(orphans)
        has_more, self._has_more = self._has_more or not self.is_idle, False
        requests = self.sharing.read(None if has_more else block_ms)
        self._has_more = len(requests) >= UNMEASURED_ENTRIES
        return requests

    def take(self, requests: Entries, more: bool = False, examples_wait: bool = False) -> None:
        """Queue requests and answer for a while: see `Answering.take`."""
        if self._waits:
            later = [each for each in requests if _is_for_many(each[1])]
            requests = [each for each in requests if not _is_for_many(each[1])]
            self._later += later
            self._n_many_bytes += sum(size_of(fields) for _, fields in later)
        else:
            self._n_many_bytes -= sum(size_of(fields) for _, fields in self._later)
            requests, self._later = [*self._later, *requests], []
        self.last_request = NEVER  # those of others may be older
        now = time.monotonic()
        if more := len(requests) >= UNMEASURED_ENTRIES and now - self._bounded_at > BOUND_SECONDS:
            self._bounded_at = now
        super().take(requests, more, examples_wait=False)
        self._hold_if_due()

    @property
    def is_idle(self) -> bool:
        """Whether all requests that were read are answered."""
        return super().is_idle and not self._later

    def drop(self) -> None:
        """Forget the requests that this answerer has; they stay pending."""
        super().drop()
        self._later, self._waits = [], False
        self.recovery.times = {}

    def use(self, model: "Model") -> None:
        """Answer with another model; what is in hand is begun anew."""
        if model is not self.model:
            self.drop()
            self.model, self.pack = model, or_die(model.pack)

    # ---- between two commits ----
    def is_between(self) -> bool:
        """Tell whether no reply is half worked out, so that the model may change; until `go_on` none for many is begun."""
        self._waits = True
        begun = []
        for asked in self.many:
            if asked.reply.seconds:
                begun.append(asked)
            else:
                self._later.append((asked.request_id, dict(asked.fields)))
        self.many = begun
        heapq.heapify(self.many)
        return not self.many

    def go_on(self) -> None:
        """Begin what waited for the commit."""
        self._waits = False

    # ---- the group ----
    def _deliver(self, answers: Sequence[Answer], ahead: Sequence[Command]) -> Sequence[int | bytes]:
        """Send replies as an answerer; what is not its turn any more is left to whoever answers now."""
        results = self.store.requests.answer(answers, dead=self.dead, ahead=ahead)
        self.recovery.times = {}
        self.may = results is not None
        return [0] * len(answers) if results is None else results

    def _orphans_if_due(self) -> Sequence[Pending]:
        """Return, now and then, requests that were handed out and that nobody works on: their answerer died, or let them go."""
        if time.monotonic() - self._claimed_at < CLAIM_SECONDS:
            return []
        in_hand = set(self._in_hand())
        pending = [each for each in self.sharing.pending(IDLE_MS) if each.request not in in_hand]
        names = {each.answerer.decode() for each in pending}
        idle = self.store.answerers.dead(names) | {self.sharing.name} if names else set()
        if orphans := [each for each in pending if each.answerer.decode() in idle]:
            return orphans
        self._claimed_at = time.monotonic()
        return []

    def _claim(self, orphans: Sequence[Pending]) -> Entries:
        """Take orphans over; one alone, once nothing else is in hand, if it may have killed two answerers."""
        first = orphans[0]
        if first.times == 1:
            return self.sharing.claim([each.request for each in orphans if each.times == 1], IDLE_MS)
        if not self.is_idle:
            return []
        claimed = self.sharing.claim([first.request], IDLE_MS)
        self.recovery.times = {first.request: first.times} if claimed else {}
        return claimed

    def _in_hand(self) -> list[bytes]:
        """Return the ids of the requests that this answerer has."""
        return [*(each[0] for each in (*self.waiting, *self._later)), *(asked.request_id for asked in self.many)]

    def _hold_if_due(self) -> None:
        """Say of what takes long that this answerer still works on it."""
        if time.monotonic() - self._held_at < HOLD_SECONDS:
            return
        self._held_at = time.monotonic()
        if in_hand := self._in_hand():
            self.sharing.hold(in_hand)


def _is_for_many(fields: Fields) -> bool:
    return b"batch" in fields or b"records" in fields
