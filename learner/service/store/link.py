"""What all parts of a store share: the connection, the keys, and the last commit."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from learner.service.store.line import Line
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

    def __post_init__(self) -> None:
        self._lines: tuple[Any, Line, Line] | None = None  # with the client that they were made by

    @property
    def line(self) -> Line:
        """The connection of the thread that reads and answers."""
        return self._of_client()[1]

    @property
    def other_line(self) -> Line:
        """Another connection of that thread: for what the server does while the first one is in use."""
        return self._of_client()[2]

    def _of_client(self) -> "tuple[Any, Line, Line]":
        if self._lines is None or self._lines[0] is not self.client:
            self._lines = self.client, Line(self.client), Line(self.client)
        return self._lines


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
