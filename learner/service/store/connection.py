"""Makes connections to a server, reads its version, and tells which errors pass."""

import functools
import inspect
import os
import socket
from pathlib import Path
from typing import Any

import hiredis
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from learner.errors import ServerError
from learner.service.store.cluster import is_of_one
from learner.service.store.routing import Route, route
from learner.service.store.topology import Rerouted, cluster_of
from learner.service.store.url import checked, has_password, is_of_cluster, of_servers

__all__ = [
    "TIMEOUT_S",
    "Packer",
    "address",
    "async_client",
    "client",
    "credentials",
    "identify",
    "is_recent",
    "passing_trouble",
    "require_version",
]

OLDEST = {"Valkey": 8, "Redis": 7}  # the oldest major version that is supported
_parameters = inspect.signature(redis.connection.AbstractConnection.__init__).parameters
UNSIGNED: dict[str, Any] = (  # redis-py looks up its own version for each connection: a millisecond, and two commands
    {"driver_info": None} if "driver_info" in _parameters else {"lib_name": None, "lib_version": None}
)
PLAIN = {bytes, str, int, float}  # hiredis packs these as `str` says them; of subclasses it would take the `repr`
READ_SIZE = 1 << 17  # bytes of a reply that are taken at once: a request for hundreds of predictions, whole
TIMEOUT_S = 5.0  # for connecting; and for an answer, in addition to the time that a command may block
PASSING = {  # the first word of an error after which trying again may help: what it means
    "OOM": "the server's memory is full (maxmemory)",
    "MISCONF": "the server can't write to its disk",
    "READONLY": "the server is a replica, or a primary no more",
    "NOREPLICAS": "the server has too few replicas (min-replicas-to-write)",
    "MASTERDOWN": "the server is a replica without its primary",
    "LOADING": "the server is loading its data",
    "BUSY": "the server is busy with a script",
}


def credentials(url: str) -> dict[str, str]:
    """Return the username and the password of the environment; nothing if the URL contains a password.

    Raises
    ------
    ServerError
        When REDIS_PASSWORD_FILE can't be read, or others may write to it.
    """
    if has_password(url):
        return {}
    password, path = os.environ.get("REDIS_PASSWORD"), os.environ.get("REDIS_PASSWORD_FILE")
    if password is None and path:
        try:
            _require_own(Path(path))
            password = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise ServerError(f"REDIS_PASSWORD_FILE: must be a file with the password (got {error})") from error
    if not password:
        return {}
    username = os.environ.get("REDIS_USERNAME")
    return {"password": password} | ({"username": username} if username else {})


@functools.cache
def _require_own(path: Path) -> None:
    """Make sure that nobody else wrote a password's file; say so, once, if others may read it."""
    status = path.stat()
    if status.st_uid not in (0, os.getuid()) or status.st_mode & 0o022:
        raise ServerError(
            f"REDIS_PASSWORD_FILE: must belong to user {os.getuid()}, or to root, and be writable by no other user "
            f"(got user {status.st_uid}, mode {status.st_mode & 0o777:o})"
        )
    readers = (
        0o044 if status.st_uid == os.getuid() else 0o004
    )  # root's file is read by its group, as secrets of Kubernetes
    if status.st_mode & readers:
        import click  # only now: a client needs none

        click.echo(f"Warning: other users may read {path}, the file of a password: chmod 600", err=True)


def client(url: str, *, block_ms: int | None = None, most: int | None = None) -> redis.Redis:
    """Return a connection that never repeats a command by itself.

    Parameters
    ----------
    url : str
        ``redis://``, ``rediss://`` or ``unix://``; ``redis+cluster://`` or ``rediss+cluster://`` with the addresses of some
        nodes, ``HOST:PORT,HOST:PORT`` (see `learner.service.store.cluster`). If it contains no password, the environment's is
        used: ``REDIS_USERNAME`` with ``REDIS_PASSWORD``, or with ``REDIS_PASSWORD_FILE``, the path of a file with the password.
        With TLS the server's certificate must name the host. An authority that the system knows, or the authority in the
        URL's ``?ssl_ca_certs=FILE``, must have signed it. ``ssl_certfile`` and ``ssl_keyfile`` are the client's own
        certificate.
    block_ms : int, optional
        The longest time that a command sent over the connection may block at the server.
    most : int, optional
        The most connections to the server at once; by default as many as redis-py allows.

    Raises
    ------
    ServerError
        When the URL breaks a rule: see `learner.service.store.url`.
    """
    retry = Retry(NoBackoff(), 0)  # by default redis-py sends a command again if its reply was lost
    options: dict[str, Any] = {"retry": retry, "command_packer": Packer()} | _at_most(most)
    made: redis.Redis = _from_url(redis.Redis, url, block_ms, **options)
    return made


def async_client(url: str, *, block_ms: int | None = None, most: int | None = None) -> redis.asyncio.Redis:
    """Return a connection for asyncio that never repeats a command by itself; the parameters are those of `client`."""
    options: dict[str, Any] = {"retry": AsyncRetry(NoBackoff(), 0)} | _at_most(most)
    made: redis.asyncio.Redis = _from_url(redis.asyncio.Redis, url, block_ms, **options)
    return made


def _at_most(most: int | None) -> dict[str, Any]:
    return {} if most is None else {"max_connections": most}


def _from_url(kind: Any, url: str, block_ms: int | None, to: Route | None = None, **own: Any) -> Any:
    """Return a client of a kind, with options of its own; `to` replaces the route of a new one."""
    url = checked(url)
    servers = of_servers(url)
    options = _options(servers[0]) | credentials(url)
    made = kind.from_url(servers[0], **options, **own)
    made.connection_pool.connection_kwargs["socket_timeout"] += (block_ms or 0) / 1000  # the URL may have set it
    if not url.startswith("unix:"):
        parse: Any = redis.connection.parse_url
        at = [parse(server) for server in servers]
        seeds = [(each.get("host", "localhost"), each.get("port", 6379)) for each in at]
        own_kind = {"connection_class": redis.connection.Connection, "retry": Retry(NoBackoff(), 0)}
        asking = options | own_kind | at[0]
        known = cluster_of(url, seeds, is_of_cluster(url) or None)
        route(made, to or Route(known, asking, lambda route: _from_url(kind, url, block_ms, route, **own)))
    return made


def _options(url: str) -> dict[str, Any]:
    """Return the options of every connection to a server."""
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "socket_read_size": READ_SIZE,
        "health_check_interval": 30,
        "client_name": "learner",
        "protocol": 2,  # the same replies in every redis-py; with protocol 3 a server may change the timeouts
        **UNSIGNED,
    }
    if url.startswith("rediss:"):
        options["ssl_check_hostname"] = True  # redis-py's default since version 6
    if not url.startswith("unix:"):
        keepalive = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
        options["socket_keepalive"] = True
        options["socket_keepalive_options"] = {
            getattr(socket, name): value for name, value in keepalive.items() if hasattr(socket, name)
        }
    return options


def passing_trouble(error: redis.RedisError) -> str | None:
    """Return why a command failed, in words, if it may succeed later; None if trying again would not help.

    >>> passing_trouble(redis.ConnectionError("refused"))
    'no connection'
    >>> passing_trouble(redis.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"))
    "the server can't write to its disk"
    >>> passing_trouble(redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"))
    """
    if isinstance(error, Rerouted):
        return error.trouble
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return PASSING["LOADING"]
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return "no connection"
    # redis-py turns some error codes into classes and removes the code; to other errors it prepends words of its own
    codes = {"OutOfMemory": "OOM", "ReadOnly": "READONLY", "MasterDown": "MASTERDOWN"}
    code = codes.get(
        type(error).__name__.removesuffix("Error"), str(error).rpartition("caused error: ")[2].split(" ")[0]
    )
    return PASSING.get(code)


def address(connection: redis.Redis) -> str:
    """Return the server that a connection is to: ``host:port``, or the path of its socket; of a cluster the node, if known.

    >>> address(client("redis://example.org/0")), address(client("unix:///run/valkey.sock"))
    ('example.org:6379', '/run/valkey.sock')
    """
    options = connection.connection_pool.connection_kwargs
    if is_of_one(connection) and options["route"].address:
        return str(options["route"].address)
    path: str | None = options.get("path")
    host = options.get("host", "localhost")
    return path or f"{f'[{host}]' if ':' in host else host}:{options.get('port', 6379)}"


def require_version(connection: redis.Redis) -> str:
    """Return the server's name and version, such as ``Valkey 9.1.2``.

    Raises
    ------
    ServerError
        When it is too old, or does not answer INFO.
    """
    where = address(connection)
    try:
        name, version = identify(connection.info())
    except redis.RedisError as error:
        raise ServerError(f"server {where}: must answer INFO (got {error})") from error
    if not is_recent(name, version):
        raise ServerError(f"server {where}: must be Redis >= 7.0 or Valkey >= 8 (got {name} {version})")
    return f"{name} {version}"


def identify(info: dict[str, Any]) -> tuple[str, str]:
    """Return name and version from a server's INFO, whose ``redis_version`` in Valkey is that of the compatible Redis."""
    name = "Valkey" if "valkey_version" in info else "Redis"
    return name, str(info[f"{name.lower()}_version"])


def is_recent(name: str, version: str) -> bool:
    """Tell whether a server's version is recent enough."""
    return int(version.partition(".")[0]) >= OLDEST[name]


class Packer:
    r"""Packs commands as redis-py's own packers do, with hiredis where it can, but sends a memoryview without copying it.

    >>> b"".join(Packer().pack("SETRANGE", "key", 0, memoryview(b"large")))
    b'*4\r\n$8\r\nSETRANGE\r\n$3\r\nkey\r\n$1\r\n0\r\n$5\r\nlarge\r\n'
    >>> Packer().pack("XINFO STREAM", b"key"), Packer().pack("SET", "key", True)
    ([b'*3\r\n$5\r\nXINFO\r\n$6\r\nSTREAM\r\n$3\r\nkey\r\n'], [b'*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$4\r\nTrue\r\n'])
    """

    def pack(self, *args: Any) -> "list[bytes | memoryview]":
        """Return the bytes of a command, in pieces."""
        if isinstance(args[0], str):
            args = (*args[0].split(), *args[1:])  # redis-py has command names of two words
        if PLAIN.issuperset(map(type, args)):
            return [hiredis.pack_command(args)]
        packed: list[bytes | memoryview] = []
        text = b"*%d\r\n" % len(args)
        for arg in args:
            data = arg if isinstance(arg, bytes | bytearray | memoryview) else str(arg).encode()
            text += b"$%d\r\n" % len(data)
            if isinstance(data, memoryview):
                packed += [text, data]
                text = b"\r\n"
            else:
                text += data + b"\r\n"
        return [*packed, text]
