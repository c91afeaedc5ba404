"""The command ``learner answer``: answers a model's questions apart from learning."""

import functools
import signal

import click

from learner.commands.options import log_format_option, open_store, redis_option, to_json

__all__ = ["answer"]


@click.command()
@click.argument("model")
@redis_option
@click.option("--metrics", metavar="[HOST:]PORT", help="Serve Prometheus metrics there; without HOST on 127.0.0.1.")
@log_format_option
@click.option("--json", "as_json", is_flag=True, help="Print the final figures as one JSON object.")
def answer(model: str, redis_url: str | None, metrics: str | None, log_format: str, as_json: bool) -> None:
    """Answer MODEL's questions from its last commit, beside its worker.

    Start as many as you like, on any machines: they share the questions, and follow the worker's commits. While one lives, the
    worker leaves questions to them; when none does, it answers again; while no worker runs, they answer on. Exits with 0 after
    SIGTERM or SIGINT, once it has answered what it had in hand.
    """
    from learner.service import log
    from learner.service.answerer import Answerer
    from learner.service.counting import Counts
    from learner.service.exporting import serve_metrics
    from learner.service.reading import BLOCK_MS
    from learner.service.reconnecting import Reconnecting
    from learner.service.starting import set_up
    from learner.service.stopping import note_stop, noting_errors, stop_on_signals
    from learner.service.store import connection

    set_up(log_format, functools.partial(log.event, model, "compile"))
    store, counts = open_store(model, redis_url, block_ms=BLOCK_MS), Counts()
    log.choose_kind("answerer")
    store.processes = store.answerers  # what this process notes of itself
    connection.require_version(store.client)
    if metrics:
        serve_metrics(metrics, model, lambda: [(store, counts)], answers_only=True)
    with noting_errors(store):
        store.spec()  # first: there may be no such model
        store.processes.note("starting")
        answerer = Answerer(store, counts)
        stop_on_signals(model, answerer.stop, lambda: 0)
        try:
            Reconnecting(store, redis_url, answerer.is_stopping, lambda: 0).run(answerer.run)
            store.sharing.leave()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        note_stop(store, 0, f"asked to stop; {counts.request_seconds.n} requests answered")
    if as_json:
        figures = {"commit": store.commits.number, "requests": counts.request_seconds.n, "errors": counts.n_errors}
        click.echo(to_json({"model": model, **figures}))
