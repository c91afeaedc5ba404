"""The connections of asyncio's clients, and the conversations over them."""

import asyncio
import inspect
import os
from typing import Any, NamedTuple, TypeVar

from learner.client.asking import Asking, asked_async
from learner.client.conversations import Conversation, Step
from learner.errors import ServerError
from learner.service.store import connection
from learner.service.store.cluster import clients_of

__all__ = ["Connections"]

MAX_CONVERSATIONS = 100  # at once, of a client: each takes a connection; time that the others wait is no time to answer
OTHERS = 10  # connections beside, for whoever uses them directly

T = TypeVar("T")


class _OfLoop(NamedTuple):
    """What there is for one event loop: connections, and how many more conversations they may be used for."""

    redis: Any
    free: asyncio.Semaphore


class Connections:
    """Connections to a server, for any number of models; each event loop of each process has its own.

    Parameters
    ----------
    url : str
        The server's.
    timeout : float
        How many seconds a conversation may wait for a reply at most.
    most : int
        How many conversations there may be at once, of an event loop.
    """

    def __init__(self, url: str, timeout: float, most: int = MAX_CONVERSATIONS) -> None:
        self._url, self._most = url, most
        self._block_ms = int(timeout * 1000)
        self._loops: dict[tuple[int, asyncio.AbstractEventLoop], _OfLoop] = {}  # by process and loop

    @property
    def redis(self) -> Any:
        """The connections of the running loop, in this process."""
        return self._of_loop().redis

    def _of_loop(self) -> _OfLoop:
        here = (os.getpid(), asyncio.get_running_loop())
        if here not in self._loops:
            for pid, loop in list(self._loops):
                if pid == here[0] and loop.is_closed():
                    self._loops.pop((pid, loop), None)  # another thread may have been quicker
            made = connection.async_client(self._url, block_ms=self._block_ms, most=self._most + OTHERS)
            self._loops[here] = _OfLoop(made, asyncio.Semaphore(self._most))
        return self._loops[here]

    async def run(self, conversation: Conversation[T]) -> T:
        """Carry out the steps of a conversation; return its result."""
        own = self._of_loop()
        async with own.free:
            try:
                step = next(conversation)
                while True:
                    try:
                        result = await _do(step, own.redis)
                    except Exception as error:  # noqa: BLE001  (the conversation says what it means)
                        step = conversation.throw(error)
                    else:
                        step = conversation.send(result)
            except StopIteration as end:
                value: T = end.value
                return value

    async def ping(self, seconds: float) -> None:
        """Make sure that the server answers in time.

        Raises
        ------
        ServerError
            When it doesn't.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.redis.ping()
        except TimeoutError as error:
            raise ServerError(f"server must answer within {seconds:g} s (it did not)") from error

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        for each in clients_of(self.redis):
            await each.aclose()


async def _do(step: Step, redis: Any) -> Any:
    if isinstance(step, float):
        return await asyncio.sleep(step)
    if isinstance(step, Asking):
        return await asked_async(redis, step)
    result = step(redis)
    return await result if inspect.isawaitable(result) else result
