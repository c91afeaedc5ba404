"""Redis and Valkey Cluster: connections that find the primary of a model's slot, and find it again when it is another one.

A model's keys share a hash tag, and so a slot: for one model a cluster is one server at a time. So a connection is an ordinary
one, to whatever primary has the slot now. When the slot moves or its primary fails, the command fails as if the connection were
lost, and nothing is sent twice by itself: whoever survives a lost connection survives that, too. (redis-py's own RedisCluster
sends commands again after a lost connection. Before redis-py 6 it has no transactions, and with asyncio none before 7.)

A server is asked once whether it is a node of a cluster, by the process's first connection to it.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, NoPermissionError, TryAgainError

from learner.errors import ServerError

__all__ = [
    "Address",
    "Rerouted",
    "Route",
    "clients_of",
    "cluster_of",
    "grouped",
    "is_away",
    "is_of_one",
    "is_undone",
    "nodes",
    "primary",
    "require_settled",
    "route",
    "towards",
]

MOVING = "the cluster is moving the model's keys"
MOVED = "the cluster has moved the model's keys"
DOWN = "the cluster is down"
LOST = "no connection"
UNREACHABLE = "no connection to the primary of the model's keys"
UNBLOCKED = "the server is a primary no more"
NO_PRIMARY = "the cluster has no primary for the model's keys"
REROUTING: dict[str, Any] = {
    "MOVED": MovedError,
    "ASK": AskError,
    "TRYAGAIN": TryAgainError,
    "CLUSTERDOWN": ClusterDownError,
}


T = TypeVar("T")


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Range(NamedTuple):
    """A range of slots, and its primary."""

    first: int
    last: int
    primary: Address


Questions = Generator[tuple[Address, tuple[Any, ...]], Any, T]  # yields nodes and what they are asked; gets the replies


class Rerouted(redis.ConnectionError):
    """A primary of a cluster that can't be reached, or doesn't have the keys: the next command looks for it anew.

    Parameters
    ----------
    trouble : str
        Why, in words.
    detail : str
        What the server said.
    is_undone : bool
        Whether it is certain that the command was not carried out.
    """

    def __init__(self, trouble: str, detail: str, is_undone: bool = True) -> None:
        super().__init__(f"{trouble} ({detail})")
        self.trouble = trouble
        self.detail = detail
        self.is_undone = is_undone


def is_away(error: redis.RedisError) -> bool:
    """Tell whether it is a cluster's error: the primary is another one, or will be, and the same may be asked again there."""
    return isinstance(error, Rerouted)


def is_undone(error: redis.RedisError) -> bool:
    """Tell whether it is a cluster's error that says that a command was not carried out."""
    return isinstance(error, Rerouted) and error.is_undone


class Cluster:
    """What a process knows of the servers that a URL names.

    Parameters
    ----------
    seeds : list of Address
        The servers in the URL.
    is_cluster : bool or None
        None: not known yet.

    Attributes
    ----------
    nodes : list of Address
        All nodes known, first the one to ask next.
    """

    def __init__(self, seeds: list[Address], is_cluster: bool | None) -> None:
        self.nodes = list(seeds)
        self.is_cluster = is_cluster

    def primary(self, slot: int) -> "Questions[Address]":
        """Find the primary of a slot; of a single server its address."""
        if self.is_cluster is None:
            self.is_cluster = yield from _is_node(self.nodes[0])
        if not self.is_cluster:
            return self.nodes[0]
        for first, last, address in (yield from self.slots()):
            if first <= slot <= last:
                return address
        raise Rerouted(NO_PRIMARY, f"slot {slot} belongs to no node: see CLUSTER INFO")

    def slots(self) -> "Questions[list[Range]]":
        """Find the primary of each range of slots: CLUSTER SLOTS, of the first node that answers.

        Raises
        ------
        redis.ConnectionError
            When no node answers.
        ServerError
            When one refuses to.
        """
        last_error: Exception | None = None
        for node in list(self.nodes):
            try:
                ranges = yield node, ("CLUSTER", "SLOTS")
            except NoPermissionError as error:
                raise ServerError(
                    f"server {node}: must let this user send CLUSTER SLOTS (got {error}): renew the access rules with "
                    "'learner acl', at every node"
                ) from error
            except (redis.ConnectionError, redis.TimeoutError) as error:
                self.avoid(node)
                last_error = error
                continue
            except redis.ResponseError as error:
                raise ServerError(f"server {node}: must be a node of a cluster (got {error})") from error
            if ranges:
                found = [Range(int(first), int(last), _address(primary, node)) for first, last, primary, *_ in ranges]
                others = [_address(each, node) for _, _, *members in ranges for each in members]
                self.nodes = list(dict.fromkeys([node, *others, *self.nodes]))
                return found
        if last_error:
            raise redis.ConnectionError(f"no node of the cluster answers (the last one: {last_error})") from last_error
        raise Rerouted(NO_PRIMARY, f"{self.nodes[0]} knows of no slots: see CLUSTER INFO")

    def avoid(self, node: Address) -> None:
        """Ask a node last, from now on: it gave no answer."""
        self.nodes = [*(each for each in self.nodes if each != node), node]


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
            self.address = address = _asked(self.cluster.primary(self.slot or 0), self._options)
        return address

    async def find_async(self) -> Address:
        """Return the primary's address."""
        address = self.address
        if address is None:
            self.address = address = await _asked_async(self.cluster.primary(self.slot or 0), self._options)
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
            there = _address((error.host, error.port), self.address or self.cluster.nodes[0])
            if self.slot in (None, error.slot_id):  # else the key is one of a group
                self.slot, self.address = error.slot_id, there
            raise Rerouted(MOVED, f"slot {error.slot_id} is at {there} now") from error
        if isinstance(error, AskError):
            raise Rerouted(MOVING, f"slot {error.slot_id} goes to {Address(error.host, error.port)}") from error
        if isinstance(error, TryAgainError):
            raise Rerouted(MOVING, "some are here, others there already") from error
        if isinstance(error, ClusterDownError) or str(error).startswith("UNBLOCKED"):
            self.forget()
            raise Rerouted(DOWN if isinstance(error, ClusterDownError) else UNBLOCKED, str(error)) from error
        raise error

    def slots(self) -> list[Range]:
        """Return the primary of each range of the cluster's slots."""
        return _asked(self.cluster.slots(), self._options)

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


ASYNC_KINDS = {
    redis.connection.Connection: redis.asyncio.Connection,
    redis.connection.SSLConnection: redis.asyncio.SSLConnection,
}
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


def _route_of(client: Any) -> Route | None:
    """Return a client's route; None if it always goes to one server, as through a socket."""
    found: Route | None = client.connection_pool.connection_kwargs.get("route")
    return found


_clusters: dict[str, Cluster] = {}  # of this process, by URL


def cluster_of(url: str, seeds: list[tuple[str, int]], is_cluster: bool | None) -> Cluster:
    """Return what is known of the servers that a URL names."""
    return _clusters.setdefault(url, Cluster([Address(*seed) for seed in seeds], is_cluster))


# ---- what is asked of any node ----
def _asked(questions: Questions[T], options: Mapping[str, Any]) -> T:
    """Ask nodes, each over a connection of its own; return the result."""
    try:
        node, command = next(questions)
        while True:
            connection = options["connection_class"](**_options_of(node, options))
            try:
                connection.connect()
                connection.send_command(*command)
                reply = connection.read_response()
            except redis.RedisError as error:
                node, command = questions.throw(error)
            else:
                node, command = questions.send(reply)
            finally:
                connection.disconnect()
    except StopIteration as end:
        value: T = end.value
        return value


async def _asked_async(questions: Questions[T], options: Mapping[str, Any]) -> T:
    """Return what `_asked` does, for asyncio."""
    kind: Any = ASYNC_KINDS[options["connection_class"]]
    try:
        node, command = next(questions)
        while True:
            connection = kind(**_options_of(node, options) | {"retry": AsyncRetry(NoBackoff(), 0)})
            try:
                await connection.connect()
                await connection.send_command(*command)
                reply = await connection.read_response()
            except redis.RedisError as error:
                node, command = questions.throw(error)
            else:
                node, command = questions.send(reply)
            finally:
                await connection.disconnect()
    except StopIteration as end:
        value: T = end.value
        return value


def _options_of(node: Address, options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "connection_class"} | node._asdict()


def _is_node(address: Address) -> Questions[bool]:
    """Tell whether a server is a node of a cluster: HELLO, which no access rules forbid."""
    try:
        told = yield address, ("HELLO", 2)
    except redis.ResponseError:  # a proxy may not know it
        return False
    return dict(zip(told[::2], told[1::2], strict=False)).get(b"mode") == b"cluster"


def _address(member: Any, near: Address) -> Address:
    """Return where a node listens; one that doesn't know its own host has that of the node that was asked."""
    host = member[0].decode() if isinstance(member[0], bytes) else member[0]
    return Address(near.host if host in (None, "", "?") else host, int(member[1]))


# ---- clients ----
def towards(client: Any, key: str) -> Any:
    """Return a client for a key: the same one, unless that is for another slot of a cluster."""
    known, slot = _route_of(client), key_slot(key.encode())
    if known is None or known.cluster.is_cluster is False or known.slot == slot:
        return client
    if known.slot is not None:
        return known.client(slot)
    known.slot, known.address = slot, None
    return client


def is_of_one(client: Any) -> bool:
    """Tell whether a client's server is known to be a node of a cluster."""
    known = _route_of(client)
    return bool(known and known.cluster.is_cluster)


def primary(client: Any) -> Address | None:
    """Return the primary that a client's commands go to; None: it is no cluster's.

    Raises
    ------
    redis.RedisError
        When it has to be found, and can't be.
    """
    known = _route_of(client)
    address = known.find() if known else None
    return address if is_of_one(client) else None


def nodes(client: Any) -> Iterator[Any]:
    """Yield a client for each primary, which is closed afterwards; of a single server the same one."""
    known = _route_of(client)
    if known is None or primary(client) is None:
        yield client
        return
    for slot in {address: first for first, _, address in known.slots()}.values():
        with known.new_client(slot) as each:
            yield each


def grouped(client: Any, items: Sequence[T], key_of: Callable[[T], str]) -> list[tuple[Any, Sequence[T]]]:
    """Return clients and items: together those whose keys are at one primary, and may be asked for in one pipeline."""
    known = _route_of(client)
    if known is None or primary(client) is None:
        return [(client, items)] if items else []
    ranges, groups = known.slots(), dict[Address | None, tuple[int, list[T]]]()
    for item in items:
        slot = key_slot(key_of(item).encode())
        there = next((each.primary for each in ranges if each.first <= slot <= each.last), None)
        groups.setdefault(there, (slot, []))[1].append(item)
    return [(known.client(slot), some) for slot, some in groups.values()]


def clients_of(client: Any) -> list[Any]:
    """Return a client, and those for other slots that were made from it."""
    known = _route_of(client)
    return [client, *(known.clients.values() if known else ())]


def require_settled(client: Any, key: str) -> None:
    """Make sure that a key's slot is where a client's commands go, wholly: else SCAN, which names no key, would miss some.

    Parameters
    ----------
    client : redis.Redis
        For the key's slot.
    key : str
        One that is never there: while the slot moves, the server says so.

    Raises
    ------
    Rerouted
        When the slot is elsewhere, or moving.
    """
    if is_of_one(client):
        client.exists(key)
