"""Lists the rejected entries, and puts them back onto the stream, each exactly once."""

import base64
from collections.abc import Iterable, Iterator
from typing import Any

import msgpack

from learner.packing import UNPACK_ERRORS
from learner.service.store import Store
from learner.service.wire import RejectedEntry, describe

__all__ = ["Rejected", "listed", "put_back"]

PAGE_ENTRIES = 100  # entries that are put back in one transaction

Rejected = dict[str, Any]


def listed(store: Store, n: int) -> list[Rejected]:
    """Return the last n entries of the rejected stream, the latest last.

    ``example`` is the example as decoded: ``record`` or ``features``, ``target`` and so on; None if it can't be decoded.
    ``data`` is the original as text, in which bytes that are not UTF-8 are escaped; ``base64`` is the original exactly.
    """
    entries: Any = store.client.xrevrange(store.keys.rejected, count=n)
    return [_described(entry_id, fields) for entry_id, fields in reversed(entries)]


def _described(entry_id: bytes, fields: dict[bytes, bytes]) -> Rejected:
    data, field = fields.get(b"data", b""), fields.get(b"field", b"").decode(errors="replace")
    return {
        "id": entry_id.decode(),
        **{name: fields.get(name.encode(), b"").decode(errors="replace") for name in ("entry", "stage", "reason")},
        "field": field,
        "bytes": _n_bytes(fields),
        "example": describe(field, data),
        "data": data.decode(errors="backslashreplace"),
        "base64": base64.b64encode(data).decode(),
    }


def _n_bytes(fields: dict[bytes, bytes]) -> int:
    """Return the size of the original; of an entry that doesn't tell, that of what was kept."""
    text = fields.get(b"bytes", b"")
    return int(text[:18]) if text.isdigit() else len(fields.get(b"data", b""))


def put_back(store: Store, ids: Iterable[str] | None) -> Iterator[tuple[str, str | None]]:
    """Put rejected entries back onto the stream of examples; yield (id, None) for each, or (id, the reason why it stays).

    One transaction adds the entry to the examples and deletes it from the rejected stream, so it is put back exactly once. It
    becomes the last entry of the stream, and loses the ``id`` that it may have been pushed with.

    Parameters
    ----------
    store : Store
        The model's.
    ids : iterable of str, optional
        By default all entries that are in the rejected stream now, except entries that killed a worker.
    """
    pages = _all_ids(store) if ids is None else iter([list(ids)])
    for page in pages:
        for start in range(0, len(page), PAGE_ENTRIES):
            yield from _move(store, page[start : start + PAGE_ENTRIES], spare_killed=ids is None)


def _all_ids(store: Store) -> Iterator[list[str]]:
    last: Any = store.client.xrevrange(store.keys.rejected, count=1)
    start = "-"
    while last:
        page: Any = store.client.xrange(store.keys.rejected, start, last[0][0], count=PAGE_ENTRIES)
        if not page:
            return
        yield [entry_id.decode() for entry_id, _ in page]
        start = f"({page[-1][0].decode()}"


def _move(store: Store, ids: list[str], spare_killed: bool) -> list[tuple[str, str | None]]:
    outcomes: list[tuple[str, str | None]] = []

    def move(pipe: Any) -> None:
        outcomes.clear()
        pages = [pipe.xrange(store.keys.rejected, entry_id, entry_id) for entry_id in ids]
        pipe.multi()
        for entry_id, entries in zip(ids, pages, strict=True):
            if not entries:
                outcomes.append((entry_id, "it is not there"))
                continue
            fields = entries[0][1]
            original, why = _original(fields)
            if spare_killed and fields.get(b"stage") == b"killed":
                original, why = None, "it killed a worker: put back only by its id"
            outcomes.append((entry_id, why))
            if original is not None:
                pipe.xadd(store.keys.examples, original)
                pipe.xdel(store.keys.rejected, entry_id)

    store.client.transaction(move, store.keys.rejected)
    return outcomes


def _original(fields: dict[bytes, bytes]) -> tuple[dict[Any, Any] | None, str | None]:
    """Return (the fields to push again, None), or (None, the reason why they can't be restored)."""
    data, field = fields.get(b"data", b""), fields.get(b"field", b"").decode(errors="replace")
    if (n_bytes := _n_bytes(fields)) > len(data):
        return None, f"only {len(data)} of its {n_bytes} bytes were kept"
    if field in ("records", "batch"):
        return {field: data}, None
    if field != RejectedEntry._field_defaults["field"]:
        return None, "it doesn't say what it was"
    try:
        entry = msgpack.unpackb(data, strict_map_key=False)
    except UNPACK_ERRORS:
        return None, "it can't be decoded"
    if not isinstance(entry, dict) or not all(isinstance(part, str | bytes) for pair in entry.items() for part in pair):
        return None, "it is no map of fields"
    entry.pop("id", None)
    return (entry, None) if entry else (None, "it has no fields")
