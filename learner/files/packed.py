"""Msgpack, ``[target, {name: value}]`` or ``[target, {name: value}, importance]``, one after another; not decoded here."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgpack

from learner import packing
from learner.errors import FormatError
from learner.files.example import OnError, Packed
from learner.files.reading import Reading
from learner.files.source import BLOCK_BYTES, MAX_EXAMPLE_BYTES

__all__ = ["cut", "read"]

Ends = tuple[Sequence[int], str]  # where whole values end, and the fault after the last end, or ""


def read(stream: io.BufferedReader, target: str, how: Reading, on_error: OnError) -> Iterator[Packed]:
    """Yield the examples of a stream, split but not decoded; `target` and `how` are not used.

    Raises
    ------
    FormatError
        When the bytes are not msgpack, an example is too long, or the file ends inside an example.
    """
    n_values = offset = 0
    for data, ends, fault in cut(iter(lambda: stream.read1(BLOCK_BYTES), b""), _ends):
        start = 0
        for end in ends:
            value = data[start:end]
            start = end
            n_values += 1
            where = f"example {n_values}"
            if value[0] in (0x92, 0x93):
                yield Packed("features", value, where)
            else:
                on_error(where, f"must be [target, map] or [target, map, importance] (got {value[:20]!r}...)", value)
        offset += start
        if fault:
            raise FormatError(f"example {n_values + 1}, from byte {offset}: {fault}")


def cut(blocks: Iterable[bytes], find_ends: Callable[[bytes], Ends]) -> Iterator[tuple[bytes, Sequence[int], str]]:
    """Cut a file of msgpack again, into blocks that begin where a value begins.

    Parameters
    ----------
    blocks : iterable of bytes
        A file's bytes in order, cut anywhere.
    find_ends : callable
        Takes bytes; returns where each whole value in them ends, and the fault after the last end, or "".

    Yields
    ------
    (data, ends, fault)
        A block, where each whole value in it ends, and the fault after the last end, or "". The bytes after the last end are
        also the first bytes of the next block. A block with a fault is the last one.
    """
    rest = b""
    for block in blocks:
        data = rest + block
        ends, fault = find_ends(data)
        rest = data[ends[-1] :] if ends else data
        if len(rest) > MAX_EXAMPLE_BYTES:
            fault = f"must be at most {MAX_EXAMPLE_BYTES} bytes"
        yield data, ends, fault and f"{fault}; what follows can't be read"
        if fault:
            return
    if rest:
        yield rest, [], "must be whole (the file ends inside it)"


def _ends(data: bytes) -> Ends:
    ends: list[int] = []
    try:
        ends.extend(packing.ends(data))  # keeps the ends before an error
    except msgpack.OutOfData:
        return ends, ""
    except packing.UNPACK_ERRORS as error:
        return ends, f"must be msgpack ({type(error).__name__} {error})"
    return ends, ""
