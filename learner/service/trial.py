"""A trial: does something kill the process that does it? Found out in a child process with the same memory."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any

__all__ = ["how_it_ends"]

POLL_SECONDS = 0.01


def how_it_ends(function: Callable[[], Any], seconds: float) -> str | None:
    """Run a function in a child process, whose changes are lost, and return what became of the process: None if it lived.

    Parameters
    ----------
    function : callable
        It must leave alone what it shares with this process, such as connections.
    seconds : float
        It is killed if it takes longer.

    >>> how_it_ends(lambda: None, 10)
    >>> how_it_ends(lambda: os.kill(os.getpid(), signal.SIGKILL), 10)
    'SIGKILL'
    """
    process = os.fork()
    if process == 0:
        code = 1
        with contextlib.suppress(
            BaseException
        ):  # such as a MemoryError: whatever it is, it would have ended the worker
            for each in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
                signal.signal(each, signal.SIG_DFL)
            function()
            code = 0
        os._exit(code)
    status: int | None = None
    deadline = time.monotonic() + seconds
    try:
        while status is None and time.monotonic() < deadline:
            ended, found = os.waitpid(process, os.WNOHANG)
            status = found if ended else None
            if status is None:
                time.sleep(POLL_SECONDS)
    finally:
        if status is None:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    if status is None:
        return f"no end within {seconds:g} s"
    code = os.waitstatus_to_exitcode(status)
    return None if code == 0 else signal.Signals(-code).name if code < 0 else "an error that nothing caught"
