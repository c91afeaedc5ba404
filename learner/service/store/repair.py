"""Makes cursor and stream fit again, in the way that an administrator chooses."""

from typing import TYPE_CHECKING, Any

import redis

from learner.errors import StoreError
from learner.service.store.position import NEVER, Position, create_group, locate
from learner.service.wire import GROUP
from learner.stored import require_readable

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
            cursor, learned = (None, None) if choice == "forget" else pipe.hmget(keys.head, "cursor", "entries")
            with require_readable(f"cursor of {keys.model!r}", "choose forget, which learns the stream anew"):
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
            state = list(client.scan_iter(match=f"{keys.state}*", count=1000)) if choice == "forget" else []
            pipe.multi()
            if state:
                pipe.delete(*state)
            pipe.hset(keys.head, mapping={"cursor": new, "entries": entries})
            pipe.execute_command("XGROUP", "SETID", keys.examples, GROUP, new, "ENTRIESREAD", entries)
            try:
                pipe.execute()
            except redis.WatchError:
                continue
        return locate(client, keys, new.encode(), entries, 0, new.encode())
