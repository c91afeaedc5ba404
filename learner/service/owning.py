"""Owning a model: waiting for one's turn, taking over, and showing signs of life until the end."""

import contextlib
import time
from collections.abc import Callable

import redis

from learner.errors import LearnerError, StoreError
from learner.service import log
from learner.service.lease import LEASE_SECONDS, Heart, Heartbeat, Silence, heart_of, process_ended
from learner.service.store import Store, connection
from learner.service.store.ownership import Owner

__all__ = ["Owning", "is_vacant", "own_without_worker"]

WAIT_POLL_SECONDS = 0.1  # between two looks at the owner
REMIND_SECONDS = 60.0  # until a message about the same trouble comes again
UNCONFIRMED_SECONDS = 10.0  # until a message says that commits are not confirmed


class Owning:
    """The place of a model's one owner.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    stopping : callable
        Whether the worker is to stop.
    lease_seconds : float
        For how long it may give no sign of life before a worker that waits takes over.
    heart : Heart, optional
        Beats for this owner; by default that of its server.
    """

    def __init__(
        self,
        store: Store,
        stopping: Callable[[], bool],
        lease_seconds: float = LEASE_SECONDS,
        heart: Heart | None = None,
    ) -> None:
        self.store = store
        self.stopping = stopping
        self.lease_seconds = lease_seconds
        self.heart = heart or heart_of(connection.address(store.client))
        self.heartbeat: Heartbeat | None = None
        self.replaced = ""  # the owner that this one took over from, in words
        self._confirmed_at = time.monotonic()

    # ---- becoming the owner ----
    def wait(self, patient: bool = True) -> bool:
        """Become the owner as soon as there is none that lives, and give signs of life from then on.

        Parameters
        ----------
        patient : bool
            Whether to wait while there is an owner.

        Returns
        -------
        bool
            False when stopped meanwhile.

        Raises
        ------
        LearnerError
            When there is an owner and `patient` is false, or no such model any more.
        """
        silence, announced = Silence(), ""
        while not self.stopping():
            owner = self.store.ownership.read()
            if is_vacant(self.store, owner, silence):
                if self.take(owner):
                    return True
                continue
            self.store.processes.renew_if_due()
            if not patient:
                raise LearnerError(f"model {self.store.keys.model!r} has a worker already: {owner}")
            if announced != owner.fields["worker"]:
                announced = owner.fields["worker"]
                self.store.processes.note("waiting")
                log.event(self.store.keys.model, "waiting", f"waiting, in place of {owner}")
            time.sleep(WAIT_POLL_SECONDS)
        return False

    def take(self, owner: Owner) -> bool:
        """Take over from an owner, and start beating; return False if another worker was faster."""
        # It may be the owner already: the answer was lost, or the connection while it loaded the last commit.
        if not self.store.ownership.owned_already(owner):
            if not self.store.ownership.succeed(owner, self.lease_seconds):
                return False
            self.replaced = str(owner) if "worker" in owner.fields else ""
        if self.heartbeat is None:  # before loading, which may take longer than the lease
            self.heartbeat = self.heart.add(self, self.lease_seconds)
        return True

    # ---- being the owner ----
    def beat(self, seconds: float) -> None:
        """Give a sign of life, and have commits confirmed, for which it waits at most so long.

        Raises
        ------
        LearnerError
            When this worker is not the owner any more, or the server lost its commits.
        """
        with contextlib.suppress(redis.RedisError):  # the loop has the same trouble, and reports it
            self.store.ownership.beat(seconds)
        with contextlib.suppress(redis.RedisError):
            self.store.processes.renew_if_due()
        self.tell_unconfirmed()

    def tell_unconfirmed(self) -> None:
        """Say in the log when commits have not been confirmed for a while."""
        ownership, now = self.store.ownership, time.monotonic()
        if ownership.confirmed >= self.store.commits.number - 1:
            self._confirmed_at = now
        elif now - self._confirmed_at > UNCONFIRMED_SECONDS:
            self._confirmed_at = now + REMIND_SECONDS
            text = f"commits after {ownership.confirmed} are not confirmed as durability {ownership.durability} asks"
            log.event(self.store.keys.model, "unconfirmed", text, "warning", confirmed=ownership.confirmed)

    def require(self) -> None:
        """Make sure that the last beats were well, or raise what stopped them."""
        if self.heartbeat is not None and self.heartbeat.problem is not None:
            raise self.heartbeat.problem

    # ---- the end ----
    def close(self, wait: bool = True) -> None:
        """Give no more signs of life; `wait` for one that is on its way."""
        if self.heartbeat is not None:
            self.heart.remove(self.heartbeat, wait)
            self.heartbeat = None

    def release(self) -> None:
        """Stop being the owner."""
        self.close()
        self.store.ownership.release()


def own_without_worker(store: Store, purpose: str) -> None:
    """Become a model's owner, unless a worker lives that learns: one that only answers is replaced, and so is a fleet's.

    Parameters
    ----------
    store : Store
        The model's.
    purpose : str
        What for, in words, for the error.

    Raises
    ------
    StoreError
        When such a worker lives, or there is no such model.
    """
    silence, first = Silence(), store.ownership.read()
    while True:
        owner = store.ownership.read()
        vacant = is_vacant(store, owner, silence)
        if vacant or owner.only_answers or owner.is_of_fleet:
            if store.ownership.succeed(owner, lends=not vacant):
                return
        elif owner != first:
            raise StoreError(
                f"model {store.keys.model!r} must have no worker that learns during {purpose}: stop {owner}"
            )
        time.sleep(WAIT_POLL_SECONDS)


def is_vacant(store: Store, owner: Owner, silence: Silence, has_ended: Callable[[str], bool] = process_ended) -> bool:
    """Tell whether a model has no owner that lives, as far as whoever watches its signs of life knows."""
    if "worker" not in owner.fields or has_ended(owner.fields.get("process", "")):
        return True
    if store.ownership.owned_already(owner):
        return True
    return silence.seconds((owner.fields, owner.sign), time.monotonic()) >= owner.lease_seconds
