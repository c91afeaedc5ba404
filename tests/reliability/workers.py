"""Workers that are killed, frozen and stopped."""

import json
import random
import signal
import time
from typing import Any, cast

import redis

from learner.service.wire import LEARN_HELD
from tests.reliability import Row, row
from tests.reliability.machinery import (
    KEYS,
    Process,
    Server,
    committed,
    create,
    digest,
    drain,
    examples,
    lag,
    owner_pid,
    percentile,
    push,
    wait_for,
)


@row
def kills(quick: bool) -> list[Row]:
    """SIGKILL the owner at random times, while other workers wait to take over; held examples are learned between pushes."""
    n_kills, n_examples, waiting = (4, 40_000, 2) if quick else (200, 1_000_000, 3)
    rng = random.Random(2026)
    packed = examples(n_examples)
    pieces = [
        packed[i * n_examples // (n_kills + 1) : (i + 1) * n_examples // (n_kills + 1)] for i in range(n_kills + 1)
    ]
    recoveries, amid = [], 0
    with Server() as server, server.client() as client:
        model = create(client)
        options = ("--commit-seconds", "0.02")
        workers = [Process(server.url, *options) for _ in range(waiting)]
        try:
            for piece in pieces[:-1]:
                wait_for(lambda: owner_pid(client) in {w.pid for w in workers}, "a worker works")
                wait_for(lambda: any(_waits(w, client) for w in workers), "another one waits")
                push(client, piece)
                client.xadd(KEYS.examples, cast("Any", LEARN_HELD))
                time.sleep(rng.uniform(0, 0.06))
                doomed = next(w for w in workers if w.pid == owner_pid(client))
                workers.remove(doomed)
                doomed.signal(signal.SIGKILL)
                killed = time.monotonic()
                doomed.process.wait()
                left, commits = lag(client), int(client.hget(KEYS.head, "commits") or 0)
                amid += left > 0
                workers.append(Process(server.url, *options))
                if left:
                    wait_for(lambda: int(client.hget(KEYS.head, "commits") or 0) > commits, "the next one commits")  # noqa: B023
                    recoveries.append(time.monotonic() - killed)
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.wait()
        push(client, pieces[-1])
        learned_model = drain(server.url)
        n_entries = int(client.hget(KEYS.head, "entries") or 0)
    for piece in pieces:
        model.learn_held()
        model.learn_packed(b"".join(piece))
    wanted_entries = sum(-(-len(piece) // 100) for piece in pieces) + n_kills
    same = digest(learned_model) == digest(model)
    lost, twice = max(n_examples - learned_model.n_examples, 0), max(learned_model.n_examples - n_examples, 0)
    got = f"lost {lost}, twice {twice}, hash {'equal' if same else 'different'}"
    details = {"examples": n_examples, "kills": n_kills, "amid": amid, "digest": digest(learned_model)}
    test = f"worker SIGKILLed {n_kills} times at random over {n_examples:,} examples ({amid} times with some to learn)"
    p50, p99 = percentile(recoveries, 50), percentile(recoveries, 99)
    return [
        Row(
            test,
            "lost 0, twice 0, state hash equal to an undisturbed run",
            got,
            same and n_entries == wanted_entries,
            details,
        ),
        Row(
            f"from a worker's SIGKILL to the next commit, by one that waited ({len(recoveries)} times)",
            "within seconds",
            f"p50 {p50:.2f} s, p99 {p99:.2f} s",
            bool(recoveries) and p99 < 5.0,
            {"p50": p50, "p99": p99},
        ),
    ]


def _waits(worker: Process, client: redis.Redis) -> bool:
    return worker.said("waiting") and worker.pid != owner_pid(client)


@row
def frozen(quick: bool) -> Row:
    """SIGSTOP the owner, let a second worker take over, wake the first."""
    times = 1 if quick else 10
    wrong, codes = 0, []
    packed = examples(3000 * (times + 1))
    options = ("--commit-seconds", "0.02", "--lease-seconds", "0.6")
    with Server() as server, server.client() as client:
        model = create(client)
        workers = [Process(server.url, *options).ready(), Process(server.url, *options).ready()]
        try:
            for i in range(times):
                first = next(w for w in workers if w.pid == owner_pid(client))
                push(client, packed[3000 * i : 3000 * i + 1500])
                time.sleep(0.02)
                first.signal(signal.SIGSTOP)
                push(client, packed[3000 * i + 1500 : 3000 * (i + 1)])
                wait_for(lambda: owner_pid(client) not in (0, first.pid), "the second takes over")  # noqa: B023
                wait_for(lambda: lag(client) == 0, "the second learns all")
                before = client.hgetall(KEYS.head)
                first.signal(signal.SIGCONT)
                code, _ = first.end()
                codes.append(code)
                wrong += client.hgetall(KEYS.head) != before
                workers.remove(first)
                workers.append(Process(server.url, *options).ready())
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.wait()
        push(client, packed[3000 * times :])
        learned_model = drain(server.url)
    model.learn_packed(b"".join(packed))
    same = digest(learned_model) == digest(model)
    got = f"{wrong} wrong commits in {times}, exit codes {sorted(set(codes))}, hash {'equal' if same else 'different'}"
    return Row(
        "owner frozen, second takes over, first wakes",
        "0 wrong commits, exit code 4",
        got,
        same and wrong == 0 and set(codes) == {4},
        {"times": times},
    )


@row
def stops(quick: bool) -> Row:
    """SIGTERM the owner under load."""
    times = 2 if quick else 20
    rng = random.Random(7)
    slowest, replayed, codes = 0.0, 0, []
    n = 20_000
    packed = examples(n * (times + 1))
    with Server() as server, server.client() as client:
        model = create(client)
        worker = Process(server.url, "--commit-seconds", "1000").ready()
        for i in range(times):
            following = Process(server.url, "--commit-seconds", "1000")
            push(client, packed[n * i : n * (i + 1)], 10)
            time.sleep(rng.uniform(0, 0.05))
            started = time.monotonic()
            worker.signal(signal.SIGTERM)
            code, out = worker.end()
            slowest = max(slowest, time.monotonic() - started)
            codes.append(code)
            learned = json.loads(out)["examples"] if out else -1
            replayed += abs(learned - committed(client).n_examples)
            worker = following.ready()
        wait_for(lambda: worker.said("examples learned up to"), "the last one works")
        worker.signal(signal.SIGTERM)
        codes.append(worker.end()[0])
        push(client, packed[n * times :])
        learned_model = drain(server.url)
    model.learn_packed(b"".join(packed))
    same = digest(learned_model) == digest(model)
    return Row(
        f"SIGTERM under load, {times} times",
        "exit 0 within 5 s, replayed 0",
        f"exit {sorted(set(codes))}, slowest {slowest:.2f} s, replayed {replayed}, hash {'equal' if same else 'different'}",
        same and set(codes) == {0} and slowest < 5 and replayed == 0,
        {"slowest_seconds": slowest},
    )
