"""What the progress stream holds beside each commit's figures: the doublings, however entries came, and the rises."""

import msgpack
import numpy as np
import pytest

from learner.commands.show import status_lines
from learner.service.store import Store


def batch(n: int, share: float, r: np.random.Generator) -> bytes:
    """Examples of one feature that tells the label, but for a share of them."""
    packed = []
    for _ in range(n):
        y = int(r.integers(2))
        packed.append(msgpack.packb([y, {f"f{y if r.random() > share else 1 - y}": 1.0}]))
    return b"".join(packed)


@pytest.mark.parametrize("size", [500, 10_000])
def test_the_loss_of_each_doubling_and_a_rise_are_told(client, create, own, size, seed, capfd):
    r = np.random.default_rng(seed)
    create()
    for share in (0.1, 0.4):
        data = [batch(500, share, r) for _ in range(40)]
        for i in range(0, 40, size // 500):
            client.xadd("learner:{m}:examples", {"batch": b"".join(data[i : i + size // 500])})
    worker = own(commit_seconds=1000.0)
    worker.run(burst=True)
    store = Store(client, "m")
    examples = [int(entry[b"examples"]) for entry in store.progress()]
    for doubling in (1024, 2048, 4096, 8192, 16_384, 32_768):
        assert any(doubling <= n < doubling + 1024 for n in examples), (doubling, examples)
    status = store.status()
    assert 20_000 < status["progress"]["drift_examples"] <= 20_000 + max(3000, size)
    assert 0.2 < status["progress"]["drift_before"] < status["progress"]["drift_after"]
    assert any(line.startswith("drift ") for line in status_lines(status | {"task": "binary", "loss": "logistic"}))
    assert "event=drift" in capfd.readouterr().err
