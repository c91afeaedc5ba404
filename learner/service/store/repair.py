"""Makes cursor and stream fit again, in the way that an administrator chooses."""

import itertools
from typing import TYPE_CHECKING, Any

import redis

from learner.errors import StoreError
from learner.service.store.journal import Journal
from learner.service.store.position import NEVER, Position, create_group, locate
from learner.service.wire import GROUP

if TYPE_CHECKING:
    from learner.service.wire import Keys

__all__ = ["CHOICES", "repair"]

CHOICES = {
    "from-start": "learn what the stream has now, from its beginning",
    "skip": "skip what the stream has now; learn what comes after",
    "continue": "learn what comes after the last entry learned; what was lost before it stays lost",
    "forget": "forget all that was learned, and learn what the stream has now from its beginning",
}


def repair(client: "redis.Redis", keys: "Keys", choice: str) -> Position:
    """Make cursor and stream fit as chosen, in one transaction; return the new position.

    All choices but "forget" keep the state. No worker may be running: take over first (see
    `learner.service.store.ownership.Ownership.take_over`).

    Parameters
    ----------
    client : redis.Redis
        A connection to the model's server.
    keys : Keys
        The model's keys.
    choice : str
        One of `CHOICES`.

    Raises
    ------
    StoreError
        When the choice is not possible.
    """
    create_group(client, keys.examples)
    pipe: Any
    while True:
        with client.pipeline() as pipe:
            pipe.watch(keys.head, keys.examples)
            cursor, learned = pipe.hmget(keys.head, "cursor", "entries")
            old = locate(pipe, keys, cursor or NEVER, int(learned or 0), 0, cursor or NEVER)
            if choice == "continue" and not old.reaches:
                raise StoreError(
                    f"choice {choice!r} must have a stream that reaches {old.cursor} (it ends at {old.last})"
                )
            new, entries = {
                "from-start": (NEVER.decode(), old.added - old.length),
                "forget": (NEVER.decode(), old.added - old.length),
                "skip": (old.last, old.added),
                "continue": (old.cursor, old.passed),
            }[choice]
            state = _state_keys(client, pipe, keys)
            pipe.multi()
            if choice == "forget":
                pipe.delete(*state)
            pipe.hset(keys.head, mapping={"cursor": new, "entries": entries})
            pipe.execute_command("XGROUP", "SETID", keys.examples, GROUP, new, "ENTRIESREAD", entries)
            try:
                pipe.execute()
            except redis.WatchError:
                continue
        return locate(client, keys, new.encode(), entries, 0, new.encode())


def _state_keys(client: "redis.Redis", pipe: Any, keys: "Keys") -> list[str]:
    """Return all keys of the committed state; the pipe watches its head."""
    deltas = Journal.from_json(pipe.hget(keys.head, "journal") or "[0,0,[]]").deltas
    segments = (itertools.takewhile(client.exists, map(key, itertools.count())) for key in (keys.rows, keys.names))
    return [keys.head, keys.ids, *(keys.delta(delta.number) for delta in deltas), *itertools.chain(*segments)]
