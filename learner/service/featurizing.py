"""From raw examples to packed ones: many at once by the featurizer's program, the others one at a time."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from learner.errors import FormatError, LearnerError
from learner.packing import pack_example, pack_plain
from learner.service.store.reading import Entries
from learner.service.wire import (
    ALONE,
    FEATURES,
    MAX_BATCH,
    Example,
    RawExample,
    RawRecord,
    RejectedEntry,
    decode_entry,
    decode_raw,
    decode_single,
    decode_vector,
    has_records,
    is_one,
    pack_together,
    rejected_entry,
    split,
)

if TYPE_CHECKING:
    from learner.model import Model
    from learner.program import Run

__all__ = ["Entry", "Group", "Several", "examples_of", "featurize", "featurized", "featurized_records", "together"]

TOGETHER = 250  # entries that are decoded together, at most
ANY = object()  # what msgpack has no form for
Fields = dict[bytes, bytes]
Pack = Callable[[Any], bytes]  # returns the packed features of a record


class Piece(NamedTuple):
    """A record that the program leaves to the templates, or what follows a broken one, with the error."""

    raw: bytes
    error: FormatError | None


class Entry(NamedTuple):
    """An entry of one example, which may be still to be featurized."""

    entry_id: bytes
    fields: Fields
    example: Example | RawExample | Piece
    n: int = 1


class Several(NamedTuple):
    """Entries of one example each, which are taken together.

    Parameters
    ----------
    entries : entries
        One at least.
    packed : list of bytes
        The example of each, as `pack_together` returns it; none: one entry that must be taken alone.
    has_features : bool
        Whether the examples are of features, and ready to be learned.
    ids : sequence of bytes
        The ids that producers chose, of those that are taken together.
    """

    entries: Entries
    packed: list[bytes]
    has_features: bool = False
    ids: Sequence[bytes] = ()

    @property
    def n(self) -> int:
        """The number of examples."""
        return len(self.packed)

    def each(self) -> "Iterator[Several]":
        """Yield the entries one at a time, still to be taken with others."""
        for entry, packed in zip(self.entries, self.packed, strict=True):
            yield Several([entry], [packed], self.has_features)


class Group(NamedTuple):
    """Packed examples, one after another.

    Parameters
    ----------
    packed : bytes
        The examples.
    entries : entries
        That of all of them, or of each.
    n : int
        The number of examples.
    data, ends : bytes, sequence of int
        Of an entry of many: what is rejected of an example that can't be learned lies from one end to the next.
    """

    packed: bytes
    entries: Entries
    n: int = 1
    data: bytes = b""
    ends: Sequence[int] = ()

    def entry(self, i: int) -> tuple[bytes, Fields]:
        """Return the entry of an example."""
        return self.entries[i if len(self.entries) > 1 else 0]

    def rejected(self, i: int, reason: str) -> RejectedEntry:
        """Return what is kept of an example that can't be learned."""
        _, fields = self.entry(i)
        field = b"batch" if b"batch" in fields else b"records"
        if field not in fields:
            return rejected_entry("learn", reason, fields)
        raw = self.data[self.ends[i] : self.ends[i + 1]] if self.ends else fields[field]
        return RejectedEntry("learn", reason, raw, field.decode())


def featurize(example: RawExample, fields: Mapping[bytes, bytes], pack: Pack) -> Example | RejectedEntry:
    """Return a raw example packed for the compiled loop, or rejected with the stage "featurize".

    Parameters
    ----------
    example : RawExample
        With its record.
    fields : mapping
        Of the entry that it came in.
    pack : callable
        Returns the packed features of a record: `Model.pack`.
    """
    try:
        return Example(pack_example(example.target, pack(example.record), example.importance), example.raw)
    except LearnerError as error:
        if example.raw is None:
            return rejected_entry("featurize", str(error), fields)
        return RejectedEntry("featurize", str(error), example.raw, "records")


def runs(data: bytes, model: "Model", are_examples: bool) -> "Iterator[Run | Piece]":
    """Yield what the model's program does of records that follow one another, and the others one at a time."""
    pieces, n_split = split(data, "records"), 0
    position = n = 0
    while position < len(data):
        if model.program:
            run = model.program.run(data, position, MAX_BATCH - n, are_examples)
            if run.ends:
                yield run
                n, position = n + len(run.ends), run.record_ends[-1]
        if position < len(data):
            piece = Piece(*next(itertools.islice(pieces, n - n_split, None)))
            n = n_split = n + 1
            yield piece
            position += len(piece.raw)


def examples_of(entry_id: bytes, fields: Fields, model: "Model", pack: Pack) -> Iterable[Entry | Group | RejectedEntry]:
    """Return the examples of an entry that has no batch: of one with many records featurized, a single one as it is.

    What the model's program leaves to the templates, `pack` does.
    """
    if has_records(fields):
        data = fields[b"records"]
        if is_one(data):
            return (Entry(entry_id, fields, Piece(data, None)),)
        return _of_records(entry_id, fields, model, pack)
    if b"records" in fields:  # too large
        return [part for part in decode_entry(fields) if isinstance(part, RejectedEntry)]
    part = decode_single(fields)
    return (part if isinstance(part, RejectedEntry) else Entry(entry_id, fields, part),)


def _of_records(entry_id: bytes, fields: Fields, model: "Model", pack: Pack) -> Iterator[Group | RejectedEntry]:
    data, entries = fields[b"records"], [(entry_id, fields)]
    for part in runs(data, model, are_examples=True):
        if not isinstance(part, Piece):
            yield Group(part.packed, entries, len(part.ends), data, (part.start, *part.record_ends))
            continue
        raw = decode_raw(*part)
        example = featurize(raw, fields, pack) if isinstance(raw, RawExample) else raw
        ends = 0, len(part.raw)
        yield example if isinstance(example, RejectedEntry) else Group(example.packed, entries, 1, part.raw, ends)


def featurized_records(data: bytes, model: "Model") -> Iterator[bytes | RawRecord | LearnerError]:
    """Yield the packed features of records without targets; or the record, or the error, where the program has none."""
    for part in runs(data, model, are_examples=False):
        if isinstance(part, Piece):
            yield decode_vector(*part)
        else:
            yield from (part.packed[start:end] for start, end in itertools.pairwise((0, *part.ends)))


def together(entries: Entries, model: "Model", most: int = TOGETHER) -> Iterator[Several]:
    """Yield entries in their order: those that can be taken together, at most so many, and each of the others alone."""
    most = min(most, TOGETHER)
    for start in range(0, len(entries), most):
        some = entries[start : start + most]
        kinds, packed = pack_together(some)
        first = 0
        for kind, run in itertools.groupby(kinds):
            last = first + len(list(run))
            if kind == FEATURES or (kind != ALONE and model.program):
                ids = [fields[b"id"] for _, fields in some[first:last] if b"id" in fields]
                yield Several(some[first:last], packed[first:last], kind == FEATURES, ids)
            else:
                yield from (Several([entry], []) for entry in some[first:last])
            first = last


def featurized(
    examples: Iterable[Entry | Several | Group], model: "Model", pack: Pack
) -> Iterator[Group | tuple[bytes, RejectedEntry]]:
    """Yield examples with all of them featurized, and with its id each entry that can't be featurized."""
    singles: list[Entry] = []
    for example in examples:
        if isinstance(example, Entry):
            singles.append(example)
            continue
        yield from _of_singles(singles, model, pack)
        singles.clear()
        if isinstance(example, Several):
            yield from _of_several(example, model, pack)
        else:
            yield example
    yield from _of_singles(singles, model, pack)


def _of_several(several: Several, model: "Model", pack: Pack) -> Iterator[Group | tuple[bytes, RejectedEntry]]:
    """Featurize entries together, and those alone that the model's program leaves to the templates."""
    entries, data = several.entries, b"".join(several.packed)
    if several.has_features:
        yield Group(data, entries, len(entries))
        return
    first = position = 0
    while first < len(entries):
        run = model.program.run(data, position, len(entries) - first) if model.program and data else None
        if run and run.ends:
            yield Group(run.packed, entries[first : first + len(run.ends)], len(run.ends))
            first, position = first + len(run.ends), run.record_ends[-1]
        if first < len(entries):
            yield from _alone(*entries[first], model, pack)
            position += len(several.packed[first]) if data else 0
            first += 1


def _alone(
    entry_id: bytes, fields: Fields, model: "Model", pack: Pack
) -> Iterator[Group | tuple[bytes, RejectedEntry]]:
    for part in examples_of(entry_id, fields, model, pack):
        if isinstance(part, RejectedEntry):
            yield entry_id, part
        else:
            yield from featurized([part], model, pack)


def _of_singles(singles: Sequence[Entry], model: "Model", pack: Pack) -> Iterator[Group | tuple[bytes, RejectedEntry]]:
    packed = model.program.run_each(_as_msgpack(singles)) if model.program else [b""] * len(singles)
    for (entry_id, fields, example, _), data in zip(singles, packed, strict=True):
        if data:
            yield Group(data, [(entry_id, fields)])
            continue
        done = decode_raw(*example) if isinstance(example, Piece) else example
        if isinstance(done, RawExample):
            done = featurize(done, fields, pack)
        yield (entry_id, done) if isinstance(done, RejectedEntry) else Group(done.packed, [(entry_id, fields)])


def _as_msgpack(singles: Sequence[Entry]) -> list[bytes]:
    """Return examples of records in msgpack; empty bytes for features, and for records with values of other types."""
    values = (
        [single.example.target, single.example.record, single.example.importance]
        if isinstance(single.example, RawExample)
        else ANY
        for single in singles
    )
    return [
        single.example.raw if isinstance(single.example, Piece) else packed
        for single, packed in zip(singles, pack_plain(values), strict=True)
    ]
