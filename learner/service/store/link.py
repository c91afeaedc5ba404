"""What all parts of a store share: the connection, the keys, and the last commit."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from learner.service.store.line import Line
from learner.service.store.position import NEVER
from learner.service.store.watch import Watch
from learner.service.wire import Keys

if TYPE_CHECKING:
    import redis

__all__ = ["LastCommit", "Lines", "Link"]


class Lines:
    """The lines of a thread: two for each client, and a watch. Models that one thread works in turns share them."""

    def __init__(self) -> None:
        self._of: dict[Any, tuple[Line, Line, Watch]] = {}

    def of(self, client: "redis.Redis") -> "tuple[Line, Line, Watch]":
        """Return a client's lines and watch, the same each time."""
        if client not in self._of:
            self._of[client] = Line(client), Line(client), Watch(client)
        return self._of[client]

    def close(self, client: "redis.Redis") -> None:
        """Close a client's lines; their next use makes them anew."""
        for line in self._of.pop(client, ()):
            line.close()

    def forget(self) -> None:
        """Forget all clients, as there are others now."""
        self._of.clear()


@dataclass
class Link:
    """A model's keys, and the connection to their server.

    Parameters
    ----------
    client : redis.Redis
        Made by `learner.service.store.connection.client`. Replacing it replaces it for all parts at once.
    keys : Keys
        The model's keys.
    lines : Lines
        Of the thread that reads and answers.
    """

    client: "redis.Redis"
    keys: Keys
    lines: Lines = field(default_factory=Lines)

    @property
    def line(self) -> Line:
        """The connection of the thread that reads and answers."""
        return self.lines.of(self.client)[0]

    @property
    def other_line(self) -> Line:
        """Another connection of that thread: for what the server does while the first one is in use."""
        return self.lines.of(self.client)[1]

    @property
    def watch(self) -> Watch:
        """What looks for requests in the middle of learning."""
        return self.lines.of(self.client)[2]


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
