"""One named algorithm in place of the mixture: plain values, one weight a feature, no scaling, centring, or derived features.

The dict of weights, the counters, the evaluation, rejections and saving are those of `learner.learners.mixture`; the loops are in
`learner.kernels.optimizer`, the algorithms in `learner.optimizers`. In a row the header is followed by the weight, in the
user's units, and the algorithm's two numbers.
"""

from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from learner import kernels, layout
from learner.errors import ExampleError
from learner.kernels import optimizer as algorithms
from learner.kernels import records
from learner.learners.mixture import Contribution, Linear
from learner.optimizers import parse
from learner.packing import by_name

__all__ = ["Named"]


class Named(Linear):
    """A sparse linear learner with one named algorithm.

    Parameters
    ----------
    loss : str
        A name in `learner.losses.LOSSES`.
    optimizer : str or mapping
        A name in `learner.optimizers.OPTIMIZERS`, or a mapping of that ``name`` and some of its options.
    seed : bytes
        At least 16 secret bytes, for the hash's keys.
    labels : (negative, positive), optional
        Strings accepted as the targets -1 and +1.
    level : float
        Of the quantile loss.
    max_features : int, optional
        How many features there may be, the constant among them.

    Raises
    ------
    SpecError
        When there is no such algorithm or option, or an option's value is out of its range.
    """

    def __init__(
        self,
        loss: str,
        optimizer: str | Mapping[str, Any],
        seed: bytes,
        labels: tuple[str, str] | None = None,
        level: float = 0.5,
        max_features: int | None = None,
    ) -> None:
        self.optimizer, self.options = parse(optimizer)
        super().__init__(loss, seed, algorithms.ONE_RATE, (1.0,), labels, level=level, max_features=max_features)
        values = [*self.options.values(), *[0.0] * algorithms.N_OPTIONS]
        self._values = tuple(values[: algorithms.N_OPTIONS])
        self._weights = np.zeros(layout.MAX_FEATURES + 1)  # what scored each feature of an example

    @property
    def _plain(self) -> tuple[Any, ...]:
        """What the loops take: a `learner.kernels.optimizer.Algorithm` as plain tuples."""
        return super()._plain, self.optimizer.code, self.optimizer.normalised, self._values, self._weights

    def _learn(self, buffer: NDArray[np.uint8], position: int, results: records.Results) -> tuple[int, int, int, int]:
        done, position, n_rows, n_bytes, _ = kernels.learn_by_algorithm(
            buffer, position, self._plain, records.plain_work(), tuple(results)
        )
        return done, position, n_rows, n_bytes

    def _predict(self, packed: bytes) -> tuple[int, int, float]:
        code, where, n, score = kernels.predict_by_algorithm(
            np.frombuffer(packed, np.uint8), self._plain, records.plain_work()
        )
        if code != layout.OK:
            raise ExampleError(self._reason(code, packed, where))
        if where != len(packed):
            raise ExampleError(f"features must be one msgpack value (got {len(packed) - where} more bytes)")
        return n, 0, score

    @property
    def _unit_and_offset(self) -> tuple[float, float]:
        return 1.0, 0.0

    def _sizes(self, slots: Any) -> NDArray[np.float64]:
        sizes: NDArray[np.float64] = np.abs(self._linear_weights(slots)) * self.store.matrix[slots, layout.SCALE]
        return sizes

    def effective_weights(self, slots: Any) -> NDArray[np.float64]:
        """Return the weights of some slots."""
        return self._linear_weights(slots)

    def explain_packed(self, packed: bytes) -> list[Contribution]:
        """Return what each feature of a msgpack map adds to the score, the largest first; the sum is the score.

        The constant is one of them. Features never learned have weight 0. A value beyond all that the feature had before has
        under the normalised algorithms the smaller weight that scores it (see `learner.optimizers.rescaled`).
        """
        n, _, _ = self._predict(packed)
        given: dict[str, float] = by_name(msgpack.unpackb(packed, strict_map_key=False))
        names = [name for name, value in given.items() if abs(value) >= layout.MIN_NUMBER]
        xs, weights = records.work().features.values[: n + 1].tolist(), self._weights[: n + 1].tolist()
        contributions = [
            Contribution(name, x, 0.0, w, w * x)
            for name, x, w in zip([*names, layout.CONSTANT_NAME], xs, weights, strict=True)
        ]
        return sorted(contributions, key=lambda c: -abs(c.contribution))
