"""A cluster of three primaries with replicas: primaries that are killed, slots that move, under load."""

import random
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import redis

from learner.client import Client
from learner.errors import LearnerError
from learner.service.store import Store, connection
from tests.clusters import Node, Nodes, slot_of
from tests.reliability import Row, row
from tests.reliability.machinery import Process, committed, create, digest, examples, lag, percentile, wait_for
from tests.reliability.servers import Producer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from learner.model import Model

SLOT = slot_of("m")


class Asker(threading.Thread):
    """Asks for predictions one after another."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.client = Client("m", url)
        self.seconds: list[float] = []
        self.refusals: list[str] = []
        self.enough = False

    def run(self) -> None:
        """Ask."""
        while not self.enough:
            started = time.monotonic()
            try:
                self.client.predict(features={"n1": 1.0})
            except (LearnerError, redis.RedisError) as error:
                self.refusals.append(str(error))
            self.seconds.append(time.monotonic() - started)
            time.sleep(0.005)


class Load(NamedTuple):
    """What goes on meanwhile, and how it is looked at."""

    model: "Model"  # to learn the same without disturbance
    client: redis.Redis
    producer: Producer
    asker: Asker
    worker: Process

    def commits_on(self) -> None:
        """Wait until something more is committed."""
        before: list[int] = []
        wait_for(lambda: before.append(self.n_commits()) or before, "a primary answers")  # type: ignore[func-returns-value]
        wait_for(lambda: self.n_commits() > before[0], f"the worker goes on ({self.worker.lines[-3:]})")

    def goes_on(self) -> None:
        """Wait until something more is pushed, and committed."""
        n = self.producer.n_acknowledged
        wait_for(lambda: self.producer.n_acknowledged > n, f"the producer goes on ({self.worker.lines[-3:]})")
        self.commits_on()

    def n_commits(self) -> int:
        """Return how many commits there are."""
        return int(Store(self.client, "m").client.hget("learner:{m}:state:head", "commits") or 0)

    def end(self) -> "Model":
        """End the load; return the model when everything is committed."""
        self.producer.enough = self.asker.enough = True
        self.producer.join(60)
        self.asker.join(60)
        wait_for(lambda: lag(self.client) == 0, f"the worker learns all ({self.worker.lines[-3:]})")
        self.worker.signal(signal.SIGTERM)
        code, _ = self.worker.end()
        assert code == 0, self.worker.lines
        return committed(self.client)


@contextmanager
def loaded(nodes: Nodes, packed: list[bytes], durability: str) -> "Iterator[Load]":
    """Create the model, and have a producer, an asker and a worker work with it during a block."""
    with ExitStack() as stack:
        client = stack.enter_context(connection.client(nodes.url))
        model = create(client)
        worker = stack.enter_context(Process(nodes.url, "--commit-seconds", "0.05")).ready()
        producer, asker = Producer(nodes.url, packed), Asker(nodes.url)
        producer.client = Client("m", nodes.url, timeout=5.0, durability=durability)
        load = Load(model, client, producer, asker, worker)
        producer.start()
        asker.start()
        load.goes_on()
        yield load


def _result(load: Load, learned: "Model", packed: list[bytes]) -> tuple[str, bool]:
    """Return in words, and in short, whether every acknowledged example was learned once, and nothing else."""
    n = learned.n_examples
    load.model.learn_packed(b"".join(packed[:n]))
    lost = max(load.producer.n_acknowledged - n, 0)
    twice = max(n - load.producer.n_acknowledged - 1, 0)  # the last one may have been pushed, but not acknowledged
    same = digest(learned) == digest(load.model)
    asked, refused = len(load.asker.seconds), len(load.asker.refusals)
    words = (
        f"lost {lost} of {load.producer.n_acknowledged:,}, twice {twice}, hash {'equal' if same else 'different'}; "
        f"{asked - refused:,} questions answered, {refused} refused in words, at most {max(load.asker.seconds):.1f} s each"
    )
    return words, not lost and not twice and same


@row
def cluster_primaries_killed(quick: bool) -> list[Row]:
    """SIGKILL the primary of the model's slot under load; a replica takes its place, and the dead node comes back as one."""
    times = 2 if quick else 20
    packed = examples(4000 * times)
    rng = random.Random(18)
    back = []
    with Nodes() as nodes, loaded(nodes, packed, "failover") as load:
        for _ in range(times):
            time.sleep(rng.uniform(0.1, 0.6))
            dead = nodes.primary("m")
            dead.kill()
            killed = time.monotonic()
            wait_for(lambda: nodes.has_primary("m"), "a replica is promoted")
            load.commits_on()
            back.append(time.monotonic() - killed)
            dead.start()
            load.goes_on()  # pushes are confirmed again, now that there is a replica
            wait_for(lambda: _replicates(nodes, dead), "the dead node is back")  # noqa: B023
        words, passed = _result(load, load.end(), packed)
        details = {"refusals": sorted(set(load.asker.refusals)), "log": load.worker.lines}
    p50, p99 = percentile(back, 50), percentile(back, 99)
    return [
        Row(
            f"cluster: primary SIGKILLed {times} times under load, pushes confirmed by its replica (WAIT)",
            "lost 0, twice 0, wrong commits 0, every question answered or refused in words",
            words,
            passed,
            details,
        ),
        Row(
            f"cluster: from a primary's SIGKILL to the next commit at its replica (node timeout 0.5 s, {times} times)",
            "within seconds",
            f"p50 {p50:.2f} s, p99 {p99:.2f} s",
            p99 < 15.0,
            {"p50": p50, "p99": p99},
        ),
    ]


def _replicates(nodes: Nodes, node: Node) -> bool:
    """Tell whether a node is a replica of the model's primary, and has all of its data."""
    return bool(
        not node.is_primary()
        and node.client.info("replication")["master_link_status"] == "up"
        and nodes.primary("m").client.info("replication")["connected_slaves"] == 1
        and nodes.is_whole()
    )


@row
def cluster_slots_moved(quick: bool) -> Row:
    """Move the model's slot from primary to primary under load, key by key, and at once where the server can do that."""
    times = 2 if quick else 20
    packed = examples(3000 * times)
    at_once = 0
    with Nodes(n_replicas=0) as nodes, loaded(nodes, packed, "crash") as load:
        for i in range(times):
            source = nodes.primary("m")
            target = nodes.primaries()[(nodes.primaries().index(source) + 1) % 3]
            if i % 2 and nodes.can_move_at_once(source):
                nodes.move_at_once(SLOT, source, target)
                at_once += 1
            else:
                nodes.move(SLOT, source, target, pause_s=0.05, n=3)
            load.goes_on()
        words, passed = _result(load, load.end(), packed)
        details = {"refusals": sorted(set(load.asker.refusals)), "log": load.worker.lines}
    return Row(
        f"cluster: the model's slot moved {times} times under load, {at_once} of them at once, the others key by key",
        "lost 0, twice 0, wrong commits 0, every question answered or refused in words",
        words,
        passed,
        details,
    )
