"""The experts: learners side by side over the same rows, each with its own columns in a row. Each expert has a file.

AdaGrad's experts, one for each learning rate, come first. With several rates, which make a mixture, the experts of the table
`EXPERTS` follow; the order of the table gives an expert its columns in a row, and its score's place among the mixer's inputs.
An expert's module has

``start(column, is_constant, base, rows)``
    initialise its columns of a new feature's row;
``score(column, place, inputs, panel)``
    write its score into ``panel.scores[place]``;
``learn(column, place, inputs, update, panel)``
    learn an example that was just scored;
``penalize(column, inputs, update, settings, rows)``
    shrink weights, with L1 or L2;
``weights(matrix, column, totals, silent)`` and ``scale(totals)``
    for Python: the weights of rows, some of which are silent (see `mark_silent`), and the factor of the score;

and the constants ``PART`` (the bit that switches it on), ``N_COLUMNS``, ``HAS_GRADIENT`` (whether its weights change by
gradient steps alone), ``LEARNS_DERIVED`` and ``MIXING_VARIANCE`` (the initial variance of its mixing weight). The dense filter
has no columns in the rows, so it is not in the table.
"""

from typing import Any

import numpy as np

from learner.kernels.bits import MISSING
from learner.kernels.experts import adagrad, bayes, dense_filter, kalman
from learner.kernels.jit import inlined
from learner.layout import HEADER, LINE

__all__ = [
    "DERIVED", "EXPERTS", "adagrad", "column_of", "dense_filter", "gradient_columns", "is_mixture", "learn", "learn_derived",
    "mark_silent", "n_columns", "row_width", "score", "score_derived", "start",
]  # fmt: skip

EXPERTS: tuple[Any, ...] = (kalman, bayes)
DERIVED = tuple(expert for expert in EXPERTS if expert.LEARNS_DERIVED)  # the experts that also learn derived features


# ---- places in a row -----------------------------------------------------------------------------------------------------
def _offset(expert: Any) -> int:
    """Return the number of columns between AdaGrad's and an expert's."""
    return sum(before.N_COLUMNS for before in EXPERTS[: EXPERTS.index(expert)])


def column_of(expert: Any, n_rates: int) -> int:
    """Return the first column of an expert in a row."""
    return HEADER + 2 * n_rates + _offset(expert)


def n_columns(n_rates: int) -> int:
    """Return the number of float32s of all experts in a row.

    >>> n_columns(1), n_columns(2)
    (2, 8)
    """
    return 2 * n_rates + (sum(expert.N_COLUMNS for expert in EXPERTS) if n_rates > 1 else 0)


def row_width(n_rates: int, head_size: int = 0) -> int:
    """Return the number of float32s in a row, rounded up to whole cache lines.

    >>> row_width(1), row_width(2), row_width(4)
    (16, 16, 32)
    """
    return -(-(HEADER + n_columns(n_rates) + head_size) // LINE) * LINE


@inlined
def is_mixture(settings):
    """Tell whether there are several rates, and hence other experts; a constant in compiled code."""
    return len(settings.rates) > 1


@inlined
def first_column(settings):
    """Return the first column of the experts beside AdaGrad in a row; a constant in compiled code."""
    return np.uint64(HEADER + 2 * len(settings.rates))


@inlined
def first_beside(first, settings):
    """Return the place of the first score after AdaGrad's, whose scores start at the place `first`."""
    return first + np.uint64(len(settings.rates))


# ---- calling all experts -------------------------------------------------------------------------------------------------
def _in_turn(experts: tuple[Any, ...], function: str, takes_place: bool = True, index: int = 0) -> Any:
    """Return one compiled function that calls the same function of every expert.

    It takes the first column of the experts, with `takes_place` also the place of the first score, then the other arguments.
    """
    this, offset, place = getattr(experts[index], function), np.uint64(_offset(experts[index])), np.uint64(index)
    others = _in_turn(experts, function, takes_place, index + 1) if index + 1 < len(experts) else _nothing

    if takes_place:

        @inlined
        def with_place(column, first, *arguments):
            this(column + offset, first + place, *arguments)
            others(column, first, *arguments)

        return with_place

    @inlined
    def without_place(column, *arguments):
        this(column + offset, *arguments)
        others(column, *arguments)

    return without_place


@inlined
def _nothing(*arguments):
    """Do nothing: the last expert was called."""


_start = _in_turn(EXPERTS, "start", takes_place=False)
_score, _score_derived = _in_turn(EXPERTS, "score"), _in_turn(DERIVED, "score")
_learn, _learn_derived = _in_turn(EXPERTS, "learn"), _in_turn(DERIVED, "learn")
_penalize = _in_turn(EXPERTS, "penalize", takes_place=False)
_penalize_derived = _in_turn(DERIVED, "penalize", takes_place=False)


@inlined
def start(is_constant, base, settings, rows):
    """Initialise the experts' columns of a new row."""
    if is_mixture(settings):
        _start(first_column(settings), is_constant, base, rows)


@inlined
def score(first, inputs, panel):
    """Write the scores of all experts of the plain features, the first score at the place `first`."""
    adagrad.score(first, inputs, panel)
    if is_mixture(panel.settings):
        _score(first_column(panel.settings), first_beside(first, panel.settings), inputs, panel)


@inlined
def score_derived(first, inputs, panel):
    """Write the scores of all experts of the derived features of a mixture."""
    adagrad.score(first, inputs, panel)
    _score_derived(first_column(panel.settings), first_beside(first, panel.settings), inputs, panel)


@inlined
def learn(first, inputs, update, panel):
    """Let all experts of the plain features learn an example that was just scored."""
    settings = panel.settings
    adagrad.learn(first, inputs, update, panel)
    if is_mixture(settings):
        _learn(first_column(settings), first_beside(first, settings), inputs, update, panel)
    if settings.l1 > 0.0 or settings.l2 > 0.0:
        adagrad.penalize(inputs, update, settings, panel.rows)
        if is_mixture(settings):
            _penalize(first_column(settings), inputs, update, settings, panel.rows)


@inlined
def learn_derived(first, inputs, update, panel):
    """Let all experts of the derived features of a mixture learn an example."""
    settings = panel.settings
    adagrad.learn(first, inputs, update, panel)
    _learn_derived(first_column(settings), first_beside(first, settings), inputs, update, panel)
    if settings.l1 > 0.0 or settings.l2 > 0.0:
        adagrad.penalize(inputs, update, settings, panel.rows)
        _penalize_derived(first_column(settings), inputs, update, settings, panel.rows)


# ---- weights of zero -----------------------------------------------------------------------------------------------------
def gradient_columns(n_rates: int) -> list[int]:
    """Return the columns of the weights that change by gradient steps; L1 sets these weights to zero."""
    beside = [column_of(expert, n_rates) for expert in EXPERTS if expert.HAS_GRADIENT] if n_rates > 1 else []
    return [*range(HEADER, HEADER + n_rates), *beside]


OFFSETS = tuple(np.uint64(_offset(expert)) for expert in EXPERTS if expert.HAS_GRADIENT)


@inlined
def mark_silent(inputs, settings, rows, silent):
    """Mark the silent features: those whose weight is exactly zero for every expert that learns by gradients."""
    for i in range(inputs.n):
        base = inputs.bases[i]
        silent[i] = 0
        if base == MISSING:
            continue
        has_weight = False
        for k in range(np.uint64(len(settings.rates))):
            has_weight = has_weight or rows[base + adagrad.WEIGHTS + k] != 0.0
        if is_mixture(settings):
            for offset in OFFSETS:
                has_weight = has_weight or rows[base + first_column(settings) + offset] != 0.0
        silent[i] = 0 if has_weight else 1
