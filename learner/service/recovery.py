"""Recovery after a crash: what the worker before had just read is suspected, and taken one by one.

A worker that dies leaves notes in Redis: up to where it had learned when it read on, and which entry or request it was about to
take by itself. The worker after it takes the suspects one by one, each after a note of its own. So an entry that kills twice is
known: before the next time it is tried in a child process, and rejected if that dies, too. A request that kills is refused.
"""

import functools

from learner.service import log
from learner.service.committing import Committing
from learner.service.hanging import RECORD_SECONDS
from learner.service.learning import Learning
from learner.service.reading import READ_ENTRIES
from learner.service.store import Store
from learner.service.store.attempts import Attempt
from learner.service.store.position import stream_id
from learner.service.store.reading import Entries
from learner.service.trial import run_in_child
from learner.service.wire import rejected_entry

__all__ = ["Recovery"]

TRIAL_SECONDS = 60.0  # for learning an entry that may have killed the worker before
MAX_TRIALS = 12  # deaths at one entry: on a starved machine, kills from outside can hit the same trial several times


class Recovery:
    """The entries and requests that may have killed the worker before.

    Parameters
    ----------
    store : Store
        The model's place in Redis, with the notes.
    learning : Learning
        Learns.
    committing : Committing
        Commits at once what is quarantined.

    Attributes
    ----------
    last : Attempt
        The notes of the worker before, if it died.
    n_suspects, n_suspect_requests : int
        How many entries and requests are still to be taken one by one.
    """

    victim = "worker"  # what a request must not kill

    def __init__(self, store: Store, learning: Learning, committing: Committing) -> None:
        self.store = store
        self.learning = learning
        self.committing = committing
        self.last = Attempt()
        self.n_suspects = self.n_suspect_requests = 0
        self._has_begun = False

    def begin(self) -> None:
        """Find out whether the worker before died, and so what may have killed it: what it had just read."""
        if not self._has_begun and (last := self.store.attempts.begin()):
            self.last = last
            self.n_suspects = self.n_suspect_requests = READ_ENTRIES
        self._has_begun = True

    @property
    def is_going_on(self) -> bool:
        """Whether there are suspects left."""
        return self.n_suspects + self.n_suspect_requests > 0

    # ---- entries ----
    def learn(self, entries: Entries) -> None:
        """Learn entries, suspects with care.

        An entry that the worker before had learned when it read on (see `Stream.read`) did not kill it, and is no suspect.
        """
        if not self.n_suspects:
            self.learning.learn(entries)
            return
        n_safe = sum(stream_id(entry_id) <= stream_id(self.last.reading) for entry_id, _ in entries)
        if n_safe:
            self.learning.learn(entries[:n_safe])
        for entry_id, fields in entries[n_safe:]:
            if self.learning.stopping():
                break
            self._learn_suspect(entry_id, fields)
            self.n_suspects = max(self.n_suspects - 1, 0)

    def _learn_suspect(self, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        """Learn one entry after a note of it; if there is a note already, try it in a child process first."""
        times = self.last.times + 1 if self.last.entry == entry_id else 1
        self.store.attempts.mark(entry_id, times)
        learn = functools.partial(self.learning.learn, [(entry_id, fields)])
        death = None
        if times > MAX_TRIALS:  # the trials died together with the worker, as when a container's memory is full
            death = "and the trials with it"
        elif times > 1:
            death = run_in_child(learn, TRIAL_SECONDS)
            if death == "SIGPROF":
                death = f"more than {RECORD_SECONDS:g} s for one record"
        if death is None:
            learn()
        else:
            self._quarantine(entry_id, fields, death)

    def _quarantine(self, entry_id: bytes, fields: dict[bytes, bytes], death: str) -> None:
        """Reject an entry that kills the process, and commit that at once."""
        reason = f"entry must not kill the worker (it did, and then a trial: {death})"
        name = entry_id.decode()
        log.event(self.store.keys.model, "killed", f"entry {name} is rejected: {reason}", "error", entry=name)
        self.learning.skip(entry_id, fields, rejected_entry("killed", reason, fields))
        self.committing.commit()

    # ---- requests ----
    def killed(self, request_id: bytes) -> bool:
        """Tell whether a request killed the worker before; note it if it is a suspect that did not."""
        if not self.n_suspect_requests:
            return False
        if request_id == self.last.request:
            return True
        self.store.attempts.mark_request(request_id)
        return False

    def request_done(self) -> bool:
        """Count a request as taken; return whether it was a suspect."""
        if not self.n_suspect_requests:
            return False
        self.n_suspect_requests -= 1
        return True
