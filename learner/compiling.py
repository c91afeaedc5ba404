"""What a process of ours decides about compiling before there is a compiler: for which processor, and who is told of it.

A program that imports `learner.model` itself keeps numba's defaults, and nothing is printed.
"""

import os
import platform
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.status import Status

__all__ = ["Announcer", "choose_target", "prepare"]

# Fits every x86-64 processor since 2009. Measured beside the processor's own target, which has AVX-512 on many: the default
# model is 5% faster, one with a neural head as fast. And the machine code in an image fits wherever the image is started.
TARGET = "x86-64-v2"


def choose_target() -> None:
    """Compile for a common processor rather than for this one, unless the environment says which; before numba is imported."""
    if platform.machine() in ("x86_64", "AMD64") and "NUMBA_CPU_NAME" not in os.environ:
        os.environ["NUMBA_CPU_NAME"] = TARGET
        os.environ.setdefault("NUMBA_CPU_FEATURES", "")


class Announcer:
    """Says on standard error that loops are compiled, and how long it took; on a terminal a spinner shows that it goes on."""

    def __init__(self) -> None:
        self._told = False
        self._spinner: Status | None = None

    def started(self, name: str, folder: str) -> None:
        """Say that a function is being compiled, and where its machine code will be kept."""
        if not self._told:
            self._told = True
            print(
                f"compiling the loops for this machine: 10 to 40 seconds, once; they are kept in {folder}",
                file=sys.stderr,
                flush=True,
            )
        if sys.stderr.isatty():
            from rich.console import Console

            self._spinner = Console(stderr=True).status(f"compiling {name} ...")
            self._spinner.start()

    def ended(self, name: str, seconds: float | None) -> None:
        """Say how long it took; nothing when it was broken off."""
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None
        if seconds is not None:
            print(f"compiled {name} in {seconds:.1f} s", file=sys.stderr, flush=True)


announcer: Any = None  # an `Announcer`, where there is somebody to tell


def prepare() -> None:
    """Do what every process of ours does before it imports numba: choose the target, and tell people."""
    global announcer
    choose_target()
    announcer = Announcer()
