"""One request, entry, record, line or log that could hold all others up."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import msgpack

from learner.model import Model
from learner.service.store import Store
from learner.service.wire import REPLIES
from tests.reliability import Row, row
from tests.reliability.machinery import KEYS, ROOT, Process, Server, committed, create, digest, lag, owner_pid, wait_for

WIDE = b"".join(msgpack.packb([i % 2, {f"x{j}": float((i * j) % 7 - 3) for j in range(30)}]) for i in range(900))
BACKTRACKING = {"templates": [{"template": "words", "field": "t", "token": r"(?:a|a)+$"}]}
BUSY = {
    "requests to explain": (KEYS.requests, {"batch": b"\x80" * 10_000, "explain": "1", "reply": f"{REPLIES}a"}),
    "batches": (KEYS.examples, {"batch": WIDE}),
    "records": (KEYS.examples, {"records": msgpack.packb([1, {"a": 1, "w": "x"}]) * 10_000}),
}


@row
def one_question(quick: bool) -> Row:
    """Ask for 10,000 explanations at once, some times; and one question of another client."""
    n = 3 if quick else 30
    with Server() as server, server.client() as client:
        create(client)
        client.xadd(KEYS.examples, {"batch": WIDE})
        with Process(server.url).ready():
            wait_for(lambda: lag(client) == 0, "the examples are learned")
            started = time.monotonic()
            for _ in range(n):
                client.xadd(*BUSY["requests to explain"])
            client.xadd(KEYS.requests, {"record": "{}", "reply": f"{REPLIES}b"})
            answer = cast("Any", client.blpop([f"{REPLIES}b"], 60))
            seconds = time.monotonic() - started
            wait_for(lambda: client.llen(f"{REPLIES}a") == n, "all are answered", 180)
            replies = cast("Any", client.lrange(f"{REPLIES}a", 0, -1))
            all_seconds = time.monotonic() - started
    kept = [sum(map(len, filter(None, json.loads(reply)["contributions"]))) for reply in replies]
    passed = bool(answer) and seconds < 2 and len(kept) == n and max(kept) <= 20_000
    return Row(
        f"{n} requests of 10 KB for 10,000 explanations each, then another's question",
        "answered within 2 s; each reply has at most 20,000 contributions",
        f"answered after {seconds:.2f} s; all after {all_seconds:.1f} s, with at most {max(kept, default=0):,} contributions",
        passed,
        {"seconds": seconds, "all_seconds": all_seconds},
    )


@row
def stops_amid(quick: bool) -> Row:
    """SIGTERM the owner in the middle of huge requests, huge batches and huge entries of records."""
    slowest, codes, right = 0.0, [], True
    for stream, fields in BUSY.values():
        with Server() as server, server.client() as client:
            reference = Model("binary", featurizer="fields")
            reference.warm()
            Store(client, "m").create(reference.to_spec())
            for _ in range(20 if quick else 200):
                client.xadd(stream, cast("Any", fields))
            worker = Process(server.url, "--commit-seconds", "1000").ready()
            time.sleep(0.3)
            started = time.monotonic()
            worker.signal(signal.SIGTERM)
            codes.append(worker.end()[0])
            slowest = max(slowest, time.monotonic() - started)
            learned = committed(client)
            for _ in range(int(client.hget(KEYS.head, "entries") or 0)):
                if "batch" in fields:
                    reference.learn_packed(WIDE)
                else:
                    reference.learn_packed(msgpack.packb([1, {"a": 1, "w=x": 1}]) * 10_000)
            right = right and digest(learned) == digest(reference)
    return Row(
        "SIGTERM amid huge requests, huge batches and huge entries of records",
        "exit 0 within 5 s; whole entries learned only",
        f"exit {sorted(set(codes))}, slowest {slowest:.2f} s; {'whole entries' if right else 'another state'}",
        set(codes) == {0} and slowest < 5 and right,
        {"slowest_seconds": slowest},
    )


@row
def hanging_record(quick: bool) -> Row:
    """A record for which the pattern of a featurizer backtracks without end, between others; workers are started again."""
    reference = Model("binary", featurizer=BACKTRACKING)
    deaths, started = 0, time.monotonic()
    with Server() as server, server.client() as client:
        Store(client, "m").create(reference.to_spec())
        for i in range(40):
            text = "a" * 60 + "!" if i == 20 else "a" * (i % 7)
            client.xadd(KEYS.examples, {"record": json.dumps({"t": text}), "target": str(i % 2)})
            reference.count_rejected(1) if i == 20 else reference.learn_one({"t": text}, i % 2)
        while deaths < 5 and Process(server.url, "--burst").end(120)[0]:
            deaths += 1
        seconds = time.monotonic() - started
        stages = [fields[b"stage"] for _, fields in cast("Any", client.xrange(KEYS.rejected))]
        right = stages == [b"killed"] and digest(committed(client)) == digest(reference)
    return Row(
        "a record whose features take for ever",
        "quarantined after the second time, all others learned",
        f"{deaths} deaths, {'all right' if right else 'another state'}, after {seconds:.0f} s",
        deaths == 2 and right,
    )


@row
def bounds_that_hold(quick: bool) -> Row:
    """Entries that try to switch bounds off, ids and lines that are too large, among good ones."""
    good = "".join(f'{{"a": {i % 5}, "target": {i % 2}}}\n' for i in range(150))
    large = json.dumps({"t": "x" * 4_300_000, "target": 1}) + "\n"
    twice = "{" + "".join(f'"k{i}":1,' for i in range(200_000)) + '"k199999":1,"target":1}\n'
    push = [sys.executable, "-m", "learner", "push", "m", "-", "--format", "jsonl"]
    with Server() as server, server.client() as client:
        create(client)
        huge = b"".join(msgpack.packb([1, {f"{i}_{j}": 1 for j in range(3000)}]) for i in range(300))
        for fields in ({"(bytes)": "0", "batch": huge}, {"batch": WIDE, "id": "x" * 257}):
            client.xadd(KEYS.examples, cast("Any", fields))
        for record in ('{"a": NaN}', '{"a": 1}', '{"a": 1}'):  # bad, mended, repeated
            client.xadd(KEYS.examples, {"record": record, "target": "1", "id": "order"})
        environment = {**os.environ, "REDIS_URL": server.url}
        started = time.monotonic()
        pushed = subprocess.run(
            push,
            env=environment,
            input=good[:2000] + "\n" + large + twice + good,
            text=True,
            capture_output=True,
            cwd=ROOT,
        )
        seconds = time.monotonic() - started
        with Process(server.url, "--commit-seconds", "0.1").ready():
            wait_for(lambda: lag(client) == 0, "all is learned")
        figures = Store(client, "m").status()["progress"]
        n_lines = good[:2000].count("\n") + 150
    got = {name: int(figures[name]) for name in ("examples", "rejected", "repeated")}
    wanted = {"examples": n_lines + 1, "rejected": 3, "repeated": 1}
    return Row(
        "a field that names a size, ids too long or seen, lines too large or with a key twice, among good ones",
        ", ".join(f"{name} {n}" for name, n in wanted.items()) + "; push exits 3",
        ", ".join(f"{name} {n}" for name, n in got.items())
        + f"; push exits {pushed.returncode}, after {seconds:.1f} s",
        got == wanted and pushed.returncode == 3,
    )


@row
def bombs(quick: bool) -> Row:
    """Replay a gzipped table whose rows never end."""
    n = 200_000 if quick else 4_000_000
    peak = 0
    with TemporaryDirectory() as folder:
        for name, content in (
            ("a", b'a,target\n"' + b'x\n","' * n),
            ("b", b"a,target\n" + (b'"' + b"x," * 8_000_000) * 2),
        ):
            path = Path(folder, f"{name}.csv.gz")
            path.write_bytes(gzip.compress(content))
            command = [sys.executable, "-m", "learner", "replay", str(path)]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
            _, _, usage = os.wait4(process.pid, 0)
            peak = max(peak, usage.ru_maxrss // 1024)
    return Row(
        "gzipped tables whose rows never end",
        "at most 1,000 MB of memory",
        f"{peak:,} MB",
        peak <= 1000,
        {"peak_mb": peak},
    )


@row
def log_gone(quick: bool) -> Row:
    """Close the pipe that the worker's log goes to, and have it say something."""
    with Server() as server, server.client() as client:
        model = create(client)
        command = [sys.executable, "-m", "learner", "worker", "m", "--commit-seconds", "0.1", "--held-seconds", "inf"]
        reading, writing = os.pipe()
        os.close(reading)
        process = subprocess.Popen(command, env={**os.environ, "REDIS_URL": server.url}, stderr=writing, cwd=ROOT)
        os.close(writing)
        try:
            wait_for(lambda: owner_pid(client) == process.pid, "the worker works")
            server.kill()
            time.sleep(1.0)
            server.start()
            client.xadd(KEYS.requests, {"record": "{}", "reply": "elsewhere"})
            client.xadd(KEYS.examples, {"batch": WIDE})
            model.learn_packed(WIDE)
            wait_for(lambda: lag(client) == 0 and client.hget(KEYS.head, "entries") == b"1", "it learns")
            process.terminate()
            code = process.wait(10)
            same = digest(committed(client)) == digest(model)
        finally:
            process.kill()
    return Row(
        "nobody reads the worker's log any more, and the server restarts",
        "goes on, exit 0",
        f"{'goes on' if same else 'another state'}, exit {code}",
        same and code == 0,
    )
