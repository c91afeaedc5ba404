"""Records whose featurizing never ends: they are quarantined, by the same rules as those that kill."""

import json
import os
import signal
import subprocess
import sys

from learner.client import Client
from learner.packing import pack
from learner.service.wire import REPLIES
from tests.conftest import state_bytes
from tests.streams import KEYS

# a pattern that backtracks without end, in C, where no handler of a signal has its turn
HANGING = {"templates": [{"template": "words", "field": "t", "token": r"(?:a|a)+$"}]}
WORKER = """
import learner.service.hanging
learner.service.hanging.RECORD_SECONDS = 0.3
import worker
worker.worker()
"""


def run(url):
    command = [sys.executable, "-c", WORKER, "m", "--burst"]
    environment = {**os.environ, "REDIS_URL": url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_an_entry_that_hangs_is_quarantined_after_the_second_time(client, redis_url, create):
    reference = create(featurizer=HANGING)
    for text in ("aaa", "a" * 60 + "!", "aa"):
        client.xadd(KEYS.examples, {"record": json.dumps({"t": text}), "target": "1"})
    ended = [run(redis_url) for _ in range(3)]
    assert [each.returncode for each in ended] == [-signal.SIGPROF, -signal.SIGPROF, 0], ended[-1].stderr
    ((_, found),) = client.xrange(KEYS.rejected)
    assert found[b"stage"] == b"killed"
    assert (
        found[b"reason"] == b"entry must not kill the worker (it did, and then a trial: more than 0.3 s for one record)"
    )
    reference.learn_one({"t": "aaa"}, 1)
    reference.count_rejected(1)
    reference.learn_one({"t": "aa"}, 1)
    assert state_bytes(Client("m", redis_url).committed()) == state_bytes(reference)


def test_a_request_that_hangs_is_refused_the_third_time(client, redis_url, create):
    create(featurizer=HANGING)
    for text in ("aaa", "a" * 60 + "!", "aa"):
        client.xadd(KEYS.requests, {"records": pack({"t": text}), "reply": REPLIES + "me", "id": str(len(text))})
    assert [run(redis_url).returncode for _ in range(3)] == [-signal.SIGPROF, -signal.SIGPROF, 0]
    replies = {reply["id"]: reply for reply in map(json.loads, client.lrange(REPLIES + "me", 0, -1))}
    assert replies["61"]["error"] == "request must not kill the worker (it did)"
    assert {"error", "errors"}.isdisjoint(replies["3"] | replies["2"])
