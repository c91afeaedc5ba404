"""What servers and files keep of models may be damaged, or written by a stranger: it is checked before it is used."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from learner.errors import SpecError, StoreError, show

__all__ = ["require_readable", "require_spec"]

DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)


@contextmanager
def require_readable(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever decoding raises at damaged data, in a block, into one error.

    Raises
    ------
    StoreError
        When the block raises such an error; one of our own passes through.

    >>> with require_readable("state of 'm'", "restore the server's data"):
    ...     int("x")
    Traceback (most recent call last):
        ...
    learner.errors.StoreError: state of 'm' was damaged or written by something else: ValueError: invalid literal for int()
    with base 10: 'x'; restore the server's data
    """
    try:
        yield
    except DAMAGE as error:
        words = " ".join(str(error).split())[:200]
        raise StoreError(
            f"{what} was damaged or written by something else: {type(error).__name__}: {words}; {remedy}"
        ) from error


def require_spec(data: Any) -> dict[str, Any]:
    """Return the data of a stored spec, once it is sure to name no file that would be opened.

    Raises
    ------
    SpecError
        When it is no spec, or its featurizer is a name or a path instead of data.

    >>> require_spec({"task": "binary", "loss": "logistic", "featurizer": "/etc/learner.toml"})
    Traceback (most recent call last):
        ...
    learner.errors.SpecError: featurizer of a stored spec must be a map of its templates (got '/etc/learner.toml')
    """
    if not isinstance(data, dict):
        raise SpecError(f"spec must be a map of names to values (got {show(data)})")
    for name in data.keys() & {"task", "loss"}:
        if not isinstance(data[name], str) or not data[name].isidentifier():
            raise SpecError(f"{name} of a stored spec must be a name (got {show(data[name])})")
    if not isinstance(data.get("featurizer"), dict | None):
        raise SpecError(f"featurizer of a stored spec must be a map of its templates (got {show(data['featurizer'])})")
    return data
