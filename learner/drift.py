"""Drift: tells when the loss has risen.

By the adaptive window ADWIN2 of Bifet and Gavalda, 2007, "Learning from time-changing data with adaptive windowing". The window
holds the losses since the last change, in blocks whose sizes double with their age. It is cut wherever the mean loss before the
cut and the mean after it differ by more than chance explains, and what is before the cut is forgotten. A cut with a higher mean
after it is a rise. By their theorem 3.1 a loss that does not change is called changed with a probability of at most
`learner.kernels.drift.CONFIDENCE` at each look.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learner import kernels
from learner.kernels.drift import BLOCK, LARGEST, LOOK, MOST_BLOCKS, N_BLOCKS

__all__ = ["BLOCK", "Drift", "Rise"]

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
        self._blocks = np.zeros((MOST_BLOCKS, 3))
        self._window = np.zeros(2)
        self._left = np.zeros(0)  # losses since the last look; at first all, until there are `FIRST`
        kernels.look(self._left, self._window, self._blocks)  # compiles it, or loads it from disk

    @property
    def n(self) -> int:
        """How many losses the window holds in blocks."""
        return int(self._blocks[: int(self._window[N_BLOCKS]), 0].sum())

    def observe(self, losses: NDArray[np.float64]) -> list[Rise]:
        """Take in the losses of examples in order; NaN stands for an example that was rejected. Return the rises found."""
        losses = np.concatenate([self._left, losses[~np.isnan(losses)]])
        n = len(losses) // LOOK * LOOK
        if not self._window[LARGEST]:
            n *= len(losses) >= FIRST
            self._window[LARGEST] = MAX_SIZES * float(losses[:FIRST].mean()) if n else 0.0
        losses, self._left = losses[:n], losses[n:]
        rises: list[Rise] = []
        while len(losses):
            done, before, after, n_after = kernels.look(losses, self._window, self._blocks)
            losses = losses[done:]
            if n_after:
                rises.append(Rise(before, after, int(n_after)))
        return rises
