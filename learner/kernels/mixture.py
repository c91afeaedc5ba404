"""The learner: predict an example, then learn it. Read `learn_one` first: it is the algorithm.

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
from learner.kernels.held import (
    NONE,
    arrive,
    hold_features,
    hold_unscaled,
    holds,
    is_settled,
    is_short,
    leave,
    recall,
)
from learner.kernels.jit import inlined, no, yes
from learner.kernels.losses import derivative, quadratic
from learner.kernels.mixer import combine, is_mixed, learn_mixing, mixed, n_mixed, places_of
from learner.kernels.places import promote
from learner.kernels.records import Example, Inputs, Update, panel_of
from learner.kernels.room import is_admitted
from learner.kernels.scaling import clear_dense, scale_features
from learner.kernels.table import DENSE, insert, insert_derived, look_up, width_of
from learner.kernels.targets import relative_importance
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
    RELATIVE_SUM,
    RESIDUAL_SUM,
    SCALE_SUM,
    SPARSE,
    UPDATES,
)

__all__ = ["Loops", "loops"]


class Loops(NamedTuple):
    """The compiled functions for one head, or for none."""

    score_example: Any  # (learning, features, learner, work) -> (features, derived features, mixed score)
    predict: Any  # (buffer, learner, work) -> (code, where, features, derived features, score): see `learner.kernels.predict`
    learn_example: Any  # (pool, example, learner, work) -> (score, loss), before learning
    learn_class: Any  # (is new, slot, class, admits, example, relative importance, learner, work) -> (score, loss)
    make_constant: Any  # (example, learner, work): give a learner's constant its row, at its first example


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
def find_features(learning, is_held, has_rows, n, learner, work):
    """Find the rows of an example's features, unless it has them, and scale its values; return n without the constant."""
    settings, table, features = learner.settings, learner.table, work.features
    if not has_rows:
        look_up(np.uint64(n), features.hashes, features.bases, table, width_of(settings))
    n = scale_features(n, learning, is_held, settings, table, learner.state, features, work.derived)
    add_constant(n, learner, features)
    return n


@inlined
def add_constant(n, learner, features):
    """Append the constant to the first n features."""
    row = learner.state.totals[CONSTANT_ROW]
    features.bases[n] = (np.uint64(row) - ONE) * width_of(learner.settings) if row > 0.0 else MISSING
    features.scaled[n] = 1.0


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
def evaluate_score(s, example, relative, learner):
    """Evaluate the mixed score; return the score in the target's units, its loss, and the target and importance to learn.

    That importance is the relative one; it is 0 as long as the targets seen define no scale.
    """
    settings, state = learner.settings, learner.state
    unit, offset = unit_and_offset(settings.task, state.totals)
    score = unit * s + offset
    loss, y = evaluate(settings.task, settings.loss, state, score, example.y, example.importance, relative)
    return score, loss, y, relative if has_scale(settings.task, state.totals) else 0.0


@inlined
def count_lengths(n, n_derived, totals, scaled):
    """Add the example's squared length, and the number of its derived features, to the running sums."""
    totals[SCALE_SUM] += squared_length(n, scaled)
    totals[DERIVED_SUM] += np.float64(n_derived)


@inlined
def n_arrived(is_new, totals):
    """Return the number of examples so far, with the new one."""
    return totals[EXAMPLES] + 1.0 if is_new else totals[EXAMPLES]


@inlined
def update_of(is_new, y, importance, totals):
    """Return the update for the experts."""
    precision = (1.0 + totals[RELATIVE_SUM]) / (1.0 + totals[RESIDUAL_SUM])
    return Update(y, importance, 0.0, pace_of(n_arrived(is_new, totals), totals[SCALE_SUM]), precision)


@inlined
def count_residual(s, update, relative, learner):
    """Add the residual of a new example's mixed score; 1 for a target without a scale, which keeps the precision at 1."""
    totals = learner.state.totals
    if update.importance > 0.0 and is_mixed(learner):
        _, _, residual = quadratic(learner.settings.loss, s, update.y, update.precision)
        totals[RESIDUAL_SUM] += update.importance * residual
    totals[RESIDUAL_SUM] += relative - update.importance


@inlined
def count_arrival(importance, relative, learner):
    """Count an example, and mark the constant's row as changed."""
    count_importance(importance, relative, learner.state.totals)
    mark_constant(learner)


@inlined
def mark_constant(learner):
    """Mark the constant's row as changed."""
    learner.table.dirty[np.uint64(learner.state.totals[CONSTANT_ROW]) - ONE] = 1


@inlined
def count_importance(importance, relative, totals):
    """Count an example and its importance."""
    totals[EXAMPLES] += 1.0
    totals[IMPORTANCE_SUM] += importance
    totals[RELATIVE_SUM] += relative
    if importance > 0.0:
        totals[UPDATES] += 1.0


# ---- held examples -------------------------------------------------------------------------------------------------------
@inlined
def keep_inputs(slot, k, y, importance, learner, inputs):
    """Keep a held example's target and importance, and in the short pool the mixer's inputs."""
    held = learner.state.held
    held.numbers[slot, 0], held.numbers[slot, 1] = y, importance
    if is_short(slot) and is_mixed(learner):
        for i in range(places_of(learner).end):
            held.inputs[slot, k, i] = inputs[i]


@inlined
def hold_rows(slot, n, n_derived, admits, learner, work):
    """Hold an example, whose first n features have rows; if they are held, its derived features get rows, too."""
    if is_settled(learner.state.totals):
        n_derived = keep_derived_rows(n_derived, admits, learner, work.derived)
        hold_features(slot, n, n_derived, learner, work)
    else:
        hold_unscaled(slot, n, learner, work)


@inlined
def hold_nothing(slot, n, n_derived, admits, learner, work):
    """Do nothing: with many classes, the hashes of the example's features are held."""


@inlined
def score_at_arrival(slot, k, learner, inputs):
    """Replace the mixer's inputs by those at a held example's arrival; return their mixed score."""
    for i in range(places_of(learner).end):
        inputs[i] = learner.state.held.inputs[slot, k, i]
    return mixed(n_mixed(learner), learner.state.mixer, inputs)


@inlined
def drop_missing(n, learner, features):
    """Drop the features that have no row any more, and mark the other rows as changed; return the number of features."""
    width, dirty = width_of(learner.settings), learner.table.dirty
    kept = NOTHING
    for i in range(np.uint64(n)):
        base = features.bases[i]
        if base != MISSING:
            features.bases[kept] = base
            features.scaled[kept] = features.scaled[i]
            dirty[base // width] = 1
            kept += ONE
    add_constant(np.int64(kept), learner, features)
    mark_constant(learner)
    return np.int64(kept)


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
def keep_derived_rows(n, admits, learner, derived):
    """Give new derived features rows; move the features with rows to the front, and return their number.

    Unless the class `admits` new features, it gets no rows for pairs of features; those of numbers have bounds of their own.
    """
    settings, table, totals = learner.settings, learner.table, learner.state.totals
    width = width_of(settings)
    kept = NOTHING
    for i in range(n):
        base = derived.bases[i]
        if base == MISSING:
            if not (admits or derived.parents[2, i] != 0) or not is_admitted(
                derived.hashes[i], np.int64(0), table, learner.state.whole
            ):
                continue
            base = insert_derived(i, derived, table, width)
            table.words32[base + DENSE] |= class_bits(totals)
            experts.start(no(), base, settings, table.rows)
        derived.bases[kept], derived.values[kept] = base, derived.values[i]
        table.dirty[base // width] = 1
        kept += ONE
    return kept


@inlined
def learn_derived(n_derived, admits, s, t, update, learner, work):
    """Let the experts of the derived features learn the residual of all other experts; t is the number of examples."""
    if n_derived == NOTHING:
        return
    places, mixer, totals = places_of(learner), learner.state.mixer, learner.state.totals
    offset = s  # becomes the mixed score without the derived features
    for k in range(places.derived, places.dense_filter):
        offset -= mixer[k, 0] * work.scores[k]
    n = keep_derived_rows(n_derived, admits, learner, work.derived)
    pace = pace_of(t, t + totals[DERIVED_SUM])
    residual = Update(update.y, update.importance, offset, pace, update.precision)
    experts.learn_derived(np.uint64(places.derived), derived_inputs(n, work.derived), residual, panel_of(learner, work))


# ---- functions that depend on the head -----------------------------------------------------------------------------------
def _scoring(score_head: Any) -> tuple[Any, Any]:
    """Return the functions that find an example's features and score them, given the head's function."""

    @inlined
    def find(learning, is_held, has_rows, n, learner, work):
        """Find the features of a scanned or held example; return (features without the constant, derived features)."""
        settings, n_derived = learner.settings, NOTHING
        n = find_features(learning, is_held, has_rows, n, learner, work)
        if is_mixture(settings) and settings.parts & ALONE == 0:
            n_derived = derive(learning, settings, learner.table, learner.state, work.derived)
        return n, n_derived

    @inlined
    def score_features(n, n_derived, learner, work):
        """Return the mixed score of features; the scores of all experts stay in the work arrays."""
        settings, rows, places = learner.settings, learner.table.rows, places_of(learner)
        inputs = inputs_of(n, work.features)
        if settings.parts & SPARSE != 0:
            experts.mark_silent(inputs, settings, rows, work.features.silent)
        panel = panel_of(learner, work)
        experts.score(NOTHING, inputs, panel)
        if is_mixture(settings) and settings.parts & ALONE == 0:
            experts.score_derived(np.uint64(places.derived), derived_inputs(n_derived, work.derived), panel)
            standardized = work.derived.standardized
            work.scores[places.dense_filter] = experts.dense_filter.score(settings.parts, learner.state, standardized)
        if len(learner.head) > 0:
            work.scores[places.head] = score_head(inputs, rows, learner.head)
        return combine(learner, work)

    return find, score_features


def _pools(find: Any) -> tuple[Any, Any]:
    """Return two functions that find the features of a new example or of one in a pool: by rows, and in a class by hashes."""

    @inlined
    def find_by_rows(is_new, slot, n, learner, work):
        n_derived, is_scaled = NOTHING, no()
        if not is_new:
            n, n_derived, is_scaled = recall(slot, learner, work)
            mark_constant(learner)
        if is_scaled:
            add_constant(n, learner, work.features)
            clear_dense(learner.state.totals, work.derived)
            return n, n_derived
        return find(is_new, not is_new, yes(), n, learner, work)

    @inlined
    def find_by_hashes(is_new, slot, n, learner, work):
        n, n_derived = find(is_new, no(), no(), n, learner, work)
        if not is_new:
            n = drop_missing(n, learner, work.features)
        return n, n_derived

    return find_by_rows, find_by_hashes


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
    def keep_rows(buffer, n, admits, learner, features):
        """Give new features rows, if the class `admits` them; move those with rows to the front, the constant after them.

        Returns their number.
        """
        table, totals = learner.table, learner.state.totals
        constant = features.bases[n]
        kept = NOTHING
        for i in range(np.uint64(n)):
            base = features.bases[i]
            if base == MISSING:
                is_missing = features.values[i] != features.values[i]
                n_bytes = features.lengths[i] + 2
                if is_missing or not admits or not is_admitted(features.hashes[i], n_bytes, table, learner.state.whole):
                    continue  # as if the example didn't have it
                base = new_row(buffer, i, learner, features)
            features.bases[kept] = base
            features.scaled[kept] = features.scaled[i]
            if totals[CLASS] == 0.0:  # all classes share the values
                features.values[kept] = features.values[i]
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


def _learning(head: heads.Functions) -> Any:
    """Return the function that lets the experts and the head learn, given the head's functions."""
    learn_head, penalize_head = head.learn, head.penalize

    @inlined
    def learn_features(n, update, learner, work):
        """Let the experts of the plain features learn, and the head."""
        settings, table, places = learner.settings, learner.table, places_of(learner)
        inputs = inputs_of(n, work.features)
        if len(learner.head) > 0:
            slope = update.importance * derivative(settings.loss, work.scores[places.head], update.y)
            learn_head(inputs, slope, table.rows, learner.head)
            if settings.l1 > 0.0 or settings.l2 > 0.0:
                penalize_head(inputs, update.importance, settings, table.rows, learner.head)
        if settings.parts & ALONE == 0:
            experts.learn(NOTHING, inputs, update, panel_of(learner, work))
            if is_mixture(settings):
                s = work.scores[places.dense_filter]
                experts.dense_filter.learn(s, update, settings, learner.state, work.derived, work.products)

    return learn_features


def _steps(head: heads.Functions, rows: tuple[Any, Any], find: Any, score_features: Any, by_rows: bool) -> Any:
    """Return the function of the algorithm: predict an example, then learn it; `by_rows`: held examples keep their rows."""
    learn_features = _learning(head)
    keep_rows, make_constant = rows
    find_by_rows, find_by_hashes = _pools(find)
    find_any, hold = (find_by_rows, hold_rows) if by_rows else (find_by_hashes, hold_nothing)

    @inlined
    def learn_one(is_new, slot, k, admits, example, relative, learner, work):
        """Predict a new example, then learn it, or hold it in a slot; or learn the example of a slot.

        ``k`` is its class's index in a multi-class model, else 0; ``admits`` says whether this class gives new features rows;
        ``relative`` is the example's relative importance.
        """
        settings, totals = learner.settings, learner.state.totals
        if is_new:
            make_constant(example, learner, work)
        n, n_derived = find_any(is_new, slot, example.n, learner, work)
        s = score_features(n, n_derived, learner, work)
        score, loss, y, importance = 0.0, 0.0, example.y, relative
        if is_new:
            promote(settings, learner.table, learner.state, work.derived)
            score, loss, y, importance = evaluate_score(s, example, relative, learner)
            count_lengths(n, n_derived, totals, work.features.scaled)
        update = update_of(is_new, y, importance, totals)
        if is_new:
            count_residual(s, update, relative, learner)
        if is_new and holds(settings):
            n = keep_rows(example.buffer, n, admits, learner, work.features) if importance > 0.0 else np.int64(0)
            hold(slot, n, n_derived if importance > 0.0 else NOTHING, admits, learner, work)
            keep_inputs(slot, k, y, importance, learner, work.inputs)
            count_arrival(example.importance, relative, learner)
            return score, loss
        has_gradient = importance > 0.0 and moves(y, learner, work.scores)
        if has_gradient:
            if is_new:
                n = keep_rows(example.buffer, n, admits, learner, work.features)
            learn_features(n, update, learner, work)
            learn_derived(n_derived, admits, s, n_arrived(is_new, totals), update, learner, work)
        if importance > 0.0 and is_mixed(learner):
            if not is_new and is_short(slot):
                s = score_at_arrival(slot, k, learner, work.inputs)
            learn_mixing(s, update, learner, work.inputs, work.products)
        if is_new:
            count_arrival(example.importance, relative, learner)
        return score, loss

    return learn_one


def loops(head: heads.Functions) -> Loops:
    """Return the compiled functions of the mixture for a head's functions."""
    find, score_features = _scoring(head.score)
    rows = _room(head.start)
    _, make_constant = rows
    learn_one, learn_class = (_steps(head, rows, find, score_features, by_rows) for by_rows in (True, False))

    @inlined
    def score_example(learning, n, learner, work):
        """Score one scanned example; return (features without the constant, derived features, mixed score)."""
        n, n_derived = find(learning, no(), no(), n, learner, work)
        return n, n_derived, score_features(n, n_derived, learner, work)

    @inlined
    def learn_example(pool, example, learner, work):
        """Predict a scanned example, then learn it, or hold it until later; or learn one of a pool.

        Returns the score, in the target's units, and the loss, before learning.
        """
        keys, totals, held = learner.keys, learner.state.totals, learner.state.held
        slot, y, importance = np.int64(0), example.y, example.importance
        relative = relative_importance(importance, totals)
        if pool != NONE:
            slot = leave(pool, keys, totals, held)
            y, relative = held.numbers[slot, 0], held.numbers[slot, 1]
        elif holds(learner.settings):
            slot = arrive(keys, totals, held)
        example = Example(example.buffer, example.n, y, importance)
        return learn_one(pool == NONE, slot, np.int64(0), yes(), example, relative, learner, work)

    @inlined
    def predict(buffer, learner, work):
        """Score one map of features without changing the model; the experts' scores stay in the work arrays."""
        code, where, n = scan(buffer, np.int64(0), learner, work.features)
        if code != OK:
            return code, where, n, NOTHING, 0.0
        salt(n, work.features.hashes, work.features.hashes, learner.state.totals)
        n, n_derived, s = score_example(no(), n, learner, work)
        return code, where, n, n_derived, s

    return Loops(score_example, predict, learn_example, learn_class, make_constant)
