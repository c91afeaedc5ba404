"""An answerer: follows the commits of a model and answers its questions, beside others and apart from learning.

It owns nothing and writes nothing that was learned. It answers while the owner leaves questions to answerers (see
`learner.service.leaving`), and while nobody that lives owns the model.
"""

import time

import redis

from learner.service import log
from learner.service.counting import Counts, Minutes
from learner.service.lease import Silence
from learner.service.only_answering import notice_of
from learner.service.owning import is_vacant
from learner.service.sharing import SharedAnswering
from learner.service.store import Store
from learner.service.store.ownership import Owner
from learner.service.store.position import NO_STREAM
from learner.service.store.reading import Entries
from learner.service.tailing import Tailing

__all__ = ["Answerer"]

LOOK_SECONDS = 0.2  # between two looks at the number of the last commit, and at the owner
CHECK_SECONDS = 1.0  # between two looks whether the stream of requests is at its end


class Answerer:
    """One process that answers a model's questions.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    counts : Counts, optional
        What it counts about itself.

    Attributes
    ----------
    stopping : bool
        Whether it is to stop, once it has answered what it has in hand.
    """

    def __init__(self, store: Store, counts: Counts | None = None) -> None:
        self.store = store
        self.counts = counts or Counts()
        self.minutes = Minutes(store.keys.model, self.counts)
        self.stopping = False
        self.tailing = Tailing(store)
        self.answering = SharedAnswering(store, self.tailing, self.counts)
        self._silence = Silence()
        self._looked_at = self._checked_at = -CHECK_SECONDS
        self._has_said_no_stream = False

    def stop(self) -> None:
        """Have it stop after it has answered what it has in hand."""
        self.stopping = True

    def is_stopping(self) -> bool:
        """Tell whether it is to stop."""
        return self.stopping

    def run(self) -> None:
        """Answer until `stopping`, and then what is in hand."""
        self.tailing.doubt()  # after a lost connection the server may have gone back to older data
        self._looked_at = -CHECK_SECONDS
        while not self.stopping:
            self._look_if_due()
            if self.answering.may:
                self.answering.take(self._read())
                self._begin_anew_if_due()
            else:
                self.answering.drop()
                time.sleep(LOOK_SECONDS)
            self.minutes.tell_if_due()
        self.answering.go_on()
        while self.answering.may and not self.answering.is_idle:
            self.answering.take([])

    def _read(self) -> Entries:
        try:
            return self.answering.read(int(1e3 * LOOK_SECONDS))
        except redis.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
        if not self._has_said_no_stream:
            self._has_said_no_stream = True
            text = f"key {self.store.keys.requests} {NO_STREAM}; nothing is answered"
            log.event(self.store.keys.model, "no_requests", text, "error")
        time.sleep(LOOK_SECONDS)
        return []

    def _look_if_due(self) -> None:
        """Take in a new commit, see whose turn it is to answer, and give a sign of life."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        if self.tailing.look() and self.answering.is_between():
            self.tailing.catch_up()
            self.answering.use(self.tailing.model)
            self.answering.go_on()
        self._see(self.tailing.owner)
        self._give_sign()

    def _give_sign(self) -> None:
        """Note every second that this process lives, and which commit it has."""
        store, answerers = self.store, self.store.answerers
        answerers.figures = {"commit": store.commits.number, "committed": self.tailing.time}
        self.counts.figures = {"commits": store.commits.number, "time": self.tailing.time}
        if answerers.state != "running":
            answerers.note("running")
            text = f"answers from commit {store.commits.number}"
            log.event(store.keys.model, "start", text, commit=store.commits.number)
        if answerers.renew_if_due():
            self.counts.n_answerers = answerers.n_living(self.answering.clock.now_ms() / 1e3)
            self.counts.n_requests = store.requests.n_waiting()

    def _see(self, owner: Owner) -> None:
        """See whether it is answerers' turn, and whether learning has ended."""
        is_dead = not owner.leaves_questions and is_vacant(self.store, owner, self._silence)
        self.answering.dead = owner.fields.get("worker", "").encode() if is_dead else b""
        self.answering.may = owner.leaves_questions or is_dead
        if owner.only_answers != bool(self.answering.notice):
            self.answering.notice = notice_of(self.store.commits.number) if owner.only_answers else ""

    def _begin_anew_if_due(self) -> None:
        """Have the stream of requests begin anew if it is at its end, and nobody is there to do it."""
        if time.monotonic() - self._checked_at > CHECK_SECONDS and self.answering.is_idle:
            self._checked_at = time.monotonic()
            self.store.requests.renew()
