"""Drift: tells when the loss has risen.

By the adaptive window ADWIN2 of Bifet and Gavalda, 2007, "Learning from time-changing data with adaptive windowing". The window
holds the losses since the last change, in blocks whose sizes double with their age. It is cut wherever the mean loss before the
cut and the mean after it differ by more than chance explains, and what is before the cut is forgotten. A cut with a higher mean
after it is a rise. By their theorem 3.1 a loss that does not change is called changed with a probability of at most
`CONFIDENCE` at each look.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Drift", "Rise"]

CONFIDENCE = 0.002  # delta: the probability of a false cut at a look
BLOCK = 100  # losses of the smallest block
LOOK = 2 * BLOCK  # losses between two looks
MOST_ALIKE = 5  # blocks of one size; one more, and the two oldest become one of twice the size
FIRST = 2000  # losses before the first look
MAX_SIZES = 10.0  # a loss counts as at most so many mean losses of the first ones: the theorem asks for bounded ones


class Rise(NamedTuple):
    """A rise of the loss.

    Parameters
    ----------
    before, after : float
        The mean losses on the two sides of the cut, each loss as at most `MAX_SIZES` mean losses.
    n_after : int
        How many losses were after it.
    """

    before: float
    after: float
    n_after: int


class Drift:
    """The window of losses.

    Examples
    --------
    >>> import numpy as np
    >>> drift, r = Drift(), np.random.default_rng(1)
    >>> drift.observe(r.exponential(0.5, 20_000)), drift.observe(r.exponential(0.4, 20_000))
    ([], [])
    >>> rise = drift.observe(r.exponential(0.5, 2000))[0]
    >>> round(rise.before, 2), rise.after > rise.before, rise.n_after <= 2000
    (0.4, True, True)
    """

    def __init__(self) -> None:
        self._blocks = np.zeros((0, 3))  # number of losses, their sum, their sum of squares; the oldest block first
        self._left = np.zeros(0)  # losses since the last look; at first all, until there are `FIRST`
        self._largest = 0.0  # what a loss counts as at most; 0: not known yet

    @property
    def n(self) -> int:
        """How many losses the window holds in blocks."""
        return int(self._blocks[:, 0].sum())

    def observe(self, losses: NDArray[np.float64]) -> list[Rise]:
        """Take in the losses of examples in order; NaN stands for an example that was rejected. Return the rises found."""
        losses = np.concatenate([self._left, losses[~np.isnan(losses)]])
        n_looks = len(losses) // LOOK
        if not self._largest:
            n_looks *= len(losses) >= FIRST
            self._largest = MAX_SIZES * float(losses[:FIRST].mean()) if n_looks else 0.0
        self._left = losses[n_looks * LOOK :]
        rises = [self._add(blocks) for blocks in losses[: n_looks * LOOK].reshape(n_looks, LOOK // BLOCK, BLOCK)]
        return [rise for rise in rises if rise]

    def _add(self, blocks: NDArray[np.float64]) -> Rise | None:
        """Take in the blocks of a look; return the rise that they show, if one."""
        for losses in np.minimum(blocks, self._largest):
            self._blocks = np.concatenate([self._blocks, [[BLOCK, losses.sum(), losses @ losses]]])
            self._merge()
        if not (cut := self._find()):  # mostly
            return None
        mean, found = self._mean(), None
        while cut:
            self._blocks = self._blocks[1:]
            found = found or (cut if cut.after > cut.before else None)
            cut = self._find()
        self._largest *= self._mean() / mean if mean else 1.0
        return found

    def _mean(self) -> float:
        n, total, _ = self._blocks.sum(axis=0)
        return float(total / n)

    def _merge(self) -> None:
        """Make one block of the two oldest of a size of which there are too many, the smallest size first."""
        sizes, last = self._blocks[:, 0], len(self._blocks)
        while last > MOST_ALIKE and sizes[last - MOST_ALIKE - 1] == sizes[last - 1]:
            first = last - MOST_ALIKE - 1
            self._blocks[first + 1] += self._blocks[first]
            self._blocks = np.concatenate([self._blocks[:first], self._blocks[first + 1 :]])
            sizes, last = self._blocks[:, 0], first + 1

    def _find(self) -> Rise | None:
        """Return the oldest cut between two blocks whose sides differ by more than chance explains: equation 3.1."""
        if len(self._blocks) < 2:
            return None
        sums = self._blocks.cumsum(axis=0)
        n, total, squares = sums[-1].tolist()
        before, total_before = sums[:-1, 0], sums[:-1, 1]
        log = math.log(2.0 * math.log(n) / CONFIDENCE)
        variance = max(squares / n - (total / n) ** 2, 0.0)
        inverse = n / (before * (n - before))  # of m: 1 / n_before + 1 / n_after
        difference = abs(total_before - total / n * before) * inverse  # of the two means
        bound = np.sqrt(2.0 * variance * log * inverse) + 2.0 / 3.0 * self._largest * log * inverse
        is_cut = difference > bound
        if not is_cut.any():
            return None
        n_before, sum_before = float(before[is_cut][0]), float(total_before[is_cut][0])
        return Rise(sum_before / n_before, (total - sum_before) / (n - n_before), int(n - n_before))
