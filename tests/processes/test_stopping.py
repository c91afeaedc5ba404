"""Workers that are stopped by signals, with a server and without."""

import json
import signal
import time

import pytest

from learner.model import Model
from learner.service.store import Store
from learner.service.store.connection import client as connect
from learner.service.store.embedded import Embedded
from tests.conftest import SEED, state_bytes, wait_until
from tests.streams import GOOD, KEYS, push_batches, zipf_examples


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_commits_all_that_was_read_and_loses_nothing(
    client, redis_url, create, start_worker, drain, committed, number
):
    examples = zipf_examples(30_000, 10, 11)
    undisturbed = create()
    worker = start_worker(redis_url, "m", "--commit-seconds", "1000", "--json")
    push_batches(client, "batch", examples[:20_000], 10)
    wait_until(lambda: client.info("commandstats").get("cmdstat_xread"))
    worker.send_signal(number)
    push_batches(client, "batch", examples[20_000:], 10)
    out, err = worker.communicate(timeout=5)
    assert worker.returncode == 0, err
    stopped = committed()
    assert json.loads(out)["examples"] == stopped.n_examples > 0
    assert Store(client, "m").status()["owner"] == {"epoch": "1"}
    assert client.hget(KEYS.head, "commits") == b"1"
    undisturbed.learn_packed(b"".join(examples[: stopped.n_examples]))
    assert state_bytes(stopped) == state_bytes(undisturbed)
    again = drain()
    assert again.store.ownership.epoch == 2
    assert again.model.n_examples == 30_000
    undisturbed.learn_packed(b"".join(examples[stopped.n_examples :]))
    assert state_bytes(committed()) == state_bytes(undisturbed)


def test_what_was_committed_at_a_stop_is_where_the_next_one_starts(client, redis_url, create, start_worker):
    create()
    push_batches(client, "batch", zipf_examples(500, 5, 1), 10)
    worker = start_worker(redis_url, "m", "--commit-seconds", "0.01")
    wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
    worker.terminate()
    assert worker.wait(5) == 0
    cursor = client.hget(KEYS.head, "cursor").decode()
    worker = start_worker(redis_url, "m")
    assert f"500 examples learned up to {cursor}" in worker.hello
    worker.terminate()
    assert worker.wait(5) == 0
    assert client.hget(KEYS.head, "commits") is not None
    assert client.hget(KEYS.head, "entries") == b"50"


def test_a_worker_that_is_stopped_without_a_server_says_what_is_not_committed(tmp_path, start_worker):
    embedded = Embedded(tmp_path / "server")
    url = embedded.start()
    try:
        client = connect(url)
        Store(client, "m").create(Model("binary", seed=SEED).to_spec())
        worker = start_worker(url, "m", "--commit-seconds", "1000")
        push_batches(client, "batch", zipf_examples(100, 5, 1), 10)
        wait_until(lambda: client.info("commandstats").get("cmdstat_xread", {"calls": 0})["calls"] >= 2)
    finally:
        embedded.stop()
    assert "no connection" in worker.stderr.readline()
    worker.terminate()
    _, err = worker.communicate(timeout=10)
    assert worker.returncode == 2
    assert "stopped with code 2: 10 entries learned must be learned again" in err.splitlines()[-1]


def start_with_something_to_commit(url, start_worker):
    client = connect(url)
    Store(client, "m").create(Model("binary", seed=SEED).to_spec())
    worker = start_worker(url, "m", "--commit-seconds", "1000")
    push_batches(client, "batch", zipf_examples(100, 5, 1), 10)
    wait_until(lambda: client.info("commandstats").get("cmdstat_xread", {"calls": 0})["calls"] >= 2)
    return worker


def test_a_server_that_hangs_does_not_hold_a_stop_up(hanging, start_worker):
    url, hang = hanging
    works = start_with_something_to_commit(url, start_worker)
    waits = start_worker(url, "m")
    hang()
    started = time.monotonic()
    works.terminate()
    waits.terminate()
    _, err = works.communicate(timeout=10)
    assert time.monotonic() - started < 5
    assert works.returncode == 2
    words = "stopped with code 2: 10 entries learned must be learned again: they could not be committed"
    assert words in err.splitlines()[-1]
    assert waits.wait(5) == 0


def test_a_second_signal_ends_a_worker_at_once(hanging, start_worker):
    url, hang = hanging
    worker = start_with_something_to_commit(url, start_worker)
    hang()
    worker.terminate()
    time.sleep(0.5)
    worker.terminate()
    assert worker.wait(1) == -signal.SIGTERM


BUSY = {
    "a huge request": (KEYS.requests, {"batch": b"\x80" * 4_000_000, "explain": "1"}),
    "many huge requests": (KEYS.requests, {"batch": b"\x80" * 10_000, "probabilities": "1"}),
    "huge batches": (KEYS.examples, {"batch": GOOD * 10_000}),
    "huge entries of records": (KEYS.examples, {"records": GOOD * 10_000}),
}


@pytest.mark.parametrize("work", BUSY)
def test_a_signal_ends_a_worker_in_the_middle_of_any_work(client, redis_url, create, start_worker, work):
    create(featurizer="fields")
    stream, fields = BUSY[work]
    for _ in range(100):
        client.xadd(stream, {**fields, "reply": "learner:{m}:replies:me"})
        if work == "a huge request":
            break
    worker = start_worker(redis_url, "m", "--commit-seconds", "1000")
    time.sleep(0.3)
    started = time.monotonic()
    worker.terminate()
    _, err = worker.communicate(timeout=30)
    assert time.monotonic() - started < 5
    assert worker.returncode == 0, err
