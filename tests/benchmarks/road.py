"""What the road through Redis costs, over floors without our code: ``python -m tests.benchmarks.road [--quick] [--json]``.

The server, a worker and a client run on one machine. Ours and its floor run in turn; the figures are medians over these pairs.
*Wall* is the ratio of wall-clock times, *CPU* that of the CPU times of the worker or the client, which other work on the
machine disturbs less; above 1 ours is faster. The columns after that are microseconds of CPU an example or request.

Learning; a worker reads entries that wait, learns them and commits, and the clock stops before its last commit:

- ``features``: 200 examples an entry, 25 ready features each (see `tests.benchmarks.streams`). The floor learns the same
  bytes in one process, without a server.
- ``text``, ``email``, ``fields``: 200 raw records an entry (see `tests.benchmarks.records`); the floor featurizes and learns
  the same bytes in one process.
- ``JSON``: an entry a record, of five fields in JSON. The floor is a loop that reads the same entries by XREAD with redis-py,
  1,000 at a time, and drops them.

Pushing records of five fields:

- ``push_many``: 200 an entry; the floor packs them one by one with msgpack.
- ``pipeline``: an entry each, 200 in a round trip; the floor sends the same with redis-py's pipeline.

Answers, of a worker process:

- ``one``: a request for the prediction of a record, five fields, and its reply, one after another. The floor is two processes
  that exchange a request and its reply with redis-py and compute nothing. Its answerer sends RPUSH, EXPIRE and XTRIM in a
  transaction; a worker's script sends XDEL and XACK in place of XTRIM, and looks first whether the worker is still the owner.
- ``many``, ``many raw``: 256 in a request, ready features or raw records. The floor packs and decodes what is sent.

Then: the 50th and 99th percentile of ``one`` while the worker learns at full speed, and microseconds in process.

Caveats: server, worker and client share the processors that the machine has. The streams are random and nothing drifts.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import numpy as np
import redis

import worker
from learner import compiling
from learner.client import Client
from learner.model import Model
from learner.packing import ends, pack
from learner.service.reading import BLOCK_MS
from learner.service.store import Store, connection, embedded
from learner.service.wire import Keys
from tests.benchmarks import Asked, Row
from tests.benchmarks.core import machine, progress_bar, table
from tests.benchmarks.records import records_of
from tests.benchmarks.streams import write_zipf
from tests.conftest import SEED

KEYS = Keys("m")
BATCH = 200  # examples an entry
ASKED = 256  # predictions a request
ROWS = ("features", "text", "email", "fields", "JSON", "push_many", "pipeline", "one", "many", "many raw")

# The floor of answers: reads requests from one stream, and replies with the commands of a worker.
REPLIES = """
import sys, redis
server, last = redis.Redis.from_url(sys.argv[1]), b"0-0"
reply = b'","model":"m","score":0.1234567890123456,"prediction":0.1234567890123456,"label":1}'
while True:
    for _, entries in server.xread({"floor": last}, count=16, block=1000):
        last = entries[-1][0]
        with server.pipeline() as pipe:
            for _, fields in entries:
                pipe.rpush(fields[b"reply"], b'{"id":"' + fields[b"id"] + reply)
                pipe.expire(fields[b"reply"], 60)
            pipe.xtrim("floor", minid=last, approximate=False)
            pipe.execute()
"""


class Cost(NamedTuple):
    """Seconds: of wall-clock time, and of CPU time of this process, of the other one, and of the server."""

    wall: float
    own: float
    other: float
    server: float


def now(client: redis.Redis, pid: int | None = None) -> Cost:
    """Return what was spent so far."""
    spent: Any = client.info("cpu")
    other = 0.0
    if pid:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        other = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    server = spent["used_cpu_sys"] + spent["used_cpu_user"]
    return Cost(time.perf_counter(), time.process_time(), other, server)


def cost_of(client: redis.Redis, call: Callable[[], Any], pid: int | None = None) -> Cost:
    """Return what a call costs."""
    before = now(client, pid)
    call()
    return Cost(*(b - a for a, b in zip(before, now(client, pid), strict=True)))


# ---- learning ------------------------------------------------------------------------------------------------------------
def fill(client: redis.Redis, spec: dict[str, Any], entries: list[dict[str, Any]]) -> None:
    """Empty the server, and make a model whose entries wait."""
    client.flushall()
    Store(client, "m").create(spec)
    for first in range(0, len(entries), 500):
        with client.pipeline(transaction=False) as pipe:
            for entry in entries[first : first + 500]:
                pipe.xadd(KEYS.examples, entry)
            pipe.execute()


def learned(url: str, spec: dict[str, Any], entries: list[dict[str, Any]]) -> Cost:
    """Have a worker learn entries; return what it costs until the last commit."""
    with connection.client(url, block_ms=BLOCK_MS) as client:
        fill(client, spec, entries)
        own = worker.Worker(Store(client, "m"), 2.0)
        own.wait_to_own()
        commit, end = own.committing.commit, list[Cost]()

        def last_commit() -> None:
            end.append(now(client))
            commit()

        own.committing.commit = last_commit  # type: ignore[method-assign]
        before = now(client)
        own.run(burst=True)
        return Cost(*(b - a for a, b in zip(before, end[0], strict=True)))


def learned_here(client: redis.Redis, spec: dict[str, Any], entries: list[dict[str, Any]]) -> Cost:
    """Learn the same bytes in this process."""
    model = Model.from_spec(spec)
    model.warm()

    def learn() -> None:
        for entry in entries:
            data = entry.get("batch") or model.program.run(entry["records"]).packed  # type: ignore[union-attr]
            model.learn_packed(data)

    return cost_of(client, learn)


def dropped(client: redis.Redis, url: str) -> Cost:
    """Read the entries with redis-py, and drop them."""
    reader: Any = redis.Redis.from_url(url)

    def read() -> None:
        last = b"0-0"
        while reply := reader.xread({KEYS.examples: last}, count=1000):
            last = reply[0][1][-1][0]

    return cost_of(client, read)


def examples_of(kind: str, n: int, folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the model's spec and the entries of a row about learning."""
    if kind == "features":
        data = write_zipf(folder, n)[0].read_bytes()
        places = [0, *ends(data)]
        return Model(seed=SEED).to_spec(), [
            {"batch": data[places[i] : places[min(i + BATCH, n)]]} for i in range(0, n, BATCH)
        ]
    featurizer = "fields" if kind == "JSON" else kind
    pairs = [(1 if i % 3 else -1, record) for i, record in enumerate(records_of(featurizer, n))]
    spec = Model(featurizer=featurizer, seed=SEED).to_spec()
    if kind == "JSON":
        return spec, [{"record": json.dumps(x), "target": y} for y, x in pairs]
    packed = [pack(pair) for pair in pairs]
    return spec, [{"records": b"".join(packed[i : i + BATCH])} for i in range(0, n, BATCH)]


def learning(kind: str, url: str, n: int, n_pairs: int) -> dict[str, Any]:
    """Measure a row about learning."""
    with tempfile.TemporaryDirectory() as folder, connection.client(url) as client:
        spec, entries = examples_of(kind, n, Path(folder))
        pairs = []
        for _ in range(n_pairs):
            ours = learned(url, spec, entries)
            if kind == "JSON":
                fill(client, spec, entries)
            floor = dropped(client, url) if kind == "JSON" else learned_here(client, spec, entries)
            pairs.append((ours, floor))
    return figures(pairs, n, "own")


# ---- pushing -------------------------------------------------------------------------------------------------------------
def pushing(kind: str, url: str, n: int, n_pairs: int) -> dict[str, Any]:
    """Measure a row about pushing."""
    pairs = [(1 if i % 3 else -1, record) for i, record in enumerate(records_of("fields", n))]
    with connection.client(url) as client:
        fill(client, Model(featurizer="fields", seed=SEED).to_spec(), [])
        producer, plain = Client("m", url), redis.Redis.from_url(url)

        def piped(pipe: Any, push: Callable[[int, Any], Any]) -> None:
            for i, (y, x) in enumerate(pairs, 1):
                push(y, x)
                if i % BATCH == 0:
                    pipe.execute()

        def ours() -> None:
            if kind == "push_many":
                producer.push_many(pairs)
            else:
                pipe = producer.pipeline()
                piped(pipe, lambda y, x: pipe.push(x, y))

        def floor() -> None:
            if kind == "push_many":
                for pair in pairs:
                    msgpack.packb(pair)
            else:
                pipe = plain.pipeline(transaction=False)
                piped(pipe, lambda y, x: pipe.xadd("floor", {"records": msgpack.packb([y, x])}))

        costs = [(cost_of(client, ours), cost_of(client, floor)) for _ in range(n_pairs)]
    return figures(costs, n, "own")


# ---- answers -------------------------------------------------------------------------------------------------------------
@contextmanager
def served(url: str) -> Iterator[tuple[Any, dict[str, int]]]:
    """Run a worker of two models that have learned a little, and the floor of answers; yield what is asked, and their pids."""
    records = records_of("fields", 2000)
    draw = np.random.default_rng(1)
    maps = [{f"w={i}": 1.0 for i in row} for row in draw.zipf(1.24, (2000, 25)).tolist()]
    with connection.client(url) as client:
        client.flushall()
        for name, featurizer in (("m", "fields"), ("z", None)):
            Store(client, name).create(Model(featurizer=featurizer, seed=SEED).to_spec())
        client.xadd("floor", {"reply": "nobody", "id": "0"})
    asked = {"m": (Client("m", url, timeout=60), records), "z": (Client("z", url, timeout=60), maps)}
    commands = {name: [sys.executable, "-m", "learner", "worker", name] for name in asked}
    commands["floor"] = [sys.executable, "-c", REPLIES, url]
    environment = {**os.environ, "REDIS_URL": url}
    running = {
        name: subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        for name, command in commands.items()
    }
    try:
        for name, (client, items) in asked.items():
            client.push_many([(1 if i % 3 else -1, x) for i, x in enumerate(items)], features=name == "z")
            client.predict_many(items[:10], features=name == "z")
        yield asked, {name: process.pid for name, process in running.items()}
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


def ask_floor(plain: Any, record: bytes) -> None:
    """Ask the floor of answers with the commands of a client."""
    identity = uuid.uuid4().hex
    key = f"{KEYS.replies}{identity}"
    request = {"record": record, "reply": key, "id": identity, "deadline_ms": "5000"}
    plain.xadd("floor", request, nomkstream=True, maxlen=100_000, approximate=True)
    json.loads(plain.blpop([key], timeout=5)[1])


def answering(url: str, n: int, n_pairs: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Measure the rows about answers, and the answers while the worker learns."""
    rows: dict[str, Any] = {}
    with served(url) as (asked, pids), connection.client(url) as client:
        plain = redis.Redis.from_url(url)
        (one, records), (other, maps) = asked["m"], asked["z"]
        packed = pack(records[0])

        def each(call: Callable[[int], Any], name: str) -> tuple[float, Cost]:
            times = []

            def ask() -> None:
                for i in range(n):
                    started = time.perf_counter()
                    call(i)
                    times.append(time.perf_counter() - started)

            cost = cost_of(client, ask, pids[name])
            return statistics.median(times), cost

        medians, costs = [], []
        for _ in range(n_pairs):
            (ours, cost), (floor, floor_cost) = (
                each(lambda i: one.predict(records[i % len(records)]), "m"),
                each(lambda i: ask_floor(plain, packed), "floor"),
            )
            medians.append((ours, floor))
            costs.append((cost, floor_cost))
        rows["one"] = figures(costs, n, "other") | {
            "p50_ms": round(1e3 * statistics.median(ours for ours, _ in medians), 3),
            "p50_over_floor": round(statistics.median(ours / floor for ours, floor in medians), 2),
        }
        for name, who, items in (("many", other, maps[:ASKED]), ("many raw", one, records[:ASKED])):
            costs = []
            n_calls = max(n // 20, 5)

            def ours_many(who: Any = who, items: Any = items, name: str = name, n_calls: int = n_calls) -> None:
                for _ in range(n_calls):
                    who.predict_many(items, features=name == "many")

            def floor_many(items: Any = items, n_calls: int = n_calls) -> None:
                for _ in range(n_calls):
                    for data in map(msgpack.packb, items):
                        msgpack.unpackb(data)

            for _ in range(n_pairs):
                costs.append(
                    (
                        cost_of(client, ours_many, pids["z" if name == "many" else "m"]),
                        cost_of(client, floor_many),
                    )
                )
            rows[name] = figures(costs, n_calls * ASKED, "own")
        return rows, while_learning(one, records, 100 * n)


def while_learning(client: Any, records: list[dict[str, Any]], n_examples: int) -> dict[str, float]:
    """Return percentiles of the time of an answer, in ms, while the worker learns so many examples at full speed."""
    client.push_many(((1 if i % 3 else -1, records[i % len(records)]) for i in range(n_examples)), max_lag=None)
    times: list[float] = []
    while client.lag() > 0:
        for _ in range(20):
            started = time.perf_counter()
            client.predict(records[len(times) % len(records)])
            times.append(1e3 * (time.perf_counter() - started))
    p50, p99 = np.percentile(times, [50, 99]) if times else (np.nan, np.nan)
    return {"n": len(times), "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


def in_process(n: int) -> dict[str, float]:
    """Return microseconds of CPU time of one prediction, in this process."""
    records = records_of("fields", n)
    draw = np.random.default_rng(1)
    maps = [{f"w={i}": 1.0 for i in row} for row in draw.zipf(1.24, (n, 25)).tolist()]
    raw, sparse = Model(featurizer="fields", seed=SEED), Model(seed=SEED)
    for i, (record, features) in enumerate(zip(records, maps, strict=True)):
        raw.learn_one(record, 1 if i % 3 else -1)
        sparse.learn_one(features, 1 if i % 3 else -1)
    packed = [sparse.pack(features) for features in maps]

    def microseconds(call: Callable[[Any], Any], items: list[Any], n_each: int = 1) -> float:
        call(items[0])
        times = []
        for _ in range(5):
            started = time.process_time()
            for item in items:
                call(item)
            times.append((time.process_time() - started) / len(items) / n_each * 1e6)
        return round(statistics.median(times), 2)

    return {
        "answer_each of 256, 25 features": microseconds(
            lambda i: list(sparse.answer_each(packed[i : i + ASKED])), list(range(0, n - ASKED, ASKED)), ASKED
        ),
        "score_packed, 25 features": microseconds(sparse.learner.score_packed, packed),
        "predict_one, 25 features": microseconds(sparse.predict_one, maps),
        "predict_one, record of five fields": microseconds(raw.predict_one, records),
    }


# ---- all of it -----------------------------------------------------------------------------------------------------------
def figures(pairs: list[tuple[Cost, Cost]], n: int, who: str) -> dict[str, Any]:
    """Return a row: rates, ratios to the floor, and microseconds of CPU; `who` is the process that is compared by CPU time."""

    def median(of: Callable[[Cost, Cost], float]) -> float:
        return statistics.median(of(ours, floor) for ours, floor in pairs)

    row = {
        "per_second": round(median(lambda ours, floor: n / ours.wall)),
        "floor_per_second": round(median(lambda ours, floor: n / floor.wall)),
        "wall": round(median(lambda ours, floor: floor.wall / ours.wall), 2),
        "cpu": round(median(lambda ours, floor: getattr(floor, who) / max(getattr(ours, who), 1e-9)), 2),
    }
    for column, name in (("own", "client_us"), ("other", "worker_us"), ("server", "server_us")):
        row[name] = round(median(lambda ours, floor, column=column: getattr(ours, column) / n * 1e6), 2)  # type: ignore[misc]
    return row


def measure(quick: bool) -> dict[str, Any]:
    """Run everything, and return the figures."""
    n, n_pairs = (20_000, 1) if quick else (200_000, 5)
    progress, step = progress_bar(len(ROWS))
    rows: dict[str, Any] = {}
    with progress, embedded.temporary() as url:
        for kind in ("features", "text", "email", "fields", "JSON"):
            step(kind)
            rows[kind] = learning(kind, url, n if kind in ("features", "fields") else n // 2, n_pairs)
        for kind in ("push_many", "pipeline"):
            step(kind)
            rows[kind] = pushing(kind, url, n if kind == "push_many" else n // 10, n_pairs)
        step("answers")
        answers, under_load = answering(url, 200 if quick else 2000, n_pairs)
    packages = ("redis", "hiredis", "numba")
    return {
        "machine": machine(*packages),
        "pairs": n_pairs,
        "rows": rows | answers,
        "one_while_learning": under_load,
        "in_process_us": in_process(1000 if quick else 5000),
    }


def show(result: dict[str, Any]) -> str:
    """Return the tables."""
    header = ["what", "a second", "floor's", "wall", "CPU", "client µs", "worker µs", "server µs"]
    cells = [
        [name, f"{row['per_second']:,}", f"{row['floor_per_second']:,}", f"{row['wall']:.2f}", f"{row['cpu']:.2f}"]
        + [f"{row[column]:,.2f}" for column in ("client_us", "worker_us", "server_us")]
        for name, row in result["rows"].items()
    ]
    one, load = result["rows"]["one"], result["one_while_learning"]
    processor = "{processor}, {processors} processors, {system}; Python {python}, redis-py {redis}".format(
        **result["machine"]
    )
    latency = (
        f"One prediction: p50 {one['p50_ms']:.3f} ms, {one['p50_over_floor']:.2f} of the floor's. While the worker learns at "
        f"full speed: p50 {load['p50_ms']} ms, p99 {load['p99_ms']} ms, of {load['n']}."
    )
    microseconds = [[name, f"{us:.2f}"] for name, us in result["in_process_us"].items()]
    return "\n\n".join(
        [
            f"{processor}; medians of {result['pairs']} pairs. While the worker learns, its microseconds are the client's.",
            table(header, cells),
            latency,
            table(["in process", "µs"], microseconds),
        ]
    )


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""
    gc.set_threshold(worker.GARBAGE_OBJECTS)
    result = measure(asked.quick)
    rows, load = result["rows"], result["one_while_learning"]
    kinds = ("features", "text", "email", "fields")
    yield Row(
        "examples/s of a worker, 200 an entry, over those of the same bytes learned in one process without a server: ready "
        "features; messages, addresses, records of five fields",
        "; ".join(f"{rows[kind]['wall']:.2f}" for kind in kinds),
        "at least 0.8; of records at least 0.7",
    )
    yield Row(
        "entries/s of a record in JSON, over those of a loop that reads them with redis-py and drops them",
        f"{rows['JSON']['wall']:.2f}",
        "at least 0.6",
    )
    yield Row(
        "records/s pushed: push_many; pipeline",
        "; ".join(f"{rows[k]['per_second']:,}" for k in ("push_many", "pipeline")),
        "`push_many`: at least 150,000",
    )
    yield Row(
        "one prediction, ms (over a request and a reply with the same commands that compute nothing); 99th percentile while "
        "the worker learns at full speed",
        f"{rows['one']['p50_ms']:.2f} ({rows['one']['p50_over_floor']:.2f}); {load['p99_ms']:.1f}",
        "at most 1.3 times; at most 10 ms",
    )
    yield Row(
        "predictions/s, 256 in a request: ready features; raw records",
        "; ".join(f"{rows[kind]['per_second']:,}" for kind in ("many", "many raw")),
        "at least 100,000; 50,000",
    )
    packed = ("answer_each of 256, 25 features", "score_packed, 25 features")
    yield Row(
        "microseconds of CPU time of a prediction in process, from a packed map of 25 features: of 256 at once; of one call",
        "; ".join(f"{result['in_process_us'][name]:.1f}" for name in packed),
        "at most 3; 10",
    )


def main() -> None:
    """Print the tables, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer examples, one pair")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    gc.set_threshold(worker.GARBAGE_OBJECTS)  # as the worker's command does
    result = measure(options.quick)
    print(json.dumps(result) if options.json else show(result))


if __name__ == "__main__":
    compiling.choose_target()  # as the worker's command does
    main()
