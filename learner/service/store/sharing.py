"""How answerers share the stream of requests: the consumer group ``answerers``, in which each one has a name.

The group hands each request to one answerer, and counts how many times it was handed out. What is handed to an answerer that
dies stays *pending*, until another one claims it. An answered request is deleted from the stream and from the group (see
`answer.lua`).
"""

import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import redis

from learner.service.store.link import Link
from learner.service.store.reading import READ_BYTES, UNMEASURED_ENTRIES, Entries, entries_bounded, entries_of
from learner.service.store.scripts import script
from learner.service.wire import ANSWERERS

__all__ = ["SHARED_ENTRIES", "Pending", "Sharing"]

SHARED_ENTRIES = (
    UNMEASURED_ENTRIES  # the most that are handed out at a time: what one answerer has no other one can take
)
FORGET_MS = 3_600_000  # of silence, after which a name that has nothing is forgotten


class Pending(NamedTuple):
    """A request that was handed out: its id, to which answerer, how many ms ago, and how many times so far."""

    request: bytes
    answerer: bytes
    idle_ms: int
    times: int


class Sharing:
    """The consumer group: XREADGROUP, XPENDING, XCLAIM, XGROUP CREATE; EVAL.

    Parameters
    ----------
    link : Link
        The model's.
    name : str
        Of this answerer.
    """

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self.name = name

    def read(self, block_ms: int | None) -> Entries:
        """Return requests that nobody has: up to `SHARED_ENTRIES`, and about `READ_BYTES` of them.

        With `block_ms` it waits so long for the first one, and returns a few at most. The stream may be gone, as that of a
        model that is being deleted: then there is none.
        """
        requests = self._link.keys.requests
        try:
            if block_ms is None:
                limits = (SHARED_ENTRIES, READ_BYTES)
                return entries_bounded(
                    [self._command("EVAL", script("take.lua"), 1, requests, ANSWERERS, self.name, *limits)]
                )[0]
            words = ("COUNT", UNMEASURED_ENTRIES, "BLOCK", block_ms, "STREAMS", requests, ">")
            return entries_of(self._command("XREADGROUP", "GROUP", ANSWERERS, self.name, *words), {requests: b">"})[0]
        except redis.ResponseError as error:
            if not any(code in str(error) for code in ("NOGROUP", "UNBLOCKED")):
                raise
        with contextlib.suppress(redis.ResponseError):  # another one was faster; or there is no stream
            self._command("XGROUP", "CREATE", requests, ANSWERERS, "0")
            return self.read(None)
        time.sleep((block_ms or 0) / 1e3)
        return []

    def pending(self, idle_ms: int) -> Sequence[Pending]:
        """Return the oldest of the requests that were handed out so long ago."""
        words = ("IDLE", idle_ms, "-", "+", UNMEASURED_ENTRIES)
        return [Pending(*each) for each in self._of_group("XPENDING", *words)]

    def claim(self, ids: Iterable[bytes], idle_ms: int) -> Entries:
        """Take requests over that were handed out so long ago; return those that are still there, and that nobody else took."""
        return entries_bounded([self._of_group("XCLAIM", self.name, idle_ms, *ids)])[0]

    def hold(self, ids: Iterable[bytes]) -> None:
        """Say of requests that this answerer still works on them: for the group they were handed out just now."""
        self._of_group("XCLAIM", self.name, 0, *ids, "JUSTID")

    def _of_group(self, command: str, *words: Any) -> Any:
        """Return the reply to a command about the group; an empty one if somebody has destroyed it."""
        try:
            return self._command(command, self._link.keys.requests, ANSWERERS, *words)
        except redis.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            return []

    def leave(self) -> None:
        """Have the group forget this answerer, and those that were silent for an hour; but none that still has a request."""
        with contextlib.suppress(redis.RedisError):
            keys = self._link.keys
            self._command("EVAL", script("leave.lua"), 1, keys.requests, ANSWERERS, self.name, FORGET_MS)

    def _command(self, *words: Any) -> Any:
        (reply,) = self._link.line.exchange([words])
        if isinstance(reply, Exception):
            raise reply
        return reply
