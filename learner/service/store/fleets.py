"""What the processes of a fleet know of one another, and of the models' owners.

Each process of a fleet keeps a note in the hash ``learner:fleet``: which models it is for, how many it works, what they cost.
The note is no lock: who owns a model, its own keys say. In a cluster it lies in a slot of its own.
"""

import contextlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import redis

from learner.errors import LearnerError
from learner.service.lease import process_ended
from learner.service.store.cluster import grouped, together, towards
from learner.service.store.paging import pages
from learner.service.store.processes import server_time
from learner.service.wire import FLEET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from learner.service.store import Store
    from learner.service.store.ownership import Owner

__all__ = ["Note", "drop_note", "notes", "owners", "signs", "write_note"]

AT_ONCE = 1000  # keys of a command
MAX_NUMBER = 1e12  # in a note


@dataclass(frozen=True)
class Note:
    """What a process of a fleet says of itself.

    Parameters
    ----------
    name : str
        A name that no other process has.
    process, host : str
        The process (see `learner.service.lease.process_name`), and its machine.
    pid : int
        Its number there.
    pattern : str
        Which models it is for.
    models, most : int
        How many it works, and how many it may.
    cost : float
        What they cost: the share of a processor that they take.
    lease : float
        For how many seconds it may be silent.
    seen : float
        When it was written, by the server's clock.
    """

    name: str
    process: str
    host: str
    pid: int
    pattern: str
    models: int
    most: int
    cost: float
    lease: float
    seen: float = 0.0


def write_note(client: redis.Redis, note: Note) -> None:
    """Write a process's note, with the server's time: TIME, HSET."""
    there = towards(client, FLEET)
    there.hset(FLEET, note.name, json.dumps(asdict(note) | {"seen": round(server_time(there), 3)}))


def drop_note(client: redis.Redis, name: str) -> None:
    """Delete a process's note: HDEL."""
    towards(client, FLEET).hdel(FLEET, name)


def notes(client: redis.Redis) -> list[Note]:
    """Return the notes of the processes that live, and delete the others: HGETALL, TIME, HDEL."""
    there = towards(client, FLEET)
    fields: Any = there.hgetall(FLEET)
    now, alive = server_time(there), []
    for name, text in fields.items():
        note = _read(text)
        if note is None or abs(now - note.seen) > note.lease or process_ended(note.process):
            there.hdel(FLEET, name)
        else:
            alive.append(note)
    return alive


def _read(text: bytes) -> Note | None:
    """Return a note; None: something else wrote it.

    >>> note = Note("a", "", "here", 1, "*", 2, 10, 0.5, 5.0, 3.0)
    >>> _read(json.dumps(asdict(note)).encode()) == note, _read(b"[]"), _read(b'{"name": 1}')
    (True, None, None)
    """
    try:
        fields = json.loads(text)
        note = Note(**fields)
    except (TypeError, ValueError, RecursionError):
        return None
    counts, amounts = (note.pid, note.models, note.most), (note.cost, note.lease, note.seen)
    texts = note.name, note.process, note.host, note.pattern
    is_sound = all(isinstance(n, int) and 0 <= n < MAX_NUMBER for n in counts)
    is_sound &= all(isinstance(x, int | float) and 0 <= x < MAX_NUMBER for x in amounts)
    return note if is_sound and all(isinstance(text, str) for text in texts) else None


def signs(client: Any, stores: "Sequence[Store]") -> "dict[str, bytes | None]":
    """Return the last sign of life of each model's owner, by the model's name: MGET. What is away is missing."""
    found: dict[str, bytes | None] = {}
    for _, there_too in grouped(client, stores, _key):
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):  # of a primary: the others are asked
            for there, some in together(client, there_too, _key):
                for page in pages(some, AT_ONCE):
                    replies = there.mget([store.keys.lease for store in page])
                    found |= {store.keys.model: reply for store, reply in zip(page, replies, strict=True)}
    return found


def owners(client: Any, stores: "Sequence[Store]") -> "Mapping[str, Owner]":
    """Return each model's owner, by the model's name: HGETALL, GET, EXISTS.

    Models that are gone, and owners that can't be read, are missing.
    """
    found: dict[str, Owner] = {}
    for there, some in grouped(client, stores, _key):
        with there.pipeline(transaction=False) as pipe:
            for store in some:
                pipe.hgetall(store.keys.owner)
                pipe.get(store.keys.lease)
                pipe.exists(store.keys.spec)
            try:
                replies = pipe.execute(raise_on_error=False)
            except (redis.ConnectionError, redis.TimeoutError):
                continue
        for store, fields, sign, is_there in zip(some, replies[::3], replies[1::3], replies[2::3], strict=True):
            if isinstance(fields, Exception) or isinstance(sign, Exception) or is_there != 1:
                continue
            try:
                found[store.keys.model] = store.ownership.parsed(fields, sign)
            except LearnerError:
                continue
    return found


def _key(store: "Store") -> str:
    return store.keys.spec
