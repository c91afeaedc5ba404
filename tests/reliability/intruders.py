"""Strangers and neighbours: clients in many processes, workers asked to answer for another model, damaged keys, restarts."""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from learner.client import Client
from learner.model import Model
from learner.service.store import Store
from learner.service.store.acl import set_user
from learner.service.store.connection import client as connect
from learner.service.store.embedded import Embedded, temporary
from tests.reliability import Row, row
from tests.reliability.machinery import KEYS, ROOT, Process, create, drain, examples, lag, push, wait_for
from tests.reliability.roles import PASSWORD, url_of


def _ask(client: Client, value: float, truth: float, n: int) -> None:
    """Ask n times; end the process with 1 at an answer that is another one's."""
    for _ in range(n):
        if client.predict({"x": value}) != truth:
            os._exit(1)
    os._exit(0)


@row
def forked_clients(quick: bool) -> Row:
    """One client is used in forked and spawned processes, while threads of the parent ask with it."""
    n, n_children = (20, 8) if quick else (200, 40)
    with temporary() as url, connect(url) as connection:
        Store(connection, "m").create(Model("regression").to_spec())
        with Process(url) as worker:
            worker.ready()
            client = Client("m", url, timeout=60)
            client.push_many([(float(i % 4), {"x": i % 4}) for i in range(400)], features=True)
            wait_for(lambda: client.lag() == 0, "all is learned")
            truth = [client.predict({"x": i}) for i in range(4)]
            wrong: list[int] = []

            def ask(i: int) -> None:
                wrong.extend(i for _ in range(n) if client.predict({"x": i}) != truth[i])

            threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
            for thread in threads:
                thread.start()
            children = [
                multiprocessing.get_context(kind).Process(target=_ask, args=(client, i % 4, truth[i % 4], n))
                for i, kind in enumerate(["fork"] * n_children + ["spawn"] * 2)
            ]
            for child in children:
                child.start()
            for ended in [*children, *threads]:
                ended.join(120)
    bad = sum(child.exitcode != 0 for child in children)
    total = n * (len(children) + len(threads))
    return Row(
        "one client in forked and spawned processes and in the threads of their parent",
        "every answer its own",
        f"{len(wrong)} of {n * len(threads)} in threads, {bad} of {len(children)} processes wrong; {total:,} answers",
        not wrong and bad == 0,
    )


@row
def spoofed_replies(quick: bool) -> Row:
    """Askers have a worker under its access rules asked to reply on keys of other models, and on keys that models share."""
    n = 50 if quick else 1000
    foreign = ["learner:{other}:replies:me", "learner:replies:me", "learner:{other}:spec", "learner:{m}:spec", ""]
    with temporary() as url, connect(url) as admin:
        create(admin)
        for role in ("worker", "asker"):
            admin.execute_command(*set_user("m", role, PASSWORD))
        with Process(url_of(url, "m", "worker")) as worker, connect(url_of(url, "m", "asker")) as asker:
            worker.ready()
            for i in range(n):
                key = foreign[i % len(foreign)]
                asker.xadd(KEYS.requests, {"record": "{}", "reply": key, "id": str(i)})
            asker.xadd(KEYS.requests, {"record": "{}", "reply": f"{KEYS.replies}me", "id": "own"})
            answered = asker.blpop([f"{KEYS.replies}me"], timeout=60)
        written = [key for key in foreign if key and key != KEYS.spec and admin.exists(key)]
    own = answered is not None and json.loads(answered[1])["id"] == "own"
    return Row(
        f"{n} requests to a worker under its role, with reply keys of other models and shared ones",
        "none answered there; the next request answered",
        f"{len(written)} keys written, {'answered' if own else 'silent'}",
        own and not written,
    )


COMMANDS = [["status", "m"], ["weights", "m"], ["push", "m", "-", "--format", "jsonl"], ["rejected", "list", "m"]]
COMMANDS += [["repair", "m"], ["worker", "m", "--burst"], ["rejected", "push", "m", "--all"]]


@row
def damaged_keys(quick: bool) -> Row:
    """The spec, the fields of the head and rejected entries are replaced by junk; then commands and workers run."""
    n, draw, bad = (8 if quick else 60), random.Random(1), []
    with temporary() as url, connect(url) as admin:
        create(admin)
        push(admin, examples(200))
        drain(url)
        spec, head = admin.get(KEYS.spec), admin.hgetall(KEYS.head)
        for i in range(n):
            whole = [spec, *head.values()][i % (1 + len(head))]
            junks = [b"", b"\xff", b"{}", b"[]", b"9" * 30, b"x\x1b[2J", whole[: len(whole) // 2], draw.randbytes(9)]
            junk = draw.choice(junks)
            admin.xadd(KEYS.rejected, {draw.choice(["data", "bytes", "field", "entry"]): junk})
            if i % (1 + len(head)):
                admin.hset(KEYS.head, [*head][i % (1 + len(head)) - 1], junk)
            else:
                admin.set(KEYS.spec, junk)
            command = COMMANDS[i % len(COMMANDS)]
            done = subprocess.run(
                [sys.executable, "-m", "learner", *command],
                env={**os.environ, "REDIS_URL": url},
                capture_output=True,
                cwd=ROOT,
                input=b'{"n1": 1, "target": 1}\n',
                timeout=60,
            )
            if done.returncode not in (0, 2) or b"Traceback" in done.stderr or b"\x1b" in done.stdout + done.stderr:
                bad.append((command, junk, done.stderr[-300:]))
            admin.set(KEYS.spec, spec)
            admin.hset(KEYS.head, mapping=head)
        learned = lag(admin) >= 0
    return Row(
        f"{n} times a spec, a head's field and a rejected entry replaced by junk, then a command or a worker",
        "one line and exit 0 or 2, nothing for the terminal to obey",
        f"{len(bad)} otherwise",
        not bad and learned,
        {"bad": [str(each) for each in bad]},
    )


@row
def living_clients(quick: bool) -> Row:
    """The embedded server is stopped or killed, and started again, while a client lives; others may not open its socket."""
    n, found = (3 if quick else 20), 0
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        embedded = Embedded(Path(folder) / "server")
        try:
            client = Client("m", embedded.start())
            Store(client.redis, "m").create(Model().to_spec())
            for i in range(n):
                if i % 2:
                    os.kill(int(str((embedded.running() or {})["pid"])), 9)
                    wait_for(lambda: not embedded._alive(), "server ends")
                else:
                    embedded.stop()
                embedded.start()
                client.require_model()
                found += 1
            ports = client.redis.config_get("port")["port"]
            mode = Path(str((embedded.running() or {})["socket"])).stat().st_mode & 0o777
        finally:
            embedded.stop()
    return Row(
        f"the embedded server stopped or killed and started again, {n} times",
        "a living client finds it again; no port, a socket for its user alone",
        f"found {found} of {n}; port {ports}, mode {mode:o}",
        found == n and ports == "0" and mode == 0o600,
    )
