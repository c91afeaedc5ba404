"""Notes of a model's processes: each says whether a process is starting, waiting, or running as the worker."""

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis

from learner.service.lease import process_ended, process_name
from learner.service.store.link import Link

__all__ = ["NOTE_SECONDS", "Processes", "readable"]

FIELDS = {"state": str, "host": str, "pid": int, "process": str, "since": float}  # of a note
NOTE_SECONDS = 86_400  # until notes expire after the last one was written


class Processes:
    """The notes of a model's processes, in the hash ``workers``: HSET, HDEL, HGETALL, EXPIRE.

    Parameters
    ----------
    link : Link
        The model's.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._name = secrets.token_hex(8)  # the field of this process's note

    def note(self, state: str | None) -> None:
        """Note that this process is ``starting``, ``waiting`` or ``running``; None removes its note.

        A note is no longer listed once its process is known to have ended; all notes expire a day after the last one was
        written. A worker whose access rules allow no notes works without them.
        """
        client, key = self._link.client, self._link.keys.workers
        note = {
            "state": state,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": process_name(),
            "since": round(time.time(), 3),
        }
        with contextlib.suppress(redis.exceptions.NoPermissionError):
            if state is None:
                client.hdel(key, self._name)
                return
            ended = [name for name, other in self._notes().items() if process_ended(other["process"])]
            if ended:
                client.hdel(key, *ended)
            client.hset(key, self._name, json.dumps(note))
            client.expire(key, NOTE_SECONDS)

    def list(self) -> Sequence[dict[str, Any]]:
        """Return the notes of the processes that are not known to have ended, the oldest first."""
        notes = [note for note in self._notes().values() if not process_ended(note["process"])]
        return sorted(notes, key=lambda note: float(note["since"]))

    def _notes(self) -> dict[str, dict[str, Any]]:
        return readable(cast("dict[bytes, bytes]", self._link.client.hgetall(self._link.keys.workers)))


def readable(notes: Mapping[bytes, bytes]) -> dict[str, dict[str, Any]]:
    r"""Return the notes in a hash that are as `Processes.note` writes them.

    >>> good = b'{"state": "running", "host": "here", "pid": 1, "process": "here 1", "since": 2.0}'
    >>> list(readable({b"a": good, b"b": b"\xff", b"c": b"[]", b"d": b"{}"}))
    ['a']
    """
    found: dict[str, dict[str, Any]] = {}
    for name, text in notes.items():
        with contextlib.suppress(ValueError, RecursionError):
            note = json.loads(text)
            if isinstance(note, dict) and all(isinstance(note.get(field), kind) for field, kind in FIELDS.items()):
                found[name.decode()] = note
    return found
