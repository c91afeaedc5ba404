"""Messages for people: one printable line each, and a standard error that stops nobody."""

import contextlib
import select
import sys

__all__ = ["MAX_MESSAGE", "one_line", "tell"]

MAX_MESSAGE = 2000  # characters
MAX_TOLD = 1000  # characters, which a pipe that takes any bytes takes without waiting


def one_line(text: str, most: int = MAX_MESSAGE) -> str:
    r"""Return a text as one line that a terminal shows as it is: cut, and with escapes for what is not printable.

    Strangers choose parts of messages. Terminals obey control characters, and UTF-8 has no form for lone surrogates.

    >>> print(one_line("a\x1b[2J\nb"), one_line("x" * 100, most=10), one_line("né"))
    a\x1b[2J\nb xxxxxxx... né
    """
    if len(text) > most:
        text = text[: most - 3] + "..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def tell(text: str) -> None:
    """Write a line to the standard error; leave it out if that is closed, full, or a pipe that nobody reads at the moment."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None and _has_room():
            sys.stderr.write(one_line(text, MAX_TOLD) + "\n")
            sys.stderr.flush()


def _has_room() -> bool:
    """Tell whether the standard error takes a line without waiting."""
    try:
        file = sys.stderr.fileno()
    except OSError:  # it is no file, but a buffer of this process
        return True
    return bool(select.select([], [file], [], 0)[1])
