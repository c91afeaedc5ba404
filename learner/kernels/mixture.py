"""The learner: predict an example, then learn it. Read `learn_example` first: it is the algorithm.

    scan -> find rows, scale -> experts' scores -> mixed score -> loss -> every expert's step -> the mixer's step

`loops` builds the compiled functions, with a neural head or without.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from learner.kernels import experts, heads
from learner.kernels.bits import MISSING, NOTHING, ONE, blend
from learner.kernels.derived import derive
from learner.kernels.example import scan
from learner.kernels.experts import is_mixture
from learner.kernels.jit import inlined, no, yes
from learner.kernels.losses import derivative
from learner.kernels.mixer import combine, is_mixed, learn_mixing, places_of
from learner.kernels.records import Inputs, Update, panel_of
from learner.kernels.room import is_admitted
from learner.kernels.scaling import promote, scale_features
from learner.kernels.table import DENSE, insert, insert_derived, look_up, width_of
from learner.kernels.tasks import evaluate, has_scale, unit_and_offset
from learner.layout import (
    ALONE,
    CLASS,
    CLASS_SHIFT,
    CONSTANT_HASH,
    CONSTANT_ROW,
    DERIVED_SUM,
    EXAMPLES,
    IMPORTANCE_SUM,
    MAX_DERIVED,
    OK,
    RESIDUAL_SUM,
    SCALE_SUM,
    SPARSE,
)

__all__ = ["Loops", "loops"]


class Loops(NamedTuple):
    """The compiled functions for one head, or for none."""

    score_example: Any  # (learning, features, learner, work) -> (features, derived features, mixed score)
    predict: Any  # (buffer, learner, work) -> (code, where, features, derived features, score): see `learner.kernels.predict`
    learn_example: Any  # (example, learner, work) -> (score, loss), before learning


# ---- scoring -------------------------------------------------------------------------------------------------------------
@inlined
def inputs_of(n, features):
    """Return the features of an example as inputs of the experts, the constant last."""
    return Inputs(np.uint64(n) + ONE, features.bases, features.scaled, ONE)


@inlined
def derived_inputs(n, derived):
    """Return the derived features as inputs of the experts."""
    return Inputs(np.uint64(n), derived.bases, derived.values, NOTHING)


@inlined
def salt(n, hashes, salted, totals):
    """Write the features' hashes in a class of a multi-class model; in other models they are unchanged."""
    k = np.uint64(totals[CLASS])
    for i in range(np.uint64(n)):
        salted[i] = blend(hashes[i], k) if k > NOTHING else hashes[i]


@inlined
def rows_of(n, learner):
    """Return the largest (number of rows, number of copies of each name) that an example may need."""
    return n + 1 + (MAX_DERIVED if is_mixture(learner.settings) else 0), 1


@inlined
def find_features(learning, n, learner, work):
    """Find the rows of a scanned example's features and scale its values, the constant last; return n without the constant."""
    settings, table, totals, features = learner.settings, learner.table, learner.state.totals, work.features
    width = width_of(settings)
    look_up(np.uint64(n), features.hashes, features.bases, table, width)
    n = scale_features(n, learning, settings, table, totals, features, work.derived)
    row = totals[CONSTANT_ROW]
    features.bases[n] = (np.uint64(row) - ONE) * width if row > 0.0 else MISSING
    features.scaled[n] = 1.0
    return n


@inlined
def moves(y, learner, scores):
    """Tell whether the gradient of any AdaGrad expert or of the head is not zero."""
    settings = learner.settings
    has_gradient = experts.adagrad.moves(NOTHING, y, settings, scores)
    if len(learner.head) > 0:
        has_gradient = has_gradient or derivative(settings.loss, scores[places_of(learner).head], y) != 0.0
    return has_gradient


# ---- before and after the experts' steps ---------------------------------------------------------------------------------
@inlined
def evaluate_score(s, example, learner):
    """Evaluate the mixed score; return the score in the target's units, its loss, and the target and importance to learn.

    That importance is 0 as long as the targets seen define no scale.
    """
    settings, state = learner.settings, learner.state
    unit, offset = unit_and_offset(settings.task, state.totals)
    score = unit * s + offset
    loss, y = evaluate(settings.task, settings.loss, state, score, example.y, example.importance)
    return score, loss, y, example.importance if has_scale(settings.task, state.totals) else 0.0


@inlined
def update_of(n, n_derived, y, importance, totals, scaled):
    """Add the example's squared length to the running sums; return the update for the experts."""
    totals[SCALE_SUM] += squared_length(n, scaled)
    totals[DERIVED_SUM] += np.float64(n_derived)
    precision = (1.0 + totals[IMPORTANCE_SUM]) / (1.0 + totals[RESIDUAL_SUM])
    return Update(y, importance, 0.0, pace_of(totals[EXAMPLES] + 1.0, totals[SCALE_SUM]), precision)


@inlined
def count_learned(importance, learned_importance, learner):
    """Count an example as learned, and mark the constant's row as changed."""
    totals = learner.state.totals
    totals[EXAMPLES] += 1.0
    totals[IMPORTANCE_SUM] += importance
    totals[RESIDUAL_SUM] += importance - learned_importance  # 1 for a target without a scale keeps the precision at 1
    learner.table.dirty[np.uint64(totals[CONSTANT_ROW]) - ONE] = 1


# ---- rows for new features -----------------------------------------------------------------------------------------------
@inlined
def class_bits(totals):
    """Return the bits of a row's word DENSE that hold its class."""
    return np.uint32(totals[CLASS]) << np.uint32(CLASS_SHIFT)


@inlined
def pace_of(n_examples, sum_of_squares):
    """Return ``sqrt(t / N)``, which makes rates relative to the examples' mean squared length (Ross et al., 2013)."""
    return math.sqrt(n_examples / sum_of_squares)


@inlined
def squared_length(n, scaled):
    """Return the sum of squares of an example's scaled values, the constant's included."""
    square = 1.0
    for i in range(n):
        square += scaled[i] * scaled[i]
    return square


@inlined
def keep_derived_rows(n, learner, derived):
    """Give new derived features rows; move the features with rows to the front, and return their number."""
    settings, table, totals = learner.settings, learner.table, learner.state.totals
    width = width_of(settings)
    kept = NOTHING
    for i in range(n):
        base = derived.bases[i]
        if base == MISSING:
            if not is_admitted(derived.hashes[i], np.int64(0), table, totals):
                continue
            base = insert_derived(i, derived, table, width)
            table.words32[base + DENSE] |= class_bits(totals)
            experts.start(no(), base, settings, table.rows)
        derived.bases[kept] = base
        kept += ONE
    return kept


@inlined
def learn_derived(n_derived, s, update, learner, work):
    """Let the experts of the derived features learn the residual of all other experts."""
    if n_derived == NOTHING:
        return
    places, mixer, totals = places_of(learner), learner.state.mixer, learner.state.totals
    offset = s  # becomes the mixed score without the derived features
    for k in range(places.derived, places.dense_filter):
        offset -= mixer[k, 0] * work.scores[k]
    n = keep_derived_rows(n_derived, learner, work.derived)
    t = totals[EXAMPLES] + 1.0
    pace = pace_of(t, t + totals[DERIVED_SUM])
    residual = Update(update.y, update.importance, offset, pace, update.precision)
    experts.learn_derived(np.uint64(places.derived), derived_inputs(n, work.derived), residual, panel_of(learner, work))


# ---- functions that depend on the head -----------------------------------------------------------------------------------
def _scoring(score_head: Any) -> Any:
    """Return the function that scores an example, given the head's function."""

    @inlined
    def score_example(learning, n, learner, work):
        """Score one scanned example; return (features without the constant, derived features, mixed score).

        The scores of all experts stay in the work arrays.
        """
        settings, table, places = learner.settings, learner.table, places_of(learner)
        n = find_features(learning, n, learner, work)
        inputs = inputs_of(n, work.features)
        if settings.parts & SPARSE != 0:
            experts.mark_silent(inputs, settings, table.rows, work.features.silent)
        panel = panel_of(learner, work)
        experts.score(NOTHING, inputs, panel)
        n_derived = NOTHING
        if is_mixture(settings) and settings.parts & ALONE == 0:
            n_derived = derive(learning, settings, table, learner.state, work.derived)
            experts.score_derived(np.uint64(places.derived), derived_inputs(n_derived, work.derived), panel)
            standardized = work.derived.standardized
            work.scores[places.dense_filter] = experts.dense_filter.score(settings.parts, learner.state, standardized)
        if len(learner.head) > 0:
            work.scores[places.head] = score_head(inputs, table.rows, learner.head)
        return n, n_derived, combine(learner, work)

    return score_example


def _room(start_head: Any) -> tuple[Any, Any]:
    """Return the functions that give features and the constant rows, given the head's function that starts a column."""

    @inlined
    def new_row(buffer, i, learner, features):
        settings, table = learner.settings, learner.table
        base = insert(buffer, i, features, table, width_of(settings))
        table.words32[base + DENSE] |= class_bits(learner.state.totals)
        experts.start(features.lengths[i] == 0, base, settings, table.rows)
        start_head(base, features.hashes[i], table.rows)
        return base

    @inlined
    def keep_rows(buffer, n, learner, features):
        """Give new features rows; move the features with rows to the front, the constant after them; return their number."""
        table, totals = learner.table, learner.state.totals
        constant = features.bases[n]
        kept = NOTHING
        for i in range(np.uint64(n)):
            base = features.bases[i]
            if base == MISSING:
                if not is_admitted(features.hashes[i], features.lengths[i], table, totals):
                    continue  # as if the example didn't have it
                base = new_row(buffer, i, learner, features)
            features.bases[kept] = base
            features.scaled[kept] = features.scaled[i]
            kept += ONE
        features.bases[kept] = constant
        features.scaled[kept] = 1.0
        return np.int64(kept)

    @inlined
    def make_constant(example, learner, work):
        """Give the constant its row, at the first example."""
        totals, features, n = learner.state.totals, work.features, np.uint64(example.n)
        if totals[CONSTANT_ROW] == 0.0:
            features.hashes[n] = learner.keys[CONSTANT_HASH]
            if totals[CLASS] > 0.0:
                features.hashes[n] = blend(features.hashes[n], np.uint64(totals[CLASS]))
            features.starts[n], features.lengths[n], features.values[n] = 0, 0, 1.0
            base = new_row(example.buffer, n, learner, features)
            totals[CONSTANT_ROW] = base // width_of(learner.settings) + ONE

    return keep_rows, make_constant


def _learning(learn_head: Any) -> Any:
    """Return the function that lets the experts and the head learn, given the head's function."""

    @inlined
    def learn_features(n, update, learner, work):
        """Let the experts of the plain features learn, and the head."""
        settings, table, places = learner.settings, learner.table, places_of(learner)
        inputs = inputs_of(n, work.features)
        if len(learner.head) > 0:
            slope = update.importance * derivative(settings.loss, work.scores[places.head], update.y)
            learn_head(inputs, slope, table.rows, learner.head)
        if settings.parts & ALONE == 0:
            experts.learn(NOTHING, inputs, update, panel_of(learner, work))
            if is_mixture(settings):
                s, standardized = work.scores[places.dense_filter], work.derived.standardized
                experts.dense_filter.learn(s, update, settings, learner.state, standardized, work.products)

    return learn_features


def loops(head: heads.Functions) -> Loops:
    """Return the compiled functions of the mixture for a head's functions."""
    score_example, learn_features = _scoring(head.score), _learning(head.learn)
    keep_rows, make_constant = _room(head.start)

    @inlined
    def learn_example(example, learner, work):
        """Predict a scanned example, then learn it; return the score, in the target's units, and the loss, before learning."""
        make_constant(example, learner, work)
        n, n_derived, s = score_example(yes(), example.n, learner, work)
        promote(learner.settings, learner.table, learner.state.totals, work.derived.promoted)
        score, loss, y, importance = evaluate_score(s, example, learner)
        has_gradient = importance > 0.0 and moves(y, learner, work.scores)
        if has_gradient:
            n = keep_rows(example.buffer, n, learner, work.features)
        update = update_of(n, n_derived, y, importance, learner.state.totals, work.features.scaled)
        if has_gradient:
            learn_features(n, update, learner, work)
            learn_derived(n_derived, s, update, learner, work)
        if importance > 0.0 and is_mixed(learner):
            learn_mixing(s, update, learner.settings, learner.state, work.inputs, work.products)
        count_learned(example.importance, importance, learner)
        return score, loss

    @inlined
    def predict(buffer, learner, work):
        """Score one map of features without changing the model; the experts' scores stay in the work arrays."""
        code, where, n = scan(buffer, np.int64(0), learner.keys, learner.table, work.features)
        if code != OK:
            return code, where, n, NOTHING, 0.0
        salt(n, work.features.hashes, work.features.hashes, learner.state.totals)
        n, n_derived, s = score_example(no(), n, learner, work)
        return code, where, n, n_derived, s

    return Loops(score_example, predict, learn_example)
