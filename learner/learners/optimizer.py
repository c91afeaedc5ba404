"""A named algorithm in place of the mixture: unscaled values, one weight a feature, no centring and no derived features.

The loops are in `learner.kernels.optimizer`, the algorithms in `learner.optimizers`. After its header, a row has the weight, in
the user's units, and the algorithm's two numbers.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from learner import kernels, layout
from learner.kernels import optimizer as algorithms
from learner.kernels import records
from learner.learners.ahead import Block
from learner.learners.linear import names_of
from learner.learners.mixture import Mixture
from learner.learners.protocol import Contribution

if TYPE_CHECKING:
    from learner.optimizers import Optimizer
    from learner.spec import Spec

__all__ = ["NamedAlgorithm"]


class NamedAlgorithm(Mixture):
    """A sparse linear learner with one named algorithm. Its rows and state have the layout of a mixture of one rate.

    Parameters
    ----------
    spec : Spec
        A spec with an ``optimizer``.
    """

    def __init__(self, spec: "Spec") -> None:
        assert spec.optimizer is not None  # noqa: S101  (for the type checker)
        self.optimizer: Optimizer = spec.optimizer[0]
        super().__init__(spec)
        *options, self._clips = spec.optimizer[1].values()
        self._options = tuple([*options, *[0.0] * algorithms.N_OPTIONS][: algorithms.N_OPTIONS])
        self._weights = np.zeros(layout.MAX_FEATURES + 1)  # work array: the weight that scored each feature

    @property
    def plain(self) -> tuple[Any, ...]:
        """The argument of the loops: a `learner.kernels.optimizer.Algorithm` as plain tuples."""
        algorithm = self.optimizer.code, self.optimizer.normalised, self._options, self._clips
        return super().plain, *algorithm, self._weights

    def _learn(
        self, buffer: NDArray[np.uint8], position: int, holds_back: bool, block: Block, results: records.Results
    ) -> tuple[int, int, int, int]:
        done, position, n_rows, n_bytes, _ = kernels.learn_by_algorithm(
            buffer, position, holds_back, self.plain, records.plain_work(), block, tuple(results)
        )
        return done, position, n_rows, n_bytes

    def _measure(self, buffer: NDArray[np.uint8], position: int, results: records.Results) -> tuple[int, int]:
        done, position = kernels.measure_by_algorithm(
            buffer, position, self.plain, records.plain_work(), tuple(results)
        )
        return done, position

    def _score(self, packed: bytes) -> tuple[int, int, float]:
        code, where, n, score = kernels.predict_by_algorithm(
            np.frombuffer(packed, np.uint8), self.plain, records.plain_work()
        )
        if code != layout.OK or where != len(packed):
            raise self._fault(code, packed, where)
        return n, 0, float(0.0 + score)  # no -0.0

    @property
    def unit_and_offset(self) -> tuple[float, float]:
        """1 and 0: the algorithm's scores are in the target's units."""
        return 1.0, 0.0

    def effective_weights(self, slots: Any) -> NDArray[np.float64]:
        """Return the weights of some slots."""
        return self._linear_weights(slots)

    def effects(self, slots: Any) -> NDArray[np.float64]:
        """Return the sizes of the weights times the sizes of the features' first values."""
        effects: NDArray[np.float64] = (
            np.abs(self._linear_weights(slots)) * self.weight_dict.matrix[slots, layout.SCALE]
        )
        return effects

    def _contributions(self, packed: bytes, n: int, n_derived: int) -> list[Contribution]:
        """Return what each feature of the last scored map adds to its score, unsorted.

        Under the normalised algorithms, a value beyond the feature's scale is shown with the rescaled, smaller weight that
        scored it (see `learner.optimizers.rescaled`).
        """
        n += 1  # the constant comes last
        values, weights = records.work().features.values[:n].tolist(), self._weights[:n].tolist()
        return [
            Contribution(name, x, 0.0, w, w * x)
            for name, x, w in zip([*names_of(packed), layout.CONSTANT_NAME], values, weights, strict=True)
        ]
