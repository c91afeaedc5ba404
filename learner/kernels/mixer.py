"""The mixer: a small filter that learns how to combine the experts' scores, so that the whole stays one linear model."""

from typing import Any, NamedTuple

from learner.kernels.experts import DERIVED, EXPERTS, is_mixture
from learner.kernels.experts.dense_filter import update_filter
from learner.kernels.jit import inlined
from learner.kernels.losses import quadratic
from learner.kernels.targets import follow_trends
from learner.kernels.tasks import trend
from learner.layout import ALONE, N_TRENDS, RESIDUAL_SUM, TREND, TRENDS

N_EXPERTS, N_DERIVED = len(EXPERTS), len(DERIVED)


class Places(NamedTuple):
    """Where the mixer's inputs lie: from 0 the experts of the features, in the table's order, then these."""

    head: Any  # the neural head, if there is one
    derived: Any  # the experts of the derived features
    dense_filter: Any
    one: Any  # always 1
    trends: Any  # the recent means
    end: Any


def places(n_rates, n_heads):
    """Return where the inputs lie, of so many rates and of a head or none; the compiled functions are `places_of` it."""
    if n_rates == 1:
        return Places(1, 1 + n_heads, 1 + n_heads, 1 + n_heads, 2 + n_heads, 2 + n_heads)
    head = n_rates + N_EXPERTS
    derived = head + n_heads
    dense_filter = derived + n_rates + N_DERIVED
    return Places(head, derived, dense_filter, dense_filter + 1, dense_filter + 2, dense_filter + 2 + N_TRENDS)


_places = inlined(places)


@inlined
def places_of(learner):
    """Return where the inputs lie: constants once compiled, as is the length of a tuple."""
    return _places(len(learner.settings.rates), 1 if len(learner.head) > 0 else 0)


@inlined
def is_mixed(learner):
    """Tell whether there are several experts to mix."""
    return learner.settings.parts & ALONE == 0 and len(learner.settings.rates) + len(learner.head) > 1


@inlined
def combine(learner, work):
    """Make the mixer's inputs v of the experts' scores, a 1 and the trends; return the mixed score ``a . v``.

    One expert alone is not mixed.
    """
    settings, totals, mixer = learner.settings, learner.state.totals, learner.state.mixer
    at, scores, inputs = places_of(learner), work.scores, work.inputs
    if not is_mixed(learner):
        return scores[at.derived - 1]
    for k in range(at.one):
        inputs[k] = scores[k]
    inputs[at.one] = 1.0
    if is_mixture(settings):
        for k in range(N_TRENDS):
            inputs[at.trends + k] = totals[TREND + k] if settings.parts & TRENDS else 0.0
    s = 0.0
    for i in range(at.end):
        s += mixer[i, 0] * inputs[i]
    return s


@inlined
def learn_mixing(s, update, settings, state, inputs, products):
    """One step of the mixer's filter at the mixed score; take the target into the recent means."""
    totals, mixer = state.totals, state.mixer
    curvature, error, residual = quadratic(settings.loss, s, update.y, update.precision)
    update_filter(len(mixer), inputs, curvature * update.importance, error * update.importance, mixer, products)
    totals[RESIDUAL_SUM] += update.importance * residual
    follow_trends(totals, trend(settings.task, totals, update.y), update.importance)
