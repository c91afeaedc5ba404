"""The outer loop that scores without learning: for each example the loss that it would count, from a model that stays as it is.

`learner.kernels.learning` scores and learns one example after the other. Here all examples of a call meet the same model, as
requests do whose outcomes nobody has heard yet.
"""

import math
from typing import Any

from learner.kernels import classes as many
from learner.kernels import optimizer
from learner.kernels.jit import inlined, no
from learner.kernels.scanner import skip
from learner.kernels.tasks import loss_at, unit_and_offset
from learner.layout import NEW_CLASS, OK

__all__ = ["of_algorithm", "of_classes", "of_mixture", "read_class", "stream"]


def stream(read: Any, score_example: Any) -> Any:
    """Return the outer loop, built from two compiled functions.

    Parameters
    ----------
    read : (buffer, position, learner, work)
        As in `learner.kernels.learning.stream`.
    score_example : (buffer, number of features, target, learner, work)
        Scores a scanned example; returns its score in the target's units, and its loss.

    Returns
    -------
    compiled function of (buffer, position, learner, work, results)
        Scores until the buffer ends or there is no room for more results; nothing of the model changes. Returns (examples
        done, next position). An example that learning would reject has NaN as score, loss and importance.
    """

    @inlined
    def score(buffer, position, learner, work, results):
        done = 0
        while position < len(buffer) and done < len(results.scores):
            code, end, n, y, importance = read(buffer, position, learner, work)
            score, loss = math.nan, math.nan
            if code == OK:
                score, loss = score_example(buffer, n, y, learner, work)
            else:
                importance = math.nan
                end = skip(buffer, position)
                if end < 0:  # the next example's start can't be told
                    end = len(buffer)
            results.scores[done], results.losses[done], results.importances[done] = score, loss, importance
            results.codes[done] = code
            position = end
            done += 1
        return done, position

    return score


def of_mixture(score_example: Any) -> Any:
    """Return the compiled function that scores an example and evaluates it, given the mixture's function."""

    @inlined
    def score_mixture(buffer, n, y, learner, work):
        settings, totals = learner.settings, learner.state.totals
        _, _, s = score_example(no(), n, learner, work)
        unit, offset = unit_and_offset(settings.task, totals)
        score = unit * s + offset
        return score, loss_at(settings.task, settings.loss, totals, score, y)

    return score_mixture


@inlined
def of_algorithm(buffer, n, y, algorithm, work):
    """Return the score of an example by a named algorithm, and its loss."""
    settings = algorithm.settings
    score = optimizer.score_features(n, no(), algorithm, work.features)
    return score, loss_at(settings.task, settings.loss, algorithm.state.totals, score, y)


@inlined
def read_class(buffer, position, classes, work):
    """Read an example as `learner.kernels.classes.read` does; one with a label that was never seen, too, as of class -1."""
    code, where, n, k, importance = many.read(buffer, position, classes, work)
    if code == NEW_CLASS and len(classes.labels) < classes.max_labels:
        code = OK
    return code, where, n, k, importance


def of_classes(predict: Any) -> Any:
    """Return the compiled function that scores an example of many classes, given `learner.kernels.classes.predict`'s.

    The score is the probability of its label. A label that was never seen has the probability of a uniform guess among the
    classes seen and one more.
    """

    @inlined
    def score_classes(buffer, n, k, classes, work):
        n_classes = len(classes.labels)
        predict(buffer, n, 0, n_classes, classes, work)
        p = 1.0 / (n_classes + 1.0)
        if k >= 0:
            p = classes.answers[many.PROBABILITIES, k]
        return p, many.log_loss_of(p)

    return score_classes
