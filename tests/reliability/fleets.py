"""A fleet of two processes with many models, of which one is killed, frozen or stopped again and again, under load."""

import os
import random
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import redis

from learner.client import Client
from learner.errors import LearnerError
from learner.model import Model
from learner.service.store import Store, connection
from learner.service.wire import Keys
from tests.reliability import Row, row
from tests.reliability.machinery import Process, Server, digest, examples, percentile, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = ("--commit-seconds", "0.05", "--lease-seconds", "2")
KILLS = ("kill", "kill", "kill", "freeze", "stop")


class Pushing(threading.Thread):
    """Pushes examples to models drawn at random; tries each again until it is acknowledged."""

    def __init__(self, url: str, names: "Sequence[str]", packed: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.clients = {name: Client(name, url, timeout=30.0) for name in names}
        self.packed = packed
        self.pushed: dict[str, list[bytes]] = {name: [] for name in names}
        self.enough = False

    def run(self) -> None:
        """Push."""
        draw = random.Random(1)
        for i, data in enumerate(self.packed):
            if self.enough:
                return
            name = draw.choice(list(self.clients))
            while True:
                with suppress(redis.RedisError, LearnerError):
                    list(self.clients[name].push_packed(iter([data]), features=True, id=f"e{i}"))
                    break
            self.pushed[name].append(data)
            time.sleep(0.001)


class Asking(threading.Thread):
    """Asks models drawn at random, one after another."""

    def __init__(self, url: str, names: "Sequence[str]") -> None:
        super().__init__(daemon=True)
        self.clients = [Client(name, url, timeout=20.0) for name in names]
        self.seconds: list[float] = []
        self.refusals: list[str] = []
        self.enough = False

    def run(self) -> None:
        """Ask."""
        draw = random.Random(2)
        while not self.enough:
            started = time.monotonic()
            try:
                draw.choice(self.clients).predict(features={"n1": 1.0})
            except (LearnerError, redis.RedisError) as error:
                self.refusals.append(str(error))
            self.seconds.append(time.monotonic() - started)
            time.sleep(0.005)


def owners(client: redis.Redis, names: "Sequence[str]") -> list[int]:
    """Return the process that owns each model; 0: none does."""
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hget(Keys(name).owner, "pid")
        return [int(pid or 0) for pid in pipe.execute()]


def waiting(client: redis.Redis, names: "Sequence[str]") -> int:
    """Return how many entries are not committed yet."""
    positions = [Store(client, name).stream.committed_position() for name in names]
    return sum(position.added - position.passed for position in positions)


@row
def fleet_processes_killed(quick: bool) -> Row:
    """Kill, freeze or stop one of a fleet's two processes again and again while many models learn and answer."""
    n, times = (40, 4) if quick else (200, 50)
    names, back = [f"m{i}" for i in range(n)], []
    packed = examples(2000 * times)
    draw = random.Random(18)
    with Server() as server, server.client() as client:
        models = {name: Model("binary") for name in names}
        models["m0"].warm()
        for name, model in models.items():
            assert Store(client, name).create(model.to_spec())
        started = [Process(server.url, *OPTIONS, command=("fleet",)) for _ in range(2)]
        pushing, asking = Pushing(server.url, names, packed), Asking(server.url, names)
        try:
            wait_for(lambda: 0 not in owners(client, names), "all models have an owner", 120)
            pushing.start()
            asking.start()
            for i in range(times):
                time.sleep(draw.uniform(0.2, 0.8))
                how = KILLS[i % len(KILLS)]
                number = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP, "stop": signal.SIGTERM}[how]
                old = started.pop(0)
                old.signal(number)
                began = time.monotonic()
                started.append(Process(server.url, *OPTIONS, command=("fleet",)))
                wait_for(lambda: not {0, old.pid} & set(owners(client, names)), "others own all models", 120)  # noqa: B023
                back.append(time.monotonic() - began)
                if how == "freeze":
                    os.kill(old.pid, signal.SIGCONT)  # it finds that it owns nothing any more
                    old.signal(signal.SIGTERM)
                old.end(60)
            pushing.enough = asking.enough = True
            pushing.join(60)
            asking.join(60)
            wait_for(lambda: waiting(client, names) == 0, "all is learned", 120)
            for process in started:
                process.signal(signal.SIGTERM)
            codes = [process.end(60)[0] for process in started]
        finally:
            for process in started:
                process.process.kill()
        lost = twice = different = 0
        for name, model in models.items():
            learned = _committed(server.url, name)
            lost += max(len(pushing.pushed[name]) - learned.n_examples, 0)
            twice += max(learned.n_examples - len(pushing.pushed[name]), 0)
            model.learn_packed(b"".join(pushing.pushed[name]))
            different += digest(model) != digest(learned)
    n_pushed = sum(map(len, pushing.pushed.values()))
    asked, refused = len(asking.seconds), len(asking.refusals)
    return Row(
        f"one of a fleet's two processes killed, frozen or stopped {times} times, {n} models under load",
        "lost 0, twice 0, all hashes equal, every question answered or refused in words",
        f"lost {lost} of {n_pushed:,}, twice {twice}, {different} of {n} hashes different; {asked - refused:,} questions "
        f"answered, {refused} refused in words, p50 {percentile(asking.seconds, 50):.2f}, at most {max(asking.seconds):.1f} s; "
        f"until others own all models p50 "
        f"{percentile(back, 50):.1f} s, at most {max(back):.1f} s",
        not (lost or twice or different or any(codes)),
        {"refusals": sorted(set(asking.refusals)), "seconds": back},
    )


def _committed(url: str, name: str) -> Model:
    with connection.client(url) as client:
        store = Store(client, name)
        model = Model.from_spec(store.spec())
        commit = store.commits.load(model.fingerprint, model.row_width)
        if commit and commit.state:
            model.load_state(commit.state)
        return model
