"""Notes of what a worker is about to learn or answer, so that the next worker knows what may have killed it."""

from dataclasses import dataclass

from learner.service.store.line import Command
from learner.service.store.link import Link
from learner.service.store.ownership import Ownership
from learner.service.store.position import NEVER

__all__ = ["Attempt", "Attempts"]


@dataclass
class Attempt:
    """The notes of a worker that died.

    Parameters
    ----------
    reading : bytes
        The cursor of its last read: everything up to this entry was learned without a crash.
    entry : bytes
        The last entry that it began to learn alone, not together with others.
    times : int
        How many times that entry was begun without a commit after it.
    request : bytes
        The last request that it noted before answering it.
    """

    reading: bytes = NEVER
    entry: bytes = b""
    times: int = 0
    request: bytes = b""


class Attempts:
    """The hash ``attempt``: HGETALL, HSET, DEL. A worker that stops in order deletes it (see `Ownership.release`).

    Parameters
    ----------
    link : Link
        The model's.
    ownership : Ownership
        Knows this worker's token.
    """

    def __init__(self, link: Link, ownership: Ownership) -> None:
        self._link = link
        self._ownership = ownership
        self._reading = b""  # the cursor noted last

    def begin(self) -> Attempt | None:
        """Note that this worker begins; return the notes of the worker before it, None if that worker stopped in order."""
        with self._link.client.pipeline() as pipe:
            pipe.hgetall(self._link.keys.attempt)
            pipe.hset(self._link.keys.attempt, "worker", self._ownership.token)
            notes: dict[bytes, bytes] = pipe.execute()[0]
        if not notes:
            return None
        return Attempt(
            notes.get(b"reading", NEVER),
            notes.get(b"entry", b""),
            int(times) if (times := notes.get(b"times", b"0")).isdigit() else 0,
            notes.get(b"request", b""),
        )

    def forget(self) -> None:
        """Delete the notes of this process, which lives."""
        self._reading = b""
        self._link.client.delete(self._link.keys.attempt)

    def mark(self, entry_id: bytes, times: int) -> None:
        """Note that an entry is about to be learned alone, for the `times`-th time without a commit after it."""
        self._link.client.hset(self._link.keys.attempt, mapping={"entry": entry_id, "times": times})

    def mark_request(self, entry_id: bytes) -> None:
        """Note that a request is about to be answered."""
        self._link.client.hset(self._link.keys.attempt, "request", entry_id)

    def reading(self, cursor: bytes) -> list[Command]:
        """Return the command, to be sent along with a read, that notes that all up to the cursor was learned without a crash.

        There is none for the cursor that was noted last.
        """
        if cursor == self._reading:
            return []
        self._reading = cursor
        return [("HSET", self._link.keys.attempt, "reading", cursor)]
