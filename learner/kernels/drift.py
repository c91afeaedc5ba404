"""The window of losses in which `learner.drift` looks for a rise: its blocks, and where it is cut.

A block is a row of three numbers: how many losses, their sum, their sum of squares. The oldest block comes first.
"""

import math

from learner.kernels.jit import compiled, inlined

__all__ = ["BLOCK", "LARGEST", "LOOK", "MOST_BLOCKS", "N_BLOCKS", "look"]

CONFIDENCE = 0.002  # delta: the probability of a false cut at a look
BLOCK = 100  # losses of the smallest block
LOOK = 2 * BLOCK  # losses between two looks
MOST_ALIKE = 5  # blocks of one size; one more, and the two oldest become one of twice the size
MOST_BLOCKS = 64 * MOST_ALIKE  # 2^64 losses
N, SUM, SQUARES = range(3)  # of a block
N_BLOCKS, LARGEST = range(2)  # of a window: how many blocks it has; what a loss counts as at most


@inlined
def append(losses, start, window, blocks):
    """Append the block of the losses from a place on; merge the blocks of which there are too many."""
    last = int(window[N_BLOCKS])
    blocks[last, N], blocks[last, SUM], blocks[last, SQUARES] = BLOCK, 0.0, 0.0
    for i in range(start, start + BLOCK):
        loss = min(losses[i], window[LARGEST])
        blocks[last, SUM] += loss
        blocks[last, SQUARES] += loss * loss
    last += 1
    window[N_BLOCKS] = last
    while last > MOST_ALIKE and blocks[last - MOST_ALIKE - 1, N] == blocks[last - 1, N]:
        last -= MOST_ALIKE
        for k in range(3):
            blocks[last, k] += blocks[last - 1, k]
        drop(last - 1, window, blocks)


@compiled
def drop(place, window, blocks):
    """Drop a block."""
    window[N_BLOCKS] -= 1
    for i in range(place, int(window[N_BLOCKS])):
        for k in range(3):
            blocks[i, k] = blocks[i + 1, k]


@compiled
def totals(window, blocks):
    """Return the number of all losses, their sum, and their sum of squares."""
    n, total, squares = 0.0, 0.0, 0.0
    for i in range(int(window[N_BLOCKS])):
        n, total, squares = n + blocks[i, N], total + blocks[i, SUM], squares + blocks[i, SQUARES]
    return n, total, squares


@compiled
def cut(window, blocks):
    """Return (losses before it, their sum) of the oldest cut between blocks whose sides differ by more than chance explains.

    Equation 3.1; without such a cut, both are 0.
    """
    n, total, squares = totals(window, blocks)
    log = math.log(2.0 * math.log(n) / CONFIDENCE)
    variance = max(squares / n - (total / n) ** 2, 0.0)
    before, total_before = 0.0, 0.0
    for i in range(int(window[N_BLOCKS]) - 1):
        before += blocks[i, N]
        total_before += blocks[i, SUM]
        inverse = n / (before * (n - before))  # of m: 1 / n_before + 1 / n_after
        difference = abs(total_before - total / n * before) * inverse  # of the two means
        if difference > math.sqrt(2.0 * variance * log * inverse) + 2.0 / 3.0 * window[LARGEST] * log * inverse:
            return before, total_before
    return 0.0, 0.0


@inlined
def forget(window, blocks):
    """Drop the oldest blocks until there is no cut; return (mean before, mean after, losses after) of the first rise, or 0s."""
    mean_before, mean_after, n_after = 0.0, 0.0, 0.0
    n, total, _ = totals(window, blocks)
    mean = total / n
    before, total_before = cut(window, blocks)
    if before == 0.0:
        return mean_before, mean_after, n_after
    while before > 0.0:
        n, total, _ = totals(window, blocks)
        left, right = total_before / before, (total - total_before) / (n - before)
        if n_after == 0.0 and right > left:
            mean_before, mean_after, n_after = left, right, n - before
        drop(0, window, blocks)
        before, total_before = cut(window, blocks)
    n, total, _ = totals(window, blocks)
    window[LARGEST] *= total / n / mean if mean > 0.0 else 1.0
    return mean_before, mean_after, n_after


@inlined
def look(losses, window, blocks):
    """Take in losses, a whole number of looks, up to the first rise.

    Returns (losses taken in, mean before the rise, mean after it, losses after it); without a rise the last three are 0.
    """
    done = 0
    while done < len(losses):
        for start in range(done, done + LOOK, BLOCK):
            append(losses, start, window, blocks)
        done += LOOK
        mean_before, mean_after, n_after = forget(window, blocks)
        if n_after > 0.0:
            return done, mean_before, mean_after, n_after
    return done, 0.0, 0.0, 0.0
