"""The examples of a file, or of anything that is read like one, as entries hold them: records or features, none too large."""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from learner.files import OnError, Packed
from learner.service.wire import MAX_ENTRY_BYTES, MAX_VALUE_BYTES

__all__ = ["Run", "runs"]

MAX_FEATURES_BYTES = MAX_ENTRY_BYTES - 1024  # of one example, as an entry has other fields, too


class Run(NamedTuple):
    """Consecutive examples of one kind, which a client's ``push_packed`` takes.

    Attributes
    ----------
    features : bool
        Whether they hold features rather than records.
    examples : iterator of bytes
        Packed.
    id : str or None
        The name of this part of the push.
    """

    features: bool
    examples: Iterator[bytes]
    id: str | None


def runs(
    examples: Iterable[Packed], on_error: OnError, identity: str | None = None, numbers: Iterator[int] | None = None
) -> Iterator[Run]:
    """Yield the runs of examples; those that an entry has no room for are errors.

    Parameters
    ----------
    examples : iterable of Packed
        As files hold them.
    on_error : callable
        Takes the place, a message and the raw bytes of an example that is too large.
    identity : str, optional
        The name of the push; those of its runs have a number after it.
    numbers : iterator of int, optional
        Of the runs, where one push has several files.
    """
    numbers = itertools.count() if numbers is None else numbers
    for kind, run in itertools.groupby(_small(examples, on_error), key=lambda example: example.kind):
        name = None if identity is None else f"{identity}/{next(numbers)}"
        yield Run(kind == "features", (example.data for example in run), name)


def _small(examples: Iterable[Packed], on_error: OnError) -> Iterator[Packed]:
    """Yield the examples that an entry has room for; report the others."""
    for example in examples:
        most = MAX_FEATURES_BYTES if example.kind == "features" else MAX_VALUE_BYTES
        if len(example.data) <= most:
            yield example
        else:
            on_error(
                example.where, f"{example.kind} must be at most {most} bytes (got {len(example.data)})", example.data
            )
