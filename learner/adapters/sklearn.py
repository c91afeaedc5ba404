"""The model as scikit-learn estimators, for its pipelines, scores and searches.

>>> import numpy as np
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import PolynomialFeatures
>>> from learner.adapters.sklearn import LearnerClassifier
>>> X = np.random.default_rng(1).normal(size=(2000, 2))
>>> y = np.where((X**2).sum(axis=1) < 1.0, "in", "out")
>>> make_pipeline(PolynomialFeatures(2), LearnerClassifier()).fit(X, y).score(X, y) > 0.9
True

Columns are features. They are named by a frame's columns, or else by position, "0", "1", ..., in dense and sparse matrices
alike. Many rows are packed for the compiled loop at once, without a Python loop over the names or values of a matrix.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar, cast

import msgpack
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data

from learner.adapters.tasks import task_of
from learner.errors import ExampleError
from learner.learners.multiclass import MultiClass
from learner.model import Model

__all__ = ["LearnerClassifier", "LearnerRegressor"]

BLOCK_ROWS, BLOCK_VALUES = 4096, 1 << 18  # the most that is packed at once
FLOAT64 = b"\xcb"
T = TypeVar("T")


class _Learner(BaseEstimator):
    """The common base: packs scikit-learn's kinds of data, and learns them in one pass."""

    def __init__(
        self,
        loss: str | None = None,
        *,
        featurizer: str | None = "fields",
        rates: Sequence[float] | None = None,
        neural: Sequence[int] | None = None,
        optimizer: str | Mapping[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        self.loss = loss
        self.featurizer = featurizer
        self.rates = rates
        self.neural = neural
        self.optimizer = optimizer
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.dict = True
        return tags

    def _new(self, task: str, **options: Any) -> Model:
        seed = None if self.random_state is None else check_random_state(self.random_state).bytes(16)
        return Model(
            task,
            loss=self.loss,
            featurizer=self.featurizer,
            rates=self.rates,
            neural=self.neural,
            optimizer=self.optimizer,
            seed=seed,
            **options,
        )

    def _validated(self, X: Any, reset: bool) -> Any:
        if reset:
            self._by_record = _are_records(X) or _has_text(X)
        if _are_records(X):
            return X
        if self._by_record and hasattr(X, "columns"):
            return [{str(name): value for name, value in row.items()} for row in X.to_dict("records")]
        return validate_data(self, X, reset=reset, accept_sparse="csr", dtype=np.float64)

    def _names(self) -> list[str] | None:
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else [str(name) for name in names]

    def _learn(self, X: Any, targets: NDArray[np.float64], sample_weight: Any) -> None:
        n = len(X) if _are_records(X) else X.shape[0]
        if n != len(targets):
            raise ValueError(f"X and y must have the same number of rows (got {n} and {len(targets)})")
        weights = np.ones(n)
        if sample_weight is not None:
            like = np.empty((n, 1)) if _are_records(X) else X
            weights = _check_sample_weight(sample_weight, like, dtype=np.float64, ensure_non_negative=True)
        first = 0
        for features in _packed(X, self._names(), self.model_):
            rows = slice(first, first + len(features))
            examples = _examples(features, targets[rows], weights[rows])
            if rejections := self.model_.learn_packed(examples).rejections:
                raise ValueError(f"row {first + rejections[0].index}: {rejections[0].reason}")
            first = rows.stop

    def _learn_more(self, X: Any, targets: NDArray[np.float64], sample_weight: Any) -> None:
        """Learn rows as `_learn` does; none if all weights are 0, which scikit-learn would refuse."""
        if sample_weight is None or np.any(sample_weight):
            self._learn(X, targets, sample_weight)

    def _scores(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        return np.array(
            _by_row(self._validated(X, reset=False), self._names(), self.model_, self.model_.learner.score_packed)
        )


def _by_row(X: Any, names: list[str] | None, model: Model, function: Callable[[bytes], T]) -> list[T]:
    """Return a function's result for the packed features of each row."""
    results: list[T] = []
    for features in _packed(X, names, model):
        try:
            results.extend(map(function, _rows(features)))
        except ExampleError as error:
            raise ValueError(str(error)) from error
    return results


class LearnerClassifier(ClassifierMixin, _Learner):
    """A `learner.Model` of two classes, or of many.

    `fit` learns from an empty model in one pass, in the order of the rows, as `partial_fit` would. X is a matrix (dense,
    sparse, a frame of numbers), or a list of records: maps of name to value. A frame of pandas with another column, such as one
    of text, is taken as a list of records.

    Parameters
    ----------
    loss : {"logistic", "hinge"}, optional
        By default logistic; more than two classes need it.
    featurizer : str, optional
        Turns a record into features, see `learner.Model`; it isn't used for matrices. By default every field becomes a feature:
        a number as it is, a string as a category, ``name=string``.
    rates : sequence of float, optional
        One or more learning rates in place of the default.
    neural : sequence of int, optional
        The hidden units of a neural head, one number for each layer; with two classes only.
    optimizer : str or mapping, optional
        A named algorithm in place of the mixture, such as "ftrl" or ``{"name": "ftrl", "l1": 1.0}``; with two classes only.
    random_state : int or RandomState, optional
        The seed of the hash of names and of a neural head's initial weights; by default random.

    Attributes
    ----------
    model_ : Model
        The `learner.Model` itself, with explanations, weights by name, and its progressive evaluation. With more than two
        classes, its labels are indices into `classes_`.
    classes_ : array, (classes,)
        The labels. With two, the probability of the second grows with the score.
    n_features_in_, feature_names_in_
        As in scikit-learn; not set for records.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn the rows in one pass, forgetting all that was learned before."""
        X = self._validated(X, reset=True)
        y = _labels(y)
        self._begin(np.unique(y))
        self._learn(X, self._targets(y), sample_weight)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Learn some more rows; the first time, `classes` or y must hold all labels.

        Raises
        ------
        ValueError
            When a row can't be learned; other rows of the call may have been learned.
        """
        new = not hasattr(self, "model_")
        X = self._validated(X, reset=new)
        y = _labels(y)
        if new:
            self._begin(np.unique(y if classes is None else classes))
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes must be those of the first call, {self.classes_.tolist()} (got {classes!r})")
        self._learn_more(X, self._targets(y), sample_weight)
        return self

    def _begin(self, classes: NDArray[Any]) -> None:
        if len(classes) < 2:
            raise ValueError(f"y must have two classes or more (got {len(classes)} class)")
        self.classes_ = classes
        self.model_ = self._new("binary" if len(classes) == 2 else "multiclass")

    def _targets(self, y: NDArray[Any]) -> NDArray[np.float64]:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y must be of the classes {self.classes_.tolist()} (got {unknown[0]!r})")
        if len(self.classes_) > 2:
            return np.searchsorted(self.classes_, y).astype(np.float64)
        return np.where(y == self.classes_[1], 1.0, -1.0)

    def _by_class(
        self, X: Any, figures: Callable[[MultiClass, bytes], dict[str, float]], none: float
    ) -> NDArray[np.float64]:
        """Return a figure for each row and class; `none` for a class without any example yet."""
        check_is_fitted(self)
        by_label = _by_row(
            self._validated(X, reset=False),
            self._names(),
            self.model_,
            lambda packed: figures(cast("MultiClass", self.model_.learner), packed),
        )
        return np.array([[row.get(str(k), none) for k in range(len(self.classes_))] for row in by_label])

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the score of each row, above 0 for the second class; with many classes the scores of all, (rows, classes)."""
        check_is_fitted(self)
        return self._scores(X) if len(self.classes_) == 2 else self._by_class(X, MultiClass.scores_packed, -np.inf)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities of the classes, (rows, classes)."""
        check_is_fitted(self)
        if len(self.classes_) > 2:
            return self._by_class(X, MultiClass.probabilities_packed, 0.0)
        p = np.array([self.model_.learner.prediction(score) for score in self._scores(X)])
        return np.column_stack([1.0 - p, p])

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each row."""
        check_is_fitted(self)
        if len(self.classes_) > 2:
            likeliest: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
            return likeliest
        positive = self._scores(X) > 0.0
        labels: NDArray[Any] = self.classes_[positive.astype(int)]
        return labels


class LearnerRegressor(RegressorMixin, _Learner):
    """A `learner.Model` that predicts numbers: a mean, a quantile, or the rate of counts.

    `fit` learns from an empty model in one pass, in the order of the rows, as `partial_fit` would.

    Parameters
    ----------
    loss : {"squared", "quantile", "poisson"}, optional
        By default squared: it predicts the mean. With "quantile" it predicts a quantile, with "poisson" the rate of counts.
    level : float, optional
        With "quantile" the share of targets to be below the prediction, within (0, 1); by default 0.5, the median.
    featurizer, rates, neural, optimizer, random_state
        As in `LearnerClassifier`.

    Attributes
    ----------
    model_, n_features_in_, feature_names_in_
        As in `LearnerClassifier`.
    """

    def __init__(
        self,
        loss: str | None = None,
        *,
        level: float | None = None,
        featurizer: str | None = "fields",
        rates: Sequence[float] | None = None,
        neural: Sequence[int] | None = None,
        optimizer: str | Mapping[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            loss, featurizer=featurizer, rates=rates, neural=neural, optimizer=optimizer, random_state=random_state
        )
        self.level = level

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn the rows in one pass, forgetting all that was learned before."""
        X = self._validated(X, reset=True)
        targets = _numbers(y)
        self.model_ = self._new(task_of(self.loss), level=self.level)
        self._learn(X, targets, sample_weight)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn some more rows."""
        new = not hasattr(self, "model_")
        X = self._validated(X, reset=new)
        targets = _numbers(y)
        if new:
            self.model_ = self._new(task_of(self.loss), level=self.level)
        self._learn_more(X, targets, sample_weight)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the prediction of each row; a mean and a quantile are within the range of the targets seen."""
        return np.array([self.model_.learner.prediction(score) for score in self._scores(X)])


# ---- targets -------------------------------------------------------------------------------------------------------------
def _labels(y: Any) -> NDArray[Any]:
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y", raise_unknown=True)
    if kind not in ("binary", "multiclass"):
        raise ValueError(f"y must be labels, one a row. The type of the target is {kind}.")
    return np.asarray(column_or_1d(y, warn=True))


def _numbers(y: Any) -> NDArray[np.float64]:
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    numbers: NDArray[np.float64] = column_or_1d(y, warn=True).astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("Input y contains NaN or infinity.")
    return numbers


# ---- packing: see learner.packing -----------------------------------------------------------------------------------------
def _are_records(X: Any) -> bool:
    return isinstance(X, list | tuple) and len(X) > 0 and isinstance(X[0], Mapping)


def _has_text(X: Any) -> bool:
    """Tell whether X is a frame of pandas with a column that holds neither numbers nor booleans."""
    return any(kind.kind not in "biuf" for kind in getattr(X, "dtypes", ())) if hasattr(X, "to_dict") else False


def _packed(X: Any, names: list[str] | None, model: Model) -> Iterator[list[bytes] | NDArray[np.uint8]]:
    """Yield the rows' features in msgpack, many rows at a time, as a matrix of bytes if all rows have the same length."""
    if _are_records(X):
        for first in range(0, len(X), BLOCK_ROWS):
            yield [_packed_row(x, first + i) for i, x in enumerate(model.pack_each(X[first : first + BLOCK_ROWS]))]
    elif sparse.issparse(X):
        yield from _packed_sparse(X, tuple(names) if names else X.shape[1])
    else:
        row, places = _template(names, X.shape[1])
        order = ">f8" if names else "<f8"
        step = max(1, min(BLOCK_ROWS, BLOCK_VALUES // X.shape[1]))
        for first in range(0, len(X), step):
            values = np.ascontiguousarray(X[first : first + step], order).view(np.uint8)
            rows = np.tile(row, (len(values), 1))
            rows[:, places] = values
            yield rows


def _packed_row(packed: bytes | ExampleError, i: int) -> bytes:
    if isinstance(packed, ExampleError):
        raise ValueError(f"row {i}: {packed}") from packed
    return packed


def _template(names: list[str] | None, n: int) -> tuple[NDArray[np.uint8], Any]:
    """Return a row of zeros in msgpack (a map if there are names, else an array), and the places of its values' bytes."""
    if names is None:
        row = np.frombuffer(msgpack.packb(msgpack.ExtType(8, bytes(8 * n))), np.uint8)
        return row, slice(len(row) - 8 * n, None)
    parts = [msgpack.Packer().pack_map_header(n), *(msgpack.packb(name) + FLOAT64 + bytes(8) for name in names)]
    starts = np.cumsum([len(part) for part in parts])[1:] - 8
    return np.frombuffer(b"".join(parts), np.uint8), (starts[:, None] + np.arange(8)).ravel()


@functools.lru_cache(maxsize=4)
def _keys(names: tuple[str, ...] | int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the columns' names in msgpack, each followed by the first byte of a float64, and the start of each.

    An integer stands for that many positions as names. The result is cached for streams of small matrices.
    """
    parts = [msgpack.packb(name) + FLOAT64 for name in (map(str, range(names)) if isinstance(names, int) else names)]
    return np.frombuffer(b"".join(parts), np.uint8), np.cumsum([0, *map(len, parts)])


def _packed_sparse(X: Any, names: tuple[str, ...] | int) -> Iterator[list[bytes]]:
    """Yield the rows of a CSR matrix as maps: a header of five bytes, then each entry's name and value."""
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    keys, starts = _keys(names)
    indptr, first = X.indptr.astype(np.int64), 0
    while first < X.shape[0]:
        last = int(np.searchsorted(indptr, indptr[first] + BLOCK_VALUES, "right")) - 1
        last = min(max(last, first + 1), first + BLOCK_ROWS)
        ends = indptr[first : last + 1] - indptr[first]
        entries = slice(indptr[first], indptr[last])
        columns, counts = X.indices[entries], np.diff(ends)
        lengths = starts[columns + 1] - starts[columns]
        after = np.cumsum(lengths + 8)  # the ends of the entries, without the headers
        heads = 5 * np.arange(len(ends))
        cuts = np.append(0, after)[ends] + heads  # the starts of the rows, and the end of the last
        at = after - 8 + np.repeat(heads[1:], counts)  # the starts of the values
        out = np.empty(cuts[-1], np.uint8)
        _put(out, cuts[:-1] + 1, counts.astype(">u4"))
        _put(out, at, X.data[entries].astype(">f8"))
        out[cuts[:-1]] = 0xDF  # a map, with its size in four bytes
        passed = np.cumsum(lengths) - lengths
        each = np.arange(int(lengths.sum()))  # of the names' bytes
        out[np.repeat(at - lengths - passed, lengths) + each] = keys[
            np.repeat(starts[columns] - passed, lengths) + each
        ]
        data = out.tobytes()
        yield [data[a:b] for a, b in itertools.pairwise(cuts.tolist())]
        first = last


def _put(out: NDArray[np.uint8], at: NDArray[np.int64], numbers: NDArray[Any]) -> None:
    """Write the bytes of numbers into `out`, each at its place."""
    out[at[:, None] + np.arange(numbers.itemsize)] = numbers[:, None].view(np.uint8)


def _rows(features: list[bytes] | NDArray[np.uint8]) -> list[bytes]:
    if isinstance(features, list):
        return features
    data, width = features.tobytes(), features.shape[1]
    return [data[at : at + width] for at in range(0, len(data), width)]


def _examples(
    features: list[bytes] | NDArray[np.uint8], targets: NDArray[np.float64], weights: NDArray[np.float64]
) -> bytes:
    """Return rows as examples, ``[target, features, importance]``."""
    heads, tails = (_floats(head, numbers) for head, numbers in ((b"\x93" + FLOAT64, targets), (FLOAT64, weights)))
    if isinstance(features, list):
        return b"".join(itertools.chain.from_iterable(zip(_rows(heads), features, _rows(tails), strict=True)))
    return np.hstack([heads, features, tails]).tobytes()


def _floats(head: bytes, numbers: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return numbers in msgpack, each after the bytes of `head`: one row of bytes for each number."""
    rows = np.empty((len(numbers), len(head) + 8), np.uint8)
    rows[:, : len(head)] = np.frombuffer(head, np.uint8)
    rows[:, len(head) :] = numbers.astype(">f8")[:, None].view(np.uint8)
    return rows
