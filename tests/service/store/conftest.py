"""A model and its store on the session's server, for the tests of the store."""

from typing import TYPE_CHECKING

import msgpack
import pytest
import redis

from learner.kernels.experts import row_width
from learner.model import Model
from learner.service.recent import RecentIds
from learner.service.store import Store
from learner.service.store.snapshot import Committed
from learner.tasks import TASKS
from tests.conftest import SEED, commit, state_bytes

if TYPE_CHECKING:
    from learner.service.wire import RejectedEntry

WIDTH = row_width(len(TASKS["binary"].rates))


def learn(model: Model, names: "list[str]", target: int = 1) -> None:
    """Learn each name as an example of its own."""
    model.learn_packed(b"".join(msgpack.packb([target, {name: 1.0}]) for name in names))


class Pair:
    """A model and its store, with entries in its stream."""

    def __init__(self, client: redis.Redis, name: str = "m") -> None:
        self.client = client
        self.model = Model("binary", seed=SEED)
        self.store = Store(client, name)
        self.store.create(self.model.to_spec())
        self.store.ownership.take_over()
        self.ids = [client.xadd(self.store.keys.examples, {"x": i}) for i in range(10)]

    def commit(
        self,
        n: int,
        rejected: "list[tuple[bytes, RejectedEntry]] | None" = None,
        store: Store | None = None,
        recent: RecentIds | None = None,
    ) -> None:
        """Commit the model as it is, up to entry number n."""
        store = store or self.store
        commit(store, self.model, self.ids[n], n + 1 - store.commits.n_entries, rejected or [], {"n": n}, recent)

    def load(self) -> Committed | None:
        return Store(self.client, self.store.keys.model).commits.load(self.model.fingerprint, WIDTH)

    def holds(self) -> bool:
        """Whether what is committed is the model as it is."""
        return state_bytes(self.load().state) == state_bytes(self.model)


@pytest.fixture
def pair(client: redis.Redis) -> Pair:
    return Pair(client)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> "list[tuple[str, int, int]]":
    """What commits write of the state: (key, offset, bytes)."""
    writes: list[tuple[str, int, int]] = []
    setrange = redis.client.Pipeline.setrange

    def noted(self, key, offset, value):
        writes.append((key, offset, len(value)))
        return setrange(self, key, offset, value)

    monkeypatch.setattr(redis.client.Pipeline, "setrange", noted)
    return writes


def everything(client: redis.Redis) -> "dict[bytes, bytes]":
    """All keys with their values, as the server keeps them."""
    return {key: client.dump(key) for key in client.keys("*")}


def put_back(client: redis.Redis, kept: "dict[bytes, bytes]", *names: str) -> None:
    """Set the server back to what it held, wholly or in some keys."""
    for key in client.keys("*"):
        if not names or key.decode() in names:
            client.delete(key)
    for key, value in kept.items():
        if not names or key.decode() in names:
            client.restore(key, 0, value)


def losing(monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    """Have the next transaction lose its connection, before or after the server did it."""
    execute = redis.client.Pipeline.execute

    def lost(self, *args, **kwargs):
        monkeypatch.setattr(redis.client.Pipeline, "execute", execute)
        if after:
            execute(self, *args, **kwargs)
        raise redis.ConnectionError("lost")

    monkeypatch.setattr(redis.client.Pipeline, "execute", lost)
