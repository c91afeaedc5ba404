"""The client that applications import: it pushes examples and asks for predictions.

Any language can do the same with plain Redis commands: see the protocol in `learner/service/README.md`.
"""

import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import redis

from learner.errors import LearnerError
from learner.packing import pack, pack_example
from learner.service.store import connection, embedded
from learner.service.store.durability import Durability
from learner.service.wire import GROUP, REPLIES, Keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Client"]

BATCH_EXAMPLES = 200  # in an entry: enough to make Redis's cost of an entry negligible
BATCH_BYTES = 256_000
PIPELINE_ENTRIES = 20
FIRST_PAUSE_SECONDS = 0.05  # before a push is tried again; each further pause is twice as long
LAG_SECONDS = 0.1  # between two looks at the lag


class Client:
    """A model's client: pushes examples onto its stream and asks its worker for predictions.

    Parameters
    ----------
    model : str
        The model's name.
    redis_url : str, optional
        By default the environment's REDIS_URL, else the embedded server.
    timeout : float
        How many seconds to wait for a reply or a confirmation, and to keep trying to push examples that have an id.
    durability : {"crash", "power", "failover"}
        What an example survives once its push has returned: see `learner.service.store.durability`.
    replicas : int
        How many replicas an example must reach, with "failover".

    Examples
    --------
    ::

        from learner import Client
        spam = Client("spam")
        spam.push({"address": "abc@gmail.com"}, 1)
        spam.predict({"address": "xyz@gmail.com"})
    """

    def __init__(
        self,
        model: str,
        redis_url: str | None = None,
        timeout: float = 5.0,
        durability: str = "crash",
        replicas: int = 1,
    ) -> None:
        self.keys = Keys(model)
        self.durability = Durability(durability, replicas)
        self.timeout = timeout
        self.redis = connection.client(embedded.find_or_start(redis_url), block_ms=int(timeout * 1000))
        self._replies = f"{REPLIES}{uuid.uuid4().hex}"
        self._ids = itertools.count()

    # ---- pushing ----
    def push(
        self,
        record: Any = None,
        target: Any = None,
        *,
        features: "Mapping[str, float] | NDArray[Any] | None" = None,
        importance: float = 1.0,
        id: str | None = None,  # noqa: A002  (the field's name)
    ) -> str:
        """Push one example; return its entry id.

        Parameters
        ----------
        record : record
            Whatever the model's featurizer takes.
        target : target
            -1 or +1 (or 0 and 1, a boolean, a label), or a number.
        features : mapping or array, optional
            In place of a record: a map of name to number, or a one-dimensional numpy array, whose positions are the names. They
            are learned without a featurizer.
        importance : float
            The example's weight.
        id : str, optional
            Your own name for this example. With an id, a push is tried again while the connection is lost, and you may repeat
            it: the example is learned once, even if it arrives several times, as long as its id is among the last
            `learner.service.recent.CAPACITY` ids.

        Raises
        ------
        ExampleError
            When msgpack can't represent the example. All other rules are checked by the worker: see the rejected stream.
        LearnerError
            When the durability can't be confirmed: the example may or may not have been pushed.
        """
        if features is None:
            fields = {"records": pack([target, record] if importance == 1.0 else [target, record, importance])}
        else:
            fields = {"batch": pack_example(target, pack(features), importance)}
        return self._push_entries([fields], None if id is None else [id])[0].decode()

    def push_many(
        self,
        examples: Iterable[Sequence[Any]],
        *,
        features: bool = False,
        id: str | None = None,  # noqa: A002  (as in push)
        max_lag: int | None = None,
        on_wait: Callable[[int], None] | None = None,
    ) -> int:
        """Push many (target, record) or (target, record, importance); return how many.

        With ``features=True`` the second item is a map of feature name to number, or a numpy array. Up to 200 examples share
        an entry. With an `id`, the same examples in the same order may be pushed again: see `push`. With `max_lag`, wait while
        more than `max_lag` entries of the stream are not learned, and call `on_wait` with their number.
        """
        packed = (pack(list(example)) for example in examples)
        return sum(self.push_packed(packed, features=features, id=id, max_lag=max_lag, on_wait=on_wait))

    def push_packed(
        self,
        examples: Iterable[bytes],
        *,
        features: bool,
        id: str | None = None,  # noqa: A002  (as in push)
        max_lag: int | None = None,
        on_wait: Callable[[int], None] | None = None,
    ) -> Iterator[int]:
        """Push examples that are packed already; after each batch yield how many were pushed.

        Parameters
        ----------
        examples : iterable of bytes
            Each ``[target, record or features]`` or ``[.., importance]`` in msgpack.
        features : bool
            Whether they hold features rather than records.
        id : str, optional
            A name for all of them; the entries are called ID/0, ID/1 and so on.
        max_lag : int, optional
            Wait, before each 20 entries, while more entries than this of the stream are not learned.
        on_wait : callable, optional
            Called several times a second while waiting, with the number of entries that are not learned.
        """
        field = "batch" if features else "records"
        entries: list[tuple[bytes, int]] = []
        batch: list[bytes] = []
        n_bytes = n_entries = 0

        def push() -> int:
            nonlocal n_entries
            self._wait(max_lag, on_wait)
            ids = None if id is None else [f"{id}/{n_entries + i}" for i in range(len(entries))]
            self._push_entries([{field: data} for data, _ in entries], ids)
            n_entries += len(entries)
            return sum(n for _, n in entries)

        for example in examples:
            batch.append(example)
            n_bytes += len(example)
            if len(batch) == BATCH_EXAMPLES or n_bytes >= BATCH_BYTES:
                entries.append((b"".join(batch), len(batch)))
                batch, n_bytes = [], 0
                if len(entries) == PIPELINE_ENTRIES:
                    yield push()
                    entries = []
        if batch:
            entries.append((b"".join(batch), len(batch)))
        if entries:
            yield push()

    def _push_entries(self, entries: Sequence[Mapping[str, bytes]], ids: Sequence[str] | None) -> list[bytes]:
        """Push entries and wait for the confirmation; if they have ids, try again while the server doesn't answer."""
        deadline = time.monotonic() + self.timeout
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._try_to_push(entries, ids)
            except (redis.ConnectionError, redis.TimeoutError):
                if ids is None or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause *= 2

    def _try_to_push(self, entries: Sequence[Mapping[str, bytes]], ids: Sequence[str] | None) -> list[bytes]:
        with self.redis.pipeline(transaction=False) as pipe:
            for i, fields in enumerate(entries):
                identity = {} if ids is None else {"id": ids[i]}
                pipe.xadd(self.keys.examples, cast("Any", {**fields, **identity}), nomkstream=True)
            self.durability.queue(pipe, int(self.timeout * 1000))
            replies = pipe.execute(raise_on_error=False)
        ids_pushed = replies[: len(entries)]
        for reply in ids_pushed:
            if isinstance(reply, Exception):
                raise reply
        if None in ids_pushed:
            raise self._no_model()
        if self.durability.waits:
            self._require_confirmed(replies[-1])
        return ids_pushed

    def _require_confirmed(self, reply: Any) -> None:
        level = self.durability.level
        if isinstance(reply, redis.ResponseError) and "unknown command" in str(reply).lower():
            raise LearnerError(
                f"server: durability {level!r} must have WAITAOF, of Redis >= 7.2 or Valkey (it has not): with appendfsync "
                "always, 'crash' gives as much"
            )
        if isinstance(reply, Exception):
            raise LearnerError(f"examples: durability {level!r} could not be confirmed (got {reply})")
        if not self.durability.confirmed(reply):
            raise LearnerError(
                f"examples must be confirmed as durability {level!r} asks within {self.timeout:g} s (got {reply}): they are on "
                "the server, but may be lost with it; push again those that have an id"
            )

    def lag(self) -> int:
        """Return how many entries of the stream are not learned yet, or not committed yet.

        Raises
        ------
        LearnerError
            When there is no such model.
        """
        try:
            groups = self.redis.xinfo_groups(self.keys.examples)
        except redis.ResponseError as error:
            if "no such key" not in str(error):
                raise
            raise self._no_model() from error
        for group in groups:
            if group["name"] == GROUP.encode() and group["lag"] is not None:
                return int(group["lag"])
        raise LearnerError(f"model {self.keys.model!r} must have had a worker for its lag to be known")

    def _wait(self, max_lag: int | None, on_wait: Callable[[int], None] | None) -> None:
        while max_lag is not None and (lag := self.lag()) > max_lag:
            if on_wait:
                on_wait(lag)
            time.sleep(LAG_SECONDS)

    def require_model(self) -> None:
        """Make sure that the model exists.

        Raises
        ------
        LearnerError
            When it doesn't.
        """
        if not self.redis.exists(self.keys.spec):
            raise self._no_model()

    def _no_model(self) -> LearnerError:
        name = self.keys.model
        return LearnerError(f"model {name!r} does not exist: make it with 'learner create {name}'")

    # ---- asking ----
    def ask(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and return the reply.

        Raises
        ------
        LearnerError
            When no worker answers in time, or it answers with an error.
        """
        identity = str(next(self._ids))
        deadline = f"{self.timeout * 1000:g}"  # after it nobody listens: the worker need not answer
        request: Any = {**fields, "reply": self._replies, "id": identity, "deadline_ms": deadline}
        if self.redis.xadd(self.keys.requests, request, nomkstream=True) is None:
            raise self._no_model()
        while True:
            popped = cast("tuple[bytes, bytes] | None", self.redis.blpop([self._replies], timeout=self.timeout))
            if popped is None:
                raise LearnerError(
                    f"model {self.keys.model!r} did not answer within {self.timeout:g} s: is its worker running? "
                    f"(learner worker {self.keys.model})"
                )
            reply = cast("dict[str, Any]", json.loads(popped[1]))
            if reply.get("id") != identity:
                continue  # a late answer to an earlier request that timed out
            if "error" in reply:
                raise LearnerError(reply["error"])
            return reply

    def predict(self, record: Any = None, *, features: "Mapping[str, float] | NDArray[Any] | None" = None) -> float:
        """Return the prediction for a record or features: a probability, or a number (see `ask` for the whole reply)."""
        return float(self.ask(_one(record, features))["prediction"])

    def predict_many(self, records: Iterable[Any], *, features: bool = False) -> list[float | None]:
        """Return the predictions for many records (or, with ``features=True``, feature maps); None where one failed."""
        field = "batch" if features else "records"
        predictions: list[float | None] = []
        packed = (pack(record) for record in records)
        while chunk := list(itertools.islice(packed, 1000)):
            predictions += self.ask({field: b"".join(chunk)})["predictions"]
        return predictions

    def explain(
        self, record: Any = None, *, features: "Mapping[str, float] | NDArray[Any] | None" = None
    ) -> dict[str, Any]:
        """Return the reply to a request for an explanation: prediction, score, and contributions that add up to it.

        A contribution is (feature name, value, mean, weight, contribution): see `learner.learners.protocol.Contribution`.
        """
        return self.ask({**_one(record, features), "explain": "1"})

    def weights(self, prefix: str = "", n: int | None = None) -> dict[str, float]:
        """Return the weights of the last commit by feature name, the largest in size first."""
        return dict(self.committed().weights.top(n, prefix))

    def committed(self) -> Any:
        """Return a copy of the model as last committed, a `learner.model.Model`."""
        from learner.model import Model
        from learner.service.store import Store

        store = Store(self.redis, self.keys.model)
        model = Model.from_spec(store.spec())
        committed = store.commits.load(model.fingerprint, model.row_width)
        if committed and committed.state:
            model.load_state(committed.state)
        return model


def _one(record: Any, features: "Mapping[str, float] | NDArray[Any] | None") -> dict[str, bytes]:
    return {"record": _packed_record(record)} if features is None else {"features": pack(features)}


def _packed_record(record: Any) -> bytes:
    packed = pack(record)
    return packed if packed[0] >= 0x80 else b"%d" % packed[0]  # a small whole number would look like JSON
