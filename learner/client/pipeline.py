"""Pushes of single examples that are sent together, as a pipeline of redis-py sends commands."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from learner.client.batches import entry_of
from learner.client.conversations import Conversation, Conversations

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pipeline"]

Result = TypeVar("Result")  # a list of entry ids, or what is awaited for it


class Pipeline(Generic[Result]):
    """Examples that `push` collects and `execute` sends in one round trip; one entry each, so each has an entry id.

    Parameters
    ----------
    conversations : Conversations
        About the model.
    run : callable
        Carries out a conversation: the client's own.

    Examples
    --------
    ::

        pipe = spam.pipeline()
        for order in orders:
            pipe.push(order.record, order.outcome, id=order.number)
        pipe.execute()
    """

    def __init__(self, conversations: Conversations, run: Callable[[Conversation[list[str]]], Result]) -> None:
        self._conversations = conversations
        self._run = run
        self._entries: list[dict[str, bytes]] = []
        self._ids: list[str | None] = []

    def push(
        self,
        record: Any = None,
        target: Any = None,
        *,
        features: "Mapping[str, float] | NDArray[Any] | None" = None,
        importance: float = 1.0,
        id: str | None = None,  # noqa: A002  (the field's name)
    ) -> Self:
        """Collect one example, which is sent by `execute`; the parameters are those of `Client.push`."""
        self._entries.append(entry_of(record, target, features, importance))
        self._ids.append(id)
        return self

    def __len__(self) -> int:
        return len(self._entries)

    def execute(self) -> Result:
        """Send what was collected, and return the entry ids; where all examples have an `id`, try again as `Client.push` does.

        Raises
        ------
        LearnerError
            When there is no such model, or the durability can't be confirmed: some may have been pushed.
        """
        entries, ids = self._entries, self._ids
        self._entries, self._ids = [], []
        return self._run(self._conversations.push_each(entries, ids))
