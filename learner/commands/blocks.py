"""Reads a file into blocks of packed examples, for models without a server, and counts and reports rejected examples."""

import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import click
import msgpack
import numpy as np

from learner import kernels
from learner.errors import ExampleError, FormatError, LearnerError
from learner.files import Packed, Reading, Source, expand, guess, opened, read
from learner.files.packed import cut
from learner.messages import one_line
from learner.model import Model
from learner.packing import pack, pack_example

__all__ = ["Block", "Rejected", "read_blocks", "regrouped"]

BLOCK_EXAMPLES = 1000  # in a block, of a text format
BLOCK_BYTES = 1 << 20  # in a block, of msgpack
SHOWN_ERRORS = 10


class Rejected:
    """A count of the examples that can't be learned; the first ten are reported on standard error.

    Parameters
    ----------
    unread : callable, optional
        Called for each example that can't be read or featurized, with the number of those before it that could, and a message.

    Attributes
    ----------
    n : int
        The count.
    n_read : int
        How many examples were read and featurized.
    """

    def __init__(self, unread: Callable[[int, str], None] | None = None) -> None:
        self.n = self.n_read = 0
        self._unread = unread

    def add(self, message: str) -> None:
        """Count an example that can't be learned, and report it."""
        self.n += 1
        if self.n <= SHOWN_ERRORS:
            click.echo(f"Error: {one_line(message)}", err=True)

    def add_unread(self, message: str) -> None:
        """Count and report an example that can't be read or featurized."""
        self.add(message)
        if self._unread:
            self._unread(self.n_read, message)

    def all_rejected(self, model: Model) -> LearnerError:
        """Return the error of a file without an example that the model could learn."""
        hint = model.learner.target_hint()
        return LearnerError(
            f"file must hold at least one example that can be learned (got {self.n} bad ones)" + (hint and f"; {hint}")
        )


class Block(NamedTuple):
    """Packed examples, one after another, where each ends, and the place of each in its file.

    A place is a text such as ``line 17``, or of msgpack the example's number.
    """

    data: bytes
    ends: Sequence[int]
    places: Sequence[str | int]

    def place(self, index: int) -> str:
        """Return the place of an example, in words."""
        place = self.places[index]
        return place if isinstance(place, str) else f"example {place}"

    def part(self, first: int, last: int) -> "Block":
        """Return the examples from `first` up to but not including `last`."""
        start = self.ends[first - 1] if first else 0
        ends = [end - start for end in self.ends[first:last]]
        return Block(self.data[start : start + ends[-1]] if ends else b"", ends, self.places[first:last])

    def then(self, other: "Block") -> "Block":
        """Return these examples, followed by another block's."""
        ends = [*self.ends, *(len(self.data) + end for end in other.ends)]
        return Block(self.data + other.data, ends, [*self.places, *other.places])


def regrouped(groups: Iterator[list[Block]], n: int) -> Iterator[list[Block]]:
    """Yield the same examples `n` at a time, but for the last ones, which may be fewer.

    >>> [len(block.ends) for block, in regrouped(iter([[Block(b"abc", [1, 2, 3], "abc")], [Block(b"d", [1], "d")]]), 2)]
    [2, 2]
    """
    rest: list[Block] = []
    for blocks in groups:
        joined = [head.then(tail) for head, tail in zip(rest, blocks, strict=True)] if rest else blocks
        n_whole = len(joined[0].ends) // n * n
        for first in range(0, n_whole, n):
            yield [block.part(first, first + n) for block in joined]
        rest = [block.part(n_whole, len(block.ends)) for block in joined]
    if rest and rest[0].ends:
        yield rest


def read_blocks(
    models: Sequence[Model], file: str, file_format: str | None, target: str, how: Reading, rejected: Rejected
) -> Iterator[list[Block]]:
    """Yield the examples of a file, or of all files of a pattern, many at a time: a list with one block for each model.

    Models with the same featurizer share its result. An example that a featurizer rejects is in none of the blocks.

    Raises
    ------
    FormatError
        When the file can't be read at all, or is damaged so that the rest can't be read.
    """
    files = expand(file)
    for name in files:
        source = Source(name)
        file_of = f"{name}: " if len(files) > 1 else ""
        if (file_format or guess(source.name)) == "msgpack":  # the form that the compiled loops take
            with opened(source) as stream:
                for block in _msgpack_blocks(stream):
                    yield [block] * len(models)
        else:
            items: list[Packed | str] = []

            def note(where: str, message: str, raw: bytes, items: list[Packed | str] = items) -> None:
                items.append(f"{where}: {message}")

            examples = read(source, file_format, target=target, how=how, on_error=note)
            yield from _featurized_blocks(models, examples, items, file_of, rejected)


def _featurized_blocks(
    models: Sequence[Model], examples: Iterator[Packed], items: list[Packed | str], file_of: str, rejected: Rejected
) -> Iterator[list[Block]]:
    """Yield the examples of a file of another format than msgpack.

    `items` gets them, and meanwhile the messages about those that can't be read; `file_of` comes before each place in messages.
    """
    try:
        for example in examples:
            items.append(example)
            if len(items) >= BLOCK_EXAMPLES:
                yield from _blocks(models, items, file_of, rejected)
                items.clear()
    except FormatError:
        list(_blocks(models, items, file_of, rejected))  # what is wrong before the place where reading ends
        raise
    yield from _blocks(models, items, file_of, rejected)


def _blocks(
    models: Sequence[Model], items: Sequence[Packed | str], file_of: str, rejected: Rejected
) -> Iterator[list[Block]]:
    """Yield a block for each model, if any example is left; count and report the others, and what can't be read."""
    specs = [model.to_spec()["featurizer"] for model in models]
    featurizers = [specs.index(spec) for spec in specs]  # for each model, the first model with the same featurizer
    examples = [item for item in items if isinstance(item, Packed)]
    columns = [_packed(models[place], examples) for place in dict.fromkeys(featurizers)]
    rows = zip(*columns, strict=True)
    kept: list[Sequence[bytes]] = []
    places: list[str] = []
    if len(examples) == len(items) and set(map(type, itertools.chain(*columns))) == {bytes}:  # as in most files
        kept, places, items = list(rows), [file_of + example.where for example in examples], ()
        rejected.n_read += len(examples)
    for item in items:
        if isinstance(item, str):
            rejected.add_unread(file_of + item)
            continue
        row = next(rows)
        error = next((data for data in row if isinstance(data, ExampleError)), None)
        if error:
            rejected.add_unread(f"{file_of}{item.where}: {error}")
        else:
            rejected.n_read += 1
            places.append(file_of + item.where)
            kept.append(row)
    if kept:
        blocks = [_block(packed, places) for packed in zip(*kept, strict=True)]
        order = list(dict.fromkeys(featurizers))
        yield [blocks[order.index(place)] for place in featurizers]


def _block(packed: Sequence[bytes], places: Sequence[str]) -> Block:
    return Block(b"".join(packed), list(itertools.accumulate(map(len, packed))), places)


def _msgpack_blocks(stream: io.BufferedReader) -> Iterator[Block]:
    """Yield blocks of msgpack without decoding it; the compiled scanner tells where values end."""
    n_before = 0
    room = np.zeros(BLOCK_BYTES, np.int64)

    def find_ends(data: bytes) -> tuple[list[int], str]:
        return room[: kernels.boundaries(np.frombuffer(data, np.uint8), room)].tolist(), ""

    for data, ends, fault in cut(iter(lambda: stream.read(BLOCK_BYTES), b""), find_ends):
        whole = ends[-1] if ends else 0
        if ends:
            yield Block(data[:whole], ends, range(n_before + 1, n_before + 1 + len(ends)))
            n_before += len(ends)
        if fault:
            raise FormatError(f"file must hold whole msgpack examples (its last {len(data) - whole} bytes are none)")


def _packed(model: Model, examples: Sequence[Packed]) -> list[bytes | ExampleError]:
    """Return examples of a file, packed for the compiled loops: records are featurized, many at once where that is possible."""
    packed: list[bytes | ExampleError] = []
    records = [example.data if example.kind == "record" else b"" for example in examples]
    for example, data in zip(examples, model.program.run_each(records) if model.program else records, strict=True):
        try:
            packed.append(data if model.program and data else _pack(model, example))
        except ExampleError as error:
            packed.append(error)
    return packed


def _pack(model: Model, example: Packed) -> bytes:
    """Return an example of a file, packed for the compiled loops: a record is featurized.

    Raises
    ------
    ExampleError
        When the model's featurizer can't make features of its record.
    """
    if example.kind == "features":
        return example.data
    target, record, *importance = msgpack.unpackb(example.data, strict_map_key=False)
    return pack_example(target, pack(model.features(record)), *importance)
