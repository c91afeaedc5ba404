"""Where each number of a model's state lies in its plain arrays.

A model is a few arrays, which is what makes it quick to update, to commit and to compare bit for bit:

``rows``
    float32, one row a feature in order of first update, a multiple of 64 bytes (one cache line): a header of eight words,
    then the AdaGrad experts' weights ``w_1 .. w_R`` and their decayed sums of squared gradients ``G_1 .. G_R``; with several
    rates then the Kalman expert's weight and variance, and the importances of the positive and of the negative examples
    that had the feature, which the Bayes expert's weight is made of. Row 0 is the constant feature (in a
    multi-class model every class has rows and a constant of its own). The same memory is
    also read as uint64 and uint32.
``table``
    uint64, a power of two of them: the hash table. 0 is empty, else the upper 32 bits of the name's hash, then slot + 1.
``names``
    uint8: for every feature its name's length in two bytes, then the name in UTF-8; none for derived features.
``samples``
    float32, (classes or 1, MAX_BINNED, 2 + N_SAMPLES): for each of the first dense features how many of its values are here,
    how many of the bins' bounds differ, and its first values, sorted once they are complete: the bounds of its bins.
``sizes``
    int64: how many rows, and how many bytes of `names`, are in use; then how many there may be at most.
``dirty``
    uint8: for every row, whether it changed since the last commit.
``totals``
    float64: the counters and sums below.
``mixer``
    float64, (M, M + 1): the mixing weights ``a`` in column 0 and their covariance ``P`` in the others. The M inputs: the
    experts of the features (AdaGrad's, Kalman's, Bayes's, the neural head), those of the derived features (AdaGrad's,
    Kalman's), the dense filter, 1, and the trends: see `learner.kernels.mixer.Places`.
``newton``
    float64, (1 + MAX_BINNED, 2 + MAX_BINNED): the same for a constant and the first dense features, standardised.
``metrics``
    float64: the sums that the progressive evaluation is made of, see `learner.metrics`.
``sketch``
    uint8, a power of two of them: bits for the names without a row that were seen lately, see `learner.kernels.room`. None
    where the number of features is not bounded, as of the next.
``aged``
    float32: for every row that the last sweep left, what of its count is too old to count, see `learner.learners.sweeping`.
"""

# ---- bounds on an example ----
MAX_NAME_BYTES = 256
MAX_FEATURES = 10_000
MAX_NUMBER = 1e30  # of values and targets, in size: their squares must not overflow
MIN_NUMBER = 1e-30  # a value nearer to zero is zero
MAX_IMPORTANCE = 1e6
MAX_CLASSES = 1000  # of a multi-class model
MAX_RATES = 12  # of a mixture
MAX_INPUTS = 64  # of the mixer, whatever experts there are

# ---- a row: the header's words (as float32 unless said) ----
SCALE = 0  # the largest |x - mean| seen: weights live in units of x / scale
COUNT = 1  # as uint32: examples that had the feature
MEAN = 2  # of its values; in a derived row, as uint32, the slot of its second feature
DEVIATION = 3  # of its values: the standard deviation
HASH = 2  # as uint64 (words 4 and 5): the keyed hash of its name
NAME = 6  # as uint32: where its name starts in `names`; in a derived row the slot of its first feature
DENSE = (
    7  # as uint32: in the low 16 bits its place among the dense features, from 1, or 0; in a derived row see DERIVED
)
HEADER = 8
LINE = 16  # float32s in a cache line
DERIVED = (
    1 << 31
)  # in DENSE: made of other features. Then bits 0-7 and 8-15 are the bins of both, from 1, or 0 for none
PLACE_MASK = 0xFFFF  # of DENSE: place, or bins
CLASS_SHIFT, CLASS_MASK = 16, 0x7FFF  # of DENSE, above those: in a multi-class model the class whose row it is, from 1
CONSTANT_NAME = "(constant)"

MAX_DENSE = 1024  # features that are centred, and so count with 0 where they are left out
MAX_BINNED = 32  # the first of them, which the dense filter sees, and whose values are also cut into bins
MAX_CELLS = 6  # the first of those, whose bins are also combined in pairs
N_SAMPLES = 100  # values from which a feature's bins are cut
N_BINS, N_CELL_BINS = 24, 8  # bins of a feature, and of each of a pair
N_CROSSED = 4  # the most frequent features of an example, which are combined in pairs
MIN_CROSSED, MIN_CROSSED_SHARE = 30, 0.01  # of the examples, that a feature must have been in for that
MAX_DERIVED = MAX_BINNED + MAX_CELLS * (MAX_CELLS - 1) // 2 + N_CROSSED * (N_CROSSED - 1) // 2  # an example

# ---- the parts of the mixture, which are on or off: bits ----
KALMAN, BAYES, DENSE_FILTER, TRENDS, BINS, CELLS, CROSSES = (1 << bit for bit in range(7))
PARTS = {  # their names, in the order of a spec
    "kalman": KALMAN, "bayes": BAYES, "newton": DENSE_FILTER, "trends": TRENDS,
    "bins": BINS, "cells": CELLS, "crosses": CROSSES,
}  # fmt: skip
SPARSE = 1 << 7  # not a part: L1 makes weights exactly zero
ALONE = 1 << 8  # not a part: the neural head's score is the model's, and no other expert learns
N_TRENDS = 3

# ---- the hash's keys ----
KEY_BLOCK, CONSTANT_HASH, LABEL_NEGATIVE, LABEL_POSITIVE = range(4)
POSITION_HASHES = 4  # the hashes of "0", "1", ..., the names of an array's positions, computed when one that long comes
N_KEYS = POSITION_HASHES + MAX_FEATURES

# ---- totals ----
(
    EXAMPLES,  # learned
    REJECTED,
    IMPORTANCE_SUM,
    LOSS_SUM,  # progressive loss times importance
    CONSTANT_LOSS_SUM,  # the same for the best constant so far
    SCALE_SUM,  # N: sum of u^2
    RESIDUAL_SUM,  # at the mixed score: squared residuals, pinball losses, or deviances
    TARGET_SUM,  # sum of importances of the targets in TARGET_MEAN
    TARGET_MEAN,
    TARGET_SQUARES,  # sum of squared deviations
    TARGET_MIN,
    TARGET_MAX,
    N_DENSE,
    BAYES_SQUARES,  # sum of the Bayes expert's squared scores times importance
    DERIVED_SUM,  # derived features of all examples
    CLASS,  # in a multi-class model which class these totals are of, from 1
    CONSTANT_ROW,  # the constant's slot and 1; 0 before the first example
    TREND,  # recent means of the targets, N_TRENDS of them
) = range(18)
QUANTILE = 20  # running estimate of the targets' quantile at the level
UPDATES = 23  # examples of an importance above 0 that a named algorithm learned
DENSE_SLOTS = 24  # the slots of the dense features by place, from 1: DENSE_SLOTS + place
(
    REFUSED,  # features that were not stored when they came
    EVICTED,  # that had a row once
    SWEEPS,
    SWEPT_ROWS,  # rows that the last sweep left
    SIGHTINGS,  # of names without a row, since the sketch was emptied
) = range(DENSE_SLOTS + MAX_DENSE + 1, DENSE_SLOTS + MAX_DENSE + 6)
N_TOTALS = DENSE_SLOTS + MAX_DENSE + 6

# ---- bounded memory ----
MIN_MAX_FEATURES = 100
MAX_ROWS, MAX_ARENA = 1 << 31, 1 << 32  # that a model can hold: rows, and bytes of names
NAME_BYTES = 64  # of names and their lengths, a feature of the bound
MIN_SKETCH, MAX_SKETCH, SKETCH_BYTES = 1 << 12, 1 << 20, 8  # bytes of the sketch; of it, a feature of the bound
BITS_A_SIGHTING = 16  # of the sketch, until it is emptied
FORGOTTEN_SHARE = 1 / 32  # of how often a feature came lately, at a sweep
EVICTED_SHARE = 10  # a sweep leaves one in so many rows free; while fewer are, they are scarce
MIN_ROWS_SWEPT = 1024  # before L1's zeros are swept for the first time

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
    NEW_CLASS,  # no fault: a target that was never seen before, to be given a class
) = range(15)
