"""A named algorithm in place of the mixture: the scalar functions of `learner.optimizers`, compiled, and chosen by code.

After its header, a row has the weight, in the user's units, and the algorithm's two numbers.
"""

from typing import Any, NamedTuple

import numpy as np

from learner import optimizers
from learner.kernels.bits import MISSING, NOTHING, ONE
from learner.kernels.jit import inlined, switch, yes
from learner.kernels.losses import derivative
from learner.kernels.records import named
from learner.kernels.room import is_admitted
from learner.kernels.table import COUNT, find_again, insert, look_up, width_of
from learner.kernels.tasks import evaluate
from learner.layout import CONSTANT_HASH, CONSTANT_ROW, EXAMPLES, HEADER, IMPORTANCE_SUM, SCALE_SUM, TREND, UPDATES
from learner.losses import LOSSES

__all__ = ["N_OPTIONS", "Algorithm", "learn_example", "named_algorithm", "rows_of", "score_features"]

N_OPTIONS = 4  # in a tuple, not an array, so the compiler moves work that depends on options alone out of the loop
WEIGHT, FIRST, SECOND = (np.uint64(HEADER + k) for k in range(3))  # columns: the weight, the algorithm's two numbers
MAX_STATE = 3e38  # within the range of float32
MAX_COUNT = 1e12  # a larger count is learned as this
LOGISTIC, POISSON = LOSSES["logistic"].code, LOSSES["poisson"].code
SQUARED, PINBALL = LOSSES["squared"].code, LOSSES["quantile"].code  # whose scores may be clipped
LOW, HIGH = TREND, TREND + 1  # of the targets, at first 0: a named algorithm has no recent means

_rescaled = inlined(optimizers.rescaled)
_update = switch([inlined(optimizer.update) for optimizer in optimizers.OPTIMIZERS.values()])


class Algorithm(NamedTuple):
    """A learner with a named algorithm: the fields of a `Learner` without the head, and the algorithm."""

    settings: Any
    keys: Any
    table: Any
    state: Any
    code: Any  # its place in `learner.optimizers.OPTIMIZERS`
    normalised: Any  # the power in `learner.optimizers.rescaled`; 0 for algorithms that don't rescale
    options: Any  # a tuple of N_OPTIONS numbers
    clips: Any  # whether scores are clipped to the range of 0 and the targets: see `learner.optimizers`
    weights: Any  # float64: the weight that scored each feature of the current example, the constant last


@inlined
def named_algorithm(algorithm):
    """Return the record of a learner with a named algorithm from a door's plain tuples."""
    learner, code, normalised, options, clips, weights = algorithm
    settings, keys, table, state, _ = named(learner)
    return Algorithm(settings, keys, table, state, code, normalised, options, clips, weights)


@inlined
def rows_of(n, algorithm):
    """Return the largest (number of rows, number of copies of each name) that an example may need."""
    return n + 1, 1


@inlined
def bounded(number):
    """Return a number within the range that a row stores; never infinite."""
    return min(max(number, -MAX_STATE), MAX_STATE)


@inlined
def score_features(n, has_rows, algorithm, features):
    """Return the score of a scanned example, the constant after its features; write each one's weight into ``weights``.

    ``has_rows`` says whether ``bases`` has the features' probable rows already.
    """
    table, rows, weights = algorithm.table, algorithm.table.rows, algorithm.weights
    width = width_of(algorithm.settings)
    if not has_rows:
        look_up(np.uint64(n), features.hashes, features.bases, table, width)
    s = 0.0
    for i in range(np.uint64(n)):
        base = find_again(i, features.hashes, features.bases, table, width)
        weights[i] = 0.0
        if base != MISSING:
            w, scale = np.float64(rows[base + WEIGHT]), np.float64(rows[base + FIRST])
            weights[i] = _rescaled(algorithm.normalised, w, scale, features.values[i])
        s += weights[i] * features.values[i]
    features.bases[n] = NOTHING  # the constant: row 0, with the value 1
    features.values[n] = 1.0
    weights[n] = _rescaled(algorithm.normalised, np.float64(rows[WEIGHT]), np.float64(rows[FIRST]), 1.0)
    return s + weights[n]


@inlined
def keep_rows(example, slope, algorithm, features):
    """Count the features and give new features rows; move those with rows to the front, the constant after them.

    Returns the number of features with rows. If the gradient is zero, a new feature is stored only under the normalised
    algorithms, which learn its scale anyway.
    """
    table, totals, weights, n = algorithm.table, algorithm.state.totals, algorithm.weights, example.n
    constant_weight = weights[n]
    kept = NOTHING
    for i in range(np.uint64(n)):
        base = features.bases[i]
        if base != MISSING:
            table.words32[base + COUNT] += 1
        else:
            if slope == 0.0 and algorithm.normalised == 0.0:
                continue
            if not is_admitted(features.hashes[i], features.lengths[i] + 2, table, totals):
                continue
            base = insert(example.buffer, i, features, table, width_of(algorithm.settings))
        features.bases[kept], features.values[kept], weights[kept] = base, features.values[i], weights[i]
        kept += ONE
    features.bases[kept], features.values[kept], weights[kept] = NOTHING, 1.0, constant_weight
    return kept


@inlined
def update_features(n, example, slope, algorithm, features):
    """Let the algorithm update every feature and the constant."""
    table, rows, totals, weights = algorithm.table, algorithm.table.rows, algorithm.state.totals, algorithm.weights
    width = width_of(algorithm.settings)
    if algorithm.normalised != 0.0:
        for i in range(n + ONE):
            x = features.values[i]
            u = x / max(np.float64(rows[features.bases[i] + FIRST]), abs(x))
            totals[SCALE_SUM] += example.importance * u * u
    t, updates, scales = totals[IMPORTANCE_SUM], totals[UPDATES], totals[SCALE_SUM]
    for i in range(n + ONE):
        base = features.bases[i]
        a, b = np.float64(rows[base + FIRST]), np.float64(rows[base + SECOND])
        seen = optimizers.Seen(features.values[i], slope, example.importance, t, updates, scales)
        w, a, b = _update(algorithm.code, weights[i], a, b, seen, algorithm.options)
        rows[base + WEIGHT], rows[base + FIRST], rows[base + SECOND] = bounded(w), bounded(a), bounded(b)
        table.dirty[base // width] = 1


@inlined
def clipped(s, algorithm):
    """Return a score, with ``clips`` within the range of 0 and the targets so far."""
    loss, totals = algorithm.settings.loss, algorithm.state.totals
    if algorithm.clips and (loss.code == SQUARED or loss.code == PINBALL):
        return min(max(s, totals[LOW]), totals[HIGH])
    return s


@inlined
def slope_at(s, y, algorithm):
    """Count a target in the range, and return d loss / d score at a score."""
    loss, totals = algorithm.settings.loss, algorithm.state.totals
    totals[LOW], totals[HIGH] = min(totals[LOW], y), max(totals[HIGH], y)
    slope = derivative(loss, clipped(s, algorithm), min(y, MAX_COUNT) if loss.code == POISSON else y)
    return 0.0 if loss.code == LOGISTIC and abs(slope) <= optimizers.MIN_LOGISTIC_SLOPE else slope


@inlined
def learn_example(pool, example, algorithm, work):
    """Predict a scanned example, then learn it; return the score and the loss before learning."""
    settings, table, features, n = algorithm.settings, algorithm.table, work.features, np.uint64(example.n)
    totals = algorithm.state.totals
    if table.sizes[0] == 0:
        features.hashes[n] = algorithm.keys[CONSTANT_HASH]
        features.starts[n], features.lengths[n], features.values[n] = 0, 0, 1.0
        insert(example.buffer, n, features, table, width_of(settings))
        totals[CONSTANT_ROW] = 1.0
    s = score_features(n, yes(), algorithm, features)
    importance = example.importance
    predicted = clipped(s, algorithm)
    loss, _ = evaluate(settings.task, settings.loss, algorithm.state, predicted, example.y, importance, importance)
    totals[EXAMPLES] += 1.0
    totals[IMPORTANCE_SUM] += importance
    if importance > 0.0:
        totals[UPDATES] += 1.0
        slope = slope_at(s, example.y, algorithm)
        kept = keep_rows(example, slope, algorithm, features)
        update_features(kept, example, slope, algorithm, features)
    return s, loss
