"""The records (named tuples) that compiled functions take: a model's settings, its learned state, and work arrays.

Inside compiled code a named tuple costs nothing. Passing one from Python costs 20 microseconds, so a `door` takes plain tuples
and makes records of them (see `named`). `learner.layout` says where each number lies in the arrays.
"""

import threading
from typing import Any, NamedTuple

import numpy as np

from learner.kernels.jit import inlined
from learner.layout import (
    MAX_BINNED,
    MAX_DENSE,
    MAX_DERIVED,
    MAX_FEATURES,
    MAX_INPUTS,
    MAX_RATES,
    MAX_SWITCHES,
    N_CROSSED,
)

__all__ = [
    "CHUNK", "Derived", "Example", "Features", "Held", "Inputs", "Learner", "Loss", "Panel", "Results", "Settings", "State",
    "Table", "Update", "Work", "named", "named_work", "panel_of", "plain_work", "results", "work",
]  # fmt: skip

CHUNK = 1024  # the most examples that one call of a loop learns


# ---- a model -------------------------------------------------------------------------------------------------------------
class Loss(NamedTuple):
    """A loss."""

    code: Any  # its place in `learner.losses.LOSSES`
    level: Any  # of the quantile loss, within (0, 1)


class Settings(NamedTuple):
    """A model's settings, which never change."""

    loss: Any  # a `Loss`
    task: Any  # its place in `learner.kernels.tasks.TASKS`
    parts: Any  # bits: the parts of the mixture that are on
    rates: Any  # a tuple, so the compiler knows its length: the learning rate of each AdaGrad expert
    decays: Any  # float32, one for each rate
    l1: Any
    l2: Any
    lines: Any  # a tuple with an element for each cache line of a row, so the compiler knows the row's width


class Table(NamedTuple):
    """The weight dict: see `learner.learners.weights`."""

    buckets: Any  # uint64, the hash table: 0, or the upper half of a name's hash, then a slot + 1
    former: Any  # uint64: the smaller table that it replaces, until its entries are copied; else empty
    rows: Any  # float32, the rows, concatenated
    words64: Any  # the same memory as uint64
    words32: Any  # and as uint32
    names: Any  # uint8
    sizes: Any  # int64: rows, bytes of names; the largest allowed number of both; COPIED of `learner.kernels.table`
    dirty: Any  # uint8: whether each row changed since the last commit
    sketch: Any  # uint8: bits for recently seen names without a row; empty without ``max_features``


class State(NamedTuple):
    """The learned state beside the rows."""

    totals: Any  # float64: counters and sums
    mixer: Any  # float64, (M, 1 + M): mixing weights, and their covariance
    dense_filter: Any  # float64, (D, 1 + D): weights of the standardised numbers, and their covariance
    interactions: Any  # float64: see `learner.kernels.interactions`
    metrics: Any  # float64, (3, sums): the progressive evaluation
    samples: Any  # float32, (MAX_BINNED, 2 + N_SAMPLES): values whose quantiles are the bounds of bins
    held: Any  # a `Held`
    whole: Any  # the totals of the whole model, which all classes of a multi-class model share


class Held(NamedTuple):
    """The examples that wait to be learned: see `learner.kernels.held`. A slot is a place for one example."""

    sizes: Any  # int64: see `learner.kernels.held`
    slots: Any  # int64, by place in the pools: the slot of the example
    spans: Any  # int64, (slots, N_SPANS): where its features are
    numbers: Any  # float64, (slots, 3): target, importance, the number of classes at its arrival
    inputs: Any  # float32, (slots of the short pool, classes or 1, M): the mixer's inputs at its arrival
    features: Any  # uint64, (2, n), one row is in use: the rows of its features; with many classes their hashes
    values: Any  # float64, (2, n): their values, scaled or not


class Learner(NamedTuple):
    """A learner: its settings and all of its learned state."""

    settings: Any
    keys: Any  # uint64: the hash's secret, and the hashes of a few names
    table: Any
    state: Any
    head: Any  # a `learner.kernels.heads.Head`, or ()


# ---- an example ----------------------------------------------------------------------------------------------------------
class Example(NamedTuple):
    """A scanned example; its features lie in the work arrays."""

    buffer: Any  # its msgpack bytes, which hold the names of new features
    n: Any  # features
    y: Any  # target
    importance: Any


class Inputs(NamedTuple):
    """Features as inputs of the experts: rows, and values on the features' own scales."""

    n: Any  # uint64, as is ``n_constants``
    bases: Any  # uint64: the start of each row in ``rows``, or MISSING
    scaled: Any  # float32
    n_constants: Any  # 1 if the last feature is the constant, else 0


class Update(NamedTuple):
    """An example's target and importance for the experts' steps, and numbers that all steps share."""

    y: Any  # the target, in the learner's own units
    importance: Any
    offset: Any  # added to an expert's own score before the loss is computed
    pace: Any  # a factor of AdaGrad's rates: sqrt(t / N) of Ross, Mineiro and Langford
    precision: Any  # the inverse of the mean residual so far


class Panel(NamedTuple):
    """The arrays of the model and the work arrays that experts read and write."""

    settings: Any
    rows: Any
    words32: Any
    totals: Any
    scores: Any
    silent: Any
    slopes: Any
    paths: Any
    steps: Any


# ---- work arrays ---------------------------------------------------------------------------------------------------------
class Features(NamedTuple):
    """The features of the current example, and the constant."""

    seen: Any  # uint64: a small hash table of the example's own names
    hashes: Any  # uint64
    starts: Any  # int64: the name's start in the buffer; -1 - p for the position p of an array
    lengths: Any  # int64, of names
    bases: Any  # uint64: the starts of rows, or MISSING
    values: Any  # float64, unscaled; NaN of a dense feature that is missing
    scaled: Any  # float32, on the features' own scales, within [-1, 1]
    present: Any  # uint8, by place: which dense features the example has
    silent: Any  # uint8: with L1, whether the feature is silent: see `learner.kernels.experts.mark_silent`
    text: Any  # uint8: the digits of a number


class Derived(NamedTuple):
    """The derived features of the current example, and the values that they are derived from."""

    hashes: Any  # uint64
    bases: Any  # uint64
    parents: Any  # uint32, (3, n): the slots of the two parents, and their bins
    values: Any  # float32: 1; of products what `add_products` writes
    numbers: Any  # float64, by place: the dense features' values, or NaN; then of each switch that is on, its row's start + 1
    ranks: Any  # float64, by place: the places of values among the first ones, standardised
    standardized: Any  # float64, by place: 1, then the dense features' values minus their means, over their deviations
    frequent: Any  # uint64: the starts of the rows of the most frequent other features
    promoted: Any  # uint64: the starts of the rows of features that become dense after this example; see `places`


class Work(NamedTuple):
    """The work arrays of one thread. They hold one example's numbers at a time, so all models share them."""

    features: Any
    derived: Any
    scores: Any  # float64: the experts' scores, see `learner.kernels.mixer.Places`
    inputs: Any  # float64: the mixer's inputs
    products: Any  # float64: a filter's covariance times its inputs
    slopes: Any  # float32, one for each rate
    paths: Any  # float64, one for each rate
    steps: Any  # float32, (features, rates), flattened
    hashes: Any  # uint64: in a multi-class model, the features' hashes before the class is blended in


class Results(NamedTuple):
    """The results of examples: each array has one number for each example."""

    scores: Any  # float64, before learning, in the target's units; NaN where it was rejected
    codes: Any  # int64: OK, or why it was rejected
    ends: Any  # int64: its end in the buffer, or its fault's position
    losses: Any  # float64, before learning
    importances: Any  # float64


@inlined
def named(learner):
    """Return the record of a learner from a door's plain tuples."""
    settings, keys, table, state, head = learner
    loss, task, parts, rates, decays, l1, l2, lines = settings
    settings_record = Settings(Loss(*loss), task, parts, rates, decays, l1, l2, lines)
    totals, mixer, dense_filter, interactions, metrics, samples, held = state
    state_record = State(totals, mixer, dense_filter, interactions, metrics, samples, Held(*held), totals)
    return Learner(settings_record, keys, Table(*table), state_record, head)


@inlined
def named_work(work):
    """Return the record of the work arrays from a door's plain tuples."""
    features, derived, scores, inputs, products, slopes, paths, steps, hashes = work
    return Work(Features(*features), Derived(*derived), scores, inputs, products, slopes, paths, steps, hashes)


@inlined
def panel_of(learner, work):
    """Return the arrays that experts read and write."""
    table = learner.table
    return Panel(
        learner.settings, table.rows, table.words32, learner.state.totals, work.scores, work.features.silent, work.slopes,
        work.paths, work.steps,
    )  # fmt: skip


_thread = threading.local()


def plain_work() -> tuple[Any, ...]:
    """Return this thread's work arrays as plain tuples, for a door."""
    work()
    plain: tuple[Any, ...] = _thread.plain
    return plain


def work() -> Work:
    """Return this thread's work arrays."""
    if not hasattr(_thread, "work"):
        n = MAX_FEATURES + MAX_DENSE + 1
        features = Features(
            np.zeros(1 << 17, np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.int64), np.zeros(n, np.int64),
            np.zeros(n, np.uint64), np.zeros(n), np.zeros(n, np.float32), np.zeros(MAX_DENSE + 1, np.uint8),
            np.zeros(n, np.uint8), np.zeros(32, np.uint8),
        )  # fmt: skip
        derived = Derived(
            np.zeros(MAX_DERIVED, np.uint64), np.zeros(MAX_DERIVED, np.uint64), np.zeros((3, MAX_DERIVED), np.uint32),
            np.ones(MAX_DERIVED, np.float32), np.zeros(1 + MAX_BINNED + MAX_SWITCHES),
            np.zeros(1 + MAX_BINNED), np.zeros(1 + MAX_BINNED),
            np.zeros(N_CROSSED, np.uint64), np.zeros(n + 1, np.uint64),
        )  # fmt: skip
        _thread.work = Work(
            features, derived, np.zeros(MAX_INPUTS), np.zeros(MAX_INPUTS), np.zeros(max(MAX_INPUTS, MAX_BINNED + 1)),
            np.zeros(MAX_RATES, np.float32), np.zeros(MAX_RATES), np.zeros(n * MAX_RATES, np.float32), np.zeros(n, np.uint64),
        )  # fmt: skip
        _thread.plain = (tuple(features), tuple(derived), *_thread.work[2:])
    arrays: Work = _thread.work
    return arrays


def results() -> Results:
    """Return this thread's arrays for the results of `CHUNK` examples."""
    if not hasattr(_thread, "results"):
        integers = np.zeros(CHUNK, np.int64), np.zeros(CHUNK, np.int64)
        _thread.results = Results(np.zeros(CHUNK), *integers, np.zeros(CHUNK), np.zeros(CHUNK))
    arrays: Results = _thread.results
    return arrays
