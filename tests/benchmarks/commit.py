"""What commits and restarts cost: ``python -m tests.benchmarks.commit``.

A server and a worker run on the same machine. For each size, a model with that many features is committed. Then are measured:

- the *rate*: the worker learns examples from the stream at full speed, once with a commit every second and once without
  commits. An example has 25 of the features, drawn by Zipf's law (exponent 1.24, as in `tests.benchmarks.streams`). The
  figure is the median over such pairs. Beside it is the same of the CPU time of the worker, both threads, which other work on
  the machine disturbs less;
- the *pause*: how long learning stands still while a commit copies what changed (and the longest such time), and how long
  writing the copy takes while learning goes on;
- *few*: the same when only 1,000 examples were learned since the commit before;
- *restart*: the time from the start of the command to the line that says that it is ready, with compiled loops in the cache.

Caveats: the server and the thread that writes also use the machine's cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np

from learner.model import Model
from learner.service.store import Store, connection, embedded
from learner.service.store.snapshot import Snapshot
from learner.service.wire import Keys
from tests.benchmarks import Asked, Row
from worker import Worker

SIZES = (10_000, 100_000, 1_000_000)
KEYS = Keys("m")
WIDTH = 25


class Timed(Worker):
    """A worker that measures how long commits stop learning, how long writing takes, and when all was learned."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pauses: list[float] = []
        self.writes: list[float] = []
        self.bytes: list[int] = []
        self.finished = 0.0
        write = self.store.commits.write

        def timed_write(snapshot: Snapshot) -> None:
            started = time.perf_counter()
            write(snapshot)
            self.writes.append(time.perf_counter() - started)
            self.bytes.append(len(snapshot.change.delta) + len(snapshot.change.base) + len(snapshot.names))

        self.store.commits.write = timed_write  # type: ignore[method-assign]
        begin, commit = self.committing._begin, self.committing.commit

        def timed_begin() -> None:
            started = time.perf_counter()
            begin()
            self.pauses.append(time.perf_counter() - started)

        def timed_commit() -> None:
            self.finished = time.perf_counter()
            commit()

        self.committing._begin = timed_begin  # type: ignore[method-assign]
        self.committing.commit = timed_commit  # type: ignore[method-assign]
        self.wait_to_own()


def push(client: Any, examples: list[bytes]) -> None:
    """Push examples, 200 an entry."""
    for i in range(0, len(examples), 4000):
        with client.pipeline(transaction=False) as pipe:
            for j in range(i, min(i + 4000, len(examples)), 200):
                pipe.xadd(KEYS.examples, {"batch": b"".join(examples[j : j + 200])})
            pipe.execute()


def draw(n_features: int, n_examples: int, seed: int) -> list[bytes]:
    """Return examples of features that the model has already."""
    rng = np.random.default_rng(seed)
    ranks = np.cumsum(np.arange(1, n_features + 1) ** -1.24)
    ids = np.searchsorted(ranks / ranks[-1], rng.random((n_examples, WIDTH)))
    return [msgpack.packb([1 if row[0] % 2 else -1, {f"n{i}": 1.0 for i in row}]) for row in ids.tolist()]


def run(url: str, commit_seconds: float) -> tuple[float, float, Timed]:
    """Learn the whole stream; return the examples per second, and per second of CPU time, and the worker."""
    with connection.client(url) as client:
        worker = Timed(Store(client, "m"), commit_seconds)
        before = worker.model.n_examples
        started, cpu = time.perf_counter(), time.process_time()
        worker.run(burst=True)
    n = worker.model.n_examples - before
    return n / (worker.finished - started), n / (time.process_time() - cpu), worker


def measure(url: str, n_features: int, n_examples: int, pairs: int) -> dict[str, Any]:
    """Return the figures for one size."""
    with connection.client(url) as client:
        client.flushall()
        model = Model("binary")
        Store(client, "m").create(model.to_spec())
        names = [f"n{i}" for i in range(n_features)]
        push(client, [msgpack.packb([1, dict.fromkeys(names[i : i + 50], 1.0)]) for i in range(0, n_features, 50)])
        run(url, 1e6)
        examples = draw(n_features, n_examples, 1)
        ratios, cpu_ratios, rates, busy = [], [], [], None
        for _ in range(pairs):
            push(client, examples)
            without, cpu_without, _ = run(url, 1e6)
            push(client, examples)
            rate, cpu_rate, busy = run(url, 1.0)
            rates.append(rate)
            ratios.append(rate / without)
            cpu_ratios.append(cpu_rate / cpu_without)
        assert busy is not None
        with connection.client(url) as quiet:
            few = Timed(Store(quiet, "m"), 1e6)
            for i in range(7):
                push(client, examples[1000 * i : 1000 * (i + 1)])
                few.run(burst=True)
                few.wait_to_own()
        restart(url)  # fills the cache
        return {
            "features": n_features,
            "rate": round(statistics.median(rates)),
            "rate_kept": round(statistics.median(ratios), 3),
            "cpu_rate_kept": round(statistics.median(cpu_ratios), 3),
            "pause_ms": round(1000 * statistics.median(busy.pauses), 2),
            "longest_pause_ms": round(1000 * max(busy.pauses), 2),
            "write_ms": round(1000 * statistics.median(busy.writes), 1),
            "megabytes": round(statistics.median(busy.bytes) / 1e6, 2),
            "few_pause_ms": round(1000 * statistics.median(few.pauses), 2),
            "few_write_ms": round(1000 * statistics.median(few.writes), 1),
            "few_megabytes": round(statistics.median(few.bytes) / 1e6, 2),
            "restart_s": round(statistics.median(restart(url) for _ in range(3)), 2),
        }


def restart(url: str) -> float:
    """Return the seconds from a worker's start to the line that says that it is ready."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "learner", "worker", "m"],
        env={**os.environ, "REDIS_URL": url},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = next(line for line in process.stderr if "compil" not in line)
    seconds = time.perf_counter() - started
    process.terminate()
    process.communicate()
    assert "epoch" in line, line
    return seconds


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""
    sizes, n_examples, n_pairs = (SIZES[:2], 100_000, 1) if asked.quick else (SIZES, 1_000_000, 3)
    with embedded.temporary() as url:
        rows = [measure(url, n, n_examples, n_pairs) for n in sizes]
    most = rows[-1]
    yield Row(
        "rate of learning at full speed with a commit every second, over the rate without: 10,000, 100,000, 1,000,000 features",
        ", ".join(f"{row['rate_kept']:.2f}" for row in rows),
        "at least 0.95",
    )
    yield Row(
        "a commit at 1,000,000 features and full speed, ms: learning stands still; it is written meanwhile (MB)",
        f"{most['pause_ms']:.1f}, {most['write_ms']:.0f} ({most['megabytes']:.0f})",
    )
    yield Row(
        "the same if only 1,000 examples came since the commit before",
        f"{most['few_pause_ms']:.1f}, {most['few_write_ms']:.1f} ({most['few_megabytes']:.1f})",
    )
    yield Row("from the start of a worker with 1,000,000 features until it is ready, s", f"{most['restart_s']:.2f}")


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=1_000_000, help="a run; by default a million")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of features")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with embedded.temporary() as url:
        rows = [measure(url, n, options.examples, options.pairs) for n in options.sizes]
    if options.json:
        print(json.dumps(rows))
        return
    print(
        "| features | examples/s kept (of CPU) | pause (longest), write ms (MB) a commit | after 1,000 examples | restart s |"
    )
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['features']:,} | {row['rate_kept']:.1%} of {row['rate'] / row['rate_kept']:,.0f} "
            f"({row['cpu_rate_kept']:.1%}) | {row['pause_ms']} ({row['longest_pause_ms']}), "
            f"{row['write_ms']} ({row['megabytes']}) "
            f"| {row['few_pause_ms']}, {row['few_write_ms']} ({row['few_megabytes']}) | {row['restart_s']} |"
        )


if __name__ == "__main__":
    main()
