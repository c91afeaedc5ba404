"""Whether examples have the form that the model expects: many rejections among the last ones mean that it has changed."""

from collections import deque

__all__ = ["Acceptance"]


class Acceptance:
    """The share of rejected examples among the last ones.

    Parameters
    ----------
    share : float
        The largest share that is accepted, in [0, 1].
    window : int
        The number of examples that it is a share of. Examples are observed in pieces, and a piece counts as a whole even where
        it reaches out of the window.

    Attributes
    ----------
    excess : (rejected, examples) or None
        Set for good once the share was exceeded: how many of how many examples were rejected.

    Examples
    --------
    >>> acceptance = Acceptance(0.5, 100)
    >>> for n, n_rejected in [(60, 0), (40, 40), (20, 20)]:
    ...     acceptance.observe(n, n_rejected)
    >>> acceptance.observe(20, 20)
    >>> acceptance.excess
    (80, 140)
    """

    def __init__(self, share: float = 0.5, window: int = 1000) -> None:
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
