"""Answerers that are killed and frozen again and again, beside a worker that learns."""

import json
import random
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from typing import Any

import redis

from learner.errors import LearnerError
from learner.model import Model
from learner.packing import pack
from learner.service.creating import committed_model
from learner.service.store import Store
from learner.service.store.processes import ALIVE_SECONDS
from tests.reliability import Row, row
from tests.reliability.machinery import KEYS, Process, Server, committed, create, digest, examples, lag, wait_for
from tests.reliability.servers import Producer

QUESTIONS = [{"n1": 1.0}, {"n2": 1.0, "n3": 1.0}, {f"n{i}": 1.0 for i in range(1, 9)}]
N_ANSWERERS = 3


class Answerer(Process):
    """A process of ``learner answer``."""

    always = ("--json",)
    is_ready = "answers from commit"

    def __init__(self, url: str) -> None:
        super().__init__(url, command=("answer", "m"))


class Asker(threading.Thread):
    """Asks with plain commands, each question with an id of its own, and waits for no answer; `n` questions were asked."""

    def __init__(self, client: redis.Redis, pause: float) -> None:
        super().__init__(daemon=True)
        self.client, self.pause = client, pause
        self.key = f"{KEYS.replies}{id(self)}"
        self.n = 0
        self.replies: list[dict[str, Any]] = []
        self.enough = False

    def run(self) -> None:
        """Ask, and fetch the replies that are there."""
        while not self.enough:
            question = json.dumps(QUESTIONS[self.n % len(QUESTIONS)])
            self.client.xadd(KEYS.requests, {"features": question, "reply": self.key, "id": str(self.n)})
            self.n += 1
            self.fetch()
            time.sleep(self.pause)

    def fetch(self) -> None:
        """Fetch the replies that are there."""
        self.replies += map(json.loads, self.client.lpop(self.key, 1000) or [])


class Reader(threading.Thread):
    """Loads the last commit whole, again and again; `scores` has its answers to the questions, by its number."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.scores: dict[int, list[float]] = {}
        self.enough = False

    def run(self) -> None:
        """Load."""
        while not self.enough:
            store = Store(self.client, "m")
            with suppress(LearnerError):  # the stream has moved on between two looks
                self.look(store, committed_model(store))
            time.sleep(0.02)

    def look(self, store: Store, model: Model) -> None:
        """Note the answers of a commit."""
        self.scores[store.commits.number] = [model.answer(pack(question))["score"] for question in QUESTIONS]


def _kill(answerers: list[Answerer], url: str, draw: random.Random, stack: ExitStack) -> None:
    """Kill an answerer, and start another one in its place."""
    place = draw.randrange(len(answerers))
    answerers[place].signal(signal.SIGKILL)
    answerers[place].end()
    answerers[place] = stack.enter_context(Answerer(url)).ready()


def _freeze(answerers: list[Answerer], draw: random.Random) -> None:
    """Freeze an answerer for a moment, or for longer than it counts as alive."""
    victim = draw.choice(answerers)
    victim.signal(signal.SIGSTOP)
    time.sleep(draw.choice([0.5, ALIVE_SECONDS + 0.5]))
    victim.signal(signal.SIGCONT)
    time.sleep(0.1)


def _judged(asker: Asker, n_exact: int, scores: dict[int, list[float]]) -> tuple[str, bool, dict[str, Any]]:
    """Return in words, in short and in figures what became of the questions; answerers gave the first `n_exact` answers."""
    times = Counter(reply["id"] for reply in asker.replies)
    lost = asker.n - len(times)
    twice = sum(n > 1 for n in times.values())
    errors = [reply["error"] for reply in asker.replies if "error" in reply]
    known = [reply for reply in asker.replies[:n_exact] if reply.get("commit") in scores]
    wrong = sum(reply["score"] != scores[reply["commit"]][int(reply["id"]) % len(QUESTIONS)] for reply in known)
    words = (
        f"{asker.n:,} questions: lost {lost}, twice {twice}, {len(errors)} refused in words; "
        f"of {len(known):,} answers computed anew from their commits {wrong} differ"
    )
    passed = not (lost or twice or wrong) and bool(known)
    return words, passed, {"errors": sorted(set(errors)), "commits": len({r.get("commit") for r in asker.replies})}


@row
def answerers_killed_and_frozen(quick: bool) -> Row:
    """SIGKILL and SIGSTOP answerers under load, beside a worker that learns; in between, all of them."""
    times = 3 if quick else 30
    packed = examples(4000 * times)
    draw = random.Random(18)
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        client = stack.enter_context(server.client())
        model = create(client)
        worker = stack.enter_context(Process(server.url, "--commit-seconds", "0.05")).ready()
        answerers = [stack.enter_context(Answerer(server.url)) for _ in range(N_ANSWERERS)]
        producer, asker = Producer(server.url, packed), Asker(stack.enter_context(server.client()), 0.002)
        reader = Reader(stack.enter_context(server.client()))
        producer.start()
        reader.start()
        for each in answerers:
            each.ready()
        wait_for(lambda: client.hget(KEYS.owner, "answered_by"), "the worker leaves questions")
        asker.start()
        for i in range(times):
            _kill(answerers, server.url, draw, stack) if i % 2 else _freeze(answerers, draw)
        n_exact = len(asker.replies)  # as long as one lives, the worker answers nothing
        for each in answerers:
            each.signal(signal.SIGKILL)
        wait_for(lambda: not client.hget(KEYS.owner, "answered_by"), "the worker answers again")
        wait_for(lambda: client.xlen(KEYS.requests) < 100, "it answers what is left")
        reader.enough = producer.enough = asker.enough = True
        for thread in (producer, asker, reader):
            thread.join(60)
        wait_for(lambda: client.xlen(KEYS.requests) == 0 and lag(client) == 0, "everything is answered and learned")
        worker.signal(signal.SIGTERM)
        code, _ = worker.end()
        asker.fetch()
        learned = committed(client)
        model.learn_packed(b"".join(packed[: learned.n_examples]))
        same = digest(learned) == digest(model)
    words, passed, details = _judged(asker, n_exact, reader.scores)
    return Row(
        f"answerers: {times // 2} killed and {times - times // 2} frozen, one after another, then all killed, under load",
        "every question answered once, or refused in words; each answer is that of its commit; same weights as without",
        f"{words}; hash {'equal' if same else 'different'}",
        passed and same and code == 0,
        details | {"log": worker.lines, "learned": learned.n_examples},
    )
