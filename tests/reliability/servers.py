"""Servers that are killed, cut off, full, paused, replaced by a replica, or emptied."""

import math
import os
import random
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from learner.client import Client
from learner.errors import LearnerError
from learner.service.store import Store, connection
from tests.reliability import Row, row
from tests.reliability.machinery import (
    KEYS,
    Process,
    Proxy,
    Server,
    committed,
    create,
    digest,
    drain,
    examples,
    lag,
    percentile,
    push,
    wait_for,
)


@row
def connection_cut(quick: bool) -> Row:
    """Cut the worker's connection before and after every command of reading, learning and committing."""
    from worker import Worker

    packed = examples(60)
    wrong, cuts, n_commands = 0, 0, 0
    with Server() as server, server.client() as client:
        proxy = Proxy(server.port)
        url = server.url.replace(f":{server.port}/", f":{proxy.port}/")
        number = 0
        while number <= n_commands:
            for after in (False, True):
                proxy.disarm()
                client.flushall()
                model = create(client)
                push(client, packed, 7)
                client.xadd(KEYS.examples, {"record": "{"})  # so that the commit has a rejected entry
                with connection.client(url) as through:
                    owner = Worker(Store(through, "m"), 0.0, held_seconds=math.inf)
                    owner.wait_to_own()
                    proxy.arm(number, after)
                    for _ in range(100):
                        try:
                            owner.run(burst=True)
                            break
                        except (redis.ConnectionError, redis.TimeoutError):
                            continue
                    owner.owning.close()
                n_commands = max(n_commands, proxy.n_commands)
                model.learn_packed(b"".join(packed))
                model.count_rejected(1)
                cuts += 1
                wrong += digest(committed(client)) != digest(model) or client.xlen(KEYS.rejected) != 1
            number += 9 if quick else 1
        proxy.close()
    return Row(
        f"connection cut before and after every command of one commit cycle ({cuts} cuts)",
        "lost 0, twice 0, state hash equal to an undisturbed run",
        f"{wrong} of {cuts} different",
        wrong == 0,
        {"commands": n_commands},
    )


class Producer(threading.Thread):
    """Pushes examples one after another; tries each again until it is acknowledged."""

    def __init__(self, url: str, packed: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.client = Client("m", url, timeout=30.0)
        self.packed = packed
        self.n_acknowledged = 0
        self.enough = False

    def run(self) -> None:
        """Push."""
        for i, data in enumerate(self.packed):
            if self.enough:
                return
            while True:
                with suppress(redis.RedisError, LearnerError):
                    list(self.client.push_packed(iter([data]), features=True, id=f"e{i}"))
                    break
            self.n_acknowledged += 1
            time.sleep(0.001)


@row
def server_kills(quick: bool) -> list[Row]:
    """SIGKILL the server under load and start it again with the data that it has on disk."""
    times = 2 if quick else 30
    packed = examples(6000 * times)
    rng = random.Random(3)
    disagreed, back = 0, []
    with Server() as server, server.client() as client:
        model = create(client)
        with Process(server.url, "--commit-seconds", "0.05").ready() as worker:
            producer = Producer(server.url, packed)
            producer.start()
            for _ in range(times):
                time.sleep(rng.uniform(0.2, 1.0))
                server.kill()
                killed = time.monotonic()
                server.start()
                commits = 0
                with suppress(redis.ConnectionError, redis.TimeoutError):
                    position = Store(client, "m").stream.committed_position()
                    disagreed += position.trouble is not None
                    commits = int(client.hget(KEYS.head, "commits") or 0)
                n = producer.n_acknowledged
                wait_for(lambda n=n: producer.n_acknowledged > n, "producer goes on")
                wait_for(lambda n=commits: int(client.hget(KEYS.head, "commits") or 0) > n, "worker goes on")
                back.append(time.monotonic() - killed)
            producer.enough = True
            producer.join(30)
            wait_for(lambda: lag(client) == 0, "worker learns all")
            worker.signal(signal.SIGTERM)
            code, _ = worker.end()
        learned_model = committed(client)
    n = learned_model.n_examples
    model.learn_packed(b"".join(packed[:n]))
    missing = max(producer.n_acknowledged - n, 0)
    same = digest(learned_model) == digest(model)
    got = f"missing {missing} of {producer.n_acknowledged:,}, disagreed {disagreed}, hash {'equal' if same else 'different'}"
    p50, p99 = percentile(back, 50), percentile(back, 99)
    return [
        Row(
            f"server SIGKILLed {times} times under load, AOF everysec",
            "no acknowledged example missing after restart; state and cursor agree",
            got,
            missing == 0 and disagreed == 0 and same and code == 0,
        ),
        Row(
            f"from the server's SIGKILL to the next commit, its restart included ({len(back)} times)",
            "within seconds",
            f"p50 {p50:.2f} s, p99 {p99:.2f} s",
            p99 < 10.0,
            {"p50": p50, "p99": p99},
        ),
    ]


@row
def file_cut(quick: bool) -> Row:
    """Cut the append-only file within its last commit, start the server with it, and go on learning."""
    packed = examples(200, 5)
    wrong = started = 0
    with Server() as server:
        with server.client() as client:
            model = create(client)
            push(client, packed[:100], 5)
            drain(server.url)
            push(client, packed[100:], 5)
            (log,) = (server.folder / "appendonlydir").glob("*.incr.aof")
            drain(server.url)
            whole = log.read_bytes()
        server.kill()
        start = whole.rfind(b"MULTI", 0, whole.rfind(b"state:head"))
        start = whole.rfind(b"*1\r\n", 0, start)
        end = whole.find(b"EXEC\r\n", start) + len("EXEC\r\n")
        model.learn_packed(b"".join(packed))
        dense = 4 if quick else 150
        rng = random.Random(5)
        between = rng.sample(range(start + dense, end - dense), 6 if quick else 200)
        places = sorted({*range(start, start + dense), *range(end - dense, end + 1), *between})
        for place in places:
            with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
                shutil.copytree(server.folder / "appendonlydir", Path(folder) / "appendonlydir")
                os.truncate(Path(folder) / "appendonlydir" / log.name, place)
                with Server(folder=Path(folder)) as again, again.client() as client:
                    started += 1
                    before = committed(client)  # raises unless state, cursor and stream agree
                    assert before.n_examples in (100, 200), before.n_examples
                    wrong += digest(drain(again.url)) != digest(model)
    return Row(
        f"AOF cut within the last commit of {end - start:,} bytes: at each of the first and last {dense} and "
        f"{len(between)} in between",
        "server starts, state and cursor agree, learning goes on, same hash",
        f"started {started} of {len(places)}, {wrong} different",
        wrong == 0 and started == len(places),
        {"cuts": len(places), "commit_bytes": end - start},
    )


@row
def failovers(quick: bool) -> Row:
    """Kill the primary while the replica's link is frozen, promote the replica, go on there."""
    times = 2 if quick else 20
    rng = random.Random(11)
    agreed = lost = n_confirmed = n_behind = 0
    same = True
    for _ in range(times):
        with Server("repl-diskless-sync-delay 0") as primary, primary.client() as client:
            proxy = Proxy(primary.port)
            with Server(f"replicaof 127.0.0.1 {proxy.port}", f"masterauth {primary.password}") as replica:
                reference = create(client)
                with replica.client() as other:
                    wait_for(lambda: other.info("replication")["master_link_status"] == "up", "the replica follows")
                    thread = _Loop(primary.url)
                    thread.start()
                    producer = Client("m", primary.url, timeout=0.15, durability="failover")
                    confirmed = []
                    freeze_at = rng.randrange(30, 60)
                    for i in range(freeze_at + 3):
                        if i == freeze_at:
                            proxy.freeze()
                        with suppress(LearnerError):
                            producer.push(features={f"e{i}": 1.0, "x": i % 3 + 1.0}, target=i % 2, id=f"e{i}")
                            confirmed.append(i)
                    primary.kill()
                    thread.join(20)
                    other.replicaof("NO", "ONE")
                    position = Store(other, "m").stream.committed_position()
                    agreed += position.trouble is None
                    model = drain(replica.url)
                    names = {name for name in model.weights if name.startswith("e")}
                    lost += len({f"e{i}" for i in confirmed} - names)
                    n_confirmed += len(confirmed)
                    n_behind += thread.n_examples > model.n_examples
                    for i in range(len(names)):
                        reference.learn_one({f"e{i}": 1.0, "x": i % 3 + 1.0}, i % 2)
                    same = same and digest(reference) == digest(model)
            proxy.close()
    hashes = "equal" if same else "different"
    return Row(
        f"primary killed with the replica's link frozen, replica promoted, {times} times ({n_behind} times behind the worker)",
        f"state and cursor agree {times} of {times}; examples confirmed by WAIT lost 0",
        f"agree {agreed} of {times}; lost {lost} of {n_confirmed:,}; hash {hashes}",
        agreed == times and lost == 0 and same,
    )


class _Loop(threading.Thread):
    """A worker in this process, which ends when its server is gone."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.n_examples = 0

    def run(self) -> None:
        """Learn."""
        from worker import Worker

        owner = Worker(Store(connection.client(self.url), "m"), 0.02, lease_seconds=0.5)
        with suppress(redis.RedisError):
            owner.wait_to_own()
            owner.run()
        owner.owning.close()
        self.n_examples = owner.model.n_examples


# ---- servers that can't serve ----------------------------------------------------------------------------------------------
def _trouble(
    test: str,
    words: str,
    damage: Callable[[Server, redis.Redis], Any],
    mend: Callable[[Server, redis.Redis], Any],
    seconds: float,
    **options: Any,
) -> Row:
    """Damage a worker's server for a while, then mend it: the worker must wait, say why, and then learn every entry once."""
    packed = examples(20_000)
    with Server(**options) as server, server.client() as client:
        model = create(client)
        with Process(
            server.url, "--commit-seconds", "1"
        ).ready() as worker:  # a second, so that something is uncommitted when the server breaks
            push(client, packed[:10_000])
            wait_for(lambda: lag(client) == 0, "worker learns")
            push(client, packed[10_000:15_000])
            damage(server, client)
            started = time.monotonic()
            wait_for(lambda: worker.said(words), f"worker says {words!r} (it said {worker.lines})", 30)
            time.sleep(max(seconds - (time.monotonic() - started), 0))
            alive = worker.process.poll() is None
            mend(server, client)
            wait_for(lambda: lag(client) == 0, "worker goes on", 60)
            push(client, packed[15_000:])
            wait_for(lambda: lag(client) == 0, "worker learns on", 60)
            worker.signal(signal.SIGTERM)
            code, _ = worker.end()
            line = next(line for line in worker.lines if words in line)
        learned_model = committed(client)
    model.learn_packed(b"".join(packed))
    same = digest(learned_model) == digest(model)
    return Row(
        test,
        "waits with the right words; nothing wrong learned; goes on afterwards",
        f"'{line.partition(': ')[2][:60]}'; went on; hash {'equal' if same else 'different'}",
        same and alive and code == 0,
    )


@row
def disk_full(quick: bool) -> Row:
    """Forbid the server's files to grow."""

    def fill(server: Server, client: redis.Redis) -> None:
        size = sum(path.stat().st_size for path in (server.folder / "appendonlydir").glob("*.incr.aof"))
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size + 1000, resource.RLIM_INFINITY))
        with suppress(redis.RedisError):
            for _ in range(100):
                client.xadd(KEYS.requests, {"record": "x" * 1000})
                time.sleep(0.01)

    def free(server: Server, client: redis.Redis) -> None:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    return _trouble("disk full", "can't write to its disk", fill, free, 2.0, file_bytes=1 << 40)


@row
def memory_full(quick: bool) -> Row:
    """Set maxmemory below the memory in use, then remove the limit."""

    def fill(server: Server, client: redis.Redis) -> None:
        client.config_set("maxmemory", 1)

    def free(server: Server, client: redis.Redis) -> None:
        client.config_set("maxmemory", 0)

    return _trouble("maxmemory reached", "memory is full", fill, free, 2.0)


@row
def paused(quick: bool) -> Row:
    """SIGSTOP the server for a while; its connections stay open."""
    seconds = 7.0 if quick else 30.0
    return _trouble(
        f"server paused {seconds:g} s",
        "no connection",
        lambda server, _: server.process.send_signal(signal.SIGSTOP),
        lambda server, _: server.process.send_signal(signal.SIGCONT),
        seconds,
    )


@row
def emptied(quick: bool) -> Row:
    """Restart a worker's server on an empty disk; then create the model again and go on."""
    packed = examples(10_000)
    with Server() as server, server.client() as client:
        create(client)
        with Process(server.url, "--commit-seconds", "0.05").ready() as worker:
            push(client, packed[:5000])
            wait_for(lambda: lag(client) == 0, "worker learns")
            server.kill()
            shutil.rmtree(server.folder / "appendonlydir")
            server.start()
            code, _ = worker.end()
            words = worker.lines[-1]
        untouched = not client.exists(KEYS.head, KEYS.spec)
        model = create(client)
        push(client, packed[5000:])
        learned_model = drain(server.url)
    model.learn_packed(b"".join(packed[5000:]))
    same = digest(learned_model) == digest(model)
    return Row(
        "server restarted on an empty disk",
        "stops with the right words; nothing wrong learned; goes on afterwards",
        f"exit {code}, '{words.partition(': ')[2][:60]}'; went on anew; hash {'equal' if same else 'different'}",
        code == 2 and "server lost everything of this model" in words and untouched and same,
    )
