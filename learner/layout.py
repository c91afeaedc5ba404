"""Where each number of a model's state lies in its plain arrays.

A model is a few arrays, which is what makes it quick to update, to commit and to compare bit for bit:

``rows``
    float32, one row a feature in order of first update, a multiple of 64 bytes (one cache line): a header of eight words,
    then the experts' weights ``w_1 .. w_K``, then their decayed sums of squared gradients ``G_1 .. G_K``. Row 0 is the
    constant feature. The same memory is also read as uint64 and uint32.
``table``
    uint64, a power of two of them: the hash table. 0 is empty, else the upper 32 bits of the name's hash, then slot + 1.
``names``
    uint8: for every feature its name's length in two bytes, then the name in UTF-8.
``sizes``
    int64: how many rows, and how many bytes of `names`, are in use.
``dirty``
    uint8: for every row, whether it changed since the last commit.
``totals``
    float64: the counters and sums below.
``mixer``
    float64, (M, M + 1): the mixing weights ``a`` in column 0 and their covariance ``P`` in the others.
"""

# ---- bounds on an example ----
MAX_NAME_BYTES = 256
MAX_FEATURES = 10_000
MAX_NUMBER = 1e30  # of values and targets, in size: their squares must not overflow
MIN_NUMBER = 1e-30  # a value nearer to zero is zero
MAX_IMPORTANCE = 1e6

# ---- a row: the header's words (as float32 unless said) ----
SCALE = 0  # the largest |x - mean| seen: weights live in units of x / scale
COUNT = 1  # as uint32: examples that had the feature
MEAN = 2  # of its values
DEVIATION = 3  # of its values: the standard deviation
HASH = 2  # as uint64 (words 4 and 5): the keyed hash of its name
NAME = 6  # as uint32: where its name starts in `names`
DENSE = 7  # as uint32: its place among the dense features, from 1, or 0
HEADER = 8
CONSTANT_NAME = "(constant)"
PAGE_BITS = (
    0  # 2^0 rows are a page, what `dirty` tells apart: rows that change are scattered, so a commit writes single ones
)

MAX_DENSE = 1024  # features that are centred, and so count with 0 where they are left out
MAX_DIRECT = 32  # the first of them, which the mixer sees directly

# ---- the hash's keys ----
KEY_BLOCK, CONSTANT_HASH, LABEL_NEGATIVE, LABEL_POSITIVE = range(4)
N_KEYS = 4

# ---- totals ----
(
    EXAMPLES,  # learned
    REJECTED,
    IMPORTANCE_SUM,
    LOSS_SUM,  # progressive loss times importance
    CONSTANT_LOSS_SUM,  # the same for the best constant so far
    SCALE_SUM,  # N: sum of u^2
    RESIDUAL_SUM,  # sum of squared residuals at the mixed score
    TARGET_SUM,  # sum of importances of the targets in TARGET_MEAN
    TARGET_MEAN,
    TARGET_SQUARES,  # sum of squared deviations
    TARGET_MIN,
    TARGET_MAX,
    N_DENSE,
) = range(13)
DENSE_SLOTS = 16  # the slots of the dense features by place, from 1: DENSE_SLOTS + place
N_TOTALS = DENSE_SLOTS + MAX_DENSE + 1

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
) = range(14)


def row_width(n_rates: int, head_size: int = 0) -> int:
    """Return the float32s in a row of so many experts and of a neural head: a multiple of 16, one cache line.

    >>> row_width(1), row_width(4), row_width(5)
    (16, 16, 32)
    """
    return -(-(HEADER + 2 * n_rates + head_size) // 16) * 16
