"""Redis and Valkey Cluster: clients that find the primary of a model's slot, and find it again when it is another one.

A model's keys share a hash tag, and so a slot: for one model a cluster is one server at a time. So a connection is an ordinary
one, to whatever primary has the slot now. When the slot moves or its primary fails, the command fails as if the connection were
lost, and nothing is sent twice by itself: whoever survives a lost connection survives that, too. (redis-py's own RedisCluster
sends commands again after a lost connection. Before redis-py 6 it has no transactions, and with asyncio none before 7.)

A server is asked once whether it is a node of a cluster, by the process's first connection to it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from redis.crc import key_slot

from learner.service.store.routing import route_of
from learner.service.store.topology import Address

__all__ = [
    "clients_of",
    "find_anew",
    "grouped",
    "is_of_one",
    "nodes",
    "primary",
    "require_settled",
    "together",
    "towards",
]

T = TypeVar("T")


def towards(client: Any, key: str) -> Any:
    """Return a client for a key: the same one, unless that is for another slot of a cluster."""
    known, slot = route_of(client), key_slot(key.encode())
    if known is None or known.cluster.is_cluster is False or known.slot == slot:
        return client
    if known.slot is not None:
        return known.client(slot)
    known.slot, known.address = slot, None
    return client


def is_of_one(client: Any) -> bool:
    """Tell whether a client's server is known to be a node of a cluster."""
    known = route_of(client)
    return bool(known and known.cluster.is_cluster)


def primary(client: Any) -> Address | None:
    """Return the primary that a client's commands go to; None: it is no cluster's.

    Raises
    ------
    redis.RedisError
        When it has to be found, and can't be.
    """
    known = route_of(client)
    address = known.find() if known else None
    return address if is_of_one(client) else None


def nodes(client: Any) -> Iterator[Any]:
    """Yield a client for each primary, which is closed afterwards; of a single server the same one."""
    known = route_of(client)
    if known is None or primary(client) is None:
        yield client
        return
    for slot in {address: first for first, _, address in known.slots()}.values():
        with known.new_client(slot) as each:
            yield each


def grouped(client: Any, items: Sequence[T], key_of: Callable[[T], str]) -> list[tuple[Any, Sequence[T]]]:
    """Return clients and items: together those whose keys are at one primary, and may be asked for in one pipeline."""
    known = route_of(client)
    if known is None or primary(client) is None:
        return [(client, items)] if items else []
    ranges, groups = known.slots(), dict[Address | None, tuple[int, list[T]]]()
    for item in items:
        slot = key_slot(key_of(item).encode())
        there = next((each.primary for each in ranges if each.first <= slot <= each.last), None)
        groups.setdefault(there, (slot, []))[1].append(item)
    return [(known.client(slot), some) for slot, some in groups.values()]


def together(client: Any, items: Sequence[T], key_of: Callable[[T], str]) -> list[tuple[Any, Sequence[T]]]:
    """Return clients and items: together those whose keys one command may have, as they are in one slot, or a server is all."""
    known = route_of(client)
    if known is None or primary(client) is None:
        return [(client, items)] if items else []
    slots: dict[int, list[T]] = {}
    for item in items:
        slots.setdefault(key_slot(key_of(item).encode()), []).append(item)
    return [(known.client(slot), some) for slot, some in slots.items()]


def find_anew(client: Any) -> None:
    """Have a client find the primary anew when it is used next, if it is a cluster's: this one gave no answer."""
    if known := route_of(client):
        known.forget()


def clients_of(client: Any) -> list[Any]:
    """Return a client, and those for other slots that were made from it."""
    known = route_of(client)
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
