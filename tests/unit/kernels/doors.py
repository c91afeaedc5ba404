"""Machine code, for tests, of functions that only compiled code calls.

Called from Python as they are, they would run as the plain Python that they are written in.
"""

from learner.kernels import bits, hashing, losses, records, scanner, tasks
from learner.kernels.jit import door


@door
def hash_name(buffer, start, length, keys):
    """Return a name's hash, wherever in a buffer it lies, and whether it has a byte that isn't ASCII."""
    return hashing.hash_name(buffer, start, length, keys)


@door
def is_utf8(buffer, start, length):
    """Tell whether bytes are well-formed UTF-8."""
    return hashing.is_utf8(buffer, start, length)


@door
def spread(h):
    """Return a hash with every bit depending on all of them."""
    return bits.spread(h)


@door
def read_number(buffer, position):
    """Return (kind, value, next position)."""
    return scanner.read_number(buffer, position)


@door
def derivative(code, level, s, y):
    """Return d loss / d score of the loss of a code."""
    return losses.derivative(records.Loss(code, level), s, y)


@door
def evaluate(task, code, level, totals, metrics, s, y, importance, relative):
    """Count how good a score is; return the loss that learning reports, and the target as it is learned."""
    state = records.State(totals, None, None, None, metrics, None, None, None)
    return tasks.evaluate(task, records.Loss(code, level), state, s, y, importance, relative)
