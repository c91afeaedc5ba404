"""Packs examples into entries of the stream: many share an entry, and many entries a round trip."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from learner.errors import ExampleError, show
from learner.packing import pack, pack_example, utf8
from learner.service.wire import MAX_ENTRY_BYTES, MAX_SHORT_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "BATCH_BYTES",
    "BATCH_EXAMPLES",
    "PIPELINE_ENTRIES",
    "Batch",
    "batches",
    "entry_of",
    "outcome_entries",
    "outcome_entry",
]

BATCH_EXAMPLES = 200  # in an entry: enough to make Redis's cost of an entry negligible
BATCH_BYTES = 256_000
PIPELINE_ENTRIES = 20
OUTCOMES_AT_ONCE = 1000  # entries, which are small
MAX_JOINED_BYTES = MAX_ENTRY_BYTES - 1024  # of several examples; the rest is for the names of the fields, and the id


class Batch(NamedTuple):
    """Entries that are pushed in one round trip.

    Attributes
    ----------
    entries : list of dict
        The fields of each entry.
    ids : list of str or None
        Their ids, if the push has one.
    sizes : list of int
        How many examples each entry holds.
    """

    entries: list[dict[str, bytes]]
    ids: list[str] | None
    sizes: list[int]

    @property
    def n_examples(self) -> int:
        """How many examples the entries hold."""
        return sum(self.sizes)


def entry_of(
    record: Any, target: Any, features: "Mapping[str, float] | NDArray[Any] | None", importance: float
) -> dict[str, bytes]:
    """Return the fields of an entry with one example, of a record or of features."""
    if features is not None:
        return {"batch": pack_example(target, pack(features), importance)}
    return {"records": pack([target, record] if importance == 1.0 else [target, record, importance])}


def outcome_entry(outcome_id: str, target: Any, importance: float) -> dict[str, bytes]:
    """Return the fields of an entry with the outcome of an answer.

    Raises
    ------
    ExampleError
        When the name or the target can't be one.

    >>> outcome_entry("order-1", True, 1.0), outcome_entry("order-2", "kiwi", 2.5)
    ({'outcome': b'order-1', 'target': b'true'}, {'outcome': b'order-2', 'target': b'kiwi', 'importance': b'2.5'})
    """
    name = utf8(outcome_id, "outcome_id") if isinstance(outcome_id, str) else b""
    if not 1 <= len(name) <= MAX_SHORT_BYTES:
        raise ExampleError(f"outcome_id must be a string of 1 to {MAX_SHORT_BYTES} bytes (got {show(outcome_id)})")
    entry = {"outcome": name, "target": _text(target, "target")}
    return entry if importance == 1.0 else entry | {"importance": _text(importance, "importance")}


def outcome_entries(outcomes: Iterable[Sequence[Any]]) -> Iterator[list[dict[str, bytes]]]:
    """Yield the entries of (outcome_id, target) or (outcome_id, target, importance), `OUTCOMES_AT_ONCE` at a time."""
    entries = (outcome_entry(name, target, *importance or (1.0,)) for name, target, *importance in outcomes)
    while some := list(itertools.islice(entries, OUTCOMES_AT_ONCE)):
        yield some


def _text(value: Any, what: str) -> bytes:
    """Return a target or importance as an entry has it; numbers of numpy, too."""
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, str | bool | int | float):
        raise ExampleError(f"{what} must be a number, a label or a boolean (got {show(value)})")
    return utf8(str(value).lower() if isinstance(value, bool) else str(value), what)


def batches(examples: Iterable[bytes], features: bool, id: str | None) -> Iterator[Batch]:  # noqa: A002  (the field's name)
    """Yield packed examples in entries of at most `BATCH_EXAMPLES`, `PIPELINE_ENTRIES` entries at a time.

    >>> [(len(batch.entries), batch.ids, batch.n_examples) for batch in batches([b"x"] * 4300, True, "day")][1]
    (2, ['day/20', 'day/21'], 300)
    """
    field, n_entries = "batch" if features else "records", 0
    entries: list[dict[str, bytes]] = []
    sizes: list[int] = []
    for data, n in _joined(examples):
        entries.append({field: data})
        sizes.append(n)
        if len(entries) == PIPELINE_ENTRIES:
            yield Batch(entries, _ids(id, n_entries, len(entries)), sizes)
            n_entries += len(entries)
            entries, sizes = [], []
    if entries:
        yield Batch(entries, _ids(id, n_entries, len(entries)), sizes)


def _ids(id: str | None, first: int, n: int) -> list[str] | None:  # noqa: A002  (the field's name)
    return None if id is None else [f"{id}/{i}" for i in range(first, first + n)]


def _joined(examples: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield the bytes of several examples, one after another, and their number.

    An example that makes an entry too large has the entry to itself: it is rejected without its neighbours.
    """
    joined: list[bytes] = []
    n_bytes = 0
    for example in examples:
        if joined and n_bytes + len(example) > MAX_JOINED_BYTES:
            yield b"".join(joined), len(joined)
            joined, n_bytes = [], 0
        joined.append(example)
        n_bytes += len(example)
        if len(joined) == BATCH_EXAMPLES or n_bytes >= BATCH_BYTES:
            yield b"".join(joined), len(joined)
            joined, n_bytes = [], 0
    if joined:
        yield b"".join(joined), len(joined)
