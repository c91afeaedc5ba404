"""How commands end: errors as one line, and exit codes. It imports next to nothing, as ``--help`` needs it, too."""

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from learner.errors import LearnerError
from learner.messages import one_line

__all__ = ["errors_as_lines"]

CLOSED_PIPE = 141  # the exit code when nobody reads the output any more, as the shell has it for other programs
UNWRITABLE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EBADF,
    errno.EPIPE,
)  # what writing an output raises


def errors_as_lines(function: Callable[..., Any]) -> Callable[..., Any]:
    """Print an error that a user can mend as one line, and exit with its code; output that can't be written is one, too."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            try:
                return function(*args, **kwargs)
            finally:
                if sys.stdout is not None:  # it is where a command was started without one
                    sys.stdout.flush()  # here, as Python's own flush at exit would end in a traceback
        except LearnerError as error:
            _fail(str(error), error.exit_code)
        except OSError as error:
            if error.filename is not None or error.errno not in UNWRITABLE:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python flushes at exit
            if error.errno == errno.EPIPE:
                sys.exit(CLOSED_PIPE)
            _fail(f"output can't be written ({error.strerror})", 2)
        except Exception as error:
            kinds = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
            if "redis" not in kinds:  # by name, because importing redis takes time
                raise
            _fail(f"server: {error}", 2)

    return wrapped


def _fail(message: str, code: int) -> NoReturn:
    """Exit with a code after an error as one line."""
    with contextlib.suppress(OSError):  # the standard error can't be written either
        click.echo(f"Error: {one_line(message)}", err=True)
    sys.exit(code)
