"""The learner: predict an example, then learn it. Read `learn_example` first: it is the algorithm.

    scan -> find rows, scale -> experts' scores -> mixed score -> loss -> every expert's step -> the mixer's step

`loops` makes the compiled functions around a neural head, or none.
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
    """The compiled functions of a kind of head."""

    score_example: Any  # (learning, features, learner, work) -> (features, derived features, mixed score)
    predict: Any  # (buffer, learner, work) -> (code, where, features, derived features, score): see `learner.kernels.predict`
    learn_example: Any  # (example, learner, work) -> (score before, loss then)


# ---- scoring -------------------------------------------------------------------------------------------------------------
@inlined
def inputs_of(n, features):
    """Return the features of an example as the experts see them, the constant last."""
    return Inputs(np.uint64(n) + ONE, features.bases, features.scaled, ONE)


@inlined
def derived_inputs(n, derived):
    """Return the derived features as the experts see them."""
    return Inputs(np.uint64(n), derived.bases, derived.values, NOTHING)


@inlined
def salt(n, hashes, salted, totals):
    """Write the hashes under which a class of a multi-class model has the features; of another model they are as they are."""
    k = np.uint64(totals[CLASS])
    for i in range(np.uint64(n)):
        salted[i] = blend(hashes[i], k) if k > NOTHING else hashes[i]


@inlined
def rows_of(n, learner):
    """Return (rows, how often the bytes of its names) that an example may need at most."""
    return n + 1 + (MAX_DERIVED if is_mixture(learner.settings) else 0), 1


@inlined
def find_features(learning, n, learner, work):
    """Find the rows of a scanned example's features, and scale its values; the constant comes last. Return how many."""
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
    """Tell whether any expert has a gradient."""
    settings = learner.settings
    moved = experts.adagrad.moves(NOTHING, y, settings, scores)
    if len(learner.head) > 0:
        moved = moved or derivative(settings.loss, scores[places_of(learner).head], y) != 0.0
    return moved


# ---- before and after the experts' steps ---------------------------------------------------------------------------------
@inlined
def evaluate_score(s, example, learner):
    """Evaluate the mixed score; return it in the target's units, its loss, and the target and importance as they are learned.

    While the targets seen tell no scale to learn on, that importance is 0.
    """
    settings, state = learner.settings, learner.state
    unit, offset = unit_and_offset(settings.task, state.totals)
    before = unit * s + offset
    loss, y = evaluate(settings.task, settings.loss, state, before, example.y, example.importance)
    return before, loss, y, example.importance if has_scale(settings.task, state.totals) else 0.0


@inlined
def update_of(n, n_derived, y, importance, totals, scaled):
    """Take the example's size into the running sums; return what it asks of the experts."""
    totals[SCALE_SUM] += squared_length(n, scaled)
    totals[DERIVED_SUM] += np.float64(n_derived)
    precision = (1.0 + totals[IMPORTANCE_SUM]) / (1.0 + totals[RESIDUAL_SUM])
    return Update(y, importance, 0.0, pace_of(totals[EXAMPLES] + 1.0, totals[SCALE_SUM]), precision)


@inlined
def count_learned(importance, learned_importance, learner):
    """Count an example as learned; its constant's row has changed."""
    totals = learner.state.totals
    totals[EXAMPLES] += 1.0
    totals[IMPORTANCE_SUM] += importance
    totals[RESIDUAL_SUM] += importance - learned_importance
    learner.table.dirty[np.uint64(totals[CONSTANT_ROW]) - ONE] = 1


# ---- rows for new features -----------------------------------------------------------------------------------------------
@inlined
def class_bits(totals):
    """Return what of a row's word tells the class that it is of."""
    return np.uint32(totals[CLASS]) << np.uint32(CLASS_SHIFT)


@inlined
def pace_of(n_examples, sum_of_squares):
    """Return ``sqrt(t / N)``: rates are relative to the mean of the examples' squared lengths (Ross et al., 2013)."""
    return math.sqrt(n_examples / sum_of_squares)


@inlined
def squared_length(n, scaled):
    """Return the sum of squares of an example's scaled values, the constant's among them."""
    square = 1.0
    for i in range(n):
        square += scaled[i] * scaled[i]
    return square


@inlined
def keep_derived_rows(n, learner, derived):
    """Give new derived features their rows; return how many have one, now in front."""
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
    """Let the experts of the derived features learn the residual of the others."""
    if n_derived == NOTHING:
        return
    at, mixer, totals = places_of(learner), learner.state.mixer, learner.state.totals
    offset = s  # of all but the derived features
    for k in range(at.derived, at.dense_filter):
        offset -= mixer[k, 0] * work.scores[k]
    n = keep_derived_rows(n_derived, learner, work.derived)
    t = totals[EXAMPLES] + 1.0
    pace = pace_of(t, t + totals[DERIVED_SUM])
    residual = Update(update.y, update.importance, offset, pace, update.precision)
    experts.learn_derived(np.uint64(at.derived), derived_inputs(n, work.derived), residual, panel_of(learner, work))


# ---- around a head -------------------------------------------------------------------------------------------------------
def _scoring(score_head: Any) -> Any:
    """Return the function that scores an example, given a head's."""

    @inlined
    def score_example(learning, n, learner, work):
        """Score one scanned example; return (features without the constant, derived features, mixed score).

        The scores of all experts stay in the work arrays.
        """
        settings, table, at = learner.settings, learner.table, places_of(learner)
        n = find_features(learning, n, learner, work)
        inputs = inputs_of(n, work.features)
        if settings.parts & SPARSE != 0:
            experts.mark_silent(inputs, settings, table.rows, work.features.silent)
        panel = panel_of(learner, work)
        experts.score(NOTHING, inputs, panel)
        n_derived = NOTHING
        if is_mixture(settings) and settings.parts & ALONE == 0:
            n_derived = derive(learning, settings, table, learner.state, work.derived)
            experts.score_derived(np.uint64(at.derived), derived_inputs(n_derived, work.derived), panel)
            standardized = work.derived.standardized
            work.scores[at.dense_filter] = experts.dense_filter.score(settings.parts, learner.state, standardized)
        if len(learner.head) > 0:
            work.scores[at.head] = score_head(inputs, table.rows, learner.head)
        return n, n_derived, combine(learner, work)

    return score_example


def _room(start_head: Any) -> tuple[Any, Any]:
    """Return the functions that give features and the constant their rows, given what begins a feature's column in a head."""

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
        """Give new features their rows; return how many have one, now in front, the constant behind them."""
        table, totals = learner.table, learner.state.totals
        constant = features.bases[n]
        kept = NOTHING
        for i in range(np.uint64(n)):
            base = features.bases[i]
            if base == MISSING:
                if not is_admitted(features.hashes[i], features.lengths[i], table, totals):
                    continue  # as if it had not been there
                base = new_row(buffer, i, learner, features)
            features.bases[kept] = base
            features.scaled[kept] = features.scaled[i]
            kept += ONE
        features.bases[kept] = constant
        features.scaled[kept] = 1.0
        return np.int64(kept)

    @inlined
    def make_constant(example, learner, work):
        """Give the constant its row with the first example."""
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
    """Return the function that lets the experts learn, given a head's."""

    @inlined
    def learn_features(n, update, learner, work):
        """Let the experts of the features learn, and the head."""
        settings, table, at = learner.settings, learner.table, places_of(learner)
        inputs = inputs_of(n, work.features)
        if len(learner.head) > 0:
            slope = update.importance * derivative(settings.loss, work.scores[at.head], update.y)
            learn_head(inputs, slope, table.rows, learner.head)
        if settings.parts & ALONE == 0:
            experts.learn(NOTHING, inputs, update, panel_of(learner, work))
            if is_mixture(settings):
                s, standardized = work.scores[at.dense_filter], work.derived.standardized
                experts.dense_filter.learn(s, update, settings, learner.state, standardized, work.products)

    return learn_features


def loops(head: heads.Functions) -> Loops:
    """Return the compiled functions around a head's."""
    score_example, learn_features = _scoring(head.score), _learning(head.learn)
    keep_rows, make_constant = _room(head.start)

    @inlined
    def learn_example(example, learner, work):
        """Predict one scanned example, then learn it; return its score before, in the target's units, and its loss then."""
        make_constant(example, learner, work)
        n, n_derived, s = score_example(yes(), example.n, learner, work)
        promote(learner.settings, learner.table, learner.state.totals, work.derived.promoted)
        before, loss, y, importance = evaluate_score(s, example, learner)
        moved = importance > 0.0 and moves(y, learner, work.scores)
        if moved:
            n = keep_rows(example.buffer, n, learner, work.features)
        update = update_of(n, n_derived, y, importance, learner.state.totals, work.features.scaled)
        if moved:
            learn_features(n, update, learner, work)
            learn_derived(n_derived, s, update, learner, work)
        if importance > 0.0 and is_mixed(learner):
            learn_mixing(s, update, learner.settings, learner.state, work.inputs, work.products)
        count_learned(example.importance, importance, learner)
        return before, loss

    @inlined
    def predict(buffer, learner, work):
        """Score one map of features, changing nothing; what the score is made of stays in the work arrays."""
        code, where, n = scan(buffer, np.int64(0), learner.keys, learner.table, work.features)
        if code != OK:
            return code, where, n, NOTHING, 0.0
        salt(n, work.features.hashes, work.features.hashes, learner.state.totals)
        n, n_derived, s = score_example(no(), n, learner, work)
        return code, where, n, n_derived, s

    return Loops(score_example, predict, learn_example)
