"""A model as a file: all that a server keeps of it, to go on from on another server.

The file is a saved model (`learner.saving`), so every command that takes one takes it, too. Beside spec and state it has

``service/model.json``
    The model's name, its settings, and what a commit's head says beside the state.
``service/ids``
    The ring of `learner.service.recent`.
``service/examples``
    The entries that are not learned yet.
``service/kept``
    The answers that wait for their outcomes.
``service/streams``
    The entries of all other streams, such as the rejected ones.
``service/keys``
    All other keys, with the time that they have left.

The last four are msgpack values one after another. The file has no history, no snapshots, and no requests.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import msgpack
import numpy as np

from learner import saving
from learner.answered import AnsweredLoss
from learner.errors import FormatError, StoreError, show
from learner.late import LateLoss
from learner.packing import UNPACK_ERRORS
from learner.service.committing import figures_of
from learner.service.recent import RecentIds
from learner.service.store import Store
from learner.service.store.contents import PAGE_ENTRIES, Item, entries_after, items, parts_at_work, put, wipe
from learner.service.store.moving import require_free
from learner.service.store.paging import pages
from learner.service.store.position import NEVER, stream_id
from learner.service.store.snapshot import Committed, Learned
from learner.settings import parse

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["export_model", "import_model", "name_in"]

FORMAT = 1
IMPORT = b"import "  # the beginning of the token of an import that goes on
MODEL, IDS, EXAMPLES, KEPT, STREAMS, KEYS = (
    f"service/{name}" for name in ("model.json", "ids", "examples", "kept", "streams", "keys")
)
PAGE_KEPT = 32  # answers, each of which may be large
MAX_VALUE_BYTES = 1 << 29  # of a msgpack value: a string of Redis has at most as many


# ---- a file of a model ----
def export_model(store: Store, path: str) -> dict[str, int]:
    """Write a model to a file; return its numbers of ``examples`` that are learned and of ``entries`` that are not.

    A worker may learn on meanwhile: the file has the state of one commit, and all entries after it.

    Raises
    ------
    LearnerError
        When there is no such model, its stream doesn't fit what was learned, or the file can't be written.
    """
    from learner.model import Model

    saving.require_writable(path)
    spec = store.spec()
    model = Model.from_spec(spec)
    folder = Path(path).resolve().parent  # where the file itself must have room
    with tempfile.TemporaryFile(dir=folder) as spool, tempfile.TemporaryFile(dir=folder) as answers:
        committed, waiting = _catch_up(store, model, spool, answers)
        if committed.state:
            model.load_state(committed.state)
        counts = {"examples": model.n_examples, "entries": 0}

        def examples() -> Iterator[bytes]:
            for entry_id, fields in _unpacked(_pieces(spool), 2):
                if stream_id(entry_id) > stream_id(committed.cursor):
                    counts["entries"] += 1
                    yield msgpack.packb([entry_id, fields])

        def kept() -> Iterator[bytes]:
            for name, ms, data in _unpacked(_pieces(answers), 3):
                if waiting.get(name) == ms:  # still, at that commit
                    yield msgpack.packb([name, ms, data])

        about = {
            "format": FORMAT,
            "model": store.keys.model,
            "settings": store.setting_texts(),
            "late": astuple(committed.late),
            "answered": astuple(committed.answered),
            "n_ids": committed.n_ids,
        }
        members: dict[str, Iterable[bytes]] = {
            MODEL: [json.dumps(about).encode()],
            IDS: [committed.ids.tobytes()],
            EXAMPLES: examples(),
            KEPT: kept(),
            STREAMS: _streams(store),
            KEYS: _keys(store),
        }
        saving.save(path, saving.Saved(spec, model.state()), members)
    return counts


def _catch_up(
    store: Store, model: "Model", spool: IO[bytes], answers: IO[bytes]
) -> tuple[Committed, dict[bytes, float]]:
    """Return the last commit, and the times of the answers kept then, by name, in milliseconds.

    All entries after it are in a file then, and these answers in another one: no other commit may come while they are read.
    """
    last, seen = NEVER, set[tuple[bytes, float]]()
    while True:
        last = _spool(store, last, spool)
        _spool_kept(store, seen, answers)
        committed = store.commits.load(model.fingerprint, model.row_width)
        last = _spool(store, last, spool)
        waiting = _spool_kept(store, seen, answers)
        if store.commits.is_last():
            no_ids = np.zeros(0, np.uint64)
            return committed or Committed(store.commits.cursor, 0, {}, no_ids, 0), waiting


def _spool(store: Store, last: bytes, spool: IO[bytes]) -> bytes:
    """Add the entries after an id to a file; return the id of the last one."""
    for page in entries_after(store.client, store.keys.examples, last):
        for entry_id, fields in page:
            spool.write(msgpack.packb([entry_id, fields]))
        last = page[-1][0]
    return last


def _spool_kept(store: Store, seen: set[tuple[bytes, float]], answers: IO[bytes]) -> dict[bytes, float]:
    """Add the answers that were not seen yet to a file; return the times of all that are kept now, by name."""
    waiting: dict[bytes, float] = dict(cast("Any", store.client.zrange(store.keys.kept, 0, -1, withscores=True)))
    for page in pages((item for item in waiting.items() if item not in seen), PAGE_KEPT):
        for (name, ms), data in zip(page, store.kept.get([name for name, _ in page]), strict=True):
            if data is not None:  # it is still there
                answers.write(msgpack.packb([name, ms, data]))
        seen.update(page)
    return waiting


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file from its beginning."""
    file.seek(0)
    return iter(lambda: file.read(1 << 20), b"")


def _left_out(store: Store) -> tuple[str, ...]:
    """Return how the keys begin that are no part of `items`: in other members, or of this server alone."""
    keys = store.keys
    return (
        keys.spec, keys.settings, keys.state, keys.examples, keys.requests, keys.replies, keys.moved, keys.arrived,
        keys.snapshots, f"{keys.prefix}snapshot:", keys.kept, keys.candidates, keys.of_candidates, *parts_at_work(keys),
    )  # fmt: skip


def _streams(store: Store) -> Iterator[bytes]:
    for name, item in items(store.client, store.keys, _left_out(store)):
        if item.kind == "stream":
            for page in entries_after(store.client, store.keys.prefix + name, NEVER):
                for entry_id, fields in page:
                    yield msgpack.packb([name, entry_id, fields], unicode_errors="surrogateescape")


def _keys(store: Store) -> Iterator[bytes]:
    for name, item in items(store.client, store.keys, _left_out(store)):
        if item.kind != "stream":
            value = sorted(item.value) if item.kind == "set" else item.value
            yield msgpack.packb([name, item.kind, item.ttl_ms, value], unicode_errors="surrogateescape")


# ---- a model of a file ----
def name_in(path: str) -> str | None:
    """Return the name of the model that a file was made of; None if it is a saved model only.

    Raises
    ------
    FormatError
        When the file can't be read.
    """
    return str(_about(path)["model"]) if MODEL in saving.members(path) else None


def import_model(store: Store, path: str) -> dict[str, int]:
    """Make a model of a file, under a name that is free; return its numbers of ``examples`` and ``entries``.

    The spec is written last, in one transaction with the state: before that there is no model. An import that was ended by
    something is begun again by the next one.

    Raises
    ------
    LearnerError
        When the name is taken, or the file can't be read, or is damaged: then nothing was written.
    """
    from learner.model import Model

    saved = saving.load(path)
    present = saving.members(path)
    for name in present:  # the digests of all, before anything is written
        for _ in saving.member(path, name):
            pass
    about = _about(path) if MODEL in present else {}
    model = Model.from_spec(saved.spec)
    model.load_state(saved.state)
    token = _begin(store)
    n = 0
    if MODEL in present:
        n = _put_entries(store, token, path)
        _put_kept(store, token, path)
        _put_items(store, token, path)
    state = model.state()
    late, answered = LateLoss(*about.get("late", ())), AnsweredLoss(*about.get("answered", ()))
    recent = RecentIds(model.spec.seed)
    if about.get("n_ids"):
        recent.load(np.frombuffer(b"".join(saving.member(path, IDS)), np.uint64), about["n_ids"])
    learned = Learned(state, np.ones(len(state["rows"]), np.uint8), model.fingerprint, late, answered)
    snapshot = store.commits.snapshot(learned, NEVER, 0, (), figures_of(model, late, answered), recent)
    if not store.commits.create(saved.spec, snapshot, parse(about.get("settings", {})), token):
        raise StoreError(f"model {store.keys.model!r} exists already: choose another name")
    return {"examples": model.n_examples, "entries": n}


def _about(path: str) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(b"".join(saving.member(path, MODEL)))
        number = int(about["format"])
        str(about["model"]), parse(about["settings"]), int(about["n_ids"])
        LateLoss(*about["late"]).summary(), AnsweredLoss(*about["answered"]).summary()
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: {MODEL} must be what 'learner export' writes (got {error})") from error
    if number != FORMAT:
        raise FormatError(f"{path}: its format must be {FORMAT} (got {number}): another learner wrote it")
    return about


def _begin(store: Store) -> bytes:
    """Take the name: write the key ``arriving``, and delete what an import that did not end has left; return a token."""
    keys, client = store.keys, store.client
    if client.exists(keys.spec):
        raise StoreError(f"model {keys.model!r} exists already: choose another name")
    before: Any = client.get(keys.arriving)
    if before is None or not before.startswith(IMPORT):
        require_free(store)
    token = store.claim(IMPORT)
    wipe(store, token, keys.arriving)
    return token


def _put_entries(store: Store, token: bytes, path: str) -> int:
    n = 0
    for page in pages(_unpacked(saving.member(path, EXAMPLES), 2), PAGE_ENTRIES):
        with store.guarded(token) as pipe:
            for entry_id, fields in page:
                pipe.xadd(store.keys.examples, fields, id=entry_id)
        n += len(page)
    return n


def _put_kept(store: Store, token: bytes, path: str) -> None:
    for page in pages(_unpacked(saving.member(path, KEPT), 3), PAGE_KEPT):
        with store.guarded(token) as pipe:
            for name, ms, data in page:
                pipe.set(store.keys.kept_answer(name), data)
                pipe.zadd(store.keys.kept, {name: ms})
                pipe.incrby(store.keys.kept_bytes, len(data))


def _put_items(store: Store, token: bytes, path: str) -> None:
    for page in pages(_unpacked(saving.member(path, STREAMS), 3), PAGE_ENTRIES):
        with store.guarded(token) as pipe:
            for name, entry_id, fields in page:
                _require_name(store, name)
                pipe.xadd(store.keys.prefix + name, fields, id=entry_id)
    for page in pages(_unpacked(saving.member(path, KEYS), 4), PAGE_ENTRIES):
        with store.guarded(token) as pipe:
            for name, *item in page:
                _require_name(store, name)
                put(pipe, store.keys.prefix + name, Item(*item))


def _require_name(store: Store, name: Any) -> None:
    if not isinstance(name, str) or (store.keys.prefix + name).startswith(_left_out(store)):
        raise FormatError(f"key in a file of a model must be one that 'learner export' writes (got {show(name)})")


def _unpacked(pieces: Iterable[bytes], n: int) -> Iterator[Any]:
    """Yield the lists of `n` values that msgpack holds."""
    unpacker = msgpack.Unpacker(max_buffer_size=MAX_VALUE_BYTES, strict_map_key=False, unicode_errors="surrogateescape")
    try:
        for piece in pieces:
            unpacker.feed(piece)
            for value in unpacker:
                if not isinstance(value, list) or len(value) != n:
                    raise FormatError(f"file of a model must hold lists of {n} values (got {show(value)})")
                yield value
    except UNPACK_ERRORS as error:
        raise FormatError(f"file of a model must hold msgpack values (got {error})") from error
