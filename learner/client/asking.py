"""A request and its reply: both commands are sent at once, and the second is not waited for if the first one fails."""

from typing import Any, NamedTuple

from learner.service.store.cluster import towards

__all__ = ["Asking", "asked", "asked_async"]


class Asking(NamedTuple):
    """Two commands that are sent together, to the server of their first keys: one adds a request, one waits for its reply.

    Parameters
    ----------
    add, wait : tuple
        Their words.
    """

    add: tuple[Any, ...]
    wait: tuple[Any, ...]


def asked(client: Any, asking: Asking) -> tuple[Any, Any]:
    """Return the replies to both commands; of the second None, without waiting, if the first one's is None or an error.

    Parameters
    ----------
    client : redis.Redis
        Lends a connection, which is closed if it isn't waited for.
    asking : Asking
        The commands.

    Raises
    ------
    redis.RedisError
        When the first reply is an error, or the connection is lost.
    """
    pool: Any = towards(client, asking.add[1]).connection_pool
    connection = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(asking))
        added = connection.read_response()
        return added, None if added is None else connection.read_response()
    except BaseException:
        added = None
        raise
    finally:
        if added is None:
            connection.disconnect()
        pool.release(connection)


async def asked_async(client: Any, asking: Asking) -> tuple[Any, Any]:
    """Return what `asked` does, for asyncio."""
    pool = towards(client, asking.add[1]).connection_pool
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command(connection.pack_commands(asking))
        added = await connection.read_response()
        return added, None if added is None else await connection.read_response()
    except BaseException:
        added = None
        raise
    finally:
        if added is None:
            await connection.disconnect()
        await pool.release(connection)
