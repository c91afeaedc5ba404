"""Watching the loss while examples are learned: its figures at every doubling of their number, and its rises."""

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["Watching"]


class Watching:
    """What the progress stream holds beside the figures of each commit.

    A rise is looked for in the losses of the examples on arrival: where outcomes come late, the predictions are made before the
    outcomes of the last some hundred examples are learned.

    Parameters
    ----------
    model : Model
        Learns.

    Attributes
    ----------
    points : list of dict
        The figures at the doublings since the last commit: ``time``, ``examples``, ``loss``, ``constant_loss``.
    drift : dict
        The last rise since this worker's start: ``drift_examples``, how many examples were learned when it was found;
        ``drift_before`` and ``drift_after``, the mean losses; empty if there was none.
    """

    def __init__(self, model: "Model") -> None:
        from learner.drift import Drift  # numba: only now, so that commands which don't learn start at once

        self._model = model
        self._drift = Drift()
        self.points: list[dict[str, Any]] = []
        self.drift: dict[str, float] = {}
        self._was_said = True
        self.begin()

    def begin(self) -> None:
        """Go on from what the model knows now."""
        self._next = 1 << int(self._model.n_examples).bit_length()

    def look(self) -> None:
        """Take the figures if the number of examples has doubled."""
        model = self._model
        if model.n_examples < self._next:
            return
        self.begin()
        figures = {"loss": model.progressive_loss, "constant_loss": model.constant_loss}
        self.points.append({"time": f"{time.time():.3f}", "examples": model.n_examples, **figures})

    def observe(self, losses: NDArray[np.float64]) -> None:
        """Take in the losses of examples that were just learned."""
        self.look()
        if rises := self._drift.observe(losses):
            before, after, _ = rises[-1]
            self.drift = {"drift_examples": self._model.n_examples, "drift_before": before, "drift_after": after}
            self._was_said = False

    def warning(self) -> str:
        """Return in words the rise that was found since the last call, or ""."""
        if self._was_said:
            return ""
        self._was_said = True
        return "the loss has risen from {drift_before:.6g} to {drift_after:.6g}".format(**self.drift)
