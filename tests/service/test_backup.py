"""Backup and restore as deploy/README.md has them: a dump of a server, loaded by another one."""

import shutil
import subprocess
from pathlib import Path

import pytest
import redis

from learner.errors import StoreError
from learner.service.store import Store
from learner.service.store.connection import client as connect
from learner.service.store.embedded import find_binary, free_port
from tests.conftest import state_bytes, wait_until
from tests.service.commands.test_managing import learned, push
from tests.streams import KEYS


@pytest.fixture
def launch(tmp_path):
    """Start a server on the test's folder; returns a connection. None outlives the test."""
    processes = []

    def launched(appendonly):
        for process in processes:
            process.terminate()
            process.wait(30)
        port = free_port()
        options = ["--port", str(port), "--dir", str(tmp_path), "--save", "", "--appendonly", appendonly]
        processes.append(subprocess.Popen([find_binary(), *options], stdout=subprocess.DEVNULL))
        connection = connect(f"redis://127.0.0.1:{port}/0")
        wait_until(lambda: answers(connection))
        return connection

    yield launched
    for process in processes:
        process.kill()
        process.wait()


def answers(connection):
    try:
        return connection.ping()
    except redis.RedisError:
        return False


def test_a_model_goes_on_from_a_dump_and_a_worker_notices_that_the_server_went_back(
    client, create, own, drain, tmp_path, launch
):
    create(featurizer="fields")
    push(client, 0, 50)
    drain()
    push(client, 50, 60)
    client.bgsave()
    wait_until(lambda: not client.info("persistence")["rdb_bgsave_in_progress"])
    shutil.copy(Path(client.config_get("dir")["dir"]) / "dump.rdb", tmp_path)
    running = own()
    running.run(burst=True)

    restored = launch("no")
    restored.config_set("appendonly", "yes")
    wait_until(lambda: not restored.info("persistence")["aof_rewrite_in_progress"])
    restored.close()
    restored = launch("yes")
    status = Store(restored, "m").status()
    assert (status["trouble"], status["lag_entries"], status["progress"]["examples"]) == (None, 10, 50)

    running.store.client = restored  # as if it had been restored in place
    with pytest.raises(StoreError, match="server lost what came after epoch 1"):
        running.store.ownership.require()
    push(restored, 40, 60)  # again, with their ids
    push(restored, 60, 70)
    from worker import Worker

    worker = Worker(Store(restored, "m"), 1000.0, held_seconds=float("inf"))
    assert worker.wait_to_own()
    worker.run(burst=True)
    assert state_bytes(worker.model) == state_bytes(learned(70))
    assert restored.hget(KEYS.head, "entries") == b"90"
