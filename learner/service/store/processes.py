"""Notes of a model's processes: each says whether a process starts, waits, works or has stopped, and when it was last seen.

A process that waits or works renews its note every few seconds, with the server's time, so that no two clocks are compared.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import redis

from learner.messages import one_line
from learner.service.lease import process_ended, process_name
from learner.service.store.link import Link

__all__ = [
    "ALIVE_SECONDS",
    "NOTE_SECONDS",
    "SEEN_SECONDS",
    "Answerers",
    "Processes",
    "listed",
    "living",
    "readable",
    "server_time",
]

FIELDS: dict[str, Any] = {"state": str, "host": str, "pid": int, "process": str, "since": int | float}  # of a note
MORE: dict[str, Any] = {  # that a note may have
    "seen": int | float,
    "code": int,
    "reason": str,
    "commit": int,
    "committed": int | float,
}
NOTE_SECONDS = 86_400  # until notes expire after the last one was written
SEEN_SECONDS = 5.0  # between two notes of a process that waits or works
SIGN_SECONDS = 1.0  # between two notes of an answerer
ALIVE_SECONDS = 3.0  # of silence, after which an answerer counts as dead
GONE_SECONDS = 3600.0  # of silence, after which a process on another machine counts as ended
MAX_ENDED = 3  # notes kept of processes that have ended
MAX_REASON = 500  # characters kept of why a process stopped


class Processes:
    """The notes of a model's processes, in the hash ``workers``: HSET, HDEL, HGETALL, EXPIRE; TIME; GET of ``spec``.

    A worker whose access rules allow no notes works without them.

    Parameters
    ----------
    link : Link
        The model's.

    Attributes
    ----------
    state : str or None
        What this process noted last; None: nothing yet.
    name : str
        The field of its note.
    figures : dict
        What its notes say, too.
    """

    seconds = SEEN_SECONDS

    def __init__(self, link: Link) -> None:
        self.state: str | None = None
        self.name = secrets.token_hex(8)
        self.figures: dict[str, Any] = {}
        self._link = link
        self._note: dict[str, Any] = {}
        self._noted_at = 0.0
        self._noting = threading.Lock()  # the heart renews the note while the loop may change it

    def note(self, state: str, code: int | None = None, reason: str = "") -> None:
        """Note that this process is ``starting``, ``waiting``, ``running``, ``answering_only`` or ``stopped``.

        Parameters
        ----------
        state : str
            The state.
        code, reason : int, str
            Of one that stopped: its exit code, and why.
        """
        with self._noting:
            self.state = state
            self._note = {
                "state": state,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "process": process_name(),
                "since": round(time.time(), 3),
            }
            if code is not None:
                self._note |= {"code": code, "reason": one_line(reason, MAX_REASON)}
            self._write()

    def renew_if_due(self) -> bool:
        """Say that this process is still what it noted last, unless it did so just now; return whether it was time."""
        if is_due := self.is_due:
            with self._noting:
                self._write()
        return is_due

    def renewed(self, now: float) -> tuple[str, str]:
        """Return the name and the text of the note that says so, at a time by the server's clock, for whoever writes it."""
        with self._noting:
            self._noted_at = time.monotonic()
            return self.name, json.dumps(self._note | {"seen": round(now, 3)})

    @property
    def is_due(self) -> bool:
        """Whether it is time to say so."""
        return time.monotonic() - self._noted_at > self.seconds

    def _write(self) -> None:
        """Write the note of this process, and remove those of processes that have ended, but for the last ones."""
        client, key = self._link.client, self._key
        self._noted_at = time.monotonic()
        with contextlib.suppress(redis.exceptions.NoPermissionError):
            with client.pipeline(transaction=False) as pipe:
                pipe.get(self._link.keys.spec)
                pipe.hgetall(key)
                spec, notes = pipe.execute()
            if self.state == "stopped" and spec is None:
                return  # the model is gone, and with it its keys
            now = server_time(client)
            ended = {
                name: note for name, note in readable(notes).items() if name != self.name and _has_ended(note, now)
            }
            with client.pipeline(transaction=False) as pipe:
                if over := sorted(ended, key=lambda name: ended[name]["seen"])[:-MAX_ENDED]:
                    pipe.hdel(key, *over)
                pipe.hset(key, self.name, json.dumps(self._note | self.figures | {"seen": round(now, 3)}))
                pipe.expire(key, NOTE_SECONDS)
                pipe.execute()

    def list(self, now: float | None = None) -> Sequence[dict[str, Any]]:
        """Return the notes, the oldest first, each with the seconds since it was written as ``silent``.

        The state of a process that is known to have ended without a word is ``dead``.

        Parameters
        ----------
        now : float, optional
            The server's time.
        """
        now = server_time(self._link.client) if now is None else now
        return listed(self._link.client.hgetall(self._key), now)

    @property
    def _key(self) -> str:
        return self._link.keys.workers


class Answerers(Processes):
    """The notes of a model's answerers, in the hash ``answerers``: renewed every second, each with the commit that it has."""

    seconds = SIGN_SECONDS

    def n_living(self, now: float) -> int:
        """Return how many answerers live, by the server's time."""
        return len(living(self.list(now)))

    def dead(self, names: Iterable[str]) -> set[str]:
        """Return those of some answerers that have no note, stopped, or are silent or known to have ended."""
        notes, now = readable(self._link.client.hgetall(self._key)), server_time(self._link.client)
        alive = {
            name
            for name, note in notes.items()
            if note["state"] == "running" and now - note["seen"] <= ALIVE_SECONDS and not process_ended(note["process"])
        }
        return set(names) - alive

    @property
    def _key(self) -> str:
        return self._link.keys.answerers


def living(answerers: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return those of the notes of answerers that are of living ones."""
    return [note for note in answerers if note["state"] == "running" and note["silent"] <= ALIVE_SECONDS]


def listed(notes: Any, now: float) -> list[dict[str, Any]]:
    """Return the notes in a hash as `Processes.list` does."""
    found = []
    for note in readable(notes).values():
        is_dead = note["state"] != "stopped" and process_ended(note["process"])
        state = {"state": "dead"} if is_dead else {}
        found.append(note | state | {"silent": max(round(now - note["seen"], 3), 0.0)})
    return sorted(found, key=lambda note: float(note["since"]))


def _has_ended(note: Mapping[str, Any], now: float) -> bool:
    return note["state"] == "stopped" or now - note["seen"] > GONE_SECONDS or process_ended(note["process"])


def server_time(client: redis.Redis) -> float:
    """Return the Unix time in seconds by the server's clock; by this machine's where the access rules forbid TIME."""
    try:
        seconds, microseconds = client.time()
    except redis.exceptions.NoPermissionError:
        return time.time()
    return seconds + microseconds / 1e6


def readable(notes: Any) -> dict[str, dict[str, Any]]:
    r"""Return the notes in a hash that are as `Processes.note` writes them; older versions wrote no ``seen``.

    >>> good = b'{"state": "running", "host": "here", "pid": 1, "process": "here 1", "since": 2.0}'
    >>> readable({b"a": good, b"b": b"\xff", b"c": b"[]", b"d": b"{}"})
    {'a': {'state': 'running', 'host': 'here', 'pid': 1, 'process': 'here 1', 'since': 2.0, 'seen': 2.0}}
    """
    found: dict[str, dict[str, Any]] = {}
    for name, text in notes.items():
        with contextlib.suppress(ValueError, RecursionError):
            note = json.loads(text)
            if not (
                isinstance(note, dict) and all(isinstance(note.get(field), kind) for field, kind in FIELDS.items())
            ):
                continue
            more = {field: note[field] for field, kind in MORE.items() if isinstance(note.get(field), kind)}
            found[name.decode()] = {field: note[field] for field in FIELDS} | {"seen": note["since"]} | more
    return found
