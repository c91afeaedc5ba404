"""How a file is read, whatever its format, and what is said of a target that no example can have."""

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from learner.errors import FormatError
from learner.files.profile import Profile

__all__ = ["READING", "Reading", "missing_target"]

SHOWN_NAMES = 20  # in a message


def _say_nothing(note: Any) -> None:
    """Drop a note."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read, whatever its format.

    Attributes
    ----------
    columns : tuple of str, optional
        The names of a table's columns if its first line is data. An empty tuple: they are named c1, c2, ...
    encoding : str, optional
        A text file's encoding, as Python names it. By default UTF-8, or UTF-16 or UTF-32 if a mark at the beginning says so.
    kinds : mapping, optional
        The kinds of a model's columns (see `featurizers.columns`): then a table's cells stay texts, for its featurizer to read.
        By default the kinds are decided on a table's first rows (see `learner.files.profile`), and numbers become numbers.
    on_kinds : callable
        Called once with the profiles of a table's columns, the target's among them, if the kinds were decided.
    others : Counter, optional
        Counts a table's values that are not of their column's kind, by (the column's name, the kind).
    needs_target : bool
        Whether a table without the target's column, or objects without its key, are refused before the first example.
    on_note : callable
        Called once for what was decided about the whole file, such as names for columns that have none.
    """

    columns: tuple[str, ...] | None = None
    encoding: str | None = None
    kinds: Mapping[str, Any] | None = None
    on_kinds: Callable[[dict[str, Profile]], None] = _say_nothing
    others: Counter[tuple[str, str]] | None = None
    needs_target: bool = False
    on_note: Callable[[str], None] = _say_nothing


READING = Reading()


def missing_target(rule: str, names: Collection[str], target: str) -> FormatError:
    """Return the error of a target that is none of a file's names, with the name that was probably meant.

    >>> print(missing_target("a column of the file", ["a", "b", "late"], "Late"))
    target must be a column of the file: a, b, late (got 'Late'; did you mean 'late'?)
    """
    shown = ", ".join(list(names)[:SHOWN_NAMES])
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    near = _nearest(names, target)
    meant = f"; did you mean {near!r}?" if near is not None else ": see --target"
    return FormatError(f"target must be {rule}: {shown}{more} (got {target!r}{meant})")


def _nearest(names: Collection[str], target: str) -> str | None:
    """Return the name that equals a target but for case and blanks, or else the most similar one; None if none is similar."""
    by_fold = {name.strip().casefold(): name for name in names}
    near = difflib.get_close_matches(target.strip().casefold(), by_fold, n=1)
    return by_fold[near[0]] if near else None
