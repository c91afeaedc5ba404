"""A trial: whether a function kills its process, found out in a child process with the same memory."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any

__all__ = ["run_in_child"]

POLL_SECONDS = 0.01


def run_in_child(function: Callable[[], Any], seconds: float) -> str | None:
    """Run a function in a child process, whose changes are lost; return in words how the child died, None if it did not.

    Parameters
    ----------
    function : callable
        It must leave alone what it shares with this process, such as connections, and must need no thread but its own: the
        child has no other.
    seconds : float
        The child is killed if it takes longer.

    >>> run_in_child(lambda: None, 10)
    >>> run_in_child(lambda: os.kill(os.getpid(), signal.SIGKILL), 10)
    'SIGKILL'
    """
    child = os.fork()
    if child == 0:
        _run_and_exit(function, seconds)
    status = None
    deadline = time.monotonic() + seconds
    try:
        while status is None and time.monotonic() < deadline:
            ended, ended_with = os.waitpid(child, os.WNOHANG)
            if ended:
                status = ended_with
            else:
                time.sleep(POLL_SECONDS)
    finally:
        if status is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if status is None:
        return f"no end within {seconds:g} s"
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return signal.Signals(-code).name
    return "an error that nothing caught" if code else None


def _run_and_exit(function: Callable[[], Any], seconds: float) -> None:
    code = 1
    with contextlib.suppress(BaseException):  # such as a MemoryError: whatever it is, it would have ended the worker
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)  # also when nobody is left to end it
        function()
        code = 0
    os._exit(code)
