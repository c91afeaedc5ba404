"""Hostile input: mutated entries, too many names, entries that kill, streams gone bad, floods of requests."""

import contextlib
import inspect
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np

from learner.client import Client
from learner.model import Model
from learner.service.acceptance import Acceptance
from learner.service.learning import Learning
from learner.service.store import Store
from learner.service.store.connection import client as connect
from learner.service.store.embedded import temporary
from learner.service.wire import Keys
from tests.conftest import SEED, state_bytes
from tests.reliability import Row, row, strict
from tests.reliability.mutation import Mutator
from worker import Worker

ENTRY_SECONDS = 10.0  # an entry that takes longer counts as a hang
LABELS = ("ham", "spam")
FEATURIZERS = (None, "place", "fields")
NAMES_AN_EXAMPLE = 25
BYTES_A_FEATURE = 400  # of memory, with reserves for growth


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise a TimeoutError in a block that takes longer."""

    def stop(number: int, frame: Any) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


class Judge:
    """What learns entries as a worker does, and a model that learns what the strict decoder accepts of them."""

    def __init__(self, featurizer: str | None) -> None:
        options = {"featurizer": featurizer, "labels": LABELS, "seed": SEED}
        self.takes_arrays = featurizer in (None, "fields")
        self.learning = Learning(Model("binary", **options), Acceptance(), lambda: False)
        self.reference = Model("binary", **options)
        self.n_learned = self.n_rejected = 0

    def differs(self, entry_id: bytes, fields: dict[bytes, bytes]) -> str | None:
        """Have an entry learned; return what went wrong, None if nothing."""
        model = self.learning.model
        before = model.n_examples, model.n_rejected
        wanted = strict.outcomes(fields, self.reference.features, LABELS, self.takes_arrays)
        try:
            with time_limit(ENTRY_SECONDS):
                self.learning.learn([(entry_id, fields)])
        except TimeoutError:
            return "hang"
        except Exception as error:  # noqa: BLE001  (that is what is looked for)
            return f"crash: {type(error).__name__}: {error}"
        for outcome in wanted:
            if outcome is None:
                self.reference.count_rejected(1)
            else:
                target, features, importance = outcome
                self.reference.learn_one(Plain(features), target, importance)
        self.n_learned += (learned := model.n_examples - before[0])
        self.n_rejected += (n_rejected := model.n_rejected - before[1])
        kept = [rejected for _, rejected in self.learning.rejected]
        self.learning.forget_uncommitted()
        n = sum(outcome is not None for outcome in wanted)
        if (learned, n_rejected) != (n, len(wanted) - n):
            return f"wrong: learned {learned} and rejected {n_rejected}, where {n} and {len(wanted) - n} must be"
        if len(kept) != n_rejected or any(len(rejected.data) > 65_536 or not rejected.reason for rejected in kept):
            return f"wrong: what was rejected is not kept as it must be: {kept}"
        return None

    def same(self) -> bool:
        """Tell whether both models learned the same, bit for bit."""
        return state_bytes(self.learning.model) == state_bytes(self.reference)


class Plain(dict[str, float]):
    """Features, which the reference's featurizer must not featurize again."""


def fuzz(n: int, seed: int) -> tuple[dict[str, int], list[str]]:
    """Give n mutated entries to the judges; return counts, and descriptions of the first failures."""
    mutator = Mutator(seed)
    judges = [Judge(featurizer) for featurizer in FEATURIZERS]
    for judge in judges:
        judge.reference.featurizer = _Once(judge.reference.featurizer)  # type: ignore[assignment]
    counts = dict.fromkeys(("crash", "hang", "wrong"), 0)
    examples: list[str] = []
    for i in range(n):
        fields = mutator.entry()
        judge = judges[i % len(judges)]
        if trouble := judge.differs(b"%d-0" % (i + 1), fields):
            counts[trouble.partition(":")[0]] += 1
            examples.append(f"{trouble} ({judge.reference.featurizer}) {fields!r}"[:2000])
            if len(examples) > 20:
                break
        if i % 1000 == 999 and not all(judge.same() for judge in judges) and not examples:
            counts["wrong"] += 1
            examples.append(f"wrong: another state after {i + 1} entries")
            break
    counts["wrong"] += sum(not judge.same() for judge in judges)
    counts |= {
        "learned": sum(judge.n_learned for judge in judges),
        "rejected": sum(judge.n_rejected for judge in judges),
    }
    return counts, examples


class _Once:
    """A featurizer that returns `Plain` features unchanged."""

    def __init__(self, featurizer: Any) -> None:
        self.featurizer = featurizer

    def __call__(self, record: Any) -> Any:
        if isinstance(record, Plain):
            return dict(record)
        if self.featurizer is None:
            return Model("binary", seed=SEED).features(record)
        return self.featurizer(record)


@row
def mutated_entries(quick: bool) -> Row:
    """Entries of every kind, changed in structure and bytes, are learned, and compared with a second, strict decoder."""
    n = 3_000 if quick else 1_000_000
    counts, examples = fuzz(n, seed=1)
    bad = {name: counts[name] for name in ("crash", "hang", "wrong")}
    got = f"crashes {bad['crash']}, hangs {bad['hang']}, wrong {bad['wrong']}; "
    got += f"{counts['learned']:,} learned, {counts['rejected']:,} rejected"
    wanted = "crashes 0, hangs 0, every one counted as learned or rejected"
    return Row(f"{n:,} mutated entries", wanted, got, not any(bad.values()), {"examples": examples})


# ---- too many names --------------------------------------------------------------------------------------------------------
@row
def names_of_a_stranger(quick: bool) -> Row:
    """Names that never come again, many in an example, between examples of known features: memory, and those examples' loss."""
    n, most, known_features = (250_000, 5_000, 50) if quick else (5_000_000, 100_000, 1000)
    test = f"{n:,} distinct names from a stranger with max_features {most:,}"
    bound = most * BYTES_A_FEATURE
    wanted = f"at most {bound / 1e6:.1f} MB, known features' loss within 1%"
    if "max_features" not in inspect.signature(Model.__init__).parameters:
        return Row(test, wanted, "not available: Model has no max_features", None)
    losses, nbytes, n_features = [], 0, 0
    for flooded in (False, True):
        rng = np.random.default_rng(5)
        model = Model("binary", seed=SEED, max_features=most)  # type: ignore[call-arg]
        weights = rng.normal(0, 1, known_features)
        loss = n_known = 0.0
        for i in range(n // NAMES_AN_EXAMPLE):
            chosen = rng.choice(known_features, 8, replace=False)
            target = 1 if weights[chosen].sum() + rng.normal(0, 1) > 0 else -1
            score = model.learn_packed(msgpack.packb([target, {f"known{j}": 1.0 for j in chosen.tolist()}])).scores[0]
            loss += math.log1p(math.exp(-target * score))
            n_known += 1
            names = {f"stranger{i}.{j}": 1.0 for j in range(NAMES_AN_EXAMPLE)} if flooded else {}
            model.learn_packed(msgpack.packb([int(rng.choice([-1, 1])), names]))
        losses.append(loss / n_known)
        nbytes, n_features = model.nbytes, model.n_features
    change = losses[1] / losses[0] - 1.0
    got = f"{nbytes / 1e6:.1f} MB, {n_features:,} features, loss {change:+.2%}"
    return Row(test, wanted, got, nbytes <= bound and abs(change) <= 0.01, {"losses": losses})


# ---- entries that kill -----------------------------------------------------------------------------------------------------
DEADLY = """
import os, signal, sys
import worker
from learner.model import Model

features = Model.features


def deadly(self, record):
    if "deadly" in record:
        {end}
    return features(self, record)


Model.features = deadly
Model.program = None  # which would featurize the records itself
worker.worker()
"""
ENDS = {
    "SIGSEGV": "os.kill(os.getpid(), signal.SIGSEGV)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "an error that nothing caught": "raise SystemExit(1)",
}


def run_deadly(url: str, end: str, *arguments: str) -> int:
    """Run a worker whose featurizer ends the process at a deadly record; return its exit code."""
    command = [sys.executable, "-c", DEADLY.format(end=ENDS[end]), "m", "--burst", "--held-seconds", "inf", *arguments]
    return subprocess.run(
        command, env={**os.environ, "REDIS_URL": url}, capture_output=True, timeout=120, check=False
    ).returncode


def deadly(url: str, end: str) -> tuple[int, bool]:
    """Learn a stream with a deadly entry, restarting the worker each time; return (deaths, whether all is right)."""
    reference = Model("binary", featurizer="fields", seed=SEED)
    records = [{"a": i % 7, "w": f"w{i % 5}"} for i in range(400)]
    with connect(url) as client:
        store = Store(client, "m")
        store.create(reference.to_spec())
        for i, record in enumerate(records):
            if i == 200:
                deadly_id = client.xadd(store.keys.examples, {"record": '{"deadly": 1}', "target": "1"})
                reference.count_rejected(1)
            client.xadd(store.keys.examples, {"record": json.dumps(record), "target": str(i % 2)})
            reference.learn_one(record, i % 2)
        deaths = 0
        while deaths < 6 and run_deadly(url, end) != 0:
            deaths += 1
        entries: Any = client.xrange(store.keys.rejected)
        kept = [(fields[b"entry"], fields[b"stage"], end in fields[b"reason"].decode()) for _, fields in entries]
        right = kept == [(deadly_id, b"killed", True)]
        return deaths, right and state_bytes(Client("m", url).committed()) == state_bytes(reference)


@row
def deadly_entry(quick: bool) -> Row:
    """An entry kills the worker, which is started again each time; all other entries must be learned as usual."""
    results = {}
    for end in list(ENDS)[:1] if quick else ENDS:
        with temporary() as url:
            results[end] = deadly(url, end)
    got = "; ".join(
        f"{end}: {deaths} deaths, {'all right' if right else 'wrong'}" for end, (deaths, right) in results.items()
    )
    wanted = "quarantined after the second time, all others learned"
    return Row("an entry that kills the process", wanted, got, all(result == (2, True) for result in results.values()))


# ---- a stream gone bad -----------------------------------------------------------------------------------------------------
@row
def changed_form(quick: bool) -> Row:
    """The producer changes the records' form, so that no further example can be learned."""
    n_good, n_bad = (2_000, 20_000) if quick else (20_000, 1_000_000)
    with temporary() as url, connect(url) as client:
        Store(client, "m").create(Model("binary", featurizer="place", seed=SEED).to_spec())
        producer = Client("m", url)
        producer.push_many((i % 2, {"lat": i % 90, "lon": i % 180}) for i in range(n_good))
        producer.push_many((i % 2, {"latitude": i % 90, "longitude": i % 180}) for i in range(n_bad))
        command = [sys.executable, "-m", "learner", "worker", "m", "--commit-seconds", "0.01", "--stop-on-trouble"]
        environment = {**os.environ, "REDIS_URL": url}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        gone = int(Client("m", url).committed().n_rejected)
        back = subprocess.run(
            [*command, "--burst", "--max-rejected", "1"], env=environment, capture_output=True, timeout=300, check=False
        )
        model = Client("m", url).committed()
        right = (model.n_examples, model.n_rejected, back.returncode) == (n_good, n_bad, 0)
    test = f"{n_bad:,} examples of another form after {n_good:,} good ones"
    wanted = "exit 5, at most 1,000 of them used up; goes on when told to"
    got = f"exit {ended.returncode}, {gone:,} used up" + ("" if right else "; then wrong")
    return Row(
        test, wanted, got, ended.returncode == 5 and gone <= 1000 and right, {"said": ended.stderr.splitlines()[-1:]}
    )


# ---- too many requests -----------------------------------------------------------------------------------------------------
class Timed(Worker):
    """A worker that measures the time of learning, and of answering while examples wait."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.learning_seconds = self.answering_seconds = 0.0
        answer = self.answering.answer

        def timed_answer(examples_wait: bool) -> None:
            started = time.perf_counter()
            answer(examples_wait)
            if examples_wait:
                self.answering_seconds += time.perf_counter() - started

        self.answering.answer = timed_answer  # type: ignore[method-assign]

    def _learn(self, examples: Any) -> None:
        started = time.perf_counter()
        super()._learn(examples)
        self.learning_seconds += time.perf_counter() - started


@row
def request_flood(quick: bool) -> Row:
    """Many requests, some with a deadline that has passed, wait together with examples."""
    n_requests, n_examples = (30_000, 100_000) if quick else (90_000, 1_000_000)
    with temporary() as url, connect(url) as client:
        Store(client, "m").create(Model("binary", seed=SEED).to_spec())
        batch = b"".join(msgpack.packb([i % 2, {f"n{(i * j) % 997}": 1.0 for j in range(1, 20)}]) for i in range(200))
        keys = Keys("m")
        with client.pipeline(transaction=False) as pipe:
            for i in range(n_requests):
                late = {"deadline_ms": "1"} if i % 10 == 0 else {}
                fields = {"features": b"\x81\xa2n1\x01", "reply": f"learner:replies:{i % 100}", "id": str(i), **late}
                pipe.xadd(keys.requests, fields)
                if i % 1000 == 0:
                    pipe.execute()
            for _ in range(n_examples // len(range(200))):
                pipe.xadd(keys.examples, {"batch": batch})
            pipe.execute()
        time.sleep(0.01)
        worker = Timed(Store(client, "m"), 1.0, held_seconds=math.inf)
        worker.wait_to_own()
        worker.run(burst=True)
        share = worker.learning_seconds / (worker.learning_seconds + worker.answering_seconds)
        replies = [json.loads(reply) for i in range(100) for reply in client.lrange(f"learner:replies:{i}", 0, -1)]
        refused = sum("error" in reply for reply in replies)
        late = sum("too late" in reply.get("error", "") for reply in replies)
        answered = {reply["id"] for reply in replies if "error" not in reply}
        fresh = all(int(i) % 10 for i in answered) and sum(int(i) >= n_requests - 5000 for i in answered) == 4500
        learned = worker.model.n_examples == n_examples // 200 * 200
    got = (
        f"learning {share:.0%}, {late:,} late and {refused - late:,} of the oldest refused, {len(answered):,} answered"
    )
    return Row(
        f"{n_requests:,} requests while {n_examples:,} examples wait",
        "learning at least 50% of the time; late and oldest refused, the newest answered",
        got,
        share >= 0.5 and fresh and learned and late > 0 and refused > late and len(replies) == n_requests,
        {
            "learning_seconds": worker.learning_seconds,
            "answering_seconds": worker.answering_seconds,
            "replies": len(replies),
        },
    )
