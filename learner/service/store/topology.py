"""What is known of a cluster: its nodes, which of them has which slots, and its errors, which say that another one has them.

What nodes are asked is a generator of questions, which threads and asyncio carry out each in its way.
"""

from collections.abc import Generator, Mapping
from typing import Any, NamedTuple, TypeVar

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError

from learner.errors import ServerError

__all__ = [
    "Address",
    "Cluster",
    "Range",
    "Rerouted",
    "address_of",
    "asked",
    "asked_async",
    "cluster_of",
    "is_away",
    "is_undone",
]

NO_PRIMARY = "the cluster has no primary for the model's keys"

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
                found = [Range(int(first), int(last), address_of(primary, node)) for first, last, primary, *_ in ranges]
                others = [address_of(each, node) for _, _, *members in ranges for each in members]
                self.nodes = list(dict.fromkeys([node, *others, *self.nodes]))
                return found
        if last_error:
            raise redis.ConnectionError(f"no node of the cluster answers (the last one: {last_error})") from last_error
        raise Rerouted(NO_PRIMARY, f"{self.nodes[0]} knows of no slots: see CLUSTER INFO")

    def avoid(self, node: Address) -> None:
        """Ask a node last, from now on: it gave no answer."""
        self.nodes = [*(each for each in self.nodes if each != node), node]


_clusters: dict[str, Cluster] = {}  # of this process, by URL


def cluster_of(url: str, seeds: list[tuple[str, int]], is_cluster: bool | None) -> Cluster:
    """Return what is known of the servers that a URL names."""
    return _clusters.setdefault(url, Cluster([Address(*seed) for seed in seeds], is_cluster))


# ---- what is asked of any node ----
ASYNC_KINDS = {
    redis.connection.Connection: redis.asyncio.Connection,
    redis.connection.SSLConnection: redis.asyncio.SSLConnection,
}


def asked(questions: Questions[T], options: Mapping[str, Any]) -> T:
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


async def asked_async(questions: Questions[T], options: Mapping[str, Any]) -> T:
    """Return what `asked` does, for asyncio."""
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


def address_of(member: Any, near: Address) -> Address:
    """Return where a node listens; one that doesn't know its own host has that of the node that was asked."""
    host = member[0].decode() if isinstance(member[0], bytes) else member[0]
    return Address(near.host if host in (None, "", "?") else host, int(member[1]))
