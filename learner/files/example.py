"""An example of a file: its parsed form, and the packed form that `learner.files.read` yields."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgpack

from learner.errors import FormatError, show
from learner.files import source
from learner.files.encoding import is_utf8
from learner.messages import one_line

__all__ = ["Example", "OnError", "Packed", "pack_units"]

Example = tuple[str, Any, dict[str, Any], Any]  # kind, target, features or record, importance
OnError = Callable[[str, str, bytes], None]  # takes the place, a message and the raw bytes of a bad example
MAX_FAULT = 500  # characters of what is said of a bad example
NOT_UTF8 = "text must be UTF-8 (it is not): try --encoding latin-1"


class Packed(NamedTuple):
    """An example, packed.

    Attributes
    ----------
    kind : {"features", "record"}
        Whether the map holds features (name to number) or is a raw record.
    data : bytes
        Msgpack of ``[target, map]`` or ``[target, map, importance]``; the target is nil if there is none.
    where : str
        Its place, for messages: ``line 17``, ``row 17`` or ``example 17``.
    """

    kind: str
    data: bytes
    where: str


def pack_units(
    units: Iterable[tuple[int, bytes, Any]],
    parse: Callable[[Any], Example | None],
    on_error: OnError,
    name: str = "line",
) -> Iterator[Packed]:
    """Parse and pack each unit, which is a line or a row; skip empty units.

    Parameters
    ----------
    units : iterable of (number, raw bytes, content)
        The number is that of the unit's (first) line.
    parse : callable
        Takes the content and returns the example, or None if there is none in it. Raises FormatError, UnicodeError or
        OverflowError if the content breaks a rule.
    on_error : callable
        Takes the place, a message and the raw bytes of a unit that breaks a rule.
    name : str
        What a unit is called in its place.
    """
    pack = msgpack.Packer().pack
    for number, raw, content in units:
        if not content:
            continue
        where = f"{name} {number}"
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
            message = f"text must be UTF-8 ({error})" if is_utf8(raw) else NOT_UTF8
            is_json = isinstance(content, bytes)  # a table's rows are lists
            if isinstance(error, UnicodeEncodeError) and is_json and is_utf8(raw):  # an escape of JSON
                message = f"text must have no lone surrogates (got {show(error.object)})"
        except OverflowError:
            message = "an integer must fit in 64 bits"
        except (RecursionError, ValueError):  # raised by the JSON scanner and by the packer
            message = "must be nested less deeply"
        else:
            yield Packed(kind, data, where)
            continue
        on_error(where, one_line(message, MAX_FAULT), raw)
