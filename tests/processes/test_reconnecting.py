"""A server that is lost is found again."""

import os
import signal
from contextlib import suppress

import redis

from learner.client import Client
from learner.model import Model
from learner.service.store import Store
from learner.service.store.connection import client as connect
from learner.service.store.embedded import Embedded
from tests.conftest import SEED, state_bytes, wait_until
from tests.streams import push_batches, zipf_examples


def test_a_server_that_is_killed_and_started_again_is_found_and_all_is_learned(tmp_path, start_worker):
    examples = zipf_examples(6000, 8, 21)
    embedded = Embedded(tmp_path / "server")
    url = embedded.start()
    try:
        client = connect(url)
        model = Model("binary", seed=SEED)
        Store(client, "m").create(model.to_spec())
        worker = start_worker(url, "m", "--commit-seconds", "0.01")
        push_batches(client, "batch", examples[:2000], 10)
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
        push_batches(client, "batch", examples[2000:4000], 10)
        with suppress(redis.ResponseError):  # Redis 7.0 has none; there the kernel has what was pushed, and lives on
            client.execute_command("WAITAOF", 1, 0, 5000)  # what was pushed must survive: only commits may be lost
        os.kill(embedded.running()["pid"], signal.SIGKILL)
        wait_until(lambda: not embedded._alive())
        assert "no connection, trying again" in worker.stderr.readline()
        assert embedded.start() == url
        client = connect(url)
        push_batches(client, "batch", examples[4000:], 10)
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0, 30)
        worker.terminate()
        assert worker.wait(20) == 0
        model.learn_packed(b"".join(examples))
        assert state_bytes(Client("m", url).committed()) == state_bytes(model)
    finally:
        embedded.stop()
