"""Many values, some at a time."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["pages"]

T = TypeVar("T")


def pages(values: Iterable[T], n: int) -> Iterator[list[T]]:
    """Yield values in lists of `n`, the last one maybe shorter.

    >>> list(pages("abc", 2))
    [['a', 'b'], ['c']]
    """
    page: list[T] = []
    for value in values:
        page.append(value)
        if len(page) == n:
            yield page
            page = []
    if page:
        yield page
