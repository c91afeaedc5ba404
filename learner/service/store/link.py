"""What all parts of a store share: the connection and the keys, and where the last commit stands."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from learner.service.store.position import NEVER
from learner.service.wire import Keys

if TYPE_CHECKING:
    import redis

__all__ = ["LastCommit", "Link"]


@dataclass
class Link:
    """A model's keys, and the connection over which they are reached.

    Parameters
    ----------
    client : redis.Redis
        Made by `learner.service.store.connection.client`. After a reconnection it is replaced, for all parts at once.
    keys : Keys
        The model's.
    """

    client: "redis.Redis"
    keys: Keys


@dataclass
class LastCommit:
    """The last commit that this process loaded or wrote.

    Parameters
    ----------
    number : int
        How many commits the model had then; 0 before the first.
    n_entries : int
        Entries learned up to it.
    cursor : bytes
        The last of them.
    """

    number: int = 0
    n_entries: int = 0
    cursor: bytes = NEVER
