"""An hour as in production: ``python -m tests.reliability.soak --minutes 60``.

A producer pushes at a steady rate, an asker asks, outcomes come late or never, and some entries are bad. In the first half the
worker is SIGKILLed every few minutes, settings are changed, and the model is rolled back once; in the second half one process
works undisturbed, so that its memory can be watched. At the end a model of this process learns the same entries once.
"""

import argparse
import heapq
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
import numpy as np
import redis
from rich.console import Console
from rich.progress import Progress

from learner import compiling
from learner.client import Client
from learner.errors import LearnerError
from learner.model import Model
from learner.packing import pack_example
from learner.service.store import Store, snapshots
from learner.service.wire import RawExample, RejectedEntry, decode_entry
from tests.reliability import Row, row
from tests.reliability.machinery import (
    KEYS,
    Process,
    Server,
    committed,
    digest,
    owner_pid,
    percentile,
    wait_for,
)

MAX_FEATURES = 5_000
SINGLE, ASKED = 1 / 3, 1 / 30  # shares of the rate: pushed one by one, asked; the rest is pushed in batches
BATCH = 100  # examples
BAD, TWICE, NEVER = 0.0005, 0.01, 0.05  # shares: of the singles, of the singles, of the answers
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
DAY = 86_400.0
MIN_REWRITTEN = 64 << 20  # bytes of the append-only file, by the server's default


def record_of(i: int) -> tuple[dict[str, Any], int]:
    """Return record i and its outcome: few users come often, and the pages drift."""
    rng = random.Random(i)
    user, page, size = int(rng.paretovariate(1.0)) % 5000, i // 10 + rng.randrange(500), rng.random()
    record = {
        "user": f"u{user}",
        "page": f"p{page}",
        "kind": rng.choice("abcdef"),
        "size": size,
        "hour": i // 5000 % 24,
    }
    return record, int(rng.random() < 0.1 + 0.5 * size + 0.3 * (user % 2))


# ---- what is pushed and asked ----
@dataclass
class Tally:
    """What was pushed and asked so far."""

    good: int = 0
    bad: int = 0
    repeats: int = 0
    outcomes: int = 0
    answered: set[int] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)  # that answers took
    errors: list[str] = field(default_factory=list)


class Load:
    """Pushes and asks at a steady rate, in threads, until `stop`.

    Parameters
    ----------
    url : str
        The server's.
    rate : float
        Examples a second.
    keep : float
        Seconds that answers wait for their outcomes; a few outcomes come later than that.
    """

    def __init__(self, url: str, rate: float, keep: float) -> None:
        self.client, self.rate, self.keep = Client("m", url), rate, keep
        self.tally = Tally()
        self.stopping = threading.Event()
        self.to_come: list[tuple[float, int]] = []  # when an outcome comes, and of which answer
        self._numbers, self._rng = itertools.count(), random.Random(14)
        self._threads = [threading.Thread(target=self._run, args=(job,)) for job in (self._push, self._ask)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop."""
        self.stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, job: Callable[[], Iterator[float]]) -> None:
        """Do what a job has to do, each time when its time has come; the job yields the seconds until then."""
        due = time.monotonic()
        for seconds in job():
            due += seconds
            if self.stopping.wait(max(due - time.monotonic(), 0)):
                return

    def _push(self) -> Iterator[float]:
        tick, n_single, n_batched = 0.2, 0.0, 0.0
        while True:
            n_single += self.rate * SINGLE * tick
            n_batched += self.rate * (1 - SINGLE) * tick
            with self._noting():
                self._push_singles(int(n_single))
                if n_batched >= BATCH:
                    self._push_batch()
                self._push_outcomes()
            n_single -= int(n_single)
            n_batched -= BATCH * (n_batched >= BATCH)
            yield tick

    def _push_singles(self, n: int) -> None:
        pipe = self.client.pipeline()
        for i in itertools.islice(self._numbers, n):
            record, target = record_of(i)
            for _ in range(1 + (self._rng.random() < TWICE)):
                pipe.push(record, target, id=f"single-{i}")
        n_pushed = len(pipe)
        pipe.execute()
        self.tally.good += n
        self.tally.repeats += n_pushed - n
        if self._rng.random() < BAD * n:
            self.client.redis.xadd(KEYS.examples, {"record": '{"user": "bad', "target": "1"})
            self.tally.bad += 1

    def _push_batch(self) -> None:
        pairs = [record_of(i) for i in itertools.islice(self._numbers, BATCH)]
        self.client.push_many([(target, record) for record, target in pairs], id=f"batch-{next(self._numbers)}")
        self.tally.good += BATCH

    def _push_outcomes(self) -> None:
        now, due = time.monotonic(), []
        while self.to_come and self.to_come[0][0] <= now:
            due.append(heapq.heappop(self.to_come)[1])
        self.client.outcomes((f"order-{i}", record_of(i)[1]) for i in due)
        self.tally.outcomes += len(due)

    def _ask(self) -> Iterator[float]:
        rng = random.Random(7)
        while True:
            i, started = next(self._numbers), time.monotonic()
            with self._noting():
                self.client.predict(record_of(i)[0], outcome_id=f"order-{i}")
                now = time.monotonic()
                self.tally.seconds.append(now - started)
                self.tally.answered.add(i)
                if rng.random() >= NEVER:
                    heapq.heappush(self.to_come, (now + rng.uniform(0, 1.05 * self.keep), i))
            yield 1 / (self.rate * ASKED)

    def _noting(self) -> "_Noting":
        return _Noting(self.tally.errors)


class _Noting(suppress):
    """Notes errors of the service, and goes on."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__(LearnerError, redis.RedisError)
        self._errors = errors

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if is_noted := bool(super().__exit__(kind, error, trace)):
            self._errors.append(f"{error}"[:200])
        return is_noted


class Reader(threading.Thread):
    """Writes every entry of the stream to a file, before commits trim it."""

    def __init__(self, server: Server, file: BinaryIO) -> None:
        super().__init__(daemon=True)
        self.server, self.file = server, file
        self._stopping, self.n = False, 0

    def stop(self) -> None:
        """Stop, once all that is there was read."""
        self._stopping = True
        self.join()

    def run(self) -> None:
        """Read until stopped."""
        last: bytes = b"0-0"
        with self.server.client() as client:
            while True:
                read: Any = client.xread({KEYS.examples: last}, count=1000, block=200)
                if not read and self._stopping:
                    return
                for _, entries in read or []:
                    for entry in entries:
                        self.file.write(msgpack.packb(entry))
                    self.n += len(entries)
                    last = entries[-1][0]


# ---- what is measured ----
def memory(pid: int) -> int:
    """Return a process's resident bytes, 0 if there is no such process."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return 0


def cpu_seconds(pid: int) -> float:
    """Return the processor's seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def server_seconds(client: redis.Redis) -> float:
    """Return the processor's seconds that the server has used."""
    info = client.info("cpu")
    return float(info["used_cpu_sys"] + info["used_cpu_user"])


@dataclass
class Sample:
    """What is measured at one moment; bytes and seconds."""

    at: float
    pid: int
    worker: int
    server: int
    log: int
    rewrites: int
    lag: int
    waiting: int
    kept: int
    features: int
    commits: int


def sample(client: redis.Redis, started: float) -> Sample:
    """Measure."""
    status, info, pid = Store(client, "m").status(), client.info(), owner_pid(client)
    return Sample(
        at=time.monotonic() - started,
        pid=pid,
        worker=memory(pid),
        server=info["used_memory"],
        log=info["aof_current_size"],
        rewrites=info["aof_rewrites"],
        lag=status["lag_entries"],
        waiting=status["requests_waiting"],
        kept=status["kept"] or 0,
        features=status["features"],
        commits=status["commits"],
    )


def slope(samples: list[Sample], name: str) -> float:
    """Return the slope of a figure over the time, an hour: the median of the slopes between all pairs (Theil and Sen)."""
    at, values = (np.array([getattr(each, key) for each in samples], float) for key in ("at", name))
    i, j = np.triu_indices(len(at), 1)
    return float(np.median((values[j] - values[i]) / (at[j] - at[i]))) * 3600 if len(i) else 0.0


# ---- what is done to it ----
class Workers:
    """One worker that works and one that waits; `kill` kills the first and starts another.

    Attributes
    ----------
    codes : list of int
        The exit codes of those that were not killed: 4, where the one that waited was faster after a rollback.
    """

    def __init__(self, server: Server, client: redis.Redis, ended: ExitStack) -> None:
        self.server, self.client, self._ended = server, client, ended
        self.running: list[Process] = []
        self.codes: list[int] = []
        self.n_killed, self._cpu_seconds = 0, 0.0
        for _ in range(2):
            self.start()
            self.running[-1].ready(600)

    def start(self) -> None:
        """Start one."""
        self.running.append(self._ended.enter_context(Process(self.server.url, "--held-seconds", "60")))

    def kill(self) -> None:
        """Kill the owner with SIGKILL, if another one waits for it."""
        owner = next((each for each in self.running if each.pid == owner_pid(self.client)), None)
        if owner is None or not any(each.said("waiting") for each in self.running if each is not owner):
            return
        self._cpu_seconds += cpu_seconds(owner.pid)
        owner.signal(signal.SIGKILL)
        owner.process.wait()
        self.running.remove(owner)
        self.n_killed += 1
        self.start()

    def supervise(self) -> None:
        """Start another one in place of each that has ended."""
        for each in [each for each in self.running if each.process.poll() is not None]:
            self.codes.append(each.process.returncode)
            self.running.remove(each)
            self.start()

    def cpu_seconds(self) -> float:
        """Return what all of them have used of the processor, but for those that ended by themselves."""
        return self._cpu_seconds + sum(cpu_seconds(each.pid) for each in self.running)

    def stop(self) -> None:
        """Stop all, those that wait first."""
        pid = owner_pid(self.client)
        for each in sorted(self.running, key=lambda each: each.pid == pid):
            each.signal(signal.SIGTERM)
            self.codes.append(each.end()[0])


class Disturbances:
    """What happens at which share of the time.

    Attributes
    ----------
    taken, back : bytes
        The last entries that were learned at the snapshot, and at the rollback.
    """

    def __init__(self, store: Store, workers: Workers, keep: float) -> None:
        self.store, self.taken, self.back = store, b"", b""
        kills = [(k / 16, workers.kill) for k in range(1, 8)]
        self._plan = sorted(
            [
                *kills,
                (0.20, lambda: store.set({"history": 60, "keep_predictions": 1.5 * keep, "max_rejected": "0.4"})),
                (0.28, self._snapshot),
                (0.35, self._roll_back),
                (0.40, lambda: store.set({"history": 30, "keep_predictions": keep, "default_outcome": "1"})),
            ],
            key=lambda each: each[0],
        )

    def until(self, share: float) -> None:
        """Do what is due at a share of the time."""
        while self._plan and self._plan[0][0] <= share:
            self._plan.pop(0)[1]()

    def _snapshot(self) -> None:
        snapshots.take(self.store, "soak")
        self.taken = self.store.client.hget(self.store.keys.snapshot("soak").head, "cursor") or b""

    def _roll_back(self) -> None:
        spec = Model.from_spec(self.store.spec())
        snapshots.roll_back(self.store, "soak", spec.fingerprint, spec.row_width)
        self.back = self.store.client.hget(KEYS.head, "cursor") or b""


# ---- the same once more ----
class Replay:
    """Learns the entries of a file once, in order, with the rollback.

    Parameters
    ----------
    model : Model
        New, of the same spec.
    taken, back : bytes
        See `Disturbances`.

    Attributes
    ----------
    found : Counter
        Of examples learned, by what they came as; and of what was left out.
    names : set of int
        The answers whose outcome, or default, was learned.
    """

    def __init__(self, model: Model, taken: bytes, back: bytes) -> None:
        self.model, self.taken, self.back = model, taken, back
        self.found: Counter[str] = Counter()
        self.names: set[int] = set()
        self._expired: set[int] = set()
        self._ids: set[bytes] = set()
        self._state: dict[str, Any] = {}
        self._forgotten = 0

    def run(self, file: BinaryIO) -> None:
        """Learn."""
        for entry_id, fields in msgpack.Unpacker(file, max_buffer_size=1 << 30):
            self._learn(fields)
            if entry_id == self.taken:
                self._state = {name: array.copy() for name, array in self.model.state().items()}
            if entry_id == self.back:
                self.model.load_state(self._state)

    def _learn(self, fields: dict[bytes, bytes]) -> None:
        if b"learn" in fields:
            self.model.learn_held()
        elif b"outcome" in fields:
            self._settle(int(fields[b"outcome"].removeprefix(b"order-")), fields)
        elif (name := fields.get(b"id")) in self._ids:
            self.found["repeated"] += 1
        else:
            self._ids |= {name} if name else set()
            self._examples("pushed", decode_entry(fields))

    def _settle(self, i: int, fields: dict[bytes, bytes]) -> None:
        """Learn an outcome or a default, from what was asked, whichever comes first."""
        expires = b"expired" in fields
        if i in self._expired and not expires:
            self.model.count_rejected(1)
            self.found["too late"] += 1
        elif i in self.names:
            self.found["repeated"] += not expires
        else:
            self.names.add(i)
            self._expired |= {i} if expires else set()
            part = RawExample(int(fields[b"target"]), record_of(i)[0], 1, None)
            self._examples("expired" if expires else "outcomes", [part])

    def _examples(self, kind: str, parts: Iterable[Any]) -> None:
        packed = []
        for part in parts:
            if isinstance(part, RejectedEntry):
                self.model.count_rejected(1)
                self.found["bad"] += 1
            else:
                packed.append(pack_example(part.target, self.model.pack(part.record)))
        self.model.learn_packed(b"".join(packed))
        self.found[kind] += len(packed)


def learned_in_all(client: redis.Redis) -> int:
    """Return how many examples were learned in all, with those that a rollback took away."""
    entries: Any = client.xrange(KEYS.progress)
    values = [int(float(fields[b"examples"])) for _, fields in entries]
    return values[-1] + sum(max(a - b, 0) for a, b in itertools.pairwise(values))


# ---- all of it ----
class Soak:
    """A server, two workers and their load, from the start to the rows of the table.

    Parameters
    ----------
    minutes, rate : float
        How long, and the examples a second.
    watch : callable
        Gets the share of the time that has passed, and each sample.
    """

    def __init__(self, minutes: float, rate: float, watch: Callable[[float, Sample], None]) -> None:
        self.minutes, self.rate, self.watch = minutes, rate, watch
        self.samples: list[Sample] = []
        self.wall = 0.0

    def run(self) -> list[Row]:
        """Run it; return the rows, the first of which has the samples among its details."""
        keep = 5 * self.minutes
        with ExitStack() as ended:
            server = ended.enter_context(Server())
            client = ended.enter_context(server.client())
            model = Model("binary", featurizer="fields", max_features=MAX_FEATURES)
            model.warm()
            model.losses_packed(b"")  # as a worker does, so that workers find all loops on disk
            store = Store(client, "m")
            assert store.create(model.to_spec())
            store.set({"history": 30, "keep_predictions": keep, "default_outcome": "0"})
            file: Any = ended.enter_context(tempfile.TemporaryFile())
            reader = Reader(server, file)
            reader.start()
            self.workers = Workers(server, client, ended)
            load = Load(server.url, self.rate, keep)
            self.tally = load.tally
            disturbances = Disturbances(store, self.workers, keep)
            try:
                self._go_on(client, disturbances)
            finally:
                load.stop()
            store.set({"keep_predictions": 1})  # what is still awaited expires
            wait_for(lambda: client.zcard(KEYS.kept) == 0 and store.status()["lag_entries"] == 0, "all is learned", 120)
            self.workers.stop()
            reader.stop()
            self.lag = store.status()["lag_entries"]
            self.learned = committed(client)
            self.n_learned = learned_in_all(client)
            n_added = int(client.xinfo_stream(KEYS.examples)["entries-added"])
            assert reader.n == n_added, f"the test's reader must have every entry ({reader.n} of {n_added})"
            self.replay = Replay(model, disturbances.taken, disturbances.back)
            file.seek(0)
            self.replay.run(file)
        return [self._counts(), self._answers(), self._memory(), self._log()]

    def _go_on(self, client: redis.Redis, disturbances: Disturbances) -> None:
        """Measure and disturb, until the time is over."""
        started, duration = time.monotonic(), 60 * self.minutes
        own, of_server = time.process_time(), server_seconds(client)
        while self.wall < duration:
            self.samples.append(sample(client, started))
            self.watch(self.wall / duration, self.samples[-1])
            disturbances.until(self.wall / duration)
            self.workers.supervise()
            time.sleep(max(duration / 600, 0.2))
            self.wall = time.monotonic() - started
        used = {"this": time.process_time() - own, "server": server_seconds(client) - of_server}
        used["workers"] = self.workers.cpu_seconds()
        self.cpu = {name: round(seconds / self.wall, 4) for name, seconds in used.items()}

    # ---- the rows ----
    def _counts(self) -> Row:
        tally, found = self.tally, self.replay.found
        wanted = tally.good + len(self.replay.names | tally.answered)
        lost, twice = max(wanted - self.n_learned, 0), max(self.n_learned - wanted, 0)
        same = digest(self.learned) == digest(self.replay.model)
        counted = (found["pushed"], found["bad"], found["repeated"]) == (tally.good, tally.bad, tally.repeats)
        codes_fit = set(self.workers.codes) <= {0, 4}
        got = (
            f"lost {lost}, twice {twice}, hash {'equal' if same else 'different'}; {found['outcomes']:,} outcomes and "
            f"{found['expired']:,} defaults learned, {found['repeated']:,} repeats, {found['bad']:,} bad entries and "
            f"{found['too late']:,} late outcomes rejected"
        )
        return Row(
            f"{self.minutes:g} minutes, {self.rate:g} examples/s, {len(tally.answered):,} answers, outcomes late or never; "
            f"SIGKILL {self.workers.n_killed} times, a rollback, settings changed",
            "lost 0, twice 0; same hash as a model that learns it once, with the rollback",
            got,
            lost == twice == self.lag == 0 and same and counted and codes_fit,
            {
                "examples": self.n_learned,
                "digest": digest(self.learned),
                "found": dict(found),
                "codes": self.workers.codes,
                "errors": tally.errors,
                "cpu": self.cpu,
                "samples": [vars(each) for each in self.samples],
            },
        )

    def _answers(self) -> Row:
        p50, p99, worst = (percentile(self.tally.seconds, q) for q in (50, 99, 100))
        lags = [float(each.lag) for each in self.samples]
        n_errors, n_killed = len(self.tally.errors), self.workers.n_killed
        return Row(
            "the same: answers; entries that are not committed yet",
            "p99 at most 1 s, no more errors than kills; at most those of a minute",
            f"p50 {1e3 * p50:.1f} ms, p99 {1e3 * p99:.0f} ms, at most {worst:.1f} s, errors {n_errors}; median "
            f"{percentile(lags, 50):.0f}, at most {max(lags):.0f}",
            p99 <= 1 and n_errors <= n_killed and max(lags) <= 60 * self.rate,
            {"p50": p50, "p99": p99, "lag": max(lags)},
        )

    def _memory(self) -> Row:
        """Judge the last process, in the second half, once it has been there for a tenth of the time."""
        last = [each for each in self.samples if each.pid == self.samples[-1].pid]
        last = [each for each in last if each.at >= max(self.wall / 2, last[0].at + self.wall / 10)]
        sizes = {name: percentile([getattr(each, name) / 1e6 for each in last], 50) for name in ("worker", "server")}
        slopes = {name: slope(last, name) / 1e6 for name in sizes}
        hours = (last[-1].at - last[0].at) / 3600
        return Row(
            "the same: memory in the second half, which no kill disturbs",
            "grows by at most 5% an hour, and 1 MB",
            ", ".join(f"{name} {sizes[name]:.1f} MB, {slopes[name]:+.2f} MB an hour" for name in sizes)
            + f"; {last[-1].features:,} features",
            all(slopes[name] * hours <= 0.05 * sizes[name] * hours + 1 for name in sizes),
            {"mb": sizes, "mb_an_hour": slopes},
        )

    def _log(self) -> Row:
        logs, first, last = [each.log for each in self.samples], self.samples[0], self.samples[-1]
        n_rewrites, written = last.rewrites - first.rewrites, sum(max(b - a, 0) for a, b in itertools.pairwise(logs))
        days = self.wall / DAY
        return Row(
            "the same: the server's append-only file",
            "rewritten when it has doubled, above 64 MB",
            f"rewritten {n_rewrites} times, at most {max(logs) / 1e6:.0f} MB; in a day {written / 1e9 / days:.1f} GB, "
            f"{(last.commits - first.commits) / days:,.0f} commits, {self.n_learned / 1e6 / days:.1f} million examples; "
            f"{sum(self.cpu.values()):.0%} of a core",
            max(logs) <= 2.5 * MIN_REWRITTEN and bool(n_rewrites or max(logs) <= 1.1 * MIN_REWRITTEN),
            {"rewrites": n_rewrites, "written": written, "log": max(logs)},
        )


@row
def soak(quick: bool) -> list[Row]:
    """Push, ask, bring outcomes for minutes, with kills, a rollback and settings changed; watch memory and log."""
    return Soak(1.0 if quick else 5.0, 300.0, lambda share, sample: None).run()


def main() -> None:
    """Print the rows, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--rate", type=float, default=300.0, help="examples a second (300)")
    parser.add_argument("--json", action="store_true", help="print JSON, with all samples")
    options = parser.parse_args()
    compiling.prepare()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends its processes, too
    with Progress(console=Console(stderr=True), disable=options.json or not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=1.0)

        def watch(share: float, last: Sample) -> None:
            sizes = (f"{name} {getattr(last, name) / 1e6:.0f} MB" for name in ("worker", "server", "log"))
            progress.update(task, completed=share, description=", ".join((*sizes, f"lag {last.lag}")))

        rows = Soak(options.minutes, options.rate, watch).run()
    if options.json:
        print(json.dumps([vars(each) for each in rows], indent=1))
    else:
        for each in rows:
            print(f"| {each.test} | {each.wanted} | {'' if each.passed else '**failed**: '}{each.got} |")
    sys.exit(not all(each.passed for each in rows))


if __name__ == "__main__":
    main()
