"""Whether a model's owner is alive: what a worker that waits for its place goes by, and the beat of the one that works.

The owner changes a key every fifth of its lease. Who waits takes over when the key has not changed for the whole lease while
the server answered: an interval on the clock of the one who waits, so no two clocks are compared, and a server that is paused
or away costs nobody the lease. A process of the same machine that has ended is known at once. Neither can harm: whoever is
replaced while it lives is fenced (see `learner.service.store`).
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from learner.errors import LearnerError

__all__ = ["BEATS", "LEASE_SECONDS", "Heartbeat", "Silence", "process_ended", "process_name"]

LEASE_SECONDS = 5.0
BEATS = 5  # in a lease


class Silence:
    """How long a sign of life has not changed, as seen from here.

    >>> silence = Silence()
    >>> silence.seconds(b"1", now=10.0), silence.seconds(b"1", now=14.0), silence.seconds(b"2", now=15.0)
    (0.0, 4.0, 0.0)
    """

    def __init__(self) -> None:
        self._sign: object = None
        self._since = 0.0

    def seconds(self, sign: object, now: float) -> float:
        """Return for how many seconds the sign has been the same."""
        if sign != self._sign:
            self._sign, self._since = sign, now
        return now - self._since

    def break_off(self) -> None:
        """Count anew: nothing could be seen meanwhile."""
        self._sign = None


class Heartbeat(threading.Thread):
    """Calls `beat` BEATS times a lease until `close`, or until it raises a `LearnerError`, which is kept as `problem`.

    Parameters
    ----------
    beat : callable
        Says that this worker lives; raises when it must not go on.
    lease_seconds : float
        The lease.
    """

    def __init__(self, beat: Callable[[], None], lease_seconds: float) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._beat = beat
        self._seconds = lease_seconds / BEATS
        self._closed = threading.Event()
        self.problem: LearnerError | None = None

    def run(self) -> None:
        """Beat."""
        while not self._closed.is_set():
            started = time.monotonic()
            try:
                self._beat()
            except LearnerError as error:
                self.problem = error
                return
            self._closed.wait(max(self._seconds - (time.monotonic() - started), 0.0))

    def close(self, wait: bool = True) -> None:
        """Beat no more; wait for a beat that is on its way, if it doesn't take long."""
        self._closed.set()
        if wait and self.is_alive():
            self.join(self._seconds)


def process_name(pid: int | None = None) -> str:
    """Return what names a process of this machine for good (boot, process namespace, pid, start); "" where Linux isn't."""
    pid = pid or os.getpid()
    stat = _stat(pid)
    if stat is None:
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()} {pid} {stat[1]}"


def process_ended(name: str) -> bool:
    """Tell whether a process is known to have ended: False, too, where that can't be seen, as on another machine."""
    mine = process_name()
    if not name or name.split()[:2] != mine.split()[:2]:
        return False
    pid, start = name.split()[2:]
    try:
        os.kill(int(pid), 0)  # which, unlike /proc, also tells of processes that are hidden from us
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    stat = _stat(int(pid))
    return stat is not None and (stat[0] in "ZX" or stat[1] != start)


def _stat(pid: int) -> tuple[str, str] | None:
    """Return a process's state and its start in clock ticks since boot; see proc_pid_stat(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], fields[19]
