"""Tailing: a model that follows the commits of its worker, at the cost of what they changed.

A look at the number of the last commit costs next to nothing. When it is another one, what changed since is read and applied in
place (see `learner.service.store.tail`). Where that is not known, as after a rollback, everything is read again.
"""

import time
from typing import TYPE_CHECKING

from learner.errors import StoreError
from learner.service import log
from learner.service.learning import OUTCOME
from learner.service.store import Store, loading
from learner.service.store.link import Link
from learner.service.store.ownership import Owner
from learner.service.store.tail import Broken, Look

if TYPE_CHECKING:
    from learner.service.recent import RecentIds

__all__ = ["Tailing"]

REMIND_SECONDS = 60.0  # until a message about the same reason comes again


class Tailing:
    """A model as of the last commit that was taken in; none before `catch_up`.

    Parameters
    ----------
    store : Store
        The model's place in Redis.

    Attributes
    ----------
    model : Model
        Answers; another one after `catch_up` if the spec has changed.
    owner : Owner
        As of the last look.
    time : float
        When the commit was made, by its worker's clock; 0: unknown.
    n_full : int
        How many times everything was read.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.spec = store.spec()
        self.owner = Owner({}, None)
        self.time = 0.0
        self.n_full = 0
        self._has: Look | None = None  # the commit that the model has, and the owner since then; None: it may be any
        self._seen: Look | None = None
        self._doubts = False
        self._said: dict[str, float] = {}
        self._recent: tuple[int, RecentIds] | None = None
        self._make()

    def _make(self) -> None:
        from learner.model import Model

        self.model = Model.from_spec(self.spec)
        self.model.warm()
        self.model.losses_packed(b"")  # compiles the loop that scores many, too

    def look(self) -> bool:
        """Look at the last commit and the owner; tell whether the model has another commit.

        Equal fields of a head are those of one state: what comes next is then of the owner there is now.
        """
        self._seen, self.owner = self.store.commits.look()
        if self._has is None or self._seen.head != self._has.head:
            return True
        self._has, self._doubts = self._seen, False
        return False

    def doubt(self) -> None:
        """Read everything at the next commit: the server may have gone back to older data, as the connection was lost."""
        self._doubts = True

    def catch_up(self) -> None:
        """Take in the last commit.

        Raises
        ------
        LearnerError
            When there is no such model any more, or it can't be read.
        """
        try:
            self._apply()
        except Broken as why:
            self._load(str(why))

    def _apply(self) -> None:
        """Take in what changed."""
        store, has, seen = self.store, self._has, self._seen
        if has is None or seen is None:
            raise Broken("")
        if seen.owner != has.owner:
            raise Broken("the model has another owner")
        if self._doubts or seen.number < has.number:
            raise Broken("the server may have gone back to older data")
        changes = store.commits.changes(seen, self.model.fingerprint, self.model.row_width)
        if changes.look.owner != has.owner:
            raise Broken("the model has another owner")
        self._has = None  # until all of it is applied
        try:
            self.model.load_changes(changes.state)
        except StoreError as error:
            raise Broken(str(error)) from error
        self._has = changes.look
        self.time = changes.look.time

    def _load(self, why: str) -> None:
        """Read everything: the spec, too, which may be another one by now."""
        store = self.store
        self._has, seen = None, self._seen
        if (spec := store.spec()) != self.spec:
            self.spec = spec
            self._make()
        committed = store.commits.load(self.model.fingerprint, self.model.row_width, must_fit=False)
        if committed is None or not committed.state:
            if self.model.n_examples or self.model.n_rejected:
                self._make()
        else:
            self.model.load_state(committed.state)
        self._has = seen
        self.n_full += 1
        self._doubts = False
        if why and time.monotonic() - self._said.get(why, -REMIND_SECONDS) >= REMIND_SECONDS:
            self._said[why] = time.monotonic()
            log.event(store.keys.model, "reload", f"read all of commit {store.commits.number}: {why}")
        self.time = committed.time if committed else 0.0

    def has_outcome(self, name: bytes) -> bool:
        """Tell whether the outcome of an answer was learned, as of the commit: the ids are read when somebody asks."""
        number = self.store.commits.number
        if self._recent is None or self._recent[0] != number:
            link = Link(self.store.client, self.store.keys)
            self._recent = number, loading.recent_ids(link, self.model.spec.seed)
        return OUTCOME + name in self._recent[1]
