"""libsvm's text, ``[label] index:value ... # comment``: features are named by their index, ``qid:`` is skipped."""

import io
from collections.abc import Iterator

from learner.errors import FormatError
from learner.files.example import Example, OnError, Packed, pack_units
from learner.files.reading import Reading
from learner.files.source import lines
from learner.files.values import add_tokens, outcome, without_zeros

__all__ = ["read"]


def read(stream: io.BufferedReader, target: str, how: Reading, on_error: OnError) -> Iterator[Packed]:
    """Yield the examples of a stream; `target` and `how` are not used."""
    return pack_units(lines(stream), _parse, on_error)


def _parse(line: bytes) -> Example | None:
    words = line.decode().partition("#")[0].split()
    if not words:
        return None
    label = None if ":" in words[0] else words.pop(0)
    pairs = [word for word in words if not word.startswith("qid:")]
    for pair in pairs:
        if ":" not in pair:
            raise FormatError(f"must be index:value (got {pair!r})")
    features: dict[str, float] = {}
    add_tokens(features, pairs)
    return "features", outcome(label), without_zeros(features), 1
