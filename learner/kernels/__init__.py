"""The compiled loops: from msgpack bytes to scores and updated weights, without a Python object for each feature.

This module has the *doors*: the functions that Python calls. A door takes plain tuples with the fields of the records in
`learner.kernels.records`, makes records of them, and calls a compiled function. Read `learner.kernels.mixture` next:
`learn_one` is the algorithm.

==============  ======================================================================================================
``example``     msgpack bytes to hashes, values and a target, all checked before the model changes; ``scanner``, ``hashing``
``table``       the hash table from names to rows; ``room``: bounded memory
``scaling``     values on their features' own scales; ``places``: of dense features; ``derived``: bins, cells, pairs
``experts``     learners side by side; ``mixer``: combines them into one linear model; ``heads``: the neural head
``tasks``       targets and evaluation of each task; ``targets``, ``evaluation``: shared by tasks; ``losses``: `learner.losses`
``mixture``     all of these for one example; ``classes``: many classes; ``optimizer``: a named algorithm instead
``learning``    the outer loop; ``ahead``: examples that another thread scans; ``scoring``: the loop that only scores
``program``     records to features, for all featurizers
``drift``       looks for a rise of the loss
``records``     arguments of the functions; ``jit``: compiling and the cache of machine code; ``bits``: LLVM intrinsics
==============  ======================================================================================================

Only this package knows numba. With ``NUMBA_DISABLE_JIT=1`` the same functions run as plain Python.
"""

import numpy as np

from learner.kernels import ahead as _ahead
from learner.kernels import classes as _classes
from learner.kernels import drift as _drift
from learner.kernels import example as _example
from learner.kernels import hashing as _hashing
from learner.kernels import heads as _heads
from learner.kernels import mixture as _mixture
from learner.kernels import optimizer as _optimizer
from learner.kernels import room as _room
from learner.kernels import scanner as _scanner
from learner.kernels import scoring as _scoring
from learner.kernels import table as _table
from learner.kernels.ahead import Block
from learner.kernels.bits import MISSING, PRIME
from learner.kernels.bits import blend as _blend
from learner.kernels.jit import JIT, door, inlined, listening, loop, no
from learner.kernels.learning import stream as _stream
from learner.kernels.program.interpreter import run as _run
from learner.kernels.program.layout import pointed
from learner.kernels.records import Learner, Results, Table, named, named_work
from learner.layout import OK

__all__ = [
    "JIT", "MISSING", "PRIME", "blend_hashes", "boundaries", "compact", "copy_buckets", "featurize", "find", "hash_name",
    "learn", "learn_by_algorithm", "learn_classes", "listening", "look", "measure", "measure_by_algorithm", "measure_classes",
    "of_head", "predict", "predict_by_algorithm", "predict_classes", "rebuild", "scan_block", "skip",
]  # fmt: skip

# ---- learning and predicting ---------------------------------------------------------------------------------------------
_plain = _mixture.loops(_heads.NONE)
_learn = _stream(_ahead.read, _mixture.rows_of, _plain.learn_example)
_learn_class = _classes.through(_plain.learn_class, _plain.make_constant)
_learn_classes = _stream(_classes.read_next, _classes.rows_of, _learn_class)
_predict_classes = _classes.predict(_plain.score_example)
_learn_by_algorithm = _stream(_ahead.read, _optimizer.rows_of, _optimizer.learn_example)
_measure = _scoring.stream(_example.read, _scoring.of_mixture(_plain.score_example))
_measure_classes = _scoring.stream(_scoring.read_class, _scoring.of_classes(_predict_classes))
_measure_by_algorithm = _scoring.stream(_example.read, _scoring.of_algorithm)


@loop
def learn(buffer, position, holds_back, learner, work, block, results):
    """Learn examples one after another, until the buffer ends or there is no room for more results or new features.

    Returns (examples done, next position, rows needed, bytes of names needed, code): see `learner.kernels.learning.stream`.
    """
    return _learn(buffer, position, holds_back, named(learner), named_work(work), Block(*block), Results(*results))


@loop
def predict(buffer, learner, work):
    """Score one map of features without changing the model. The experts' scores stay in the work arrays.

    Returns (code, where, features, derived features, score); ``where`` is the end of the map, or the position of its fault.
    """
    return _plain.predict(buffer, named(learner), named_work(work))


@loop
def learn_classes(buffer, position, holds_back, classes, work, block, results):
    """Learn examples of many classes as `learn` does; stop with the code NEW_CLASS at a label that has no class yet."""
    record = _classes.named_classes(classes)
    return _learn_classes(buffer, position, holds_back, record, named_work(work), Block(*block), Results(*results))


@loop
def predict_classes(buffer, n, first, last, classes, work):
    """Score one map of features for some of the classes without changing the model: see `learner.kernels.classes.predict`."""
    return _predict_classes(buffer, n, first, last, _classes.named_classes(classes), named_work(work))


@loop
def learn_by_algorithm(buffer, position, holds_back, algorithm, work, block, results):
    """Learn examples by a named algorithm as `learn` does."""
    record = _optimizer.named_algorithm(algorithm)
    return _learn_by_algorithm(buffer, position, holds_back, record, named_work(work), Block(*block), Results(*results))


@loop
def predict_by_algorithm(buffer, algorithm, work):
    """Score one map of features without changing the model; return (code, where, features, score)."""
    algorithm, features = _optimizer.named_algorithm(algorithm), named_work(work).features
    code, where, n = _example.scan(buffer, np.int64(0), algorithm, features)
    score = _optimizer.score_features(n, no(), algorithm, features) if code == OK else 0.0
    return code, where, n, score


@loop
def measure(buffer, position, learner, work, results):
    """Score examples, and evaluate each score by its target, without changing the model.

    Returns (examples done, next position): see `learner.kernels.scoring.stream`.
    """
    return _measure(buffer, position, named(learner), named_work(work), Results(*results))


@loop
def measure_classes(buffer, position, classes, work, results):
    """Score and evaluate examples of many classes as `measure` does."""
    return _measure_classes(buffer, position, _classes.named_classes(classes), named_work(work), Results(*results))


@loop
def measure_by_algorithm(buffer, position, algorithm, work, results):
    """Score and evaluate examples by a named algorithm as `measure` does."""
    return _measure_by_algorithm(
        buffer, position, _optimizer.named_algorithm(algorithm), named_work(work), Results(*results)
    )


def of_head(functions):
    """Return the functions `learn`, `predict` and `measure` of a neural head; the doors of its module have them compiled in."""
    headed = _mixture.loops(functions)
    learn_headed = _stream(_ahead.read, _mixture.rows_of, headed.learn_example)
    measure_headed = _scoring.stream(_example.read, _scoring.of_mixture(headed.score_example))

    @inlined
    def with_head(learner):
        settings, keys, table, state, head = named(learner)
        return Learner(settings, keys, table, state, _heads.Head(*head))

    @inlined
    def learn_of_head(buffer, position, holds_back, learner, work, block, results):
        record, arrays = with_head(learner), named_work(work)
        return learn_headed(buffer, position, holds_back, record, arrays, Block(*block), Results(*results))

    @inlined
    def predict_of_head(buffer, learner, work):
        return headed.predict(buffer, with_head(learner), named_work(work))

    @inlined
    def measure_of_head(buffer, position, learner, work, results):
        return measure_headed(buffer, position, with_head(learner), named_work(work), Results(*results))

    return learn_of_head, predict_of_head, measure_of_head


# ---- drift ---------------------------------------------------------------------------------------------------------------
@door
def look(losses, window, blocks):
    """Take in losses up to the first rise: see `learner.kernels.drift.look`."""
    return _drift.look(losses, window, blocks)


# ---- featurizing ---------------------------------------------------------------------------------------------------------
@loop
def featurize(buffer, position, are_examples, program, work, ends):
    """Featurize records that follow one another: see `learner.kernels.program.interpreter.run`."""
    record, arrays = pointed(program, work)
    return _run(buffer, position, are_examples, record, arrays, ends)


# ---- the dict ------------------------------------------------------------------------------------------------------------
@door
def hash_name(name, keys):
    """Return the keyed hash of a name, an array of bytes."""
    h, _ = _hashing.hash_name(name, np.int64(0), len(name), keys)
    return h


@door
def blend_hashes(a, b):
    """Return the hash of two hashes, in order."""
    return _blend(a, b)


@door
def find(table, h, width):
    """Return the start of the row of the name with this hash, or MISSING."""
    return _table.find(Table(*table), h, width)


@door
def rebuild(buckets, words64, first, n_rows, width):
    """Enter rows into a hash table: see `learner.kernels.table.rebuild`."""
    _table.rebuild(buckets, words64, first, n_rows, width)


@door
def copy_buckets(n, table, width):
    """Copy entries of the former hash table to the new one: see `learner.kernels.table.copy_buckets`."""
    _table.copy_buckets(n, Table(*table), width)


@door
def compact(keep, slots, table, width):
    """Drop rows, and the features derived from them: see `learner.kernels.room.compact`."""
    _room.compact(keep, slots, Table(*table), width)


# ---- msgpack -------------------------------------------------------------------------------------------------------------
@door
def skip(buffer, position):
    """Return the end of the msgpack value at a position, or -1 when it is cut off or not msgpack."""
    return _scanner.skip(buffer, position)


@door
def scan_block(buffer, position, task, keys, table, width, work, block):
    """Scan examples into a block, which is learned later: see `learner.kernels.ahead.scan_block`."""
    features = named_work(work).features
    return _ahead.scan_block(buffer, position, task, keys, Table(*table), width, features, Block(*block))


@door
def boundaries(buffer, ends):
    """Write the ends of consecutive msgpack values into ``ends``, as many as it holds; return the number of whole values."""
    return _scanner.boundaries(buffer, ends)
