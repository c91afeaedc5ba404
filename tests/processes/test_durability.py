"""The level that a worker is started with, and the commits that it confirms."""

from learner.commands.show import status_lines
from learner.service.store import Store
from learner.service.wire import Keys
from tests.conftest import wait_until

KEYS = Keys("m")


def test_status_shows_the_level_and_what_is_confirmed(client, redis_url, create, waitaof, start_worker, start):
    create()
    worker = start_worker(redis_url, "m", "--durability", "power", "--commit-seconds", "0.01", "--lease-seconds", "0.5")
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    wait_until(lambda: Store(client, "m").status()["confirmed"] == 1)
    lines = list(status_lines(Store(client, "m").status() | {"task": "binary", "loss": "logistic"}))
    assert "durability        power, confirmed up to commit 1 of 1" in lines
    worker.terminate()
    assert worker.wait(5) == 0
    _, err = start(redis_url, "worker", "m", "--burst", "--durability", "failover").communicate(timeout=60)
    assert err.startswith(
        "Error: server: durability 'failover' asks for more: replicas must be at least 1 (got 0); min-"
    )
