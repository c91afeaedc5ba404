"""Examples and entries that tests push, and what they find in the streams afterwards."""

import msgpack
import numpy as np
import redis

from learner.service.wire import Keys

KEYS = Keys("m")  # of the model that most tests make
GOOD, BAD = msgpack.packb([1, {"a": 1}]), msgpack.packb([7, {"a": 1}])  # a batch of one that is learned, or rejected


def zipf_examples(n: int, n_features: int, seed: int) -> "list[bytes]":
    """Packed examples whose names follow Zipf's law, with a target that depends on them."""
    rng = np.random.default_rng(seed)
    ids = rng.zipf(1.25, (n, n_features)) % 2_000_003
    values = np.round(rng.random((n, n_features)) + 0.1, 2)
    scores = np.sin(ids).sum(1) + rng.normal(0, 1, n)
    names = {i: f"n{i}" for i in np.unique(ids).tolist()}
    rows = zip(ids.tolist(), values.tolist(), scores.tolist(), strict=True)
    return [
        msgpack.packb([1 if score > 0 else -1, {names[i]: x for i, x in zip(row, xs, strict=True)}])
        for row, xs, score in rows
    ]


def push_batches(client: redis.Redis, field: str, examples: "list[bytes]", size: int) -> None:
    """Push examples, so many an entry."""
    with client.pipeline(transaction=False) as pipe:
        for i in range(0, len(examples), size):
            pipe.xadd(KEYS.examples, {field: b"".join(examples[i : i + size])})
        pipe.execute()


def rejected(client: redis.Redis) -> "list[dict[bytes, bytes]]":
    """The fields of all entries of the rejected stream."""
    return [fields for _, fields in client.xrange(KEYS.rejected)]
