"""Outcomes that come hours after the answers, or never, while workers are killed."""

import heapq
import json
import random
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any, cast

import msgpack
import redis

from learner.model import Model
from learner.packing import pack_example
from learner.service.store import Store
from tests.reliability import Row, row
from tests.reliability.machinery import (
    KEYS,
    Process,
    Server,
    create,
    digest,
    drain,
    examples,
    lag,
    owner_pid,
    push,
    wait_for,
)

HOURS, MAX_DELAY, KEPT = (
    24.0,
    6.0,
    5.5,
)  # of stream time: of the day, until an outcome comes, until it is not awaited any more
NEVER, TWICE = 0.05, 0.03  # shares of the answers
REPLIES = f"{KEYS.replies}day"


class Reader(threading.Thread):
    """Reads every entry of the stream, before commits trim it."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.entries: list[dict[bytes, bytes]] = []
        self.stopping = False

    def run(self) -> None:
        """Read until `stopping`."""
        last: bytes = b"0-0"
        with self.server.client() as client:
            while not self.stopping:
                for _, entries in client.xread({KEYS.examples: last}, count=1000, block=50) or []:
                    self.entries += [fields for _, fields in entries]
                    last = entries[-1][0]


class Day:
    """A day of requests and outcomes, each pushed when its time has come.

    Parameters
    ----------
    client : redis.Redis
        The server.
    packed : list of bytes
        The examples: what is asked, and what will come of it.
    hour : float
        Seconds of ours in an hour of the stream.
    """

    def __init__(self, client: redis.Redis, packed: list[bytes], hour: float) -> None:
        self.client, self.hour, self.rng = client, hour, random.Random(14)
        pairs = [msgpack.unpackb(data) for data in packed]
        self.targets = [target for target, _ in pairs]
        self.features = [msgpack.packb(features) for _, features in pairs]
        self.n_asked = 0
        self.answered: set[int] = set()
        self.to_come: list[tuple[float, int]] = []  # when, and of which answer
        self.started = time.monotonic()

    def step(self) -> None:
        """Ask and push what is due, and read what was answered."""
        now = (time.monotonic() - self.started) / self.hour
        n_due = min(int(len(self.targets) * now / HOURS), len(self.targets))
        with self.client.pipeline(transaction=False) as pipe:
            for i in range(self.n_asked, n_due):
                fields = {"features": self.features[i], "reply": REPLIES, "id": i, "outcome_id": f"order-{i}"}
                pipe.xadd(KEYS.requests, cast("Any", fields))
            while self.to_come and self.to_come[0][0] <= now:
                i = heapq.heappop(self.to_come)[1]
                pipe.xadd(KEYS.examples, {"outcome": f"order-{i}", "target": self.targets[i]})
            pipe.execute()
        self.n_asked = n_due
        for reply in map(json.loads, cast("Any", self.client.lpop(REPLIES, 1000)) or []):
            assert "error" not in reply, reply
            self._answered(int(reply["id"]), now)

    def _answered(self, i: int, now: float) -> None:
        if i in self.answered:
            return
        self.answered.add(i)
        if self.rng.random() >= NEVER:
            for _ in range(1 + (self.rng.random() < TWICE)):
                heapq.heappush(self.to_come, (now + self.rng.uniform(0, MAX_DELAY), i))

    @property
    def is_over(self) -> bool:
        """Whether everything was answered, and every outcome has come."""
        return len(self.answered) == len(self.targets) and not self.to_come


def undisturbed(model: Model, entries: list[dict[bytes, bytes]], day: Day, first: int) -> Counter[str]:
    """Let a model learn what the stream had, each answer's outcome once; return what came of the answers."""
    done, found = set[bytes](), Counter[str]()
    for fields in entries[first:]:
        name, expires = fields[b"outcome"], b"expired" in fields
        features = day.features[int(name.removeprefix(b"order-"))]
        if name + b" expired" in done and not expires:
            model.count_rejected(1)
            found["too late"] += 1
        elif name in done:
            found["repeated"] += not expires
        else:
            model.learn_packed(pack_example(int(fields[b"target"]), features))
            done |= {name, name + b" expired"} if expires else {name}
            found["expired" if expires else "learned"] += 1
    return found


@row
def late_outcomes(quick: bool) -> Row:
    """Ask all day long, push outcomes up to six hours later and 5% never, SIGKILL the owner now and then."""
    n, hour, n_kills = (1500, 0.3, 3) if quick else (12_000, 4.0, 12)
    packed = examples(n + 1000)
    options = ("--commit-seconds", "0.2", "--lease-seconds", "1")
    with Server() as server, server.client() as client, ExitStack() as ended:
        model = create(client)
        Store(client, "m").set({"keep_predictions": KEPT * hour, "default_outcome": "0"})
        push(client, packed[:1000])
        workers = [ended.enter_context(Process(server.url, *options)).ready() for _ in range(3)]
        wait_for(lambda: lag(client) == 0, "the first examples are learned")
        reader = Reader(server)
        n_before = client.xlen(KEYS.examples)
        reader.start()
        day, amid = Day(client, packed[1000:], hour), 0
        kills = sorted(random.Random(7).uniform(1, HOURS) for _ in range(n_kills))
        deadline = time.monotonic() + (HOURS + 2 * MAX_DELAY) * hour + 120
        while not (day.is_over and client.zcard(KEYS.kept) == 0 and lag(client) == 0):
            assert time.monotonic() < deadline, "the day is never over"
            day.step()
            time.sleep(0.005)
            doomed = next((worker for worker in workers if worker.pid == owner_pid(client)), None)
            if kills and doomed and (time.monotonic() - day.started) / hour > kills[0]:
                kills.pop(0)
                doomed.signal(signal.SIGKILL)
                doomed.process.wait()
                amid += lag(client) > 0
                workers.remove(doomed)
                workers.append(ended.enter_context(Process(server.url, *options)))
        reader.stopping = True
        reader.join()
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
        added = int(client.xinfo_stream(KEYS.examples)["entries-added"])
        learned_model, status = drain(server.url), Store(client, "m").status()
    assert len(reader.entries) - n_before == added - 10, "the test's reader has missed entries"
    model.learn_packed(b"".join(packed[:1000]))
    found = undisturbed(model, reader.entries, day, n_before)
    figures = status["progress"]
    once = found["learned"] + found["expired"] == n == figures["answered_examples"]
    counted = figures["expired"] == found["expired"] and figures["rejected"] == found["too late"]
    same = digest(learned_model) == digest(model)
    return Row(
        f"a day in {HOURS * hour:.0f} s: {n:,} answers, outcomes up to 6 h later and 5% never; SIGKILL {n_kills} times ({amid} "
        "with some to learn)",
        "each answer's outcome learned once, or its default after 5.5 h, from the features scored; same hash",
        f"{found['learned']:,} outcomes and {found['expired']:,} defaults learned, {found['repeated']} repeats and "
        f"{found['too late']} too late counted, hash {'equal' if same else 'different'}",
        once and counted and same and status["kept"] == 0 and not kills,
        {"digest": digest(learned_model), "answered_loss": figures["answered_loss"]},
    )
