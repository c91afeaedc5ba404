"""Settings on the server, and the commands that write them."""

import pytest

from learner.errors import LearnerError
from learner.service.store import Store


def test_written_settings_are_read_and_unset(client):
    store = Store(client, "settings")
    store.create({"task": "binary"})
    defaults = store.settings()
    store.set({"history": "1h", "replicas": 2})
    assert store.settings() == defaults | {"history": 3600.0, "replicas": 2}
    with pytest.raises(LearnerError, match="history must be"):
        store.set({"replicas": "3", "history": "long"})
    assert store.settings()["replicas"] == 2
    store.set({"history": ""})
    assert store.settings() == defaults | {"replicas": 2}
    client.hset(store.keys.settings, "replicas", "many")
    with pytest.raises(LearnerError, match="replicas must be a whole number from 1"):
        store.settings()
