"""Whether a model's owner is alive: the heart that says so, and how a worker that waits for its place finds out.

The owner changes a key every fifth of its lease. A worker that waits takes over when the key has not changed for the whole
lease while the server answered. That is an interval on the clock of the worker that waits: no two clocks are compared, and a
server that is paused or away costs nobody the lease. The end of a process on the same machine is known at once. Taking over a
model whose owner is still alive does no harm: that owner is fenced (see `learner.service.store`).
"""

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Protocol

__all__ = [
    "BEATS",
    "LEASE_SECONDS",
    "Beating",
    "Heart",
    "Heartbeat",
    "Silence",
    "heart_of",
    "process_ended",
    "process_name",
]

LEASE_SECONDS = 5.0
BEATS = 5  # in a lease
BEAT_SHARE = 0.5  # of a lease: what the beats of all owners may take together where each one waits for confirmations


class Silence:
    """How long a sign of life has not changed, as seen by whoever waits.

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


class Beating(Protocol):
    """What a heart beats for."""

    def beat(self, seconds: float) -> None:
        """Say that an owner lives, and wait at most so long for confirmations; raise when it must not go on."""


class Heartbeat:
    """One owner's part in the heart of its process.

    Parameters
    ----------
    owner : Beating
        Whose.
    lease_seconds : float
        Its lease.

    Attributes
    ----------
    problem : Exception or None
        Raised by its last beat: this owner beats no more, and must not go on.
    """

    def __init__(self, owner: Beating, lease_seconds: float) -> None:
        self.owner = owner
        self.lease_seconds = lease_seconds
        self.problem: Exception | None = None
        self._due = time.monotonic()

    def beat(self, seconds: float) -> None:
        """Beat once, and say when the next beat is due; keep the error if there is one."""
        started = time.monotonic()
        try:
            self.owner.beat(seconds)
        except Exception as error:  # noqa: BLE001  (raised by the owner's own loop: no other owner is to suffer)
            self.problem = error
        self._due = max(started + self.lease_seconds / BEATS, time.monotonic())

    def wait_seconds(self) -> float:
        """Return in how many seconds its next beat is due; negative: it is late."""
        return self._due - time.monotonic()


class Heart:
    """One thread that beats for many owners, `BEATS` times in the lease of each; `heart_of` returns the heart for a server.

    The thread lives while there are owners. The owner whose beat is due first comes first, so between two beats of an owner
    every other owner that is late has its turn. A beat blocks the others for as long as the server takes to answer, at most the
    timeouts of its connection (see `learner.service.store.connection.client`). While a server hangs nobody can take over a
    model on it. Waiting for confirmations adds half a lease at most: the owners share that time.

    Examples
    --------
    >>> class Owner:
    ...     def __init__(self): self.beaten = threading.Event()
    ...     def beat(self, seconds): self.beaten.set()
    >>> heart, owner = Heart(), Owner()
    >>> heartbeat = heart.add(owner, lease_seconds=5.0)
    >>> owner.beaten.wait(10)
    True
    >>> heart.remove(heartbeat)
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heartbeats: list[Heartbeat] = []
        self._beating: Heartbeat | None = None
        self._thread: threading.Thread | None = None

    def add(self, owner: Beating, lease_seconds: float) -> Heartbeat:
        """Beat for one more owner, which has this lease, from now on until `remove`, or until its beat raises."""
        heartbeat = Heartbeat(owner, lease_seconds)
        with self._changed:
            self._heartbeats.append(heartbeat)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
                self._thread.start()
        return heartbeat

    def remove(self, heartbeat: Heartbeat, wait: bool = True) -> None:
        """Beat no more for an owner; wait for a beat that is on its way, if it takes no longer than a beat may."""
        with self._changed:
            with contextlib.suppress(ValueError):  # its problem has removed it
                self._heartbeats.remove(heartbeat)
            self._changed.notify_all()
            if wait:
                self._changed.wait_for(lambda: self._beating is not heartbeat, heartbeat.lease_seconds / BEATS)

    def _run(self) -> None:
        while heartbeat := self._next():
            heartbeat.beat(BEAT_SHARE * heartbeat.lease_seconds / max(len(self._heartbeats), 1))
            with self._changed:
                self._beating = None
                if heartbeat.problem and heartbeat in self._heartbeats:
                    self._heartbeats.remove(heartbeat)
                self._changed.notify_all()

    def _next(self) -> Heartbeat | None:
        """Wait until a beat is due, and return whose it is; None ends the thread, as nobody is left."""
        with self._changed:
            while self._heartbeats:
                heartbeat = min(self._heartbeats, key=Heartbeat.wait_seconds)
                seconds = heartbeat.wait_seconds()
                if seconds <= 0.0:
                    self._beating = heartbeat
                    return heartbeat
                self._changed.wait(seconds)
            self._thread = None
            return None


_hearts: dict[str, Heart] = {}  # of this process, by the address of the server


def heart_of(server: str) -> Heart:
    """Return the heart that beats for all owners in this process whose models are on one server.

    Each server has a heart of its own, so that a server that hangs delays the signs of life on no other server.

    >>> heart_of("localhost:6379") is heart_of("localhost:6379") is not heart_of("localhost:6380")
    True
    """
    return _hearts.setdefault(server, Heart())


def process_name(pid: int | None = None) -> str:
    """Return a name that no other process ever has (boot, process namespace, pid, start); "" where Linux isn't."""
    pid = pid or os.getpid()
    stat = _stat(pid)
    if stat is None:
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()} {pid} {stat[1]}"


def process_ended(name: str) -> bool:
    """Tell whether a process is known to have ended: False, too, where that can't be seen, as on another machine."""
    words = name.split()
    if len(words) != 4 or words[:2] != process_name().split()[:2] or not words[2].isdecimal():
        return False
    pid, start = words[2:]
    try:
        os.kill(int(pid), 0)  # which, unlike /proc, also finds processes that are hidden from us
    except (ProcessLookupError, OverflowError):  # no pid is so large
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
