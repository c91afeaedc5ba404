"""The client for programs with asyncio."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from learner.client import answers
from learner.client.batches import batches, entry_of, outcome_entries, outcome_entry
from learner.client.blocking import Client
from learner.client.connections import Connections
from learner.client.conversations import Conversations
from learner.client.pipeline import Pipeline
from learner.errors import ExampleError
from learner.packing import pack
from learner.service.store import embedded
from learner.service.store.durability import Durability
from learner.service.store.url import checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AsyncClient"]


class AsyncClient:
    """`Client` for asyncio: the same parameters, the same methods, to be awaited. Tasks may share one client.

    Threads and forked processes may, too: each event loop of each process has connections of its own.

    Examples
    --------
    ::

        from learner import AsyncClient
        async with AsyncClient("spam") as spam:
            await spam.push({"address": "abc@gmail.com"}, 1)
            await spam.predict({"address": "xyz@gmail.com"})
    """

    def __init__(
        self,
        model: str,
        redis_url: str | None = None,
        timeout: float = 5.0,
        durability: str = "crash",
        replicas: int = 1,
    ) -> None:
        self._parameters = (model, redis_url, timeout, durability, replicas)
        self._conversations = Conversations(model, timeout, Durability(durability, replicas))
        self.keys = self._conversations.keys
        self._url = checked(embedded.find_or_start(redis_url))
        self._connections = Connections(self._url, timeout)
        self._run = self._connections.run

    def __reduce__(self) -> tuple[Any, ...]:
        """Support copying and pickling, as for processes that are spawned: a client is its parameters."""
        return type(self), self._parameters

    @property
    def redis(self) -> Any:
        """The connections to the server of the running loop, in this process: see `Client.redis`."""
        return self._connections.redis

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._connections.aclose()

    # ---- pushing ----
    async def push(
        self,
        record: Any = None,
        target: Any = None,
        *,
        features: "Mapping[str, float] | NDArray[Any] | None" = None,
        importance: float = 1.0,
        id: str | None = None,  # noqa: A002  (the field's name)
    ) -> str:
        """Push one example; return its entry id: see `Client.push`."""
        entry = entry_of(record, target, features, importance)
        return (await self._run(self._conversations.push([entry], None if id is None else [id])))[0].decode()

    def pipeline(self) -> Pipeline[Awaitable[list[str]]]:
        """Return a pipeline, whose `execute` is to be awaited: see `Client.pipeline`."""
        return Pipeline(self._conversations, self._run)

    async def push_many(
        self,
        examples: Iterable[Sequence[Any]],
        *,
        features: bool = False,
        id: str | None = None,  # noqa: A002  (as in push)
        max_lag: int | None = None,
        on_wait: Callable[[int], None] | None = None,
    ) -> int:
        """Push many examples; return how many: see `Client.push_many`."""
        packed = (pack(list(example)) for example in examples)
        pushed = self.push_packed(packed, features=features, id=id, max_lag=max_lag, on_wait=on_wait)
        return sum([n async for n in pushed])

    async def push_packed(
        self,
        examples: Iterable[bytes],
        *,
        features: bool,
        id: str | None = None,  # noqa: A002  (as in push)
        max_lag: int | None = None,
        on_wait: Callable[[int], None] | None = None,
    ) -> AsyncIterator[int]:
        """Push examples that are packed already; after each batch yield how many were pushed: see `Client.push_packed`."""
        for batch in batches(examples, features, id):
            await self._run(self._conversations.wait(max_lag, on_wait))
            await self._run(self._conversations.push(batch.entries, batch.ids))
            yield batch.n_examples

    async def lag(self) -> int:
        """Return how many entries of the stream are not learned yet, or not committed yet."""
        return await self._run(self._conversations.lag())

    async def require_model(self) -> None:
        """Make sure that the model exists."""
        await self._run(self._conversations.require_model())

    async def outcome(self, outcome_id: str, target: Any, importance: float = 1.0) -> str:
        """Push the outcome of an answer; return its entry id: see `Client.outcome`."""
        entry = outcome_entry(outcome_id, target, importance)
        return (await self._run(self._conversations.push([entry], None)))[0].decode()

    async def outcomes(self, outcomes: Iterable[Sequence[Any]]) -> int:
        """Push many outcomes; return how many: see `Client.outcomes`."""
        n = 0
        for entries in outcome_entries(outcomes):
            n += len(await self._run(self._conversations.push(entries, None)))
        return n

    # ---- asking ----
    async def ask(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and return the whole reply: see `Client.ask`."""
        return await self._run(self._conversations.ask(fields))

    async def ask_many(
        self, records: Iterable[Any], *, features: bool = False, probabilities: bool = False
    ) -> list[dict[str, Any] | ExampleError]:
        """Return an answer to each record, or an `ExampleError`, in their order: see `Client.ask_many`."""
        return await self._run(self._conversations.ask_many(records, features, probabilities))

    async def predict(
        self,
        record: Any = None,
        *,
        features: "Mapping[str, float] | NDArray[Any] | None" = None,
        outcome_id: str | None = None,
    ) -> Any:
        """Return the prediction for a record or features: see `Client.predict`."""
        return answers.value_of(await self.ask(answers.request_of(record, features, outcome_id)))

    async def predict_label(
        self,
        record: Any = None,
        *,
        features: "Mapping[str, float] | NDArray[Any] | None" = None,
        outcome_id: str | None = None,
    ) -> Any:
        """Return the most probable class: see `Client.predict_label`."""
        return answers.label_of(await self.ask(answers.request_of(record, features, outcome_id)))

    async def predict_proba(
        self,
        record: Any = None,
        *,
        features: "Mapping[str, float] | NDArray[Any] | None" = None,
        outcome_id: str | None = None,
    ) -> dict[Any, float]:
        """Return the probability of every class: see `Client.predict_proba`."""
        return answers.probabilities_of(await self.ask(answers.request_of(record, features, outcome_id)))

    async def predict_many(self, records: Iterable[Any], *, features: bool = False) -> list[Any]:
        """Return the predictions for many records, an `ExampleError` in place of a missing one: see `Client.predict_many`."""
        return await self._run(self._conversations.predict_many(records, features))

    async def explain(
        self,
        record: Any = None,
        *,
        features: "Mapping[str, float] | NDArray[Any] | None" = None,
        outcome_id: str | None = None,
    ) -> dict[str, Any]:
        """Return the reply to a request for an explanation: see `Client.explain`."""
        return await self.ask({**answers.request_of(record, features, outcome_id), "explain": "1"})

    # ---- what is committed ----
    async def weights(self, prefix: str = "", n: int | None = None) -> dict[str, float]:
        """Return the weights of the last commit by feature name, the largest in size first."""
        return dict((await self.committed()).weights.top(n, prefix))

    async def committed(self) -> Any:
        """Return a copy of the model as last committed, a `learner.model.Model`; it is loaded in a thread."""
        return await asyncio.to_thread(lambda: Client(self.keys.model, self._url).committed())
