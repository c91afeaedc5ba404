"""Whether the examples that come are what is expected: too many rejected ones of the last say that something has changed."""

from collections import deque

__all__ = ["Acceptance"]


class Acceptance:
    """The share of rejected ones among the last examples.

    Parameters
    ----------
    share : float
        The most there may be, in [0, 1].
    window : int
        Of how many examples; the piece that goes beyond it counts as a whole.

    Attributes
    ----------
    excess : (rejected, examples) or None
        When the share was exceeded: how many of how many. It stays.

    Examples
    --------
    >>> acceptance = Acceptance(0.5, 100)
    >>> for n, n_rejected in [(60, 0), (40, 40), (20, 20)]:
    ...     acceptance.observe(n, n_rejected)
    >>> acceptance.observe(20, 20)
    >>> acceptance.excess
    (80, 140)
    """

    def __init__(self, share: float, window: int) -> None:
        self.share, self.window = share, window
        self.excess: tuple[int, int] | None = None
        self._pieces: deque[tuple[int, int]] = deque()
        self._n = self._n_rejected = 0

    def observe(self, n: int, n_rejected: int) -> None:
        """Take in the next examples: how many, and how many of them were rejected."""
        self._pieces.append((n, n_rejected))
        self._n += n
        self._n_rejected += n_rejected
        while self._n - self._pieces[0][0] >= self.window:
            n, n_rejected = self._pieces.popleft()
            self._n -= n
            self._n_rejected -= n_rejected
        if self._n >= self.window and self._n_rejected > self.share * self._n:
            self.excess = self._n_rejected, self._n
