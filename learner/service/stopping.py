"""How a worker's process ends: signals, the last commit, and a note of the code and the reason, for the log and for status."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import redis

from learner.errors import LearnerError
from learner.service import log
from learner.service.store import Store

__all__ = ["STOP_SECONDS", "note_stop", "noting_errors", "stop_on_signals"]

STOP_SECONDS = 3.5  # after a signal, for the last commit


def stop_on_signals(
    model: str, stop: Callable[[], None], n_uncommitted: Callable[[], int], seconds: float = STOP_SECONDS
) -> None:
    """Have the first signal stop the worker after a last commit, within some seconds; a second one ends it at once.

    Parameters
    ----------
    model : str
        The model's name, or the fleet's.
    stop : callable
        Tells the worker to stop.
    n_uncommitted : callable
        The number of entries learned that would be lost with the process.
    """

    def first(number: int, frame: Any) -> None:
        stop()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def too_late(number: int, frame: Any) -> None:
        n, code = n_uncommitted(), 0
        if n:
            code = LearnerError.exit_code
            rule = f"they could not be committed within {seconds:g} s of the signal"
            text = f"stopped with code {code}: {n} entries learned must be learned again: {rule}"
            log.event(model, "stop", text, "error", code=code, uncommitted=n)
        os._exit(code)  # whatever runs now could catch what is raised here, as a `__del__` does

    signal.signal(signal.SIGTERM, first)
    signal.signal(signal.SIGINT, first)
    signal.signal(signal.SIGALRM, too_late)


def note_stop(store: Store, code: int, reason: str) -> None:
    """Say in the log and in status with which code this process ends, and why."""
    log.event(store.keys.model, "stop", f"stopped with code {code}: {reason}", "error" if code else "info", code=code)
    with contextlib.suppress(redis.RedisError):
        store.processes.note("stopped", code, reason)


@contextlib.contextmanager
def noting_errors(store: Store) -> Iterator[None]:
    """Note what ends the process in a block, once the process has noted that it starts."""
    try:
        yield
    except BaseException as error:
        if store.processes.state in (None, "stopped"):
            raise
        if isinstance(error, SystemExit):
            note_stop(store, 0, "asked to stop while it started")
            raise
        if isinstance(error, LearnerError | redis.RedisError):
            code = getattr(error, "exit_code", LearnerError.exit_code)
            note_stop(store, code, str(error) if isinstance(error, LearnerError) else f"server: {error}")
            sys.exit(code)
        note_stop(store, 1, f"{type(error).__name__}: {error}")
        raise
