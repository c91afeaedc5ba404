"""An example of a file: what a line or a row is parsed into, and the packed form that `learner.files.read` yields."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgpack

from learner.errors import FormatError
from learner.files import source

__all__ = ["Example", "OnError", "Packed", "pack_units"]

Example = tuple[str, Any, dict[str, Any], Any]  # kind, target, features or record, importance
OnError = Callable[
    [str, str, bytes], None
]  # is called with where, message and raw bytes of an example that can't be read


class Packed(NamedTuple):
    """One example as it travels.

    Attributes
    ----------
    kind : {"features", "record"}
        What the map is: names to numbers, or a raw record.
    data : bytes
        Msgpack of ``[target, map]`` or ``[target, map, importance]``; a target of nil is none.
    where : str
        For messages: ``line 17`` or ``example 17``.
    """

    kind: str
    data: bytes
    where: str


def pack_units(
    units: Iterable[tuple[int, bytes, Any]], parse: Callable[[Any], Example | None], on_error: OnError
) -> Iterator[Packed]:
    """Parse and pack each unit, a line or a row. An empty unit holds no example, nor does a unit that is parsed into None.

    Parameters
    ----------
    units : iterable of (number, raw bytes, content)
    parse : callable
        Takes the content; raises FormatError, UnicodeError or OverflowError where it breaks a rule.
    """
    pack = msgpack.Packer().pack
    for number, raw, content in units:
        if not content:
            continue
        where = f"line {number}"
        try:
            if len(raw) > source.MAX_EXAMPLE_BYTES:
                raise FormatError(f"must be at most {source.MAX_EXAMPLE_BYTES} bytes")
            example = parse(content)
            if example is None:
                continue
            kind, target, fields, importance = example
            data = pack((target, fields) if importance == 1 else (target, fields, importance))
        except FormatError as error:
            message = str(error)
        except UnicodeError as error:
            message = f"text must be UTF-8 ({error})"
        except OverflowError:
            message = "an integer must fit in 64 bits"
        except (RecursionError, ValueError):  # from the JSON scanner, from the packer
            message = "must be nested less deeply"
        else:
            yield Packed(kind, data, where)
            continue
        on_error(where, message, raw)
