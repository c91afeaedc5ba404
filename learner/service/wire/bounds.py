"""The bounds that every entry and request must keep: they are checked before anything is decoded.

Those of a single example (its features, names and numbers) stand in `learner.layout`.
"""

from learner import layout

__all__ = [
    "MAX_BATCH",
    "MAX_DEPTH",
    "MAX_ENTRY_BYTES",
    "MAX_REASON",
    "MAX_REQUESTS",
    "MAX_SHORT_BYTES",
    "MAX_VALUE_BYTES",
    "REJECTED_BYTES",
]

MAX_ENTRY_BYTES = 4 << 20  # an entry or a request: the names and values of its fields together
MAX_VALUE_BYTES = 1 << 20  # a record, or features in JSON: as Python values they may be a hundred times as large
MAX_DEPTH = 32  # maps and lists inside one another
MAX_BATCH = 10_000  # examples in an entry, or feature vectors in a request
MAX_SHORT_BYTES = layout.MAX_NAME_BYTES  # a target, an importance, an id, the name of a reply key
MAX_REQUESTS = 100_000  # that wait; when more do, the oldest are dropped without a reply
REJECTED_BYTES = 1 << 16  # kept of the data of a rejected entry
MAX_REASON = 500  # characters kept of the reason why it was rejected
