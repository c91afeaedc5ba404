"""Signs of life of many owners in one process, in two round trips a server."""

from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import NoPermissionError

from learner.service.store.cluster import grouped
from learner.service.store.processes import server_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from learner.service.store import Store

__all__ = ["beat", "renew_notes"]


def beat(client: Any, stores: "Sequence[Store]", seconds: float) -> dict[str, Exception]:
    """Give a sign of life for each owner that still is one, as `Ownership.beat` does: HMGET, SET, WAIT, WAITAOF.

    Parameters
    ----------
    client : redis.Redis
        Of the server, or of the cluster.
    stores : sequence of Store
        The models that this process owns.
    seconds : float
        How long it may wait for confirmations, in all.

    Returns
    -------
    dict of str to Exception
        Why an owner must not go on, by the model's name. Owners whose server can't be reached are not in it.
    """
    problems: dict[str, Exception] = {}
    for there, some in _grouped(client, stores):
        try:
            problems |= _beat(there, some, seconds)
        except redis.RedisError:  # the loop has the same trouble, and reports it
            continue
    return problems


def _beat(client: Any, stores: "Sequence[Store]", seconds: float) -> dict[str, Exception]:
    with client.pipeline(transaction=False) as pipe:
        for store in stores:
            store.ownership.queue_identity(pipe)
        identities = pipe.execute()
    problems, alive = dict[str, Exception](), []
    for store, identity in zip(stores, identities, strict=True):
        if problem := store.ownership.problem(identity):
            problems[store.keys.model] = problem
        else:
            alive.append((store.ownership, store.ownership.last_commit))
    levels = {str(ownership.durability): ownership.durability for ownership, _ in alive if ownership.durability.waits}
    with client.pipeline(transaction=False) as pipe:
        for ownership, _ in alive:
            ownership.queue_sign(pipe)
        for level in levels.values():
            level.queue(pipe, seconds / len(levels))
        replies = dict(zip(levels, pipe.execute()[len(alive) :], strict=True))
    for ownership, number in alive:
        wanted = ownership.durability
        if str(wanted) in replies and wanted.confirmed(replies[str(wanted)]):
            ownership.confirmed = number
    return problems


def renew_notes(client: Any, stores: "Sequence[Store]") -> None:
    """Renew the notes of many owners that are due, as `Processes.renew_if_due` does: TIME, HSET, EXPIRE."""
    for there, some in _grouped(client, [store for store in stores if store.processes.is_due]):
        try:
            now = server_time(there)
            with there.pipeline(transaction=False) as pipe:
                for store in some:
                    store.processes.queue_renewal(pipe, now)
                pipe.execute()
        except (NoPermissionError, redis.ConnectionError, redis.TimeoutError):
            continue


def _grouped(client: Any, stores: "Sequence[Store]") -> "list[tuple[Any, Sequence[Store]]]":
    try:
        return grouped(client, stores, lambda store: store.keys.spec)
    except redis.RedisError:
        return []
