"""That killing a worker at any moment changes no bit of what is learned."""

import os
import random
import signal
import time

import msgpack
import numpy as np
import pytest

from learner.packing import pack
from learner.service.store import Store
from tests.conftest import state_bytes, wait_until
from tests.streams import KEYS, push_batches, rejected, zipf_examples


def killed_at_random(
    client, url, start_worker, field: str, examples: "list[bytes]", kills: int, rng: random.Random
) -> int:
    """Push examples while workers are killed; return how many kills came when there was something left to learn."""
    slices = np.array_split(np.arange(len(examples)), kills + 1)
    amid = 0
    for piece in slices[:-1]:
        worker = start_worker(url, "m", "--commit-seconds", "0.02")
        push_batches(client, field, [examples[i] for i in piece], 25)
        time.sleep(rng.uniform(0, 0.2))
        worker.kill()
        assert worker.wait() == -signal.SIGKILL
        amid += Store(client, "m").status()["lag_entries"] > 0
    push_batches(client, field, [examples[i] for i in slices[-1]], 25)
    return amid


@pytest.mark.slow
def test_twenty_kills_over_200_000_examples_change_no_bit(client, redis_url, create, start_worker, drain, committed):
    seed = random.randrange(1 << 30) if os.environ.get("LEARNER_RANDOM_KILLS") else 2026
    print("seed", seed)
    examples = zipf_examples(200_000, 25, seed)
    undisturbed = create()
    amid = killed_at_random(client, redis_url, start_worker, "batch", examples, 20, random.Random(seed))
    drain()
    undisturbed.learn_packed(b"".join(examples))
    found = committed()
    assert found.n_examples == 200_000
    assert state_bytes(found) == state_bytes(undisturbed)
    assert found.n_features > 100_000
    n_entries = sum(-(-len(piece) // 25) for piece in np.array_split(np.arange(200_000), 21))
    assert client.hget(KEYS.head, "entries") == b"%d" % n_entries
    assert amid >= 5, amid
    assert rejected(client) == []


def test_kills_change_no_bit_of_what_is_learned_from_records(client, redis_url, create, start_worker, drain, committed):
    rng = random.Random(7)
    examples, undisturbed = [], create(featurizer="email")
    for i in range(6000):
        address = f"{rng.choice('abcdef')}{rng.randrange(300)}@{rng.choice(['gmail.com', 'web.de', 'x.org'])}"
        record = {"address": address} if i % 50 else {"address": 7}
        examples.append(pack([rng.choice([-1, 1]), record]))
    killed_at_random(client, redis_url, start_worker, "records", examples, 3, rng)
    drain()
    for example in examples:
        target, record = msgpack.unpackb(example)
        if record["address"] == 7:
            undisturbed.count_rejected(1)
        else:
            undisturbed.learn_one(record, target)
    assert state_bytes(committed()) == state_bytes(undisturbed)
    assert len(rejected(client)) == undisturbed.n_rejected == 120


def test_kills_change_no_bit_of_a_model_with_a_neural_head(client, redis_url, create, start_worker, drain, committed):
    examples = zipf_examples(20_000, 10, 3)
    undisturbed = create(neural={"hidden": [5, 4]})
    killed_at_random(client, redis_url, start_worker, "batch", examples, 3, random.Random(3))
    drain()
    undisturbed.learn_packed(b"".join(examples))
    assert state_bytes(committed()) == state_bytes(undisturbed)
    (_, progress), *_ = client.xrevrange(KEYS.progress, count=1)
    assert {b"norm_V1", b"norm_V2", b"norm_w"} <= progress.keys()
    assert client.hget(KEYS.head, "entries")


@pytest.mark.slow
def test_kills_change_no_bit_of_what_is_learned_where_the_stream_pauses(
    client, redis_url, create, start_worker, drain, committed
):
    rng, examples, undisturbed = random.Random(5), zipf_examples(20_000, 10, 5), create()
    n_amid = n_held = 0
    for piece in np.array_split(np.arange(len(examples)), 6):
        worker = start_worker(redis_url, "m", "--commit-seconds", "0.02")
        packed = [examples[i] for i in piece]
        push_batches(client, "batch", packed, 25)
        client.xadd(KEYS.examples, {"learn": "held"})
        time.sleep(rng.uniform(0, 0.02))
        worker.kill()
        worker.wait()
        n_amid += Store(client, "m").status()["lag_entries"] > 0
        undisturbed.learn_packed(b"".join(packed))
        n_held += undisturbed.n_held
        undisturbed.learn_held()
    drain()
    assert state_bytes(committed()) == state_bytes(undisturbed)
    assert (committed().n_examples, rejected(client), n_amid > 0, n_held > 1000) == (20_000, [], True, True)


def test_a_worker_that_is_killed_in_a_pause_leaves_what_it_held_to_the_next_one(
    client, redis_url, create, start_worker, committed
):
    examples, undisturbed = zipf_examples(2000, 10, 6), create()
    worker = start_worker(redis_url, "m", "--commit-seconds", "0.02")
    push_batches(client, "batch", examples, 25)
    wait_until(lambda: Store(client, "m").status()["progress"].get("examples") == 2000)
    worker.kill()
    worker.wait()
    undisturbed.learn_packed(b"".join(examples))
    assert state_bytes(committed()) == state_bytes(undisturbed)
    assert committed().n_held > 100
    start_worker(redis_url, "m", "--commit-seconds", "0.02", "--held-seconds", "1")
    wait_until(lambda: committed().n_held == 0)
    undisturbed.learn_held()
    assert state_bytes(committed()) == state_bytes(undisturbed)
