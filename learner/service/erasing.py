"""Erasing what is kept of a person: entries by their ids, features by their names.

It goes through all keys of a model, and of the candidates beside it.

The weights that an entry has changed stay as they are: what was learned from one example can't be told from what was learned
from the others. What names a person goes: entries, kept answers, and features whose names contain something of a person, with
their weights.
"""

import contextlib
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from learner.learners import sweeping
from learner.service.beside import PREFIX
from learner.service.committing import figures_of
from learner.service.lease import LEASE_SECONDS, heart_of
from learner.service.store import Store, candidates, connection, erasing, snapshots

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Wanted", "erase"]

MIN_TEXT_BYTES = 3  # of a feature's value, to look for it in entries
MOST_FOUND = 100  # entries that are named


@dataclass(frozen=True)
class Wanted:
    """What to erase.

    Parameters
    ----------
    entries, ids : collection of str
        Ids of the stream's entries, and ids that producers and askers chose, also for many examples at once.
    features, prefixes : collection of str
        Names of features, and beginnings of names.
    """

    entries: Collection[str] = ()
    ids: Collection[str] = ()
    features: Collection[str] = ()
    prefixes: Collection[str] = ()

    def has_entry(self, entry_id: bytes, fields: "Mapping[bytes, bytes]") -> bool:
        """Tell whether an entry, of the stream or rejected, is meant."""
        if {entry_id, fields.get(b"entry", b"")} & {each.encode() for each in self.entries}:
            return True
        ids = {each.encode() for each in self.ids}
        return fields.get(b"outcome") in ids or bool(ids & set(_ids_of(fields.get(b"id", b""))))

    def has_feature(self, name: str) -> bool:
        """Tell whether a feature of this name is meant."""
        return name in self.features or name.startswith(tuple(self.prefixes))


def _ids_of(identity: bytes) -> Iterator[bytes]:
    """Yield an entry's id, and that of the push of many that it may be of, whose entries have one number or two behind it.

    >>> list(_ids_of(b"day/0/20")), list(_ids_of(b"a/b"))
    ([b'day/0/20', b'day/0', b'day'], [b'a/b'])
    """
    yield identity
    for _ in range(2):
        identity, _, number = identity.rpartition(b"/")
        if not number.isdigit() or not identity:
            return
        yield identity


def erase(store: Store, wanted: Wanted) -> dict[str, Any]:
    """Erase what is wanted from a model's keys and those of its candidates.

    Workers that run are replaced for this moment, and go on afterwards.

    Returns
    -------
    dict
        ``waiting``, ``learned``, ``rejected``, ``kept``: how many entries and answers were erased; ``features``, their names;
        ``rows``, with the features derived from them; ``snapshots`` and
        ``candidates``, the names of those that had some; ``found``, the ids of entries in which a feature's value still stands,
        by stream; ``log``, whether the server has an append-only file.

    Raises
    ------
    LearnerError
        When a feature can't be erased, or the stream doesn't fit what was learned.
    FencedError
        When a worker took the model over meanwhile.
    """
    store.spec()
    beside = candidates.stores(store)
    with ExitStack() as borrowed:
        for each in (store, *beside):
            borrowed.enter_context(_borrowed(each))
        of_model, *of_candidates = (_erase_features(each, wanted) for each in (store, *beside))
        waiting, learned = erasing.erase_entries(store, wanted.has_entry, beside)
        erased = {
            "waiting": waiting,
            "learned": learned,
            "rejected": sum(erasing.erase_rejected(each, wanted.has_entry) for each in (store, *beside)),
            "kept": erasing.erase_kept(store, {each.encode() for each in wanted.ids}, wanted.has_feature),
        }
    names = of_model.names.union(*(each.names for each in of_candidates))
    parts = (text.encode() for name in names | set(wanted.features) for text in (name, name.partition("=")[2]))
    texts = {text for text in parts if len(text) >= MIN_TEXT_BYTES}
    return erased | {
        "features": sorted(names),
        "rows": of_model.rows + sum(each.rows for each in of_candidates),
        "snapshots": of_model.snapshots,
        "candidates": [each.keys.model for each, its in zip(beside, of_candidates, strict=True) if its.names],
        "found": erasing.find_text(store, sorted(texts), MOST_FOUND, beside) if texts else {},
        "log": erasing.remains(store),
    }


@contextlib.contextmanager
def _borrowed(store: Store) -> Iterator[None]:
    """Own a model for a moment."""
    store.ownership.borrow()
    heart = heart_of(connection.address(store.client))
    beat = heart.add(store.ownership, LEASE_SECONDS)
    try:
        yield
    finally:
        heart.remove(beat)
        store.ownership.release()


class Erased(NamedTuple):
    """Features that were erased: their names, how many rows with those derived from them, and from which snapshots."""

    names: set[str]
    rows: int
    snapshots: list[str]


def _erase_features(store: Store, wanted: Wanted) -> Erased:
    from learner.model import Model

    if not (wanted.features or wanted.prefixes):
        return Erased(set(), 0, [])
    spec = store.spec()

    def erase_from(model: Any) -> tuple[set[str], int]:
        return sweeping.erase(model.learner, wanted.has_feature)

    compared = {name: value for name, value in store.latest_progress().items() if name.startswith(PREFIX)}

    def figures(*of_commit: Any) -> dict[str, Any]:
        return compared | figures_of(*of_commit)

    names, rows = erasing.rewrite_state(store, Model.from_spec(spec), erase_from, figures) or (set(), 0)
    found = []
    for name in snapshots.names_of(store):
        if old := erasing.rewrite_snapshot(store, name, Model.from_spec(spec), erase_from)[0]:
            names = names | old
            found.append(name)
    return Erased(names, rows, found)
