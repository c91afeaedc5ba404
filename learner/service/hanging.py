"""Hangs are deaths: a record that takes too long ends the process, as one that crashes it does.

A pattern that backtracks runs in C, where neither threads nor signal handlers of Python have their turn. So the kernel ends the
process, by the signal SIGPROF, once the processor has worked on one record for `RECORD_SECONDS`. What follows is the same as
after a crash (see `learner.service.recovery`). A machine that is busy, or sleeps, ends nothing.
"""

import signal
from collections.abc import Callable
from typing import Any

__all__ = ["RECORD_SECONDS", "or_die"]

RECORD_SECONDS = 3.0  # of the processor's time, to make one record's features: others take milliseconds


def or_die(pack: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    r"""Return a function that does the same, but ends the process when it takes longer than `RECORD_SECONDS`.

    >>> or_die(bytes)([1])
    b'\x01'
    """

    def limited(record: Any) -> bytes:
        signal.setitimer(signal.ITIMER_PROF, RECORD_SECONDS)
        try:
            return pack(record)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)

    return limited
