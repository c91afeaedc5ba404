"""How much a worker reads at a time: enough to learn fast, and so little that neither memory nor answers suffer."""

from typing import TYPE_CHECKING, NamedTuple

from learner.service.store.reading import READ_BYTES, UNMEASURED_ENTRIES, Entries
from learner.service.store.stream import Stream
from learner.service.wire import size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from learner.service.store.line import Command

__all__ = ["BLOCK_MS", "READ_ENTRIES", "Batch", "Reading"]

BLOCK_MS = 1000  # the longest wait for entries, and so the longest time until a signal is noticed
READ_ENTRIES = 1000  # at most, at a time


class Batch(NamedTuple):
    """The examples and requests that were read together.

    Parameters
    ----------
    more_requests : bool
        Whether there were as many requests as were asked for, so that more may wait.
    """

    examples: Entries
    requests: Entries
    more_requests: bool


class Reading:
    """Reads examples and requests: few at first, and many where many wait.

    A few entries are read without a look at their sizes, which is faster; many are read up to a number of bytes.

    Parameters
    ----------
    stream : Stream
        The model's streams.
    reads_ahead : bool
        Whether the server reads the next examples while those before are learned, where many wait.

    Attributes
    ----------
    most : int
        How many examples are read at a time at most.
    """

    def __init__(self, stream: Stream, reads_ahead: bool = False) -> None:
        self.stream = stream
        self.reads_ahead = reads_ahead
        self.most = READ_ENTRIES
        self._n_read = 0  # examples, at the last read
        self._n_examples = self._n_requests = UNMEASURED_ENTRIES
        self._collect: Callable[[], Entries] | None = None  # returns what the server reads ahead
        self._ahead: Entries = []  # what was read ahead and not returned yet
        self._after = b""  # the last example before these

    def begin(self) -> None:
        """Forget what was read ahead: it is read again."""
        self._collect, self._ahead = None, []
        self.stream.forget_ahead()

    def next_read(self, learned: bytes, collected: Entries, requests_after: bytes) -> "list[Command]":
        """Return the commands of the next read that waits, if it is one of a few entries; `read` takes its reply.

        The parameters are those of `read`.
        """
        n_examples = min(self._n_examples, READ_ENTRIES - len(collected))
        if self._collect or self._ahead or max(n_examples, self._n_requests) > UNMEASURED_ENTRIES:
            return []
        cursor = collected[-1][0] if collected else learned
        return self.stream.ahead(cursor, requests_after, min(n_examples, self._n_requests), BLOCK_MS, learned)

    def read(
        self, learned: bytes, collected: Entries, requests_after: bytes | None, wait: bool, measured: bool
    ) -> Batch:
        """Return the next examples and requests.

        Parameters
        ----------
        learned : bytes
            The last example that was learned.
        collected : entries
            Those after it that were read and are not learned yet: fewer than `READ_ENTRIES`, as no more than that may be read
            beyond what was learned (see `learner.service.recovery`).
        requests_after : bytes or None
            The last request that was read; None: read no requests.
        wait : bool
            Whether to wait a while when there is neither.
        measured : bool
            Whether even a few entries could be too much, so that their sizes must be looked at first.
        """
        cursor = collected[-1][0] if collected else learned
        if self._has_ahead(cursor):
            return self._take_ahead(learned, requests_after, READ_ENTRIES - len(collected))
        n_examples, n_requests = min(self._n_examples, READ_ENTRIES - len(collected)), self._n_requests
        block_ms = BLOCK_MS if wait else None
        examples, requests = self.stream.read(
            cursor, requests_after, n_examples, n_requests, block_ms, measured, learned
        )
        more_requests = len(requests) >= min(n_examples, n_requests)
        if more_requests:
            self._n_requests = READ_ENTRIES
        elif requests_after is not None:
            self._n_requests = UNMEASURED_ENTRIES
        self._n_examples = self._examples_next(examples, n_examples)
        if self.reads_ahead and not measured:
            self._begin_ahead(examples, n_examples)
        return Batch(examples, requests, more_requests)

    # ---- ahead ----
    def _begin_ahead(self, examples: Entries, n_asked: int) -> None:
        """Have the server read on after the last examples, if more seem to wait."""
        if examples and (len(examples) >= n_asked or _n_bytes(examples) >= READ_BYTES):
            self._after = examples[-1][0]
            self._collect = self.stream.read_ahead(self._after, READ_ENTRIES)

    def _has_ahead(self, cursor: bytes) -> bool:
        """Tell whether examples after the cursor were read ahead."""
        if self._collect:
            collect, self._collect = self._collect, None
            self._ahead = collect()
        if cursor != self._after:
            self._ahead = []
        return bool(self._ahead)

    def _take_ahead(self, learned: bytes, requests_after: bytes | None, most: int) -> Batch:
        """Return at most so many of the examples that were read ahead, and the next requests."""
        if requests_after is None:
            self.stream.note(learned)
            batch = Batch([], [], False)
        else:
            batch = self.read_requests(learned, requests_after, measured=False, wait=False)
        examples, self._ahead = self._ahead[:most], self._ahead[most:]  # only now: reading requests may have failed
        self._after = examples[-1][0]
        if not self._ahead:
            self._begin_ahead(examples, READ_ENTRIES)
        return batch._replace(examples=examples)

    # ---- requests alone, and how many ----
    def read_requests(self, learned: bytes, after: bytes, measured: bool, wait: bool) -> Batch:
        """Return the next requests and no examples; the parameters are those of `read`."""
        n = self._n_requests
        _, requests = self.stream.read(None, after, n, n, BLOCK_MS if wait else None, measured, learned)
        self._n_requests = READ_ENTRIES if len(requests) >= n else UNMEASURED_ENTRIES
        return Batch([], requests, len(requests) >= n)

    def _examples_next(self, examples: Entries, n_asked: int) -> int:
        """Return how many examples to read next: where more wait, about `READ_BYTES` of them, by the size of the last ones."""
        self._n_read = len(examples)
        n_bytes = _n_bytes(examples)
        if len(examples) == n_asked or n_bytes >= READ_BYTES:
            return min(max(READ_BYTES * len(examples) // (n_bytes + 1), 1), self.most)
        return min(UNMEASURED_ENTRIES, self.most)

    def took(self, seconds: float, wanted: float) -> None:
        """Bound the next reads so that a turn takes about as long as wanted, after one of so many seconds."""
        if self._n_read and seconds > 0.0:
            n = int(self._n_read * wanted / seconds)
            self.most = min(max(n, 1), max(2 * self.most, UNMEASURED_ENTRIES), READ_ENTRIES)
            self._n_examples = min(self._n_examples, self.most)
        self._n_read = 0


def _n_bytes(entries: Entries) -> int:
    return sum(size_of(fields) for _, fields in entries)
