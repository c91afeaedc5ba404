"""What all parts of a store share: the connection, the keys, and the last commit."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from learner.service.store.position import NEVER
from learner.service.wire import Keys

if TYPE_CHECKING:
    import redis

__all__ = ["LastCommit", "Link"]


@dataclass
class Link:
    """A model's keys, and the connection to their server.

    Parameters
    ----------
    client : redis.Redis
        Made by `learner.service.store.connection.client`. Replacing it replaces it for all parts at once.
    keys : Keys
        The model's keys.
    """

    client: "redis.Redis"
    keys: Keys


@dataclass
class LastCommit:
    """The last commit that this process loaded or wrote.

    Parameters
    ----------
    number : int
        Its number, counted from 1; 0 before the first.
    n_entries : int
        How many entries were learned up to it.
    cursor : bytes
        The id of the last of these entries.
    removed : int or None
        How many entries the stream has lost, where it keeps learned ones; None: it is trimmed up to the cursor.
    """

    number: int = 0
    n_entries: int = 0
    cursor: bytes = NEVER
    removed: int | None = None
