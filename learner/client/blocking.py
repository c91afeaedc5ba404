"""The client for programs with threads."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from learner.client import answers
from learner.client.asking import Asking, asked
from learner.client.batches import Batch, batches, entry_of, outcome_entries, outcome_entry
from learner.client.conversations import Conversation, Conversations, Step
from learner.client.pipeline import Pipeline
from learner.errors import ExampleError
from learner.packing import pack
from learner.service.store import connection, embedded
from learner.service.store.cluster import towards
from learner.service.store.durability import Durability

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """A model's client: pushes examples onto its stream and asks its worker for predictions.

    Threads may share one client: each call waits for its own reply only. A process made by fork has connections of its own.
    A pickled client is another one of the same parameters; a `redis_url` with a password is a secret in it.

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
        self._parameters = (model, redis_url, timeout, durability, replicas)
        self._conversations = Conversations(model, timeout, Durability(durability, replicas))
        self.keys = self._conversations.keys
        self._url = embedded.find_or_start(redis_url)
        self._connections: dict[int, Any] = {}  # by process: a child never touches its parent's
        self.redis  # noqa: B018  (refuses a wrong URL)

    def __reduce__(self) -> tuple[Any, ...]:
        """Support copying and pickling, as for processes that are spawned: a client is its parameters."""
        return type(self), self._parameters

    @property
    def redis(self) -> Any:
        """The connection to the server, of this process: a forked child gets another one."""
        pid = os.getpid()
        if pid not in self._connections:
            made = connection.client(self._url, block_ms=int(self._conversations.timeout * 1000))
            self._connections[pid] = towards(made, self.keys.spec)
        return self._connections[pid]

    def _run(self, conversation: Conversation[T]) -> T:
        """Carry out the steps of a conversation; return its result."""
        try:
            step = next(conversation)
            while True:
                try:
                    result = self._do(step)
                except Exception as error:  # noqa: BLE001  (the conversation says what it means)
                    step = conversation.throw(error)
                else:
                    step = conversation.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    def _do(self, step: Step) -> Any:
        if isinstance(step, float):
            time.sleep(step)
            return None
        return asked(self.redis, step) if isinstance(step, Asking) else step(self.redis)

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
        entry = entry_of(record, target, features, importance)
        return self._run(self._conversations.push([entry], None if id is None else [id]))[0].decode()

    def pipeline(self) -> Pipeline[list[str]]:
        """Return a pipeline: its `push` collects single examples, and its `execute` sends them in one round trip."""
        return Pipeline(self._conversations, self._run)

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
        on_batch: Callable[[Batch], None] | None = None,
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
        on_batch : callable, optional
            Called with each batch of entries before it is pushed.
        """
        for batch in batches(examples, features, id):
            self._run(self._conversations.wait(max_lag, on_wait))
            if on_batch:
                on_batch(batch)
            self._run(self._conversations.push(batch.entries, batch.ids))
            yield batch.n_examples

    def lag(self) -> int:
        """Return how many entries of the stream are not learned yet, or not committed yet.

        Raises
        ------
        LearnerError
            When there is no such model.
        """
        return self._run(self._conversations.lag())

    def require_model(self) -> None:
        """Make sure that the model exists.

        Raises
        ------
        LearnerError
            When it doesn't.
        """
        self._run(self._conversations.require_model())

    def outcome(self, outcome_id: str, target: Any, importance: float = 1.0) -> str:
        """Push the outcome of an answer; return its entry id.

        It is learned from the features that the answer was made of, once: another outcome of the same answer is not learned, so
        this may be repeated, and it is tried again while the connection is lost.

        Parameters
        ----------
        outcome_id : str
            The name that it was asked with, as in `predict`; 1 to 256 bytes.
        target, importance : target, float
            As in `push`.

        Raises
        ------
        ExampleError
            When the name or the target can't be one. Whether such an answer is kept, the worker looks: see the rejected stream.
        LearnerError
            As in `push`.
        """
        return self._run(self._conversations.push([outcome_entry(outcome_id, target, importance)], None))[0].decode()

    def outcomes(self, outcomes: Iterable[Sequence[Any]]) -> int:
        """Push many (outcome_id, target) or (outcome_id, target, importance); return how many: see `outcome`."""
        n = 0
        for entries in outcome_entries(outcomes):
            n += len(self._run(self._conversations.push(entries, None)))
        return n

    # ---- asking ----
    def ask(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and return the whole reply.

        Raises
        ------
        LearnerError
            When no worker answers in time, or it answers with an error.
        """
        return self._run(self._conversations.ask(fields))

    def ask_many(
        self, records: Iterable[Any], *, features: bool = False, probabilities: bool = False
    ) -> list[dict[str, Any] | ExampleError]:
        """Return an answer to each record, as a reply to it alone would have it, or an `ExampleError`, in their order.

        With ``probabilities=True`` answers about classes have the probability of every class.
        """
        return self._run(self._conversations.ask_many(records, features, probabilities))

    def predict(
        self,
        record: Any = None,
        *,
        features: "Mapping[str, float] | NDArray[Any] | None" = None,
        outcome_id: str | None = None,
    ) -> Any:
        """Return the prediction for a record or features.

        With an `outcome_id`, a name of your own, the features that were scored are kept, and `outcome` has them learned.

        Returns
        -------
        float or str
            With two classes the probability of the positive one (target +1); with many classes the most probable label, None
            before the first example; else a number.

        Raises
        ------
        LearnerError
            When there is no answer: see `ask`.
        """
        return answers.value_of(self.ask(answers.request_of(record, features, outcome_id)))

    def predict_label(
        self,
        record: Any = None,
        *,
        features: "Mapping[str, float] | NDArray[Any] | None" = None,
        outcome_id: str | None = None,
    ) -> Any:
        """Return the most probable class: its label, or -1 or +1 where the two classes have no labels."""
        return answers.label_of(self.ask(answers.request_of(record, features, outcome_id)))

    def predict_proba(
        self,
        record: Any = None,
        *,
        features: "Mapping[str, float] | NDArray[Any] | None" = None,
        outcome_id: str | None = None,
    ) -> dict[Any, float]:
        """Return the probability of every class, by label, or by -1 and +1."""
        return answers.probabilities_of(self.ask(answers.request_of(record, features, outcome_id)))

    def predict_many(self, records: Iterable[Any], *, features: bool = False) -> list[Any]:
        """Return the predictions for many records (or, with ``features=True``, feature maps), in their order.

        Each is what `predict` returns. Where there is none, an `ExampleError` stands in its place (it is not raised).
        """
        return self._run(self._conversations.predict_many(records, features))

    def explain(
        self,
        record: Any = None,
        *,
        features: "Mapping[str, float] | NDArray[Any] | None" = None,
        outcome_id: str | None = None,
    ) -> dict[str, Any]:
        """Return the reply to a request for an explanation: prediction, score, and contributions that add up to it.

        A contribution is (feature name, value, mean, weight, contribution): see `learner.learners.protocol.Contribution`.
        """
        return self.ask({**answers.request_of(record, features, outcome_id), "explain": "1"})

    # ---- what is committed ----
    def weights(self, prefix: str = "", n: int | None = None) -> dict[str, float]:
        """Return the weights of the last commit by feature name, the largest in size first."""
        return dict(self.committed().weights.top(n, prefix))

    def committed(self) -> Any:
        """Return a copy of the model as last committed, a `learner.model.Model`."""
        from learner.service.creating import committed_model
        from learner.service.store import Store

        look = self._conversations.read(lambda connection: committed_model(Store(connection, self.keys.model)))
        return self._run(look)
