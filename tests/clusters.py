"""A real cluster on the loopback interface, for tests: primaries with replicas, slots that move, nodes that are killed."""

import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from learner.service.store import embedded

__all__ = ["N_SLOTS", "Node", "Nodes", "lone", "slot_of", "wait_for"]

N_SLOTS = 16384
CONFIGURATION = """
bind 127.0.0.1
port {port}
cluster-port {bus}
cluster-enabled yes
cluster-node-timeout {timeout_ms}
cluster-replica-validity-factor 0
cluster-require-full-coverage no
requirepass {password}
masterauth {password}
dir .
appendonly yes
appendfsync everysec
save ""
repl-diskless-sync-delay 0
repl-ping-replica-period 1
maxmemory-policy noeviction
"""


def slot_of(model: str) -> int:
    """Return the slot of a model's keys."""
    return int(key_slot(f"learner:{{{model}}}:spec".encode()))


def wait_for(holds: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    """Wait until `holds` returns something true; an error of the server counts as false."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(redis.RedisError):
            if holds():
                return
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.01)


class Node:
    """A server process in a folder of its own."""

    def __init__(self, folder: Path, password: str, timeout_ms: int, more: str) -> None:
        self.folder = folder
        self.folder.mkdir()
        self.port, bus = _free_ports(2)
        text = CONFIGURATION.format(port=self.port, bus=bus, timeout_ms=timeout_ms, password=password) + more
        (self.folder / "node.conf").write_text(text)
        self.client = redis.Redis(port=self.port, password=password, socket_timeout=5, protocol=2)
        self.start()
        self.id: bytes = self.client.execute_command("CLUSTER", "MYID")

    def start(self) -> None:
        """Start it, with what it has on disk."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [embedded.find_binary(), "node.conf"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        wait_for(lambda: not self.client.info()["loading"], "a node answers")

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        self.client.connection_pool.disconnect()

    def command(self, *words: Any) -> Any:
        """Return its reply to CLUSTER with more words."""
        return self.client.execute_command("CLUSTER", *words)

    def is_primary(self) -> bool:
        """Tell whether it says that it is one."""
        return b"master" in bytes(self.client.execute_command("ROLE")[0])


@contextmanager
def lone(with_slots: bool = True) -> Iterator[tuple[Node, str]]:
    """A cluster of one node, with all slots or none, and the URL of a cluster that names it; gone at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder:
        node = Node(Path(folder) / "0", "secret", 5000, "")
        try:
            if with_slots:
                node.command("ADDSLOTSRANGE", 0, N_SLOTS - 1)
                wait_for(lambda: b"cluster_state:ok" in _text(node.command("INFO")), "the cluster is whole")
            yield node, f"redis+cluster://:secret@127.0.0.1:{node.port}"
        finally:
            node.kill()


class Nodes:
    """A cluster of three primaries that share the slots, each with replicas; gone at the end of the block."""

    def __init__(self, n_replicas: int = 1, timeout_ms: int = 500, more: str = "") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cluster-")
        self.password = secrets.token_hex(8)
        self.nodes: list[Node] = []
        self._n_names = 0
        try:
            for i in range(3 * (1 + n_replicas)):
                self.nodes.append(Node(Path(self._folder.name) / str(i), self.password, timeout_ms, more))
            self._join(n_replicas)
        except BaseException:
            self.close()
            raise

    def _join(self, n_replicas: int) -> None:
        first, ends = self.nodes[0], [0, 5461, 10923, N_SLOTS]
        for i, node in enumerate(self.nodes):
            node.command("SET-CONFIG-EPOCH", i + 1)
            if i < 3:
                node.command("ADDSLOTSRANGE", ends[i], ends[i + 1] - 1)
            if i:
                bus = int((node.folder / "node.conf").read_text().partition("cluster-port ")[2].split()[0])
                first.client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        for node in self.nodes:
            wait_for(lambda node=node: len(node.command("SHARDS")) >= 3 and self._knows_all(node), "all nodes know all")
        for i, node in enumerate(self.nodes[3:]):
            wait_for(lambda node=node, i=i: node.command("REPLICATE", self.nodes[i % 3].id), "a replica follows")
        wait_for(self.is_whole, "the cluster is whole")
        for node in self.nodes[: 3 if n_replicas else 0]:
            wait_for(lambda node=node: node.client.info()["connected_slaves"] == n_replicas, "replicas follow")

    def _knows_all(self, node: Node) -> bool:
        return bytes(node.command("NODES")).count(b" connected") == len(self.nodes)

    def is_whole(self) -> bool:
        """Tell whether all living nodes say that all slots are served."""
        living = [node for node in self.nodes if node.process.poll() is None]
        return all(b"cluster_state:ok" in _text(node.command("INFO")) for node in living)

    @property
    def url(self) -> str:
        """The URL that names every node."""
        places = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"redis+cluster://:{self.password}@{places}/0"

    @property
    def plain_url(self) -> str:
        """The URL of the first node, which doesn't say that it is one of a cluster."""
        return f"redis://:{self.password}@127.0.0.1:{self.nodes[0].port}/0"

    def primaries(self) -> list[Node]:
        """Return the living primaries that have slots."""
        ports = {place[1] for place in self._view()}
        return [node for node in self.nodes if node.port in ports and node.process.poll() is None]

    def _view(self) -> list[tuple[int, int, int]]:
        """Return (first slot, port of the primary, last slot) as the newest living node has it."""
        living = [node for node in self.nodes if node.process.poll() is None]
        seen = living[0].command("SLOTS")
        return [(int(first), int(primary[1]), int(last)) for first, last, primary, *_ in seen]

    def primary(self, model: str) -> Node:
        """Return the primary that has a model's slot, by asking all living nodes which of them says so of itself."""
        slot = slot_of(model)
        for node in self.nodes:
            with suppress(redis.RedisError):
                if node.process.poll() is None and node.is_primary() and self._has(node, slot):
                    return node
        raise AssertionError(f"no primary has slot {slot}")

    @staticmethod
    def _has(node: Node, slot: int) -> bool:
        ranges = node.command("SLOTS")
        return any(first <= slot <= last and primary[2] == node.id for first, last, primary, *_ in ranges)

    def has_primary(self, model: str) -> bool:
        """Tell whether some living primary has a model's slot."""
        with suppress(AssertionError):
            return bool(self.primary(model))
        return False

    def name_at(self, node: Node) -> str:
        """Return a new name of a model whose slot a primary has."""
        self._n_names += 1
        names = (f"m{self._n_names}-{i}" for i in range(1000))
        return next(name for name in names if self._has(node, slot_of(name)))

    def replica(self, model: str) -> Node:
        """Return the replica of the primary that has a model's slot."""
        (line,) = self.primary(model).command("REPLICAS", self.primary(model).id)
        return next(node for node in self.nodes if node.id == line.partition(b" ")[0])

    def cut_off(self, replica: Node, model: str) -> None:
        """Have a replica get nothing more from its primary."""
        replica.process.send_signal(signal.SIGSTOP)
        self.primary(model).client.execute_command("CLIENT", "KILL", "TYPE", "REPLICA")

    def promote(self, replica: Node, dead: Node) -> None:
        """Have a replica take the place of its primary, which is dead; start that one again as its replica."""
        replica.process.send_signal(signal.SIGCONT)
        replica.command("FAILOVER", "TAKEOVER")
        wait_for(replica.is_primary, "the replica is a primary")
        dead.start()
        wait_for(lambda: not dead.is_primary(), "the dead node is a replica")
        wait_for(lambda: dead.client.info()["master_link_status"] == "up", "the dead node follows")
        wait_for(self.is_whole, "the cluster is whole")

    # ---- moving a slot ----
    def begin_move(self, slot: int, source: Node, target: Node) -> None:
        """Have a slot's keys go from one primary to another: from now on new ones are refused at the first."""
        target.command("SETSLOT", slot, "IMPORTING", source.id)
        source.command("SETSLOT", slot, "MIGRATING", target.id)

    def move_keys(self, slot: int, source: Node, target: Node, pause_s: float = 0.0, n: int = 10) -> None:
        """Move the keys that are there, a few at a time."""
        while keys := source.command("GETKEYSINSLOT", slot, n):
            source.client.execute_command(
                "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "AUTH", self.password, "KEYS", *keys
            )
            time.sleep(pause_s)

    def end_move(self, slot: int, source: Node, target: Node) -> None:
        """Give the slot to the target, at all primaries."""
        for node in [target, source, *self.primaries()]:
            node.command("SETSLOT", slot, "NODE", target.id)

    def move(self, slot: int, source: Node, target: Node, pause_s: float = 0.0, n: int = 10) -> None:
        """Move a slot, key by key."""
        self.begin_move(slot, source, target)
        self.move_keys(slot, source, target, pause_s, n)
        self.end_move(slot, source, target)

    @staticmethod
    def can_move_at_once(node: Node) -> bool:
        """Tell whether the server can move a slot as a whole: Valkey >= 9."""
        return str(node.client.info("server").get("valkey_version", "0")).partition(".")[0] >= "9"

    def move_at_once(self, slot: int, source: Node, target: Node) -> None:
        """Move a slot as a whole."""
        source.command("MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
        wait_for(lambda: self._has(target, slot), "the slot is at the target")

    def close(self) -> None:
        """Kill all nodes and remove their folders."""
        for node in self.nodes:
            if node.process.poll() is None:
                node.process.kill()
            node.process.wait()
            node.client.close()
        shutil.rmtree(self._folder.name, ignore_errors=True)
        self._folder.cleanup()

    def __enter__(self) -> "Nodes":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text(reply: Any) -> bytes:
    return reply if isinstance(reply, bytes) else "\n".join(f"{name}:{value}" for name, value in reply.items()).encode()


def _free_ports(n: int) -> list[int]:
    """Return ports that no program listens on now, all different."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
