"""What models are, and how they do: what the commands print with ``--json``, and the weights and the losses for pictures."""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgpack

from learner.losses import LOSSES
from learner.packing import UNPACK_ERRORS
from learner.service.curves import curve, points
from learner.service.store import Store, connection, listing
from learner.service.store.reading import Entries
from learner.service.store.rejected import listed
from learner.service.wire import describe
from learner.stored import require_readable

__all__ = ["Looking"]

UNUSED = ("ignore", "id")  # kinds of columns that have no features
N_LATEST = 5  # entries among which the last record is looked for
MAX_KEPT = 32  # rankings of weights of the last commits

T = TypeVar("T")


class Looking:
    """What looks at the models of a server, in threads of its own, as reading may take a while.

    Parameters
    ----------
    url : str
        The server's.
    """

    def __init__(self, url: str) -> None:
        self._client = connection.client(url)
        self._board = listing.Board(self._client)
        self._listing, self._loading = asyncio.Lock(), asyncio.Lock()
        self._kept: OrderedDict[tuple[Any, ...], list[dict[str, Any]]] = OrderedDict()

    def _store(self, model: str) -> Store:
        return Store(self._client, model)

    async def models(self) -> list[dict[str, Any]]:
        """Return the rows of ``learner top --json``."""
        async with self._listing:
            return await asyncio.to_thread(self._board.read)

    async def status(self, model: str) -> dict[str, Any]:
        """Return what ``learner status`` prints."""
        return await asyncio.to_thread(self._store(model).described)

    async def target(self, model: str) -> str | None:
        """Return the field of the outcome that the model says; None if it says none, or this server's user may not look."""
        return (await asyncio.to_thread(self._store(model).known_spec) or {}).get("target")

    async def progress(self, model: str) -> dict[str, Any]:
        """Return the losses, commit by commit, and the rises that were found: see `learner.service.curves.points`."""

        def read(store: Store) -> dict[str, Any]:
            spec = store.spec()
            with require_readable(f"progress of {model!r}", f"delete {store.keys.progress}"):
                loss = LOSSES[spec["loss"]]
                about = {"model": model, "loss": spec["loss"], "unit": f"{loss.measure} ({loss.unit})"}
                return about | points(curve(store.progress()))

        return await self._read(model, read)

    async def fields(self, model: str, with_record: bool) -> dict[str, Any]:
        """Return the fields of a record that the model names, with their kinds, and the last record that was pushed."""

        def read(store: Store) -> dict[str, Any]:
            spec = store.spec()
            record = _last_record(store.stream.latest(N_LATEST)) if with_record else None
            with require_readable(f"spec of {model!r}", f"put it back at {store.keys.spec}"):
                return {"model": model, "target": spec.get("target"), "fields": fields_of(spec), "record": record}

        return await self._read(model, read)

    async def rejected(self, model: str, n: int) -> list[dict[str, Any]]:
        """Return the last `n` rejected entries, as ``learner rejected list``, the latest last."""

        def read(store: Store) -> list[dict[str, Any]]:
            store.spec()
            return listed(store, n)

        return await self._read(model, read)

    async def weights(self, model: str, n: int, prefix: str, by_effect: bool) -> dict[str, Any]:
        """Return committed weights, the strongest first: by effect as ``learner plot weights``, or as ``learner weights``.

        A model is loaded once for each commit that somebody asks about, one at a time.
        """
        async with self._loading:
            status = await self.status(model)
            about = {"model": model, "commits": status["commits"], "examples": status["progress"].get("examples", 0)}
            key = (n, prefix, by_effect, status["committed"], *about.values())
            if key not in self._kept:
                self._kept[key] = await self._read(model, lambda store: _strongest(store, n, prefix, by_effect))
            self._kept.move_to_end(key)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
            return about | {"weights": self._kept[key]}

    async def _read(self, model: str, read: Callable[[Store], T]) -> T:
        return await asyncio.to_thread(read, self._store(model))


def fields_of(spec: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the fields of a record that a spec names, in its columns or templates, with their kinds; None: it has none.

    >>> fields_of({"columns": {"price": {"kind": "number"}, "note": {"kind": "ignore"}}, "featurizer": {}})
    {'price': 'number'}
    >>> fields_of({"columns": None, "featurizer": {"templates": [{"template": "category", "field": "from.city"}]}})
    {'from': None}
    """
    if columns := spec.get("columns"):
        places = {column["with"]: "place" for column in columns.values() if "with" in column}
        return {name: column["kind"] for name, column in columns.items() if column["kind"] not in UNUSED} | places
    return dict.fromkeys(_named(spec["featurizer"]))


def _named(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if isinstance(field := part.get("field"), str):
            yield field.partition(".")[0]
        part = list(part.values())
    for each in part if isinstance(part, list) else ():
        yield from _named(each)


def _last_record(entries: Entries) -> Any:
    """Return the first record that some entries have, as it came; None: they have none."""
    examples = (_example(fields) for _, fields in entries)
    return next((example["record"] for example in examples if isinstance(example.get("record"), Mapping)), None)


def _example(fields: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    """Return the example of an entry, or its first one."""
    if b"records" not in fields:
        return describe("entry", msgpack.packb(fields)) or {}
    try:
        first = msgpack.Unpacker(io.BytesIO(fields[b"records"]), strict_map_key=False).unpack()
    except (*UNPACK_ERRORS, msgpack.OutOfData):
        return {}
    return describe("records", msgpack.packb(first)) or {}


def _strongest(store: Store, n: int, prefix: str, by_effect: bool) -> list[dict[str, Any]]:
    from learner.service.creating import committed_model  # only now: it loads numpy, and the loops

    weights = committed_model(store).weights
    if by_effect:
        return [dict(zip(("name", "weight", "effect"), row, strict=True)) for row in weights.strongest(n, prefix)]
    return [{"name": name, "weight": weight} for name, weight in weights.top(n, prefix)]
