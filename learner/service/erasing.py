"""Erasing what is kept of a person: entries by their ids, features by their names, from all keys of a model.

The weights that an entry has changed stay as they are: what was learned from one example can't be told from what was learned
from the others. What names a person goes: entries, kept answers, and features whose names contain something of a person, with
their weights.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from learner.learners import sweeping
from learner.service.committing import figures_of
from learner.service.lease import LEASE_SECONDS, heart_of
from learner.service.store import Store, connection, erasing, snapshots

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
        Ids of the stream's entries, and ids that producers and askers chose.
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
        return bool({fields.get(b"id"), fields.get(b"outcome")} & {each.encode() for each in self.ids})

    def has_feature(self, name: str) -> bool:
        """Tell whether a feature of this name is meant."""
        return name in self.features or name.startswith(tuple(self.prefixes))


def erase(store: Store, wanted: Wanted) -> dict[str, Any]:
    """Erase what is wanted from a model's keys; a worker that runs is replaced for this moment, and goes on afterwards.

    Returns
    -------
    dict
        ``waiting``, ``learned``, ``rejected``, ``kept``: how many entries and answers were erased; ``features``, their names;
        ``rows``, with the features derived from them; ``snapshots``, the names of those that had some; ``found``, the ids of
        entries in which a feature's value still stands, by stream; ``log``, whether the server has an append-only file.

    Raises
    ------
    LearnerError
        When a feature can't be erased, or the stream doesn't fit what was learned.
    FencedError
        When a worker took the model over meanwhile.
    """
    from learner.model import Model

    spec = store.spec()
    store.ownership.borrow()
    heart = heart_of(connection.address(store.client))
    beat = heart.add(lambda seconds: store.ownership.beat(max(int(1000 * seconds), 1)), LEASE_SECONDS)
    try:
        names, rows, found = set[str](), 0, list[str]()
        if wanted.features or wanted.prefixes:
            result = erasing.rewrite_state(
                store, Model.from_spec(spec), lambda model: _erase(model, wanted), figures_of
            )
            names, rows = result or (names, rows)
            for name in snapshots.names_of(store):
                old, _ = erasing.rewrite_snapshot(
                    store, name, Model.from_spec(spec), lambda model: _erase(model, wanted)
                )
                names |= old
                found += [name] if old else []
        waiting, learned = erasing.erase_entries(store, wanted.has_entry)
        erased = {
            "waiting": waiting,
            "learned": learned,
            "rejected": erasing.erase_rejected(store, wanted.has_entry),
            "kept": erasing.erase_kept(store, {each.encode() for each in wanted.ids}, wanted.has_feature),
        }
    finally:
        heart.remove(beat)
        store.ownership.release()
    parts = (text.encode() for name in names | set(wanted.features) for text in (name, name.partition("=")[2]))
    texts = {text for text in parts if len(text) >= MIN_TEXT_BYTES}
    return erased | {
        "features": sorted(names),
        "rows": rows,
        "snapshots": found,
        "found": erasing.find_text(store, sorted(texts), MOST_FOUND) if texts else {},
        "log": erasing.remains(store),
    }


def _erase(model: Any, wanted: Wanted) -> tuple[set[str], int]:
    return sweeping.erase(model.learner, wanted.has_feature)
