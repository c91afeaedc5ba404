"""One heart for a fleet: the signs of life of all models that a process owns are given together."""

import concurrent.futures
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import redis

from learner.errors import LearnerError
from learner.service.lease import BEATS, Beating, Heart, Heartbeat
from learner.service.owning import Owning
from learner.service.store import beating
from learner.service.store.cluster import grouped, primary
from learner.service.wire import Keys
from learner.service.writing import Writer

if TYPE_CHECKING:
    from concurrent.futures import Future

    from learner.service.store.topology import Address

__all__ = ["FleetHeart"]


class FleetHeart(Heart):
    """Beats for all owners of a fleet in one beat, which another heart begins; a thread does it at each primary of a cluster.

    Parameters
    ----------
    client : callable
        Returns the connection to the server, or to the cluster.
    """

    def __init__(self, client: Callable[[], Any]) -> None:
        super().__init__()
        self._client = client
        self._owned: dict[str, Heartbeat] = {}  # by model
        self._threads: dict[
            Address | None, Writer
        ] = {}  # by primary: one that hangs delays the signs of life on no other
        self._beats: dict[Address | None, Future[None]] = {}  # the last beat there

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
        if wait:
            concurrent.futures.wait(list(self._beats.values()), heartbeat.lease_seconds / BEATS)

    def beat(self, seconds: float) -> None:
        """Beat once for all of them, where the last beat is over; each waits at most so long for confirmations."""
        client, heartbeats = self._client(), dict(self._owned)
        try:
            groups = grouped(client, list(heartbeats), lambda model: Keys(model).spec)
            places = [(primary(there), models) for there, models in groups]
        except (redis.RedisError, LearnerError):  # the loop has the same trouble, and reports it
            return
        for place, models in places:
            if (last := self._beats.get(place)) and not last.done():
                continue
            if last:
                last.result()
            task = functools.partial(self._beat, client, {model: heartbeats[model] for model in models}, seconds)
            self._beats[place] = self._threads.setdefault(place, Writer()).submit(task)

    def _beat(self, client: Any, heartbeats: dict[str, Heartbeat], seconds: float) -> None:
        """Beat for those at one primary."""
        ownings = [each.owner for each in heartbeats.values() if isinstance(each.owner, Owning)]
        stores = [owning.store for owning in ownings]
        for model, problem in beating.beat(client, stores, seconds).items():
            heartbeats[model].problem = problem
            if self._owned.get(model) is heartbeats[model]:
                del self._owned[model]
        beating.renew_notes(client, stores)
        for owning in ownings:
            owning.tell_unconfirmed()
