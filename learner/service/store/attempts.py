"""What a worker notes about its work, so that the next one knows what may have killed it."""

from dataclasses import dataclass
from typing import Any

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
        When it last read the stream, it had learned all entries up to this one.
    entry : bytes
        The last entry that it began to learn by itself.
    times : int
        How many times that entry was begun without a commit.
    request : bytes
        The last request that it began to answer by itself.
    """

    reading: bytes = NEVER
    entry: bytes = b""
    times: int = 0
    request: bytes = b""


class Attempts:
    """The hash ``attempt``, which a worker that stops as it should deletes: HGETALL, HSET.

    Parameters
    ----------
    link : Link
        The model's.
    ownership : Ownership
        Which knows this worker's token.
    """

    def __init__(self, link: Link, ownership: Ownership) -> None:
        self._link = link
        self._ownership = ownership
        self._reading = b""  # the cursor noted last

    def begin(self) -> Attempt | None:
        """Note that this worker begins; return the notes of the worker before, None if that one stopped as it should."""
        with self._link.client.pipeline() as pipe:
            pipe.hgetall(self._link.keys.attempt)
            pipe.hset(self._link.keys.attempt, "worker", self._ownership.token)
            notes: dict[bytes, bytes] = pipe.execute()[0]
        if not notes:
            return None
        return Attempt(
            notes.get(b"reading", NEVER),
            notes.get(b"entry", b""),
            int(notes.get(b"times", 0)),
            notes.get(b"request", b""),
        )

    def mark(self, entry_id: bytes, times: int) -> None:
        """Note that an entry is about to be learned, the so many-th time without a commit."""
        self._link.client.hset(self._link.keys.attempt, mapping={"entry": entry_id, "times": times})

    def mark_request(self, entry_id: bytes) -> None:
        """Note that a request is about to be answered."""
        self._link.client.hset(self._link.keys.attempt, "request", entry_id)

    def mark_reading(self, client: Any, cursor: bytes) -> None:
        """Piggyback a note onto a read: everything up to the cursor was learned without crashing.

        `client` may be the pipeline of the read. A cursor that was noted already is not sent again.
        """
        if cursor != self._reading:
            self._reading = cursor
            client.hset(self._link.keys.attempt, "reading", cursor)
