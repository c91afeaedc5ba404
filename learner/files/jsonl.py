"""JSON lines, one object a line: a record that includes its outcome, or an example with named parts."""

import functools
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from learner.decoding import decode
from learner.errors import FormatError, show
from learner.files.example import Example, OnError, Packed, pack_units
from learner.files.reading import Reading, missing_target
from learner.files.source import lines
from learner.files.values import check_features, finite, importance, outcome

__all__ = ["examples_of", "read"]

SEARCHED_OBJECTS = 1000  # for the target, before the first is yielded


def read(stream: io.BufferedReader, target: str, how: Reading, on_error: OnError) -> Iterator[Packed]:
    """Yield the examples of a stream; `target` is the key of the outcome.

    Raises
    ------
    FormatError
        When none of the first `SEARCHED_OBJECTS` objects has the target, but they must.
    """
    return examples_of(lines(stream), target, how, on_error, "line")


def examples_of(
    units: Iterable[tuple[int, bytes, bytes | FormatError]], target: str, how: Reading, on_error: OnError, name: str
) -> Iterator[Packed]:
    """Yield the examples of units, each of which is the text of an object; see `learner.files.example.pack_units`."""
    keys: dict[str, None] = (
        {} if how.needs_target else {target: None}
    )  # of the objects so far, until one has the target
    examples = pack_units(units, functools.partial(_parse, target=target, keys=keys), on_error, name)
    return _with_target(examples, target, keys) if how.needs_target else examples


def _with_target(examples: Iterator[Packed], target: str, keys: Mapping[str, None]) -> Iterator[Packed]:
    """Yield examples as soon as one of them has the target."""
    waiting: list[Packed] = []
    for example in examples:
        waiting.append(example)
        if target in keys or len(waiting) == SEARCHED_OBJECTS:
            break
    if waiting and target not in keys:
        raise missing_target("a key of the objects", keys, target)
    yield from waiting
    yield from examples


def _parse(line: bytes | FormatError, target: str, keys: dict[str, None]) -> Example:
    if isinstance(line, FormatError):
        raise line
    try:
        fields = decode(line, _DECODER)
    except json.JSONDecodeError as error:
        raise FormatError(f"must be one JSON object ({error.msg} at column {error.colno})") from error
    except UnicodeDecodeError:
        raise
    except ValueError as error:  # Python refuses to convert an integer of thousands of digits
        raise OverflowError from error
    if not isinstance(fields, dict):
        raise FormatError(f"must be one JSON object (got {line.decode()[:40]!r})")
    if target not in keys:
        keys.update(dict.fromkeys(fields))
    y = outcome(fields.pop(target, None))
    kind = "features" if isinstance(fields.get("features"), dict) else "record"
    if kind not in fields:
        return "record", y, fields, 1
    content, weight = fields.pop(kind), fields.pop("importance", 1)
    if fields:
        raise FormatError(
            f"only {target!r} and 'importance' may stand beside {kind!r} (got {show(next(iter(fields)))})"
        )
    if not isinstance(content, dict):
        raise FormatError(f"'record' must be a map (got {content!r:.40})")
    weight = importance(weight)
    return kind, y, check_features(content) if kind == "features" else content, weight


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise FormatError(f"a key must come once (got {show(twice)} again)")
    return fields


_finite = functools.partial(finite, what="number")
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite)
