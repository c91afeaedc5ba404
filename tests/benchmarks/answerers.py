"""Questions answered by processes of ``learner answer`` beside a worker: ``python -m tests.benchmarks.answerers [--json]``.

For 0, 1, 2 and 4 answerers (0: the worker answers) some thousand questions of one record always wait, while the worker learns
at full speed, and again while it has nothing to learn; and once it learns while nobody asks. Printed are, for windows of some
seconds, medians over rounds: answers a second, examples learned a second, and the processor's time for an answer (of whoever
answers), for an example (of the worker) and for a question (of the server, asking included). The rates depend on how the system
shares the processors between all of these processes, of which there are two on the machine of the page; the processor's times
hardly do.

Predicted before the first run, for two processors: an answer takes 0.15 ms of an answerer, about what it takes the worker, and
0.03 ms of the server. So the worker that learns answers 2,500 a second, one answerer 5,000, two and four 6,000, as the
processors are full; beside a worker that is idle 6,000, 5,500, 9,000 and 9,000. The worker's time for an example is the same
within 3% with and without answerers; its rate falls with each process that it shares the processors with.

Came: an answer takes 0.08 ms, so the predicted rates were too low for idle processors, and no rate holds on busy ones. The
first answerers asked the server twice for every 16 questions, and waited for it more than they worked; since then they ask for
up to 100 at a time where many wait.

Caveats: asking and the server take a part of the two processors, too. The wall clock suffers from whatever else runs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import redis

from learner import Model
from learner.packing import pack, pack_example
from learner.service.store import Store, connection
from learner.service.store.embedded import temporary
from learner.service.store.position import NEVER
from learner.service.store.snapshot import Learned
from learner.service.tailing import Tailing
from learner.service.wire import Keys
from tests.benchmarks import Asked, Row
from tests.benchmarks.http import cpu_seconds
from tests.streams import zipf_examples

KEYS = Keys("asked")
ANSWERERS = (0, 1, 2, 4)
SECONDS, ROUNDS = 3.0, 3
N_AT_ONCE, ROUNDS_FOLLOWED = 40_000, 8
QUESTION = {"record": json.dumps({"price": 1.5, "city": "c3", "kind": "new"}), "reply": KEYS.replies + "me"}
AHEAD = 4000  # questions that wait; more than 10,000 would be refused
EXAMPLES_A_SECOND = 800_000  # that are pushed before a window, so that the worker never waits


def main() -> None:
    """Run it, and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.answerers", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = measure(SECONDS)
    if options.json:
        print(json.dumps(found))
        return
    for row in found:
        print("  ".join(f"{name} {value:g}" for name, value in row.items()))


def measure(seconds: float, rounds: int = ROUNDS) -> list[dict[str, float]]:
    """Return the figures without a question; then of each number of answerers, with a worker that learns, and that is idle."""
    found: list[list[dict[str, float]]] = []
    with temporary() as url, connection.client(url) as client:
        Store(client, KEYS.model).create(Model(featurizer="fields").to_spec())
        packed = b"".join(zipf_examples(1000, 10, 1))
        server = int(client.info("server")["process_id"])
        for _ in range(rounds):
            with process(url, "worker", KEYS.model, "--commit-seconds", "0.5") as worker, ExitStack() as stack:
                answerers: list[int] = []
                rows = [window(client, url, packed, seconds, [worker, server], asks=False)]
                for n in ANSWERERS:
                    answerers += [
                        stack.enter_context(process(url, "answer", KEYS.model)) for _ in range(n - len(answerers))
                    ]
                    wait_for(lambda: client.hexists(KEYS.owner, "answered_by") == bool(answerers))  # noqa: B023
                    for examples in (packed, b""):
                        rows += [window(client, url, examples, seconds, [worker, *answerers, server])]
            found.append(rows)
    return [
        {name: statistics.median(row[name] for row in same) for name in same[0]} for same in zip(*found, strict=True)
    ]


def window(
    client: redis.Redis, url: str, packed: bytes, seconds: float, processes: list[int], asks: bool = True
) -> dict[str, float]:
    """Return the figures of one window; the processes are the worker, the answerers and the server."""
    wait_for(lambda: client.xlen(KEYS.requests) == 0 and lag(client) == 0)
    if packed:
        with client.pipeline(transaction=False) as pipe:
            for _ in range(int(EXAMPLES_A_SECOND * seconds) // 1000):
                pipe.xadd(KEYS.examples, {"batch": packed})
            pipe.execute()
    with asking(url, AHEAD if asks else 0) as asked:
        time.sleep(0.5)
        started, before = time.monotonic(), counts(client, asked[0], processes)
        time.sleep(seconds)
        took, after = time.monotonic() - started, counts(client, asked[0], processes)
    answers, examples, of_worker, *others, of_server = (b - a for a, b in zip(before, after, strict=True))
    left = lag(client)
    client.xtrim(KEYS.requests, maxlen=0)
    assert not packed or left, "the worker must have had something to learn all the time"
    of_answers = sum(others) if others else float("nan") if packed else of_worker
    return {
        "answerers": len(others),
        "learns": bool(packed),
        "answers_a_second": round(answers / took),
        "examples_a_second": round(examples / took),
        "answer_ms": round(1e3 * of_answers / max(answers, 1), 4),
        "example_us": round(1e6 * of_worker / examples, 3) if examples and (others or not asks) else float("nan"),
        "server_ms": round(1e3 * of_server / max(answers, 1), 4),
    }


def counts(client: redis.Redis, n_asked: int, processes: list[int]) -> list[float]:
    """Return how many questions were answered, how many examples learned up to the last commit, and the processes' times."""
    learned = Store(client, KEYS.model).latest_progress().get("examples", 0.0)
    return [n_asked - int(client.xlen(KEYS.requests)), learned, *map(cpu_seconds, processes)]


def lag(client: redis.Redis) -> int:
    """Return how many entries are not learned yet."""
    position = Store(client, KEYS.model).stream.committed_position()
    return position.added - position.passed


@contextmanager
def asking(url: str, ahead: int) -> Iterator[list[int]]:
    """Have so many questions wait during a block; a list with the number of those asked so far."""
    asked, enough = [0], threading.Event()

    def ask() -> None:
        with connection.client(url) as client:
            while not enough.is_set():
                n = max(ahead - int(client.xlen(KEYS.requests)), 0)
                with client.pipeline(transaction=False) as pipe:
                    for _ in range(n):
                        pipe.xadd(KEYS.requests, dict[Any, Any](QUESTION))
                    pipe.execute()
                asked[0] += n
                enough.wait(0.05)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield asked
    finally:
        enough.set()
        thread.join()


@contextmanager
def process(url: str, *arguments: str) -> Iterator[int]:
    """Run one of our commands as a process, once it works; its number."""
    command = [sys.executable, "-m", "learner", *arguments]
    started = subprocess.Popen(command, env={**os.environ, "REDIS_URL": url}, stderr=subprocess.PIPE, text=True)
    try:
        while "event=start" not in (line := started.stderr.readline()):  # type: ignore[union-attr]
            assert line, "it ended"
        threading.Thread(target=started.stderr.read, daemon=True).start()  # type: ignore[union-attr]
        yield started.pid
    finally:
        started.terminate()
        started.wait()


def wait_for(holds: Any, seconds: float = 120.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)


def following(n_names: int) -> tuple[float, float, float]:
    """Return the processor's seconds for reading all of a commit; the rows that a later one changed, and the seconds for it."""
    draw = np.random.default_rng(1)
    with temporary() as url, connection.client(url) as client, connection.client(url) as other:
        model, owner = Model(), Store(client, KEYS.model)
        owner.create(model.to_spec())
        owner.ownership.take_over()
        for first in range(0, n_names, N_AT_ONCE):
            names = draw.permutation(np.arange(first, first + N_AT_ONCE)).reshape(-1, 20).tolist()
            model.learn_packed(b"".join(pack_example(i % 2, _features(row)) for i, row in enumerate(names)))
        _commit(owner, model)
        tailing, taken, n_changed = Tailing(Store(other, KEYS.model)), [], 0
        for _ in range(ROUNDS_FOLLOWED):
            tailing.look()
            started = time.process_time()
            tailing.catch_up()
            taken.append((time.process_time() - started, n_changed))
            names = draw.integers(0, n_names, (1000, 20)).tolist()
            model.learn_packed(b"".join(pack_example(i % 2, _features(row)) for i, row in enumerate(names)))
            n_changed = int(model.dirty.sum())
            _commit(owner, model)
    return taken[0][0], *(statistics.median(each[i] for each in taken[1:]) for i in (1, 0))


def _features(names: list[int]) -> bytes:
    return pack({f"name{name}": 1.0 for name in names})


def _commit(store: Store, model: Model) -> None:
    learned = Learned(model.state(), model.dirty, model.fingerprint)
    store.commits.write(store.commits.snapshot(learned, NEVER, 0, (), {"n": 1}))


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""
    found = measure(*((1.0, 1) if asked.quick else (SECONDS, ROUNDS)))
    alone, rest = found[0], found[1:]
    learning, idle = ([row for row in rest if row["learns"] == learns] for learns in (True, False))
    yield Row(
        "answers a second of the worker, of 1, 2, 4 answerers, on two processors, while the worker learns; while it is idle",
        "; ".join(", ".join(f"{row['answers_a_second']:,.0f}" for row in rows) for rows in (learning, idle)),
    )
    yield Row(
        "examples a second meanwhile, with the same",
        ", ".join(f"{row['examples_a_second']:,.0f}" for row in learning),
    )
    yield Row(
        "processor's time of the worker for an example, with 1, 2, 4 answerers that answer, over that without any question",
        ", ".join(f"{row['example_us'] / alone['example_us']:.2f}" for row in learning[1:]),
        "1",
    )
    yield Row(
        "processor's time for an answer of a worker; of an answerer; of the server for a question with its answer, ms",
        f"{idle[0]['answer_ms']:.3f}; {idle[1]['answer_ms']:.3f}; {idle[1]['server_ms']:.3f}",
    )
    whole, n_rows, part = following(40_000 if asked.quick else 1_000_000)
    yield Row(
        "1,000,000 names: processor's time to read all of a commit, s; to take in the rows that the next one changed, ms",
        f"{whole:.2f}; {n_rows:,.0f} rows {1e3 * part:.1f}",
        "at most 50 ms",
    )


if __name__ == "__main__":
    main()
