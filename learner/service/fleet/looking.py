"""What a fleet's process sees of the others: models that nobody works, and the notes of the other processes."""

import fnmatch
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import redis

from learner.service.fleet.vacancies import Vacancies
from learner.service.store import connection, fleets, registry
from learner.service.wire import FLEET

if TYPE_CHECKING:
    from learner.service.store.link import Lines
    from learner.service.store.ownership import Owner

__all__ = ["Looking", "Seen"]

NAMES_SECONDS = 3.0  # between two looks at the names of all models


class Seen(NamedTuple):
    """What a look has shown.

    Parameters
    ----------
    vacant : mapping of str to Owner
        The models that nobody works, with their last owners.
    left : set of str
        Those of them that all processes have left alone for a while.
    others : list of Note
        The notes of the other processes, those of other patterns, too.
    """

    vacant: "Mapping[str, Owner]"
    left: set[str]
    others: list[fleets.Note]


class Looking:
    """Looks at models and processes, in a thread of its own.

    Parameters
    ----------
    pattern : str
        Which models the fleet is for.
    lines : Lines
        Of the process's models.
    say : callable
        Writes an event, a text and a level into the log.
    """

    def __init__(self, pattern: str, lines: "Lines", say: Callable[[str, str, str], None]) -> None:
        self._pattern = pattern
        self._say = say
        self._vacancies = Vacancies(lines)
        self._named: set[str] = set()
        self._named_at = -NAMES_SECONDS

    def look(self, client: Any, own: set[str], note: fleets.Note) -> Seen:
        """Look, and write this process's note; `own` are the models that it works, or is not to take."""
        if time.monotonic() - self._named_at >= NAMES_SECONDS:
            self._named_at = time.monotonic()
            self._named = set(fnmatch.filter(registry.registered(client), self._pattern))
        vacant = self._vacancies.look(client, sorted(self._named - own))
        return Seen(vacant, self._vacancies.left(), self._others(client, note))

    def _others(self, client: Any, note: fleets.Note) -> list[fleets.Note]:
        """Write this process's note, and return those of the others; none, if there can't be notes."""
        try:
            fleets.write_note(client, note)
            notes = fleets.notes(client)
        except redis.ResponseError as error:
            if connection.passing_trouble(error):
                raise
            self._say("unshared", f"can't know of others: key {FLEET} must be readable and a hash ({error})", "error")
            return []
        return [each for each in notes if each.name != note.name]
