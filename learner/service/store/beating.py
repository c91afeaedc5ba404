"""Signs of life of many owners in one process: one script for many models, where they are in one slot or on a single server."""

import contextlib
from typing import TYPE_CHECKING, Any

import redis

from learner.errors import LearnerError
from learner.service.store.cluster import together
from learner.service.store.paging import pages
from learner.service.store.processes import NOTE_SECONDS, server_time
from learner.service.store.scripts import script

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from learner.service.store import Store

__all__ = ["beat", "renew_notes"]

AT_ONCE = 500  # models of a script: it takes a millisecond or two


def beat(client: Any, stores: "Sequence[Store]", seconds: float) -> dict[str, Exception]:
    """Give a sign of life for each owner that still is one, as `Ownership.beat` does: EVAL, WAIT, WAITAOF.

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
        except (redis.RedisError, LearnerError):  # the loop has the same trouble, and reports it
            continue
    return problems


def _beat(client: Any, stores: "Sequence[Store]", seconds: float) -> dict[str, Exception]:
    ownerships = [store.ownership for store in stores]
    numbers = [ownership.last_commit for ownership in ownerships]
    levels = {str(each.durability): each.durability for each in ownerships if each.durability.waits}
    with client.pipeline(transaction=False) as pipe:
        keys = [key for store in stores for key in (store.keys.owner, store.keys.lease)]
        pipe.eval(script("beat.lua"), len(keys), *keys, *(part for each in ownerships for part in each.life()))
        for level in levels.values():
            level.queue(pipe, seconds / len(levels))
        identities, *confirmations = pipe.execute()
    replies, problems = dict(zip(levels, confirmations, strict=True)), dict[str, Exception]()
    for store, identity, number in zip(stores, identities, numbers, strict=True):
        ownership, wanted = store.ownership, store.ownership.durability
        if identity != 1:
            if problem := ownership.problem(identity):
                problems[store.keys.model] = problem
        elif str(wanted) in replies and wanted.confirmed(replies[str(wanted)]):
            ownership.confirmed = number
    return problems


def renew_notes(client: Any, stores: "Sequence[Store]") -> None:
    """Renew the notes of many owners that are due, as `Processes.renew_if_due` does: TIME, EVAL."""
    due = [store for store in stores if store.processes.is_due]
    for there, some in _grouped(client, due):
        keys = [store.keys.workers for store in some]
        with contextlib.suppress(redis.RedisError):  # the loop has the same trouble; or the access rules allow no notes
            now = server_time(there)
            notes = [part for store in some for part in store.processes.renewed(now)]
            there.eval(script("renew.lua"), len(keys), *keys, NOTE_SECONDS, *notes)


def _grouped(client: Any, stores: "Sequence[Store]") -> "Iterator[tuple[Any, Sequence[Store]]]":
    """Yield models that a script may touch together, with the client for it."""
    try:
        groups = together(client, stores, lambda store: store.keys.spec)
    except (redis.RedisError, LearnerError):
        return
    for there, some in groups:
        for page in pages(some, AT_ONCE):
            yield there, page
