"""The layout of a model's state: where each number lies in its arrays.

A model's whole state is a few plain arrays, so it is quick to update, to commit and to compare bit for bit:

``rows``
    float32, one row for each feature in order of first update, a multiple of 64 bytes (one cache line): a header of eight
    words; the AdaGrad experts' weights ``w_1 .. w_R``; their decayed sums of squared gradients ``G_1 .. G_R``; with several
    rates, also the Kalman expert's weight and variance, and the Bayes expert's two sums of importances, of the positive and of
    the negative examples with the feature. A neural head's column follows. Row 0 is the constant feature (in a multi-class
    model every class has its own rows and its own constant). The same memory is also read as uint64 and uint32.
``table``
    uint64; the length is a power of two: the hash table. An empty bucket is 0; another has the upper 32 bits of the name's
    hash, and in its lower 32 bits slot + 1. While a larger table replaces a smaller one, there are both.
``names``
    uint8: the length of each feature's name in two bytes, then the name in UTF-8; nothing for derived features.
``samples``
    float32, (classes or 1, MAX_BINNED, 2 + N_SAMPLES): for each of the first dense features the number of values sampled, the
    number of different bounds of its bins, and the sampled values in ascending order. Quantiles of these values are the bounds.
``sizes``
    int64: the rows in use, the bytes of `names` in use, the largest allowed number of both, and how many buckets of the
    replaced table have been copied.
``dirty``
    uint8: whether each row changed since the last commit.
``totals``
    float64: the counters and sums below.
``mixer``
    float64, (M, M + 1): the mixing weights ``a`` in column 0 and their covariance ``P`` in the others. The M inputs: the
    experts of the plain features (AdaGrad's, Kalman's, Bayes's, the neural head), the experts of the derived features
    (AdaGrad's, Kalman's), the dense filter, the number 1, and the trends: see `learner.kernels.mixer.Places`.
``newton``
    float64, NEWTON_SHAPE: the dense filter. Weights and their covariance, as in
    ``mixer``, for a constant and the first dense features, standardised. From the column GAINS on, and in the switches' rows:
    how much the pairs of these features interact, see `learner.kernels.interactions`.
``class_totals``, ``class_mixers``, ``class_newtons``, ``class_interactions``
    The four arrays above of a multi-class model: they, and ``samples``, have a row for each class. Of all but the first two a
    state has the part that the dense features and the switches of any class have used.
``metrics``
    float64: the sums of the progressive evaluation, see `learner.metrics`.
``held``, ``held_features``, ``held_inputs``
    The examples that wait to be learned, see `learner.kernels.held`; those of the short pool come first. ``held``: float64,
    (n, 5): the target in the learner's own units (with many classes the class), the importance, the number of classes at its
    arrival, the number of features, and the number of derived ones among them, or -1 if the values are not scaled.
    ``held_features``: uint64, (n, 2): the slot of each feature's row (with many classes its hash), and its value's bits.
    ``held_inputs``: float32, (n in the short pool, classes or 1, M): the mixer's inputs at the examples' arrival.
``sketch``
    uint8; the length is a power of two: bits for recently seen names without a row, see `learner.kernels.room`. Empty without
    ``max_features``.
``aged``
    float32: for every row that the last sweep kept, the part of its count that is too old for its usefulness, see
    `learner.learners.sweeping`. Empty without ``max_features``.
"""

import hashlib
import json

STATE_FORMAT = 5  # of commits and saved models: their state has the arrays and the meaning that this module describes

# ---- bounds on an example ----
MAX_NAME_BYTES = 256
MAX_FEATURES = 10_000
MAX_NUMBER = 1e30  # of values and targets, in size: their squares must not overflow
MIN_NUMBER = 1e-30  # a value nearer to zero is zero
MAX_IMPORTANCE = 1e6
MAX_LABELS, MOST_LABELS = 1000, 10_000  # of a multi-class model: by default, and the largest bound that can be set
FEW_CLASSES = 10  # up to so many classes, each has rows for the features that the others met, too
MAX_RATES = 12  # of a mixture
MAX_INPUTS = 64  # of the mixer: room for any set of experts

# ---- a row: the header's words (as float32 unless said) ----
SCALE = 0  # about the largest |x - mean| seen: weights are for values x / scale
COUNT = 1  # as uint32: examples that had the feature
MEAN = 2  # of its values; in a derived row, as uint32, the slot of its second feature
DEVIATION = 3  # of its values: the standard deviation
HASH = 2  # as uint64 (words 4 and 5): the keyed hash of its name
NAME = 6  # as uint32: where its name starts in `names`; in a derived row the slot of its first feature
DENSE = 7  # as uint32: low 16 bits: its place among the dense features, from 1, or 0; in a derived row see DERIVED
HEADER = 8
LINE = 16  # float32s in a cache line
DERIVED = 1 << 31  # in DENSE: a derived feature. Then bits 0-7 and 8-15 are its parents' bins, from 1, or 0 for no bin
PLACE_MASK = 0x07FF  # of DENSE: the place
SWITCH_SHIFT, SWITCH_MASK = 11, 0x1F  # of DENSE, above these bits: its place among the switches, from 1, or 0
CLASS_SHIFT, CLASS_MASK = 16, 0x3FFF  # of DENSE, above these bits: the row's class in a multi-class model, from 1
SAID = 1 << 30  # of DENSE: examples without this number say that it is missing, so it is centred, however many have it
CONSTANT_NAME = "(constant)"
MISSING_SUFFIX = "_missing"  # the feature ``f_missing`` says that ``f`` is missing

WARM_COUNT = 8.0  # the count of a feature above which outliers are clipped, and from which it may be dense
MAX_DENSE = 1024  # dense features: they are centred, and one that an example leaves out has the value 0
MAX_BINNED = 64  # the first dense features: the dense filter sees them, and bins are derived from them
N_PAIRS = 15  # pairs of these that interact most: their cells and products are derived
MAX_SWITCHES = 31  # frequent features with only one value, beside numbers: the numbers' slopes may depend on them
MIN_SWITCH_SHARE = 0.05  # of the examples have it, and as many do not
N_SAMPLES = 100  # first values of a feature, whose quantiles are the bounds of its bins
PRODUCT = 0xFFFF  # as the bins of a derived row: the product of its parents
N_BINS, N_CELL_BINS = 24, 8  # bins of a feature alone, and of each feature in a cell
N_CROSSED = 4  # the most frequent other features of an example: they are crossed in pairs
MIN_CROSSED, MIN_CROSSED_SHARE = 30, 0.01  # a crossed feature must have been in so many examples, and in this share
N_MIXED = 3  # the first dense features: with numeric targets their bins are crossed with these frequent features
MAX_DERIVED = MAX_BINNED + 2 * N_PAIRS + N_CROSSED * (N_CROSSED - 1) // 2 + N_MIXED * N_CROSSED  # of an example

# ---- the parts of the mixture that can be switched on and off: bits ----
KALMAN, BAYES, DENSE_FILTER, TRENDS, BINS, CELLS, CROSSES = (1 << bit for bit in range(7))
PARTS = {  # their names, in the order of a spec
    "kalman": KALMAN, "bayes": BAYES, "newton": DENSE_FILTER, "trends": TRENDS,
    "bins": BINS, "cells": CELLS, "crosses": CROSSES,
}  # fmt: skip
SPARSE = 1 << 7  # not a part: L1 makes weights exactly zero
ALONE = 1 << 8  # not a part: the neural head's score is the model's, and no other expert learns
LATE = 1 << 9  # not a part: outcomes come late, so examples are held, and learned in random order
MIXED = 1 << 10  # not a part: bins of numbers are crossed with frequent features
N_TRENDS = 3

# ---- held examples: the largest numbers in each pool, and of their features together ----
MAX_SHORT, MAX_LONG, MAX_HELD_FEATURES = 128, 256, 1 << 15
HELD_SHARE = 24  # a pool holds at most one in so many of the examples so far
LONG_SHARE = 4  # one in so many examples goes to the long pool
SETTLED = 4096  # examples from which on the scaled values of examples are held, unless there are dense features

# ---- the hash's keys ----
KEY_BLOCK, CONSTANT_HASH, LABEL_NEGATIVE, LABEL_POSITIVE = range(4)
POSITION_HASHES = 4  # the hashes of an array's names, "0", "1", ...; computed at the first array of that length
# the bits of the labels' numbers, or of the ends of the target range; equal if the model has neither
NEGATIVE_NUMBER = POSITION_HASHES + MAX_FEATURES
POSITIVE_NUMBER, N_KEYS = NEGATIVE_NUMBER + 1, NEGATIVE_NUMBER + 2

# ---- totals ----
(
    EXAMPLES,  # learned
    REJECTED,
    IMPORTANCE_SUM,
    LOSS_SUM,  # progressive loss times importance
    CONSTANT_LOSS_SUM,  # the same for the best constant at each moment
    SCALE_SUM,  # N: sum of squared scaled values
    RESIDUAL_SUM,  # of the mixed scores: squared errors, pinball losses or deviances; a target not learned counts as 1
    TARGET_SUM,  # the relative importances of the targets in TARGET_MEAN
    TARGET_MEAN,
    TARGET_SQUARES,  # sum of squared deviations
    TARGET_MIN,
    TARGET_MAX,
    N_DENSE,
    BAYES_SQUARES,  # sum of the Bayes expert's squared scores times importance
    DERIVED_SUM,  # the number of derived features in all examples
    CLASS,  # in a multi-class model the class of these totals, from 1
    CONSTANT_ROW,  # the constant's slot + 1; 0 before the first example
    TREND,  # recent means of the targets, N_TRENDS of them
) = range(18)
QUANTILE = 20  # of a quantile: running estimate of the targets' quantile at the level
HIGH_DISTANCE, LOW_DISTANCE = 20, 22  # of a regression: see `learner.kernels.targets.near_range`
RESIDUAL_SIZE = 21  # of numbers: a size that few recent residuals exceed, see `learner.kernels.targets.follow_size`
UPDATES = 23  # examples with an importance above 0
# the slots of the dense features by place, from 1: DENSE_SLOTS + place; before there are any, the first targets are here
DENSE_SLOTS = 24
(
    REFUSED,  # times that a new feature was not stored
    EVICTED,  # rows dropped
    SWEEPS,
    SWEPT_ROWS,  # rows after the last sweep
    SIGHTINGS,  # of names without a row, since the sketch was cleared
    RELATIVE_SUM,  # the importances, each relative to the mean so far: see `learner.kernels.targets.relative_importance`
    N_SWITCHES,
) = range(DENSE_SLOTS + MAX_DENSE + 1, DENSE_SLOTS + MAX_DENSE + 8)
N_TOTALS = DENSE_SLOTS + MAX_DENSE + 8

# ---- bounded memory ----
MIN_MAX_FEATURES = 100
MAX_ROWS, MAX_ARENA = 1 << 31, 1 << 32  # of any model: rows, and bytes of names
NAME_BYTES = 64  # bytes of names and their lengths, for each feature of the bound
MIN_SKETCH, MAX_SKETCH, SKETCH_BYTES = 1 << 12, 1 << 20, 8  # bytes of the sketch; bytes for each feature of the bound
BITS_A_SIGHTING = 16  # the sketch is cleared when so many times the sightings reach its number of bits
FORGOTTEN_SHARE = 1 / 32  # of a feature's recent count, at each sweep
EVICTED_SHARE = 10  # a sweep frees one in so many rows; with fewer free, new names are admitted only when seen before
MIN_ROWS_SWEPT = 1024  # rows at which zeros of L1 are swept for the first time

# ---- why an example was rejected ----
(
    OK,
    BAD_FRAMING,
    BAD_EXAMPLE,
    BAD_TARGET,
    BAD_IMPORTANCE,
    BAD_MAP,
    BAD_NAME_TYPE,
    BAD_NAME_LENGTH,
    BAD_NAME_UTF8,
    BAD_NAME_RESERVED,
    BAD_VALUE_TYPE,
    BAD_VALUE_FINITE,
    BAD_WIDTH,
    BAD_DUPLICATE,
    NEW_CLASS,  # no fault: a new label, for which the caller adds a class
) = range(15)


# ---- the version ----
FIRST_DIGEST = "aa217da0fcf09bcf"  # of the states that don't say theirs
MEANINGLESS = {  # constants that give no number of a state its meaning: bounds on what is still to come
    "STATE_FORMAT", "FIRST_DIGEST", "MAX_NAME_BYTES", "MAX_NUMBER", "MIN_NUMBER", "MAX_IMPORTANCE", "MAX_LABELS", "MOST_LABELS",
    "MAX_RATES", "MAX_INPUTS", "MIN_MAX_FEATURES", "MAX_ROWS", "MAX_ARENA", "OK", "NEW_CLASS", "MEANINGLESS",
}  # fmt: skip


def digest() -> str:
    """Return 16 hex digits of a hash of the constants here: under other constants a state's numbers mean something else."""
    names = {name for name in globals() if name.isupper() and not name.startswith("BAD_")} - MEANINGLESS
    return hashlib.sha256(json.dumps({name: globals()[name] for name in sorted(names)}).encode()).hexdigest()[:16]
