"""The late loss: how well a model predicts before it has heard the outcomes of the examples just before.

The progressive loss tests each example on a model that has learned the example just before it: it answers "how good is the
prediction of the next line?". A service has to predict many records before the first of their outcomes comes. For the *late
loss* the stream is taken in blocks, and every example of a block is scored before any example of the block is learned. It is
the mean, weighted by importance, of the same loss. The first block is not counted: the model that scores it has learned
nothing.

Where outcomes come in runs, as in files that are sorted or grouped, the last target gives the next one away, and the late loss
is far above the progressive loss.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BLOCK_EXAMPLES", "LateLoss", "order_notice"]

BLOCK_EXAMPLES = 1000  # in a block
MIN_EXAMPLES = 1000  # fewer say too little about a stream
MAX_RATIO = 1.1  # of the late loss to the progressive loss, without a notice


@dataclass
class LateLoss:
    """The sums of the late loss.

    Parameters
    ----------
    loss_sum, importance : float
        Of the examples scored: their losses times their importances, and their importances.
    examples : int
        How many they are.
    """

    loss_sum: float = 0.0
    importance: float = 0.0
    examples: int = 0

    def add(self, losses: "NDArray[np.float64]", importances: "NDArray[np.float64]") -> None:
        """Add the examples of a block, as `learner.Model.losses_packed` returns them; NaN stands for a rejected one."""
        accepted = losses == losses
        self.loss_sum += float(losses[accepted] @ importances[accepted])
        self.importance += float(importances[accepted].sum())
        self.examples += int(accepted.sum())

    def add_sums(self, other: "LateLoss") -> None:
        """Add the examples of another one."""
        self.loss_sum += other.loss_sum
        self.importance += other.importance
        self.examples += other.examples

    @property
    def mean(self) -> float:
        """The late loss; NaN before the first example."""
        return self.loss_sum / self.importance if self.importance else float("nan")

    def summary(self) -> dict[str, float]:
        """Return the figures by name, for a program."""
        return {"late_loss": self.mean, "late_examples": self.examples}


def order_notice(late_loss: float, late_examples: float, progressive_loss: float) -> str:
    """Return a sentence if the order of the stream predicts its outcomes, else "".

    >>> order_notice(0.42, 9000, 0.12)[:56]
    'The order of this stream predicts its outcomes: requests'
    >>> order_notice(0.13, 9000, 0.12)
    ''
    """
    if late_examples < MIN_EXAMPLES or not late_loss > MAX_RATIO * progressive_loss:
        return ""
    return (
        f"The order of this stream predicts its outcomes: requests are answered as the late loss says, {late_loss:.3g}, not as "
        f"well as the progressive loss, {progressive_loss:.3g}."
    )
