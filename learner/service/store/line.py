"""A line to the server: commands that are sent together, and their replies, in a fraction of a redis-py pipeline's time."""

from collections.abc import Sequence
from typing import Any

import redis

__all__ = ["Command", "Line"]

Command = tuple[Any, ...]  # its words


class Line:
    """A connection of its own, for one thread. Replies are as the server sends them, and nothing is ever sent twice.

    Parameters
    ----------
    client : redis.Redis
        The connection is made as its are, when something is sent.
    """

    def __init__(self, client: "redis.Redis") -> None:
        pool = client.connection_pool  # which would count each one that it makes, even after its end
        self._connection: Any = pool.connection_class(**pool.connection_kwargs)
        self._n_sent = 0  # commands whose replies are still to be read

    def send(self, commands: Sequence[Command]) -> None:
        """Send commands; what came before and was not read is dropped with the connection.

        Raises
        ------
        redis.RedisError
            When they can't be sent.
        """
        self.drop()
        self._connection.send_packed_command(self._connection.pack_commands(commands))
        self._n_sent = len(commands)

    def replies(self, n: int | None = None) -> list[Any]:
        """Return the replies to the next `n` commands that were sent, by default to all; an error is returned, not raised.

        Raises
        ------
        redis.RedisError
            When the connection is lost.
        """
        n_sent, self._n_sent = self._n_sent, 0  # if the connection is lost, none is still to come
        found = [self._reply() for _ in range(n_sent if n is None else n)]
        self._n_sent = n_sent - len(found)
        return found

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            return error

    def is_ready(self) -> bool:
        """Tell whether a reply has come, without waiting for it.

        Raises
        ------
        redis.RedisError
            When the connection is lost.
        """
        try:
            return bool(self._connection.can_read(0))
        except redis.RedisError:
            self.drop()
            raise

    def exchange(self, commands: Sequence[Command], ahead: Sequence[Command] = ()) -> list[Any]:
        """Send commands, and return their replies; `ahead` is sent along, and `replies` returns its replies later."""
        self.send([*commands, *ahead])
        return self.replies(len(commands))

    @property
    def is_open(self) -> bool:
        """Whether replies are still to come."""
        return self._n_sent > 0

    def fileno(self) -> int:
        """Return the file descriptor of the connection, which becomes readable when a reply comes, or when it is lost."""
        return int(self._connection._sock.fileno())

    def drop(self) -> None:
        """Close the connection if there are replies that were not read."""
        if self._n_sent:
            self.close()

    def close(self) -> None:
        """Close the connection; the next use makes it anew."""
        self._connection.disconnect()
        self._n_sent = 0
