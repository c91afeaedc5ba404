"""How a process of the service starts: its log, what it says while it compiles, and signals before there is any work."""

import signal
import sys
from collections.abc import Callable

from learner import compiling
from learner.service import log

__all__ = ["GARBAGE_OBJECTS", "set_up"]

GARBAGE_OBJECTS = 50_000  # new ones until garbage is looked for: a thousand entries are four thousand, and no garbage


def set_up(log_format: str, tell: Callable[[str], None]) -> None:
    """Choose the log's format, have `tell` say what is compiled, and let a signal end the process, as nothing is done yet."""
    log.choose_format(log_format)
    compiling.announcer = compiling.Announcer(tell)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
