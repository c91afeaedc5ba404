"""One heart for a fleet: the signs of life of all models that a process owns are given together."""

import threading
from collections.abc import Callable
from typing import Any

from learner.service.lease import BEATS, Beating, Heart, Heartbeat
from learner.service.owning import Owning
from learner.service.store import beating

__all__ = ["FleetHeart"]


class FleetHeart(Heart):
    """Beats for all owners of a fleet in one beat, in the thread of another heart.

    Parameters
    ----------
    client : callable
        Returns the connection to the server, or to the cluster.
    """

    def __init__(self, client: Callable[[], Any]) -> None:
        super().__init__()
        self._client = client
        self._owned: dict[str, Heartbeat] = {}  # by model
        self._is_beating = threading.Lock()

    def add(self, owner: Beating, lease_seconds: float) -> Heartbeat:
        """Beat for one more owner."""
        assert isinstance(owner, Owning)  # noqa: S101  (of a model)
        heartbeat = Heartbeat(owner, lease_seconds)
        self._owned[owner.store.keys.model] = heartbeat
        return heartbeat

    def remove(self, heartbeat: Heartbeat, wait: bool = True) -> None:
        """Beat no more for an owner; wait for a beat that is on its way, if it takes no longer than a beat may."""
        assert isinstance(heartbeat.owner, Owning)  # noqa: S101  (of a model)
        model = heartbeat.owner.store.keys.model
        if self._owned.get(model) is heartbeat:
            del self._owned[model]
        if wait and self._is_beating.acquire(timeout=heartbeat.lease_seconds / BEATS):
            self._is_beating.release()

    def beat(self, seconds: float) -> None:
        """Beat once for all of them, and wait at most so long for confirmations."""
        with self._is_beating:
            heartbeats = dict(self._owned)
            ownings = [each.owner for each in heartbeats.values() if isinstance(each.owner, Owning)]
            stores = [owning.store for owning in ownings]
            for model, problem in beating.beat(self._client(), stores, seconds).items():
                heartbeats[model].problem = problem
                self._owned.pop(model, None)
            beating.renew_notes(self._client(), stores)
        for owning in ownings:
            owning.tell_unconfirmed()
