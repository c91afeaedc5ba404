"""What a store does before anything is learned, on fakeredis."""

import fakeredis

from learner.service.store import Store


def test_creating_and_owning_need_nothing_that_fakeredis_lacks():
    store = Store(fakeredis.FakeRedis(), "m")
    assert store.create({"task": "binary"})
    assert not store.create({"task": "binary"})
    assert [store.ownership.take_over(), store.ownership.take_over()] == [1, 2]
    store.ownership.release()
    assert store.status()["owner"] == {"epoch": "2"}
