"""Many classes: one mixture for each class, its label against the rest, over one dict; see `learner.learners.multiclass`."""

import math
from typing import Any, NamedTuple

import numpy as np

from learner.kernels.bits import NOTHING
from learner.kernels.evaluation import count_example
from learner.kernels.example import read_header, read_rest, scan
from learner.kernels.hashing import hash_name, is_utf8, n_digits, write_digits
from learner.kernels.held import NONE, arrive, hold_hashes, holds, leave, recall_hashes
from learner.kernels.jit import compiled, inlined, no
from learner.kernels.mixture import count_importance, salt
from learner.kernels.records import Example, Learner, State, named
from learner.kernels.scanner import read_number, read_string
from learner.kernels.targets import positives, relative_importance
from learner.kernels.tasks import unit_and_offset
from learner.kernels.tasks.binary import probability
from learner.layout import (
    BAD_FRAMING,
    BAD_TARGET,
    CONSTANT_LOSS_SUM,
    EXAMPLES,
    FEW_CLASSES,
    LOSS_SUM,
    MAX_DERIVED,
    MAX_NAME_BYTES,
    NEW_CLASS,
    OK,
    RELATIVE_SUM,
)
from learner.metrics import (
    CALIBRATION,
    CONSTANT_CORRECT,
    CONSTANT_LOG_LOSS,
    CORRECT,
    CURRENT,
    LOG_LOSS,
    N_CALIBRATION,
)

__all__ = ["Classes", "log_loss_of", "named_classes", "predict", "read", "rows_of", "through"]

MAX_LABEL = 1e15  # the largest size of a whole number as a label: float64 is exact up to here
FALSE, TRUE, MINUS = 0xC2, 0xC3, 45  # msgpack's bytes of false and true; the character "-"
FALSE_WORD, TRUE_WORD = tuple(b"false"), tuple(b"true")


class Shared(NamedTuple):
    """The counts of all classes together."""

    totals: Any
    metrics: Any
    held: Any


class Classes(NamedTuple):
    """A multi-class model."""

    settings: Any  # of every class's learner
    keys: Any
    table: Any  # the rows of all classes
    state: Any  # a `Shared`
    stacked: Any  # a `State` of stacked arrays, a row for each class; all classes share one metrics array
    labels: Any  # uint64: the labels' hashes, in order of their first examples
    max_labels: Any
    answers: Any  # float64, (3, classes): scores, probabilities and shares for the current example


SCORES, PROBABILITIES, SHARES = range(3)  # of the answers


@inlined
def named_classes(classes):
    """Return the record of a multi-class model from a door's plain tuples."""
    learner, state, labels, max_labels, answers = classes
    settings, keys, table, stacked, _ = named(learner)
    return Classes(settings, keys, table, Shared(*state, stacked.held), stacked, labels, max_labels, answers)


@inlined
def of_class(classes, j):
    """Return the learner of a class."""
    stacked = classes.stacked
    state = State(
        stacked.totals[j],
        stacked.mixer[j],
        stacked.dense_filter[j],
        stacked.interactions[j],
        stacked.metrics,
        stacked.samples[j],
        stacked.held,
        classes.state.totals,
    )
    return Learner(classes.settings, classes.keys, classes.table, state, ())


# ---- reading -------------------------------------------------------------------------------------------------------------
@inlined
def write_label(number, text):
    """Write a whole number in decimal digits, with its sign; return the number of characters."""
    n_signs = np.int64(1 if number < 0.0 else 0)
    text[0] = MINUS
    size = np.int64(abs(number))
    length = n_digits(size)
    write_digits(text, n_signs, length, size)
    return n_signs + length


@inlined
def write_boolean(is_true, text):
    """Write ``true`` or ``false``; return the number of characters."""
    if is_true:
        for i in range(len(TRUE_WORD)):
            text[i] = TRUE_WORD[i]
        return np.int64(len(TRUE_WORD))
    for i in range(len(FALSE_WORD)):
        text[i] = FALSE_WORD[i]
    return np.int64(len(FALSE_WORD))


@compiled
def class_of(buffer, position, keys, labels, text):
    """Return (code, class, next position) of a label: a string, a whole number, which stands for its digits, or a boolean.

    For a label that was never seen the code is NEW_CLASS and the class -1.
    """
    kind, y, after = read_number(buffer, position)
    if kind == -1:
        return BAD_FRAMING, -1, position
    if kind == 1:
        if y != np.floor(y) or abs(y) > MAX_LABEL:
            return BAD_TARGET, -1, position
        is_boolean = buffer[position] == FALSE or buffer[position] == TRUE
        size = write_boolean(y == 1.0, text) if is_boolean else write_label(y, text)
        h, _ = hash_name(text, np.int64(0), size, keys)
    else:
        length, start = read_string(buffer, position)
        if length == -2:
            return BAD_FRAMING, -1, position
        if length < 1 or length > MAX_NAME_BYTES or not is_utf8(buffer, start, length):
            return BAD_TARGET, -1, position
        h, _ = hash_name(buffer, start, length, keys)
        after = start + length
    for k in range(len(labels)):
        if labels[k] == h:
            return OK, k, after
    return NEW_CLASS, -1, after


@inlined
def read(buffer, position, classes, work):
    """Return (code, where, number of features, class, importance) of an example; copy its hashes to ``work.hashes``."""
    code, after, with_importance = read_header(buffer, position)
    if code != OK:
        return code, after, np.int64(0), -1, 0.0
    label_code, k, where = class_of(buffer, after, classes.keys, classes.labels, work.features.text)
    if label_code != OK and label_code != NEW_CLASS:
        return label_code, after, np.int64(0), k, 0.0
    code, where, n, importance = read_rest(buffer, where, with_importance, classes, work.features)
    for i in range(n):
        work.hashes[i] = work.features.hashes[i]
    return (label_code if code == OK else code), where, n, k, importance


@inlined
def read_next(buffer, position, classes, work, block):
    """Read an example for `learner.kernels.learning.stream`; there never is a block of examples with classes."""
    return read(buffer, position, classes, work)


@inlined
def rows_of(n, classes):
    """Return the largest (number of rows, number of copies of each name) that an example may need."""
    n_classes = len(classes.labels)
    n_copies = n_classes if n_classes <= FEW_CLASSES else 1
    return n_copies * (n + 1) + n_classes * MAX_DERIVED, n_copies


# ---- learning ------------------------------------------------------------------------------------------------------------
@inlined
def normalise(scores, probabilities):
    """Write the classes' probabilities: the probability by each class's learner, divided by the sum of all."""
    total = 0.0
    for k in range(len(scores)):
        probabilities[k] = probability(scores[k])
        total += probabilities[k]
    for k in range(len(scores)):
        probabilities[k] = probabilities[k] / total if total > 0.0 else 1.0 / len(scores)


@inlined
def log_loss_of(p):
    """Return the log loss of a label's probability."""
    return -math.log(max(p, 1e-300))


@inlined
def evaluate(state, answers, k, importance):
    """Evaluate the classes' probabilities and running shares for an example of class k; return the log loss.

    The first example of a class counts with the log loss of a uniform guess among all classes, this one included.
    """
    totals, probabilities, shares = state.totals, answers[PROBABILITIES], answers[SHARES]
    count_example(state.metrics, importance)
    sums = state.metrics[CURRENT]
    n = len(probabilities)
    best = likeliest = 0
    for j in range(n):
        if probabilities[j] > probabilities[best]:
            best = j
        if shares[j] > shares[likeliest]:
            likeliest = j
    log_loss = constant = math.log(np.float64(n))
    correct = 0.0
    if shares[k] >= 0.0:
        log_loss = log_loss_of(probabilities[k])
        constant = -math.log((shares[k] + 1.0) / (totals[RELATIVE_SUM] + n))
        correct = 1.0 if best == k else 0.0
        sums[CONSTANT_CORRECT] += importance if likeliest == k else 0.0
    sums[LOG_LOSS] += importance * log_loss
    sums[CORRECT] += importance * correct
    sums[CONSTANT_LOG_LOSS] += importance * constant
    bin_number = min(np.int64(probabilities[best] * N_CALIBRATION), N_CALIBRATION - 1)
    sums[CALIBRATION + bin_number] += importance * (probabilities[best] - correct)
    totals[LOSS_SUM] += importance * log_loss
    totals[CONSTANT_LOSS_SUM] += importance * constant
    return log_loss


def predict(score_example: Any) -> Any:
    """Return the compiled function that scores one map of features for some of the classes."""

    @inlined
    def predict_classes(buffer, n, first, last, classes, work):
        """Score a map for the classes from `first` up to but not including `last`.

        `n` is -1, or the number of features of the last scan, which is then not repeated. The scores are written into the
        answers; if all classes are scored, their probabilities, too. The expert scores of the last class stay in the work
        arrays. Returns (code, where, features of the scan, features, derived features).
        """
        code, where, answers = OK, np.int64(0), classes.answers
        if n < 0:
            code, where, n = scan(buffer, np.int64(0), classes, work.features)
            if code == OK:
                for i in range(np.uint64(n)):
                    work.hashes[i] = work.features.hashes[i]
        n_features, n_derived = np.int64(0), NOTHING
        if code == OK:
            for j in range(first, last):
                learner = of_class(classes, j)
                salt(n, work.hashes, work.features.hashes, learner.state.totals)
                n_features, n_derived, s = score_example(no(), n, learner, work)
                unit, offset = unit_and_offset(learner.settings.task, learner.state.totals)
                answers[SCORES, j] = offset + unit * s
            if last - first == len(classes.labels):
                normalise(answers[SCORES], answers[PROBABILITIES])
        return code, where, n, n_features, n_derived

    return predict_classes


def through(learn_class: Any, make_constant: Any) -> Any:
    """Return the compiled function that learns an example of many classes, given two functions for one class."""

    @inlined
    def learn_example_of_classes(pool, example, classes, work):
        """Let every class's learner learn the example, or hold it, with its own label as +1 and all others as -1.

        With more than a few classes, a class has rows only for features that it has met: of an example with its label.
        A held example is learned by the classes that there were at its arrival.
        """
        totals, answers, held = classes.state.totals, classes.answers, classes.state.held
        slot, n, k, importance = np.int64(0), example.n, np.int64(example.y), example.importance
        n_classes = len(classes.labels)
        relative = relative_importance(importance, totals)
        if pool == NONE and len(classes.table.sketch) > 0:  # the other classes' new features may take the last row
            make_constant(example, of_class(classes, k), work)
        if pool != NONE:
            slot = leave(pool, classes.keys, totals, held)
            n = recall_hashes(slot, work.hashes, work.features.values, held)
            k, relative, n_classes = (
                np.int64(held.numbers[slot, 0]),
                held.numbers[slot, 1],
                np.int64(held.numbers[slot, 2]),
            )
        elif holds(classes.settings):
            slot = arrive(classes.keys, totals, held)
            hold_hashes(slot, n, work.hashes, work.features.values, held)
        for j in range(n_classes):
            learner = of_class(classes, j)
            class_totals = learner.state.totals
            if pool == NONE:
                answers[SHARES, j] = positives(class_totals) if class_totals[EXAMPLES] > 0.0 else -1.0
            salt(n, work.hashes, work.features.hashes, class_totals)
            binary_example = Example(example.buffer, n, 1.0 if j == k else -1.0, importance)
            admits = j == k or n_classes <= FEW_CLASSES
            answers[SCORES, j], _ = learn_class(pool == NONE, slot, j, admits, binary_example, relative, learner, work)
        if pool != NONE:
            return 0.0, 0.0
        if holds(classes.settings):
            held.numbers[slot, 0], held.numbers[slot, 1], held.numbers[slot, 2] = k, relative, n_classes
        normalise(answers[SCORES], answers[PROBABILITIES])
        loss = evaluate(classes.state, answers, k, importance)
        count_importance(importance, relative, totals)
        return answers[PROBABILITIES, k], loss

    return learn_example_of_classes
