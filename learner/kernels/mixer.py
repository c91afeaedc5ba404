"""The mixer: a small Kalman filter that learns how to combine the experts' scores; the result is one linear model."""

from typing import Any, NamedTuple

import numpy as np

from learner.kernels.experts import DERIVED, EXPERTS, bayes, is_mixture
from learner.kernels.experts.dense_filter import update_filter
from learner.kernels.jit import inlined
from learner.kernels.losses import quadratic
from learner.kernels.targets import follow_trends
from learner.kernels.tasks import trend
from learner.layout import ALONE, N_TRENDS, TREND, TRENDS

N_EXPERTS, N_DERIVED, BAYES = len(EXPERTS), len(DERIVED), EXPERTS.index(bayes)


class Places(NamedTuple):
    """The places of the mixer's inputs: from 0 AdaGrad's experts and those of the table `EXPERTS`, then these."""

    head: Any  # the neural head, if there is one
    derived: Any  # the experts of the derived features
    dense_filter: Any
    one: Any  # always 1
    trends: Any  # the recent means
    end: Any


def places(n_rates, n_heads):
    """Return the places of the inputs, for the numbers of rates and heads (0 or 1); compiled functions call `places_of`."""
    if n_rates == 1:
        return Places(1, 1 + n_heads, 1 + n_heads, 1 + n_heads, 2 + n_heads, 2 + n_heads)
    head = n_rates + N_EXPERTS
    derived = head + n_heads
    dense_filter = derived + n_rates + N_DERIVED
    return Places(head, derived, dense_filter, dense_filter + 1, dense_filter + 2, dense_filter + 2 + N_TRENDS)


_places = inlined(places)


@inlined
def places_of(learner):
    """Return the places of the inputs; constants in compiled code, because the lengths of tuples are."""
    return _places(len(learner.settings.rates), 1 if len(learner.head) > 0 else 0)


@inlined
def is_mixed(learner):
    """Tell whether there are several experts to mix."""
    return learner.settings.parts & ALONE == 0 and len(learner.settings.rates) + len(learner.head) > 1


@inlined
def combine(learner, work):
    """Write the mixer's inputs v: the experts' scores, 1 and the trends; return the mixed score ``a . v``.

    A single expert is not mixed: return its score.
    """
    settings, totals, mixer = learner.settings, learner.state.totals, learner.state.mixer
    places, scores, inputs = places_of(learner), work.scores, work.inputs
    if not is_mixed(learner):
        return scores[places.derived - 1]
    for k in range(places.one):
        inputs[k] = scores[k]
    inputs[places.one] = 1.0
    if is_mixture(settings):
        for k in range(N_TRENDS):
            inputs[places.trends + k] = totals[TREND + k] if settings.parts & TRENDS else 0.0
    return mixed(n_mixed(learner), mixer, inputs)


@inlined
def n_mixed(learner):
    """Return the number of inputs that may differ from 0."""
    places = places_of(learner)
    return places.end if learner.settings.parts & TRENDS else places.trends


@inlined
def mixed(n, mixer, inputs):
    """Return the mixed score ``a . v`` of n inputs."""
    s = 0.0
    for i in range(n):
        s += mixer[i, 0] * inputs[i]
    return s


@inlined
def learn_mixing(s, update, learner, inputs, products):
    """Make one step of the mixer's filter at the mixed score; update the recent means with the target.

    The weight of naive Bayes stays at least 0: its variance is so large that a single example could turn its sign.
    """
    settings, totals, mixer = learner.settings, learner.state.totals, learner.state.mixer
    curvature, error, _ = quadratic(settings.loss, s, update.y, update.precision)
    update_filter(n_mixed(learner), inputs, curvature * update.importance, error * update.importance, mixer, products)
    if is_mixture(settings):
        k = np.uint64(len(settings.rates) + BAYES)
        mixer[k, 0] = max(mixer[k, 0], 0.0)
    follow_trends(totals, trend(settings.task, totals, update.y), update.importance)
