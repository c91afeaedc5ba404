"""Long values are split into segments, each under its own key: a string of Redis holds at most 512 MiB."""

from collections.abc import Callable
from typing import Any

__all__ = ["keys_of", "set_range"]

SEGMENT_BYTES = 1 << 26  # in each key


def keys_of(key: Callable[[int], str], n_bytes: int) -> list[str]:
    """Return the keys of the segments that hold a value's first `n_bytes`; `key` makes a key from a segment's number."""
    return [key(segment) for segment in range(-(-n_bytes // SEGMENT_BYTES))]


def set_range(pipe: Any, key: Callable[[int], str], data: bytes | memoryview, start: int) -> None:
    """Queue the commands (SETRANGE) that write data into a value from byte `start` on."""
    position = 0
    while position < len(data):
        segment, offset = divmod(start + position, SEGMENT_BYTES)
        end = min(len(data), position + SEGMENT_BYTES - offset)
        pipe.setrange(key(segment), offset, data[position:end])
        position = end
