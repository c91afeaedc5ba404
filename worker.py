"""The worker: reads the stream, answers requests, learns entry by entry in order, commits every few seconds.

One worker owns a model. It may be killed at any moment: the next one goes on from the last commit and ends with the same
weights, bit for bit, as if nothing had happened. What it does is in `learner.service.working`; many models in one process are
worked by a fleet (`learner fleet`).
"""

import functools
import gc
import signal

import click

from learner import compiling
from learner.commands import settable
from learner.commands.exits import errors_as_lines
from learner.commands.options import log_format_option, redis_option
from learner.service import log
from learner.service.beside import COMPARED
from learner.service.counting import Counts
from learner.service.exporting import serve_metrics
from learner.service.flushing import HELD_SECONDS
from learner.service.lease import LEASE_SECONDS
from learner.service.measuring import MEASURED
from learner.service.reading import BLOCK_MS
from learner.service.reconnecting import Reconnecting
from learner.service.starting import GARBAGE_OBJECTS, set_up
from learner.service.stopping import note_stop, noting_errors, stop_on_signals
from learner.service.store import Store, connection, embedded
from learner.service.wire import to_json
from learner.service.working import CandidateWorker, Worker
from learner.settings import LEVELS


def _run(owner: Worker, redis_url: str | None, wait: bool, burst: bool) -> bool:
    """Run a worker to its end, on signals, too; return False if it was stopped before it owned the model."""
    store = owner.store
    model = store.keys.model
    stop_on_signals(model, owner.stop, lambda: owner.committing.n_uncommitted)
    reconnecting = Reconnecting(store, redis_url, owner.is_stopping, lambda: owner.committing.n_uncommitted)
    try:
        if not reconnecting.run(functools.partial(owner.wait_to_own, wait)):
            note_stop(store, 0, "asked to stop while it waited")
            return False
        replaced = owner.owning.replaced
        text = f"epoch {store.ownership.epoch}, {owner.learned}" + (f", in place of {replaced}" if replaced else "")
        log.event(model, "takeover" if replaced else "start", text, epoch=store.ownership.epoch)
        for shortcoming in owner.shortcomings:
            log.event(model, "durability", f"warning, what is learned may be lost: {shortcoming}", "warning")
        reconnecting.run(functools.partial(owner.run, burst))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        owner.owning.close(wait=False)
    return True


@click.command()
@click.argument("model")
@redis_option
@click.option("--burst", is_flag=True, help="Learn and answer what is there, hold nothing back, commit, and exit.")
@click.option("--commit-seconds", default=2.0, show_default=True, type=click.FloatRange(min=0), help="Between commits.")
@click.option(
    "--lease-seconds",
    default=LEASE_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0.1, max=3600),
    help="How long it may give no sign of life before one that waits takes over.",
)
@click.option(
    "--held-seconds",
    default=HELD_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="How long examples are held back at most while few come; a twelfth of it when none comes; inf: for ever.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait while MODEL has another worker, or exit.")
@click.option(
    "--durability", type=click.Choice(LEVELS), help="In place of the model's setting: what a commit must outlive."
)
@click.option(
    "--replicas",
    type=click.IntRange(min=1),
    help="In place of the model's setting: how many must have it, with failover.",
)
@click.option(
    "--max-rejected",
    type=click.FloatRange(0, 1),
    help="In place of the model's setting: learn no more when more than this share of the last examples was rejected.",
)
@click.option(
    "--rejected-window",
    type=click.IntRange(min=1),
    help="In place of the model's setting: how many examples those are.",
)
@click.option(
    "--late-every",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Measure the late loss on one block of examples in N (by default {MEASURED}, of a candidate {COMPARED}), which are "
    "learned up to 10 s later then; 0: never.",
)
@click.option(
    "--stop-on-trouble", is_flag=True, help="Exit when the stream goes bad; by default answer from the last commit."
)
@click.option("--metrics", metavar="[HOST:]PORT", help="Serve Prometheus metrics there; without HOST on 127.0.0.1.")
@log_format_option
@click.option("--json", "as_json", is_flag=True, help="Print the final figures as one JSON object.")
@errors_as_lines
def worker(
    model: str,
    redis_url: str | None,
    burst: bool,
    commit_seconds: float,
    lease_seconds: float,
    held_seconds: float,
    wait: bool,
    durability: str | None,
    replicas: int | None,
    max_rejected: float | None,
    rejected_window: int | None,
    late_every: int | None,
    stop_on_trouble: bool,
    metrics: str | None,
    log_format: str,
    as_json: bool,
) -> None:
    """Run the worker of MODEL: learn its stream, answer requests, commit.

    MODEL may be a candidate, OLD/NEW (see 'learner create --beside'): its worker learns OLD's stream and answers nobody, and
    exits with 3 when entries were deleted before it had read them.

    A model has one worker at a time: a second one waits, and takes over when the first one stops, ends or is silent for
    its lease. When the stream no longer fits, or too many examples are rejected, it commits no more, and answers from the last
    commit until 'learner repair'. Exits with 0 after SIGTERM, SIGINT or --burst, with everything committed; with 4 when another
    worker took over; with --burst or --stop-on-trouble with 5 when too many examples were rejected.
    """
    set_up(log_format, functools.partial(log.event, model, "compile"))
    client = connection.client(embedded.find_or_start(redis_url), block_ms=BLOCK_MS)
    store, counts = Store(client, model), Counts()
    connection.require_version(store.client)
    gc.set_threshold(GARBAGE_OBJECTS)
    if metrics:
        serve_metrics(metrics, model, lambda: [(store, counts)])
    settings = max_rejected, rejected_window, durability, replicas
    is_candidate = store.keys.old is not None
    kind, one_in = (CandidateWorker, COMPARED) if is_candidate else (Worker, MEASURED)
    one_in = one_in if late_every is None else late_every
    with noting_errors(store):
        owner = kind(
            store, commit_seconds, lease_seconds, one_in, held_seconds, stop_on_trouble, *settings, counts=counts
        )
        if not _run(owner, redis_url, wait, burst):
            return
    if as_json:
        figures = owner.model.summary() | owner.learning.late.summary()
        click.echo(to_json({"model": model, **figures, "cursor": owner.learning.cursor.decode()}))


if __name__ == "__main__":
    compiling.prepare()
    settable(worker)()
