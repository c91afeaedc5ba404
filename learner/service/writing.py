"""Writing snapshots beside learning: one thread for all models of a process on one server."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

__all__ = ["Writer", "Writing", "writer_of"]

Task = tuple["Future[None]", Callable[[], None]]


class Writer:
    """Runs tasks one after another in a thread of its own, which lives while there are any.

    A task waits for the tasks before it, each of which takes at most the timeouts of its connection (see
    `learner.service.store.connection.client`). The thread is a daemon: a process that ends does not wait for a server that
    hangs.

    >>> writer, done = Writer(), []
    >>> for number in range(3):
    ...     future = writer.submit(lambda number=number: done.append(number))
    >>> future.result(), done
    (None, [0, 1, 2])
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: deque[Task] = deque()  # the first one is running

    def submit(self, task: Callable[[], None]) -> "Future[None]":
        """Have a task run after those that were submitted before."""
        future: Future[None] = Future()
        with self._lock:
            self._tasks.append((future, task))
            if len(self._tasks) == 1:
                threading.Thread(target=self._run, name="commit", daemon=True).start()
        return future

    def _run(self) -> None:
        is_last = False
        while not is_last:
            future, task = self._tasks[0]
            error: BaseException | None = None
            try:
                task()
            except BaseException as raised:  # noqa: BLE001  (raised by whoever waits for the task)
                error = raised
            with self._lock:
                self._tasks.popleft()
                is_last = not self._tasks  # whoever submits the next one starts a thread again
            future.set_exception(error) if error else future.set_result(None)


_writers: dict[str, Writer] = {}  # of this process, by the address of the server


def writer_of(server: str) -> Writer:
    """Return the writer of all models in this process that are on one server: a server that hangs delays no other server's.

    >>> writer_of("localhost:6379") is writer_of("localhost:6379") is not writer_of("localhost:6380")
    True
    """
    return _writers.setdefault(server, Writer())


class Writing:
    """One task on its way: its error is kept until `finish`, and from then on `finish` tries again.

    Parameters
    ----------
    task : callable
        Safe to repeat.
    writer : Writer
        Where it runs first.
    """

    def __init__(self, task: Callable[[], None], writer: Writer) -> None:
        self._task = task
        self._first = writer.submit(task)
        self._has_failed = False

    @property
    def is_running(self) -> bool:
        """Whether the task still runs beside this thread, or waits for its turn."""
        return not self._first.done()

    @property
    def error(self) -> BaseException | None:
        """The error of the first try, if it is over and failed."""
        return self._first.exception() if self._first.done() else None

    def finish(self) -> None:
        """Wait until the task is done and raise what it raised; after an error, run it again in this thread."""
        if self._has_failed:
            self._task()
        elif error := self._first.exception():
            self._has_failed = True
            raise error
