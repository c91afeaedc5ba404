"""Vowpal Wabbit's text, ``[label] [importance] [tag]|namespace[:scale] feature[:value] ...``, read as VW reads it."""

import io
from collections.abc import Iterator

from learner.errors import FormatError
from learner.files.example import Example, OnError, Packed, pack_units
from learner.files.reading import Reading
from learner.files.source import lines
from learner.files.values import add_tokens, finite, outcome, without_zeros

__all__ = ["read"]


def read(stream: io.BufferedReader, target: str, how: Reading, on_error: OnError) -> Iterator[Packed]:
    """Yield the examples of a stream; `target` and `how` are not used."""
    return pack_units(lines(stream), _parse, on_error)


def _parse(line: bytes) -> Example:
    head, bar, body = line.decode().replace("\t", " ").partition("|")
    if not bar:
        raise FormatError(f"must have a | before the features (got {head[:40]!r})")
    words = head.split()
    if words and (not head.endswith(" ") or words[-1].startswith("'")):
        words.pop()  # the tag: as in VW, the word that touches the bar, even if it looks like a label
    if len(words) > 2:
        raise FormatError(f"an initial prediction can't be given (got {words[2]!r})")
    features: dict[str, float] = {}
    for group in body.split("|"):
        space, *tokens = group.split(" ")
        space, colon, scale = space.partition(":")
        if colon and not space:
            raise FormatError(f"a namespace must have a name (got {':' + scale!r})")
        add_tokens(
            features, map(_categorized, tokens), space and space + "^", finite(scale, "namespace scale") if colon else 1
        )
    importance = finite(words[1], "importance") if len(words) > 1 else 1
    if importance < 0:
        raise FormatError(f"importance must be a number and >= 0 (got {words[1]!r})")
    return "features", outcome(words[0] if words else None), without_zeros(features), importance


def _categorized(token: str) -> str:
    """Return a token, whose value may be a text as in VW 9, such as ``city:Lyon``, as ``city=Lyon`` without a value.

    >>> _categorized("city:Lyon"), _categorized("price:3"), _categorized("price:nan")
    ('city=Lyon', 'price:3', 'price:nan')
    """
    name, _, value = token.partition(":")
    if not (name and value) or ":" in value:
        return token
    try:
        float(value)
    except ValueError:
        return f"{name}={value}"
    return f"{name}={value}" if "_" in value else token  # 1_000, which Python reads as a number and VW doesn't
