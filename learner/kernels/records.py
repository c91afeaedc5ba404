"""The records that compiled functions take: what a model is, what it has learned, and room to work in.

A function takes the records that it reads, by name. Inside compiled code a named tuple costs nothing; to hand one over from
Python costs 20 microseconds, so a `door` takes plain tuples and names them (see `named`). Where each number lies in the arrays
is told by `learner.layout`.
"""

import threading
from typing import Any, NamedTuple

import numpy as np

from learner.kernels.jit import inlined
from learner.layout import MAX_BINNED, MAX_DENSE, MAX_DERIVED, MAX_FEATURES, MAX_INPUTS, MAX_RATES, N_CROSSED

__all__ = [
    "CHUNK", "Derived", "Example", "Features", "Inputs", "Learner", "Loss", "Panel", "Results", "Settings", "State", "Table",
    "Update", "Work", "named", "named_work", "panel_of", "plain_work", "results", "work",
]  # fmt: skip

CHUNK = 4096  # examples that one call of a loop learns at most


# ---- a model -------------------------------------------------------------------------------------------------------------
class Loss(NamedTuple):
    """The loss that is learned by."""

    code: Any  # its place in `learner.losses.LOSSES`
    level: Any  # of the quantile loss, within (0, 1)


class Settings(NamedTuple):
    """What a model is."""

    loss: Any  # a `Loss`
    task: Any  # its place in `learner.kernels.tasks.TASKS`
    parts: Any  # bits: what there is in the mixture
    rates: Any  # a tuple, whose length the compiler knows: one AdaGrad expert a learning rate
    decays: Any  # float32, one a rate
    l1: Any
    l2: Any
    lines: Any  # a tuple as long as a row has cache lines, whose length the compiler knows


class Table(NamedTuple):
    """The weight dict: see `learner.learners.weights`."""

    buckets: Any  # uint64, the hash table: 0, or the upper half of a name's hash and a slot + 1
    rows: Any  # float32, the rows one behind the other
    words64: Any  # the same memory as uint64
    words32: Any  # and as uint32
    names: Any  # uint8
    sizes: Any  # int64: rows, bytes of names; then the most there may be of both
    dirty: Any  # uint8, one a row: whether it changed since the last commit
    sketch: Any  # uint8: bits for the names seen that have no row; none where the number of features is not bounded


class State(NamedTuple):
    """What was learned beside the rows."""

    totals: Any  # float64: counters and sums
    mixer: Any  # float64, (M, 1 + M): mixing weights, and their covariance
    dense_filter: Any  # float64, (D, 1 + D): weights of the standardised numbers, and their covariance
    metrics: Any  # float64, (3, sums): the progressive evaluation
    samples: Any  # float32, (MAX_BINNED, 2 + N_SAMPLES): values that the bins of numbers are cut from


class Learner(NamedTuple):
    """A model that learns: all that its loops read and write."""

    settings: Any
    keys: Any  # uint64: the hash's secret, and the hashes of some names
    table: Any
    state: Any
    head: Any  # a `learner.kernels.heads.Head`, or ()


# ---- an example ----------------------------------------------------------------------------------------------------------
class Example(NamedTuple):
    """A scanned example; its features lie in the work arrays."""

    buffer: Any  # the bytes that it came in: where the names of new features lie
    n: Any  # features
    y: Any  # target
    importance: Any


class Inputs(NamedTuple):
    """Features as the experts see them: rows, and values on the features' own scales."""

    n: Any  # uint64, as is the last
    bases: Any  # uint64: where each row starts in ``rows``, or MISSING
    scaled: Any  # float32
    n_constants: Any  # 1 where the last of them is the constant, else 0


class Update(NamedTuple):
    """What an example asks of the experts."""

    y: Any  # the target, as it is learned
    importance: Any
    offset: Any  # what is added to an expert's own score before the loss is looked at
    pace: Any  # AdaGrad's rates are multiplied by it: sqrt(t / N) of Ross, Mineiro and Langford
    precision: Any  # the inverse of the mean residual so far


class Panel(NamedTuple):
    """What the experts read and write, of the model and of the work arrays."""

    settings: Any
    rows: Any
    words32: Any
    totals: Any
    scores: Any
    silent: Any
    slopes: Any
    paths: Any
    steps: Any


# ---- room to work in -----------------------------------------------------------------------------------------------------
class Features(NamedTuple):
    """The features of the example at hand; of as many as it has, and one more for the constant."""

    seen: Any  # uint64: a small hash table of the example's own names
    hashes: Any  # uint64
    starts: Any  # int64: where the name lies in the buffer; -1 - p for the position p of an array
    lengths: Any  # int64, of names
    bases: Any  # uint64: where rows start, or MISSING
    values: Any  # float64, as they came
    scaled: Any  # float32, on the features' own scales, within [-1, 1]
    present: Any  # uint8, by place: which dense features the example has
    silent: Any  # uint8: with L1, whether all experts with a gradient weigh the feature with zero
    text: Any  # uint8: room for the digits of a number


class Derived(NamedTuple):
    """What is derived from the features of the example at hand."""

    hashes: Any  # uint64
    bases: Any  # uint64
    parents: Any  # uint32, (3, n): the slots of the two features that each is made of, and their bins
    values: Any  # float32: the value of each, 1
    numbers: Any  # float64, by place: the dense features' values
    standardized: Any  # float64, by place: 1, then the same less their means, over their deviations
    frequent: Any  # uint64: rows of the most frequent of the other features
    counts: Any  # float64: how often they came
    promoted: Any  # uint64: rows of the features that become dense with this example


class Work(NamedTuple):
    """Work arrays of one thread: nothing in them outlives an example, so that all models share them."""

    features: Any
    derived: Any
    scores: Any  # float64: the experts' scores, see `learner.kernels.mixer.Places`
    inputs: Any  # float64: the mixer's inputs
    products: Any  # float64: a filter's covariance times its inputs
    slopes: Any  # float32, one a rate
    paths: Any  # float64, one a rate
    steps: Any  # float32, (features, rates) in a row
    hashes: Any  # uint64: the plain hashes of an example's features, in a multi-class model


class Results(NamedTuple):
    """What became of each example: one number of each array."""

    scores: Any  # float64, before learning, in the target's units; NaN where it was rejected
    codes: Any  # int64: OK, or why it was rejected
    ends: Any  # int64: where it ends in the buffer, or what is wrong lies
    losses: Any  # float64, before learning
    importances: Any  # float64


@inlined
def named(learner):
    """Return the record of a learner that a door was given as plain tuples."""
    settings, keys, table, state, head = learner
    loss, task, parts, rates, decays, l1, l2, lines = settings
    settings_record = Settings(Loss(*loss), task, parts, rates, decays, l1, l2, lines)
    return Learner(settings_record, keys, Table(*table), State(*state), head)


@inlined
def named_work(work):
    """Return the record of the work arrays that a door was given as plain tuples."""
    features, derived, scores, inputs, products, slopes, paths, steps, hashes = work
    return Work(Features(*features), Derived(*derived), scores, inputs, products, slopes, paths, steps, hashes)


@inlined
def panel_of(learner, work):
    """Return what the experts read and write."""
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
            np.zeros(1 << 15, np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.int64), np.zeros(n, np.int64),
            np.zeros(n, np.uint64), np.zeros(n), np.zeros(n, np.float32), np.zeros(MAX_DENSE + 1, np.uint8),
            np.zeros(n, np.uint8), np.zeros(32, np.uint8),
        )  # fmt: skip
        derived = Derived(
            np.zeros(MAX_DERIVED, np.uint64), np.zeros(MAX_DERIVED, np.uint64), np.zeros((3, MAX_DERIVED), np.uint32),
            np.ones(MAX_DERIVED, np.float32), np.zeros(MAX_BINNED + 1), np.zeros(MAX_BINNED + 1),
            np.zeros(N_CROSSED, np.uint64), np.zeros(N_CROSSED), np.zeros(n + 1, np.uint64),
        )  # fmt: skip
        _thread.work = Work(
            features, derived, np.zeros(MAX_INPUTS), np.zeros(MAX_INPUTS), np.zeros(max(MAX_INPUTS, MAX_BINNED + 1)),
            np.zeros(MAX_RATES, np.float32), np.zeros(MAX_RATES), np.zeros(n * MAX_RATES, np.float32), np.zeros(n, np.uint64),
        )  # fmt: skip
        _thread.plain = (tuple(features), tuple(derived), *_thread.work[2:])
    arrays: Work = _thread.work
    return arrays


def results() -> Results:
    """Return this thread's room for the results of `CHUNK` examples."""
    if not hasattr(_thread, "results"):
        integers = np.zeros(CHUNK, np.int64), np.zeros(CHUNK, np.int64)
        _thread.results = Results(np.zeros(CHUNK), *integers, np.zeros(CHUNK), np.zeros(CHUNK))
    arrays: Results = _thread.results
    return arrays
