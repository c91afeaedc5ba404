"""One process of a fleet with many models: ``python -m tests.benchmarks.fleet [--models N] [--json]``.

On an embedded server of its own, models of one kind are created, and a process of a fleet takes them. Printed are: the memory
that a model adds, before it has learned and with 1,000 features (its weights, which the model counts, are taken off); the share
of a processor that the process takes while nothing comes; the rate at which all learn batches of examples of 8 names, until all
is committed; how long questions to a quiet model take, alone, and while another model learns a backlog; how long until a new
model has an owner; how long until a second process, which has its part, owns all after the first one was killed, or frozen (it
waits for the lease of 5 s then); how long until all is committed after SIGTERM.

Caveats: server, asker and both processes share the machine's processors, and all models are alike.
"""

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack

from learner import Client, Model
from learner.service.store import Store, connection
from learner.service.store.embedded import temporary
from learner.service.wire import Keys
from tests.benchmarks import Asked, Row

MODELS, N_FEATURES, N_EXAMPLES, N_ASKED = 1000, 1000, 400, 500
BATCH = 200  # examples an entry
FLOOD_SECONDS = 60.0
IDLE_SECONDS = 10.0


def main() -> None:
    """Run it, and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.fleet", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--models", type=int, default=MODELS)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = measure(options.models)
    print(json.dumps(found) if options.json else "\n".join(f"{name:24} {value:g}" for name, value in found.items()))


def measure(n: int = MODELS, idle_seconds: float = IDLE_SECONDS) -> dict[str, float]:
    """Return the figures of a fleet of `n` models."""
    names = [f"m{i}" for i in range(n)]
    found: dict[str, float] = {"models": n}
    with temporary() as url, connection.client(url) as client:
        for name in names:
            Store(client, name).create(Model("binary").to_spec())
        few = _few(url, client)
        with running(url, "fleet", "--models", "m*", "--max-models", "9999") as first:
            found["taken_seconds"] = wait(lambda: owners(client, names)[first.pid] == n)
            time.sleep(2)
            found["empty_mb"] = (memory(first.pid) - few) / n
            before = cpu_seconds(first.pid)
            time.sleep(idle_seconds)
            found["idle_share"] = (cpu_seconds(first.pid) - before) / idle_seconds
            found["examples_per_second"] = learn(client, names, N_EXAMPLES)
            time.sleep(2)
            weights = sum(_weights(client, name) for name in names) / 1e6
            found["added_mb"] = (memory(first.pid) - few - weights) / n
            found |= {f"quiet_{name}": value for name, value in asked(url, names[-1]).items()}
            with flooded(client, names[0]):
                found |= {f"flooded_{name}": value for name, value in asked(url, names[-1]).items()}
            Store(client, "mnew").create(Model("binary").to_spec())
            found["new_seconds"] = wait(lambda: owners(client, ["mnew"])[first.pid] == 1)
            names.append("mnew")
            with running(url, "fleet", "--models", "m*", "--max-models", "9999") as second:
                found["balanced_seconds"] = wait(lambda: owners(client, names)[second.pid] >= 0.3 * n)
                first.send_signal(signal.SIGKILL)
                found["killed_seconds"] = wait(lambda: owners(client, names)[second.pid] == len(names))
                with running(url, "fleet", "--models", "m*", "--max-models", "9999") as third:
                    wait(lambda: owners(client, names)[third.pid] >= 0.3 * n)
                    second.send_signal(signal.SIGSTOP)
                    found["frozen_seconds"] = wait(lambda: owners(client, names)[third.pid] == len(names))
                    began = time.monotonic()
                    third.send_signal(signal.SIGTERM)
                    third.wait(60)
                    found["drained_seconds"] = time.monotonic() - began
    return {name: round(value, 4) for name, value in found.items()}


def _few(url: str, client: Any) -> float:
    """Return the memory of a process with ten models."""
    names = [f"few{i}" for i in range(10)]
    for name in names:
        Store(client, name).create(Model("binary").to_spec())
    with running(url, "fleet", "--models", "few*") as process:
        wait(lambda: owners(client, names)[process.pid] == len(names))
        learn(client, names, BATCH)
        return memory(process.pid)


def _weights(client: Any, name: str) -> float:
    """Return the bytes of a model's weights, by its last commit."""
    return float(Store(client, name).latest_progress().get("bytes", 0.0))


@contextmanager
def running(url: str, *command: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Run one of our commands during a block; it is killed at the end if it still runs."""
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-m", "learner", *command, "--redis-url", url], **quiet)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def owners(client: Any, names: list[str]) -> "Counter[int]":
    """Return how many of the models each process owns."""
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hget(Keys(name).owner, "pid")
        return Counter(int(pid or 0) for pid in pipe.execute())


def wait(holds: Callable[[], bool], seconds: float = 120.0) -> float:
    """Return after how many seconds something holds."""
    began = time.monotonic()
    while not holds():
        time.sleep(0.05)
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds:g} s")
    return time.monotonic() - began


def entries(draw: random.Random, n: int) -> list[bytes]:
    """Return batches of n examples in all."""
    examples = [msgpack.packb([i % 2, {f"f{draw.randrange(N_FEATURES)}": 1.0 for _ in range(8)}]) for i in range(n)]
    return [b"".join(examples[i : i + BATCH]) for i in range(0, n, BATCH)]


def learn(client: Any, names: list[str], n: int) -> float:
    """Push n examples to each model, and return how many are learned and committed a second in all."""
    batches = entries(random.Random(1), min(n, 10 * N_EXAMPLES))
    n_entries = n // BATCH
    before = {name: int(client.hget(Keys(name).head, "entries") or 0) for name in names}
    with client.pipeline(transaction=False) as pipe:
        for i in range(n_entries):
            for name in names:
                pipe.xadd(Keys(name).examples, {"batch": batches[i % len(batches)]})
            if len(pipe) >= 500:
                pipe.execute()
        pipe.execute()
    began = time.monotonic()

    def all_learned() -> bool:
        with client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hget(Keys(name).head, "entries")
            heads = pipe.execute()
        return all(int(head or 0) >= before[name] + n_entries for head, name in zip(heads, names, strict=True))

    wait(all_learned)
    return n * len(names) / (time.monotonic() - began)


def asked(url: str, name: str) -> dict[str, float]:
    """Ask a model for one prediction after another; return how long that took."""
    client, seconds = Client(name, url, timeout=60), []
    for _ in range(N_ASKED):
        began = time.monotonic()
        client.predict(features={"f1": 1.0})
        seconds.append(time.monotonic() - began)
        time.sleep(0.005)
    return {"p50_ms": 1e3 * statistics.median(seconds), "p99_ms": 1e3 * statistics.quantiles(seconds, n=100)[98]}


@contextmanager
def flooded(client: Any, name: str) -> Iterator[None]:
    """Have a model learn a backlog during a block; it is still there at the end."""
    batches = entries(random.Random(2), 10 * N_EXAMPLES)
    with client.pipeline(transaction=False) as pipe:
        for i in range(int(FLOOD_SECONDS * 100_000 / BATCH)):
            pipe.xadd(Keys(name).examples, {"batch": batches[i % len(batches)]})
        pipe.execute()
    yield
    position = Store(client, name).stream.committed_position()
    if position.added == position.passed:
        sys.exit("the backlog was over before the questions were")


def memory(pid: int) -> float:
    """Return the memory of a process in RAM, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """Return the processor's time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the table."""
    found = measure(200 if asked.quick else MODELS, 2.0 if asked.quick else IDLE_SECONDS)
    yield Row(
        f"one fleet process, {found['models']:.0f} models: memory that each adds, without its weights",
        f"{found['empty_mb']:.2f} MB empty, {found['added_mb']:.2f} MB with 1,000 features; idle {found['idle_share']:.0%} "
        "of a processor",
        "3 MB",
    )
    yield Row(
        f"the same: examples a second that all learn and commit, in batches of {BATCH}",
        f"{found['examples_per_second']:,.0f}",
        "",
    )
    yield Row(
        "the same: a question to a quiet model beside a flooded one",
        f"p50 {found['flooded_p50_ms']:.2f} ms, p99 {found['flooded_p99_ms']:.1f} ms (alone {found['quiet_p50_ms']:.2f} and "
        f"{found['quiet_p99_ms']:.1f} ms)",
        "",
    )
    yield Row(
        "the same: until all models have an owner",
        f"{found['taken_seconds']:.1f} s from the start, {found['killed_seconds']:.1f} s after one of two was killed, "
        f"{found['frozen_seconds']:.1f} s after it froze (lease 5 s); a new model {found['new_seconds']:.1f} s; SIGTERM "
        f"{found['drained_seconds']:.1f} s",
        "",
    )


if __name__ == "__main__":
    main()
