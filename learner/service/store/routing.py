"""Connections that go to the primary of a slot, whichever that is, and say by their errors when it is another one."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, cast

import redis
import redis.asyncio
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from learner.errors import ServerError
from learner.service.store.topology import Address, Cluster, Range, Rerouted, address_of, asked, asked_async

__all__ = ["Route", "route", "route_of"]

MOVING = "the cluster is moving the model's keys"
MOVED = "the cluster has moved the model's keys"
DOWN = "the cluster is down"
LOST = "no connection"
UNREACHABLE = "no connection to the primary of the model's keys"
UNBLOCKED = "the server is a primary no more"
REROUTING: dict[str, Any] = {
    "MOVED": MovedError,
    "ASK": AskError,
    "TRYAGAIN": TryAgainError,
    "CLUSTERDOWN": ClusterDownError,
}


class Route:
    """The way to the primary of a slot, as far as it is known.

    Parameters
    ----------
    cluster : Cluster
        Of the URL.
    options : mapping
        Of connections, for redis-py.
    make : callable
        Makes a client with another route.

    Attributes
    ----------
    slot : int or None
        None: it serves commands without keys, and any primary will do.
    address : Address or None
        The primary; None: it has to be found.
    clients : dict
        The clients for other slots that were made from this route's.
    """

    def __init__(self, cluster: Cluster, options: Mapping[str, Any], make: "Callable[[Route], Any]") -> None:
        self.cluster = cluster
        self.slot: int | None = None
        self.address: Address | None = None
        self.clients: dict[int, Any] = {}
        self._options = options
        self._make = make

    def find(self) -> Address:
        """Return the primary's address."""
        address = self.address
        if address is None:
            self.address = address = asked(self.cluster.primary(self.slot or 0), self._options)
        return address

    async def find_async(self) -> Address:
        """Return the primary's address."""
        address = self.address
        if address is None:
            self.address = address = await asked_async(self.cluster.primary(self.slot or 0), self._options)
        return address

    def unreachable(self, error: Exception) -> Exception:
        """Return what to raise when a node can't be connected to; of a cluster it says where, and that nothing was done."""
        address = self.address
        self.forget()
        if not self.cluster.is_cluster:
            return error
        return Rerouted(UNREACHABLE, f"the cluster says that it is at {address}: {error}")

    def lost(self, error: redis.RedisError) -> redis.RedisError:
        """Return what to raise when a connection is lost."""
        self.forget()
        is_plain = type(error) in (redis.ConnectionError, redis.TimeoutError)  # rather than a refused password
        return Rerouted(LOST, str(error), is_undone=False) if is_plain and self.cluster.is_cluster else error

    def forget(self) -> None:
        """Find the primary anew, next time, and ask others for it first: this one failed."""
        if not self.cluster.is_cluster:
            return
        address, self.address = self.address, None
        if address:
            self.cluster.avoid(address)

    def reroute(self, error: redis.ResponseError) -> NoReturn:
        """Raise a server's error: as `Rerouted`, if it says that the command must go elsewhere, or come later."""
        code, _, rest = str(error).partition(" ")
        error = REROUTING[code](rest) if code in REROUTING else error  # redis-py 5 leaves it as it is
        if isinstance(error, MovedError):
            self.cluster.is_cluster = True
            there = address_of((error.host, error.port), self.address or self.cluster.nodes[0])
            if self.slot in (None, error.slot_id):  # else the key is one of a group
                self.slot, self.address = error.slot_id, there
            raise Rerouted(MOVED, f"slot {error.slot_id} is at {there} now") from error
        if isinstance(error, AskError):
            raise Rerouted(MOVING, f"slot {error.slot_id} goes to {Address(error.host, error.port)}") from error
        if isinstance(error, TryAgainError):
            raise Rerouted(MOVING, "some are here, others there already") from error
        if isinstance(error, ClusterDownError):
            self.forget()
            raise Rerouted(DOWN, str(error)) from error
        if code == "UNBLOCKED":  # of a command that waited, as for confirmations of what was done before it
            self.forget()
            raise Rerouted(UNBLOCKED, rest, is_undone=False) from error
        raise error

    def slots(self) -> list[Range]:
        """Return the primary of each range of the cluster's slots."""
        return asked(self.cluster.slots(), self._options)

    def client(self, slot: int) -> Any:
        """Return a client for another slot, the same each time."""
        if slot not in self.clients:
            self.clients[slot] = self.new_client(slot)
        return self.clients[slot]

    def new_client(self, slot: int) -> Any:
        """Return a client of its own for a slot."""
        route = Route(self.cluster, self._options, self._make)
        route.slot = slot
        return self._make(route)


# ---- connections ----
def _parent(connection: Any) -> Any:
    """Return what redis-py declares without types."""
    return connection


class _Routed:
    """What makes one of redis-py's connections go where its route leads."""

    def __init__(self, *args: Any, route: Route, **options: Any) -> None:
        super().__init__(*args, **options)
        self.route = route

    def _has_strayed(self) -> bool:
        connection = cast("Any", self)
        return bool(connection.is_connected) and (connection.host, connection.port) != self.route.address


class _Connection(_Routed, redis.connection.Connection):
    """A connection for threads."""

    @property
    def is_connected(self) -> bool:
        """Whether it is."""
        return self._sock is not None

    def connect(self) -> None:
        """Connect, if it is not connected to where the route leads now; redis-py calls it before each use."""
        if self._has_strayed():
            _parent(super()).disconnect()
        _parent(super()).connect()

    def _connect(self) -> Any:
        self.host, self.port = self.route.find()
        try:
            return _parent(super())._connect()
        except (OSError, redis.RedisError) as error:
            raise self.route.unreachable(error) from error

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the server's next reply."""
        try:
            return super().read_response(*args, **options)
        except redis.ResponseError as error:
            try:
                self.route.reroute(error)
            except (Rerouted, ServerError):
                _parent(super()).disconnect()
                raise
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise self.route.lost(error) from error


class _TlsConnection(_Connection, redis.connection.SSLConnection):
    """A connection with TLS."""


class _AsyncConnection(_Routed, redis.asyncio.Connection):
    """A connection for asyncio."""

    async def connect(self) -> None:
        """Connect, if it is not connected to where the route leads now."""
        if self._has_strayed():
            await self.disconnect()
        try:
            await _parent(super()).connect()
        except redis.ConnectionError as error:  # redis-py 5 makes this of every error
            if isinstance(error.__cause__, (Rerouted, ServerError)):
                raise error.__cause__ from None
            raise

    async def _connect(self) -> None:
        self.host, self.port = await self.route.find_async()
        try:
            await _parent(super())._connect()
        except (OSError, redis.RedisError, TimeoutError) as error:
            raise self.route.unreachable(error) from error

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the server's next reply."""
        try:
            return await super().read_response(*args, **options)
        except redis.ResponseError as error:
            try:
                self.route.reroute(error)
            except (Rerouted, ServerError):
                await self.disconnect()
                raise
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise self.route.lost(error) from error


class _AsyncTlsConnection(_AsyncConnection, redis.asyncio.SSLConnection):
    """A connection with TLS for asyncio."""


KINDS = {  # of connections, by those that they are made of
    redis.connection.Connection: _Connection,
    redis.connection.SSLConnection: _TlsConnection,
    redis.asyncio.Connection: _AsyncConnection,
    redis.asyncio.SSLConnection: _AsyncTlsConnection,
}


def route(client: Any, route: Route) -> None:
    """Have a new client's connections go where a route leads."""
    pool = client.connection_pool
    pool.connection_class = KINDS[pool.connection_class]
    pool.connection_kwargs["route"] = route


def route_of(client: Any) -> Route | None:
    """Return a client's route; None if it always goes to one server, as through a socket."""
    found: Route | None = client.connection_pool.connection_kwargs.get("route")
    return found
