"""Candidates: models that learn beside another one, from its stream, and may take its place in one transaction.

A candidate NEW of the model OLD has its keys under ``candidate:NEW:`` in OLD's slot, and reads OLD's stream only: it trims
nothing, and the consumer group is not its. The hash ``candidates`` of OLD has a note of each.
"""

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import redis

from learner.errors import LearnerError, StoreError, show
from learner.service.store.position import NEVER, count_between, stream_id
from learner.service.wire import GROUP, Keys, is_name
from learner.stored import require_readable

if TYPE_CHECKING:
    from learner.service.store import Store

__all__ = ["Promoted", "begins_with_history", "create", "names", "names_in", "promote", "require_alike", "stores"]

ALIKE = ("task", "loss", "level", "labels")  # what says which losses and targets a spec means
MAX_APART = 1000  # entries that one cursor may be behind the other at a promotion
POLL_SECONDS = 0.05

Promoted = dict[str, Any]


# ---- making them ----
def require_alike(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Make sure that the losses of two specs can be compared, and that their predictions mean the same.

    Raises
    ------
    LearnerError
        When they differ in the task, the loss, the level or the labels.
    """
    for name in ALIKE:
        if old.get(name) != new.get(name):
            raise LearnerError(
                f"{name} of a candidate must be that of the model beside it, {show(old.get(name))} (got "
                f"{show(new.get(name))}): else neither their losses nor their predictions mean the same"
            )


def create(
    store: "Store", name: str, spec: Mapping[str, Any], settings: Mapping[str, str], from_history: bool = False
) -> bool:
    """Make a candidate that knows nothing yet, in one transaction; return False if the name is taken.

    Parameters
    ----------
    store : Store
        The model's beside which it learns.
    name, spec, settings : str, mapping, mapping
        The candidate's.
    from_history : bool
        Whether it begins with the oldest entry that the stream holds when its worker starts; else after the last entry that
        the model has committed then.

    Raises
    ------
    LearnerError
        When there is no such model, or the candidate is of another task.
    """
    keys = store.keys.candidate(name)
    require_alike(store.spec(), spec)
    note = {"since": round(time.time(), 3), "from_history": from_history}
    pipe: Any
    with store.client.pipeline() as pipe:
        try:
            pipe.watch(store.keys.spec, keys.spec)
            if pipe.exists(keys.spec):
                return False
            if not pipe.exists(store.keys.spec):
                store.spec()
            pipe.multi()
            pipe.set(keys.spec, json.dumps(spec))
            if settings:
                pipe.hset(keys.settings, mapping=dict(settings))
            pipe.hset(store.keys.candidates, name, json.dumps(note))
            pipe.execute()
        except redis.WatchError as error:
            raise StoreError(
                f"model {keys.model!r} must be created by one at a time (got {error}): try again"
            ) from error
    return True


def names(store: "Store") -> list[str]:
    """Return the names of a model's candidates, in order: HKEYS; none if this user may not read them."""
    try:
        found: Any = store.client.hkeys(store.keys.candidates)
    except redis.exceptions.NoPermissionError:  # the user's access rules are an older release's
        return []
    return names_in(found)


def names_in(fields: Iterable[bytes]) -> list[str]:
    """Return the names of candidates among the fields of the hash of notes, in order."""
    texts = (name.decode(errors="replace") for name in fields)
    return sorted(filter(is_name, texts))


def stores(store: "Store") -> list["Store"]:
    """Return the candidates of a model that are there; of a candidate none."""
    found = [type(store)(store.client, f"{store.keys.model}/{name}") for name in names(store)]
    return [each for each in found if each.exists(each.keys.model)]


def begins_with_history(store: "Store") -> bool:
    """Tell whether a candidate, the store's, begins with what the stream still holds: HGET."""
    old = store.keys.old
    assert old is not None  # noqa: S101  (a candidate's)
    note: Any = store.client.hget(old.candidates, store.keys.model.partition("/")[2])
    with require_readable(
        f"note of {store.keys.model!r}", f"delete it, and create it again; it stands in {old.candidates}"
    ):
        return bool(json.loads(note or b"{}").get("from_history"))


# ---- promoting ----
def promote(store: "Store", name: str, seconds: float = 30.0) -> Promoted:
    """Have a candidate and the model beside it change places, in one transaction; the candidate keeps its name.

    Spec, settings, state, snapshots, progress and rejected entries change places; the streams, the kept answers and the
    processes stay. Each goes on from its own cursor. Workers take up what is at their keys then, without a restart.

    Parameters
    ----------
    store : Store
        The model's.
    name : str
        The candidate's.
    seconds : float
        For how long to wait for the candidate to catch up.

    Returns
    -------
    dict
        ``cursor``, from which the model goes on; ``apart``, by how many entries the candidate was ahead of it (below 0:
        behind); ``settings``, those that change, by name, as (before, after).

    Raises
    ------
    StoreError
        When there is no such candidate, or it does not catch up in time.
    """
    candidate = type(store)(store.client, f"{store.keys.model}/{name}")
    deadline = time.monotonic() + seconds
    while True:
        candidate.spec()
        with contextlib.suppress(redis.WatchError):
            trouble = _swap(store, candidate)
            if isinstance(trouble, dict):
                return trouble
            if time.monotonic() >= deadline:
                raise StoreError(f"candidate {candidate.keys.model!r} can't take over: {trouble}")
        time.sleep(POLL_SECONDS)


def _swap(store: "Store", candidate: "Store") -> Promoted | str:
    """Do it, or return in words why it can't be done now.

    Raises
    ------
    redis.WatchError
        When something changed meanwhile.
    """
    old, new = store.keys, candidate.keys
    both = (old, new)
    pipe: Any
    with store.client.pipeline() as pipe:
        pipe.watch(*(key for keys in both for key in (keys.owner, *_single_keys(keys))))
        heads = [pipe.hgetall(keys.head) for keys in both]
        info = pipe.xinfo_stream(old.examples)
        lost = int(info["entries-added"]) - int(info["length"])
        if trouble := _trouble(pipe, old.examples, heads, lost):
            return trouble
        require_alike(*(json.loads(pipe.get(keys.spec)) for keys in both))
        before, after = store.setting_texts(), candidate.setting_texts()
        had, has = (_keys_of_model(pipe, keys, head) for keys, head in zip(both, heads, strict=True))
        cursors = [head[b"cursor"] if head else NEVER for head in heads]
        entries = [int(head.get(b"entries", 0)) for head in heads]
        pipe.multi()
        for part in sorted(had | has):
            _queue_exchange(pipe, old.prefix + part, new.prefix + part, part in had, part in has)
        pipe.hset(old.head, "removed", lost)
        if heads[0]:
            pipe.hset(new.head, "removed", "")
        pipe.execute_command("XGROUP", "SETID", old.examples, GROUP, cursors[1], "ENTRIESREAD", entries[1])
        store.ownership.queue_return(pipe)
        candidate.ownership.queue_return(pipe)
        pipe.execute()
    changed = {name: (before.get(name), after.get(name)) for name in before.keys() | after.keys()}
    return {
        "cursor": cursors[1].decode(),
        "apart": entries[1] - entries[0],
        "settings": {name: pair for name, pair in sorted(changed.items()) if pair[0] != pair[1]},
    }


def _trouble(client: Any, stream: str, heads: list[dict[bytes, bytes]], lost: int) -> str:
    """Return in words why the candidate can't go on in the model's place, by the heads of both; "" if it can."""
    old, new = heads
    if b"format" not in new:
        return "it has committed nothing yet: start its worker"
    learned, beside = int(new[b"entries"]), int(old.get(b"entries", 0))
    if lost > learned:
        return (
            f"{lost - learned} entries of the stream were deleted after its last commit, as the model had learned them: "
            "is its worker running? If it fell behind, create it again"
        )
    if learned < beside - MAX_APART:
        return f"it is {beside - learned} entries behind the model: wait until it is at most {MAX_APART} behind"
    low, high = sorted([new[b"cursor"], old.get(b"cursor", NEVER)], key=stream_id)
    is_whole = lost <= min(learned, beside)
    if is_whole and count_between(client, stream, low, high) != abs(learned - beside):
        return "the stream was changed by hand since it began, so its place in the stream is not known: create it again"
    return ""


def _single_keys(keys: Keys) -> tuple[str, ...]:
    """Return the keys that change places, but for those of the state and of snapshots."""
    return keys.spec, keys.settings, keys.head, keys.progress, keys.rejected, keys.snapshots


def _keys_of_model(client: Any, keys: Keys, head: dict[bytes, bytes]) -> set[str]:
    """Return the keys that change places, without the prefix that they share; those that are there."""
    from learner.service.store.snapshots import known_snapshots, parts_of  # numpy: not for status

    found = [key for key in _single_keys(keys) if client.exists(key)]
    found += [keys.state + part for part in parts_of(client, keys, head)] if head else []
    for name, note in known_snapshots(keys, client).items():
        found += [keys.snapshot(name).state + part for part in note["keys"]]
    return {key.removeprefix(keys.prefix) for key in found}


def _queue_exchange(pipe: Any, a: str, b: str, has_a: bool, has_b: bool) -> None:
    """Queue the exchange of two keys' values, of which one may be missing."""
    aside = f"{b}:aside"
    if has_a:
        pipe.rename(a, aside)
    if has_b:
        pipe.rename(b, a)
    if has_a:
        pipe.rename(aside, b)
