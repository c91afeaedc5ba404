"""Keeping: answers wait on the server until their outcomes come, and are then learned from the features that were scored.

An answer to a request with ``outcome_id`` is kept in the transaction that sends it. An outcome names it, and the commit that
has learned the outcome deletes it: so whatever dies, an outcome is learned once, and from exactly those features. What has
waited for ``keep_predictions`` (a setting of the model) *expires*: the owner adds an entry to the stream that says so.
Whichever of the two entries comes first in the stream counts, and when a stream is learned again, nobody looks at a clock.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from learner.answered import answer_of
from learner.errors import StoreError, show
from learner.packing import pack_example
from learner.service import log
from learner.service.clock import ServerClock
from learner.service.store import Store
from learner.service.store.position import stream_id
from learner.service.store.reading import READ_BYTES, Entries
from learner.service.wire import Kept, OutcomeFields, decode_kept, decode_target, encode_kept, expiry_of, is_outcome

if TYPE_CHECKING:
    from learner.service.learning import Learning
    from learner.service.tailing import Tailing

__all__ = ["Expiring", "Keeping"]

MAX_KEPT = 1_000_000  # answers
MAX_KEPT_BYTES = 1 << 30  # of all of them
MAX_ANSWER_BYTES = 1 << 20  # of one
FETCHED_AT_ONCE = 32  # answers, each of which may be large
EXPIRED_AT_ONCE = 10_000  # answers, at a look
LOOK_SECONDS = 1.0  # between two looks whether answers have expired
SETTINGS_SECONDS = 5.0  # between two looks at the settings


class Keeping:
    """The answers of a model that wait for their outcomes.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    learning : Learning or Tailing
        Knows which outcomes were learned.

    Attributes
    ----------
    pending : dict of bytes to bytes
        What is to be kept of answers whose replies are not finished yet, by name.
    """

    def __init__(self, store: Store, learning: "Learning | Tailing") -> None:
        self.store = store
        self.learning = learning
        self.pending: dict[bytes, bytes] = {}
        self._n_unsent = self._n_unsent_bytes = 0  # of answers that are to be kept
        self._settings: dict[str, Any] = {}
        self._looked_at = self._counted_at = -SETTINGS_SECONDS
        self._why = ""
        self._said: set[str] = set()

    def settings(self) -> dict[str, Any]:
        """Return the model's settings of a few seconds ago at most; while they can't be read, those of before."""
        now = time.monotonic()
        if now - self._looked_at >= SETTINGS_SECONDS:
            self._looked_at = now
            try:
                self._settings = self.store.settings()
            except StoreError as error:
                self.say(str(error))
                self._settings = self._settings or {"keep_predictions": 0.0, "default_outcome": None}
        return self._settings

    # ---- answers ----
    def keep(self, name: bytes, reply: dict[str, Any], features: bytes) -> dict[str, Any]:
        """Have an answer kept along with its sending; return it, or the error why it can't be.

        Parameters
        ----------
        name : bytes
            Of 1 to 256 bytes; the ``outcome_id`` of the request.
        reply : dict
            The answer.
        features : bytes
            In msgpack, as they were scored.
        """
        if self.learning.has_outcome(name):  # asked again after its outcome: there is nothing more to learn
            return reply
        data = encode_kept(answer_of(reply), features)
        if refusal := self._refusal(len(data)):
            return {"error": refusal}
        self.pending[name] = data
        self._n_unsent += 1
        self._n_unsent_bytes += len(data)
        return reply

    def _refusal(self, n_bytes: int) -> str:
        """Return why an answer of some size can't be kept; "" if it can."""
        kept = self.store.kept
        if not self.settings()["keep_predictions"]:
            return "outcome_id must be asked of a model that keeps predictions (its setting keep_predictions is 0)"
        if n_bytes > MAX_ANSWER_BYTES:
            return f"features of a request with outcome_id must be at most {MAX_ANSWER_BYTES} bytes (got {n_bytes})"
        if why := self._why_not():
            return why
        if kept.n + self._n_unsent >= MAX_KEPT or kept.n_bytes + self._n_unsent_bytes + n_bytes > MAX_KEPT_BYTES:
            return (
                f"answers that wait for their outcomes must be at most {MAX_KEPT}, of {MAX_KEPT_BYTES} bytes (got {kept.n}, of "
                f"{kept.n_bytes}): push outcomes, or lower the setting keep_predictions"
            )
        return ""

    def _why_not(self) -> str:
        """Return why no answers can be kept, "" if they can; look from time to time, as commits make them fewer."""
        now = time.monotonic()
        if now - self._counted_at >= SETTINGS_SECONDS:
            self._counted_at = now
            self._why = self.store.kept.look()
        return self._why

    def sent(self) -> None:
        """Go on after the answers were sent."""
        if not self._n_unsent:
            return
        self.pending, self._n_unsent, self._n_unsent_bytes = {}, 0, 0
        if self.store.kept.error:
            self.say(f"answers can't be kept ({self.store.kept.error}): no outcome of theirs will be learned")
        if self.store.kept.n_again:
            self.say("an outcome_id was asked with again: its first answer stays kept, until its outcome comes")

    def say(self, text: str) -> None:
        """Say something in the log, once."""
        if text not in self._said:
            self._said.add(text)
            log.event(self.store.keys.model, "keeping", text, "warning")

    # ---- outcomes ----
    def found(self, entries: Entries) -> Entries:
        """Return entries with the answers that outcomes name, as `OutcomeFields`; fewer entries if the answers are large."""
        places = [i for i, (_, fields) in enumerate(entries) if b"outcome" in fields and is_outcome(fields)]
        if not places:
            return entries
        entries, n_bytes = list(entries), 0
        for start in range(0, len(places), FETCHED_AT_ONCE):
            some = places[start : start + FETCHED_AT_ONCE]
            answers = self.store.kept.get([entries[i][1][b"outcome"] for i in some])
            for i, data in zip(some, answers, strict=True):
                entries[i] = (entries[i][0], OutcomeFields(entries[i][1], self._kept(data)))
                n_bytes += len(data or b"")
            if n_bytes >= READ_BYTES:
                return entries[: places[start + FETCHED_AT_ONCE]] if len(places) > start + FETCHED_AT_ONCE else entries
        return entries

    def _kept(self, data: bytes | None) -> Kept | None:
        """Return an answer that was kept; None if there is none, or it is no answer of such a model."""
        kept = decode_kept(data)
        if kept and isinstance(kept.answer, dict) != (self.learning.model.task == "multiclass"):
            return None
        return kept


class Expiring:
    """Adds the entries that say that no outcome came, when it is time for them.

    Those before must be committed first, so that none is added twice; after a start all that the stream had then.

    Parameters
    ----------
    keeping : Keeping
        The answers.
    clock : ServerClock
        Tells the time by the server's clock.
    last : bytes
        The last entry of the stream.
    """

    def __init__(self, keeping: Keeping, clock: ServerClock, last: bytes) -> None:
        self.keeping = keeping
        self.clock = clock
        self._last = last
        self._looked_at = -LOOK_SECONDS
        self._may_have_some = True  # a worker before this one may have left some

    def expire_if_due(self) -> None:
        """Look now and then, and add the entries."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self.expire()

    def expire(self, commit: Callable[[], None] = lambda: None) -> bool:
        """Look, and add the entries; return whether there were any. If answers are kept at all, call `commit` first."""
        self._looked_at = time.monotonic()
        store = self.keeping.store
        if not (self._may_have_some or store.kept.n):
            return False
        self._may_have_some = False
        if why := store.kept.look():
            self.keeping.say(f"nothing expires: {why}")
        if why or not store.kept.n:
            return False
        commit()
        if stream_id(store.commits.cursor) < stream_id(self._last):
            return False
        settings = self.keeping.settings()
        names = store.kept.before(self.clock.now_ms() - 1e3 * settings["keep_predictions"], EXPIRED_AT_ONCE)
        if names:
            default = self._learnable(settings["default_outcome"])
            self._last = store.stream.add([expiry_of(name, default) for name in names]) or self._last
        return bool(names)

    def _learnable(self, default: str | None) -> str | None:
        """Return the default outcome, None if the model can't learn it: then the answers are only counted."""
        if default is None:
            return None
        losses, _ = self.keeping.learning.model.losses_packed(pack_example(decode_target(default.encode()), b"\x80"))
        if losses[0] == losses[0]:
            return default
        self.keeping.say(f"default_outcome must be a target of the model (got {show(default)}): it is not learned")
        return None
