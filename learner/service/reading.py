"""How much a worker reads at a time: enough to learn fast, and so little that neither memory nor answers suffer."""

from typing import NamedTuple

from learner.service.store.reading import READ_BYTES, UNMEASURED_ENTRIES, Entries
from learner.service.store.stream import Stream
from learner.service.wire import size_of

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
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._n_examples = self._n_requests = UNMEASURED_ENTRIES

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
        n_examples, n_requests = min(self._n_examples, READ_ENTRIES - len(collected)), self._n_requests
        block_ms = BLOCK_MS if wait else None
        cursor = collected[-1][0] if collected else learned
        examples, requests = self.stream.read(
            cursor, requests_after, n_examples, n_requests, block_ms, measured, learned
        )
        more_requests = len(requests) >= min(n_examples, n_requests)
        if more_requests:
            self._n_requests = READ_ENTRIES
        elif requests_after is not None:
            self._n_requests = UNMEASURED_ENTRIES
        self._n_examples = self._examples_next(examples, n_examples)
        return Batch(examples, requests, more_requests)

    def read_requests(self, learned: bytes, after: bytes, measured: bool, wait: bool) -> Batch:
        """Return the next requests and no examples; the parameters are those of `read`."""
        n = self._n_requests
        _, requests = self.stream.read(None, after, n, n, BLOCK_MS if wait else None, measured, learned)
        self._n_requests = READ_ENTRIES if len(requests) >= n else UNMEASURED_ENTRIES
        return Batch([], requests, len(requests) >= n)

    def _examples_next(self, examples: Entries, n_asked: int) -> int:
        """Return how many examples to read next: where more wait, about `READ_BYTES` of them, by the size of the last ones."""
        n_bytes = sum(size_of(fields) for _, fields in examples)
        if len(examples) == n_asked or n_bytes >= READ_BYTES:
            return min(max(READ_BYTES * len(examples) // (n_bytes + 1), 1), READ_ENTRIES)
        return UNMEASURED_ENTRIES
