"""How the project's own processes compile: for which processor, and with messages for people. Set before numba is imported.

A program that imports `learner.model` itself keeps numba's defaults, and nothing is printed.
"""

import os
import platform
import sys
from typing import TYPE_CHECKING, Any

from learner import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.status import Status

__all__ = ["Announcer", "choose_target", "prepare"]

# Runs on every x86-64 processor since 2009. Compared with the processor's own target, which on many has AVX-512, the default
# model is 5% faster, and one with a neural head as fast. Machine code in a container image then runs on any host.
TARGET = "x86-64-v2"


def choose_target() -> None:
    """Compile for a common processor rather than this one, unless NUMBA_CPU_NAME is set. Call it before numba is imported."""
    if platform.machine() in ("x86_64", "AMD64") and "NUMBA_CPU_NAME" not in os.environ:
        os.environ["NUMBA_CPU_NAME"] = TARGET
        os.environ.setdefault("NUMBA_CPU_FEATURES", "")


class Announcer:
    """Says what is being compiled, and how long it took; on a terminal it also shows a spinner.

    Parameters
    ----------
    tell : callable
        Gets what is said; by default it prints it to standard error.
    """

    def __init__(self, tell: "Callable[[str], None]" = messages.tell) -> None:
        self._tell = tell
        self._told = False
        self._spinner: Status | None = None

    def started(self, name: str, fate: str) -> None:
        """Print that a function is being compiled, and in words what becomes of its machine code."""
        if not self._told:
            self._told = True
            self._tell(f"compiling the loops for this machine: 10 to 40 seconds; {fate}")
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console

            self._spinner = Console(stderr=True).status(f"compiling {name} ...")
            self._spinner.start()

    def ended(self, name: str, seconds: float | None) -> None:
        """Print how long compiling took; None means that it failed, and prints nothing."""
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None
        if seconds is not None:
            self._tell(f"compiled {name} in {seconds:.1f} s")


announcer: Any = None  # an `Announcer` in the project's own processes, else None


def prepare() -> None:
    """Choose the target and set up the messages; the project's own processes call this before they import numba."""
    global announcer
    choose_target()
    announcer = Announcer()
