"""Notes of a model's processes: each says whether a process is starting, waiting, or running as the worker."""

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Sequence
from typing import Any, cast

import redis

from learner.service.lease import process_ended, process_name
from learner.service.store.link import Link

__all__ = ["NOTE_SECONDS", "Processes"]

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
        notes = cast("dict[bytes, bytes]", self._link.client.hgetall(self._link.keys.workers))
        return {name.decode(): json.loads(note) for name, note in notes.items()}
