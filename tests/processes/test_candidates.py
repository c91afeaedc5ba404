"""That a model changes places with its candidate under load, and whatever is killed, without losing or repeating an example."""

import itertools
import json
import threading
import time

import pytest

from learner.client import Client
from learner.errors import LearnerError
from learner.model import Model
from learner.packing import pack
from learner.service.store import Store, candidates
from tests.command_line import invoke
from tests.conftest import SEED, state_bytes, wait_until
from tests.streams import KEYS

OPTIONS = ("--commit-seconds", "0.1", "--late-every", "1", "--lease-seconds", "1")


@pytest.mark.slow
def test_promotions_under_load_and_kills_lose_nothing_and_repeat_nothing(
    client, redis_url, create, start_worker, drain, monkeypatch
):
    monkeypatch.setenv("REDIS_URL", redis_url)
    models = {(0.25, 2.0): create(), (0.5,): Model(rates=[0.5], seed=SEED)}
    store = Store(client, "m")
    store.set({"history": "1h"})
    assert candidates.create(store, "c", models[0.5,].to_spec(), {"history": "1h"}, from_history=True)
    pushed, answers, over = [], [], threading.Event()

    def push():
        for i in itertools.count():
            if over.is_set():
                return
            row = ((-1) ** i, {f"a{i % 7}": 1, "b": i % 5})
            client.xadd(KEYS.examples, {"features": json.dumps(row[1]), "target": str(row[0])})
            pushed.append(row)
            time.sleep(0.002)

    def ask():
        asker = Client("m", redis_url, timeout=60)
        while not over.is_set():
            try:
                answers.append(asker.predict(features={"b": 1}))
            except LearnerError as error:
                answers.append(error)

    threads = [threading.Thread(target=push), threading.Thread(target=ask)]
    workers = {name: start_worker(redis_url, name, *OPTIONS) for name in ("m", "m/c")}
    for thread in threads:
        thread.start()
    try:
        for killed in (None, "m/c", "m", None):
            n = len(answers)
            wait_until(lambda: Store(client, "m/c").status()["progress"].get("examples", 0) > 100, 60)
            if killed:
                threading.Timer(0.02, workers[killed].kill).start()
            invoke("promote", "m", "c", "--wait", "60")
            if killed:
                workers[killed].wait(30)
                workers[killed] = start_worker(redis_url, killed, *OPTIONS)
            wait_until(lambda n=n: len(answers) > n + 20, 60)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    for worker in workers.values():
        worker.terminate()
        _, err = worker.communicate(timeout=30)
        assert worker.returncode == 0, err
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    for name in ("m", "m/c"):
        found = drain(name).model
        expected = models[found.spec.rates]
        for target, features in pushed:
            expected.learn_packed(pack([target, features]))
        assert found.n_examples == len(pushed)
        assert state_bytes(found) == state_bytes(expected)
        assert Store(client, name).status()["trouble"] is None
