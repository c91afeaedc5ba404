"""The command ``learner fleet``: one process that works many models."""

import functools
import gc
import re
import resource
import signal
import sys
from typing import Any

import click

from learner.commands.options import log_format_option, redis_option, to_json
from learner.errors import show
from learner.service import log
from learner.service.flushing import HELD_SECONDS
from learner.service.lease import LEASE_SECONDS
from learner.service.starting import GARBAGE_OBJECTS, set_up
from learner.service.stopping import stop_on_signals
from learner.service.store import connection, embedded

DRAIN_SECONDS = 20.0  # after a signal, for the last commits
SWITCH_SECONDS = 0.0005  # until another thread has its turn: one that writes commits holds up answers no longer


def _require_pattern(context: click.Context, parameter: click.Parameter, pattern: str) -> str:
    """Return a pattern that a model's name may match."""
    if not re.fullmatch(r"[A-Za-z0-9_.*?\[\]!-]+", pattern):
        raise click.BadParameter(f"must be a model's name, where * stands for anything (got {show(pattern)})")
    return pattern


@click.command()
@click.option(
    "--models",
    default="*",
    show_default=True,
    callback=_require_pattern,
    help="Which models: a name, where * stands for anything.",
)
@click.option("--max-models", default=1000, show_default=True, type=click.IntRange(min=1), help="How many, at most.")
@redis_option
@click.option(
    "--commit-seconds",
    default=2.0,
    show_default=True,
    type=click.FloatRange(min=0, max=60),
    help="Between two commits of a model, at least; more while commits take a quarter of the time.",
)
@click.option(
    "--lease-seconds",
    default=LEASE_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0.5, max=3600),
    help="How long it may give no sign of life before other processes of the fleet take its models over.",
)
@click.option(
    "--held-seconds",
    default=HELD_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="How long examples are held back at most while few come: see 'learner worker'.",
)
@click.option(
    "--metrics", metavar="[HOST:]PORT", help="Serve Prometheus metrics there, and the probes /health and /ready."
)
@log_format_option
@click.option("--json", "as_json", is_flag=True, help="Print the final figures as one JSON object.")
def fleet(
    models: str,
    max_models: int,
    redis_url: str | None,
    commit_seconds: float,
    lease_seconds: float,
    held_seconds: float,
    metrics: str | None,
    log_format: str,
    as_json: bool,
) -> None:
    """Run one process of a fleet, which works many models: learn their streams, answer requests, commit.

    It works the models that --models names and that have no worker, new ones too, within seconds. Any number of such processes,
    on any number of machines, share the models with one another by what they cost; when one ends, the others take its models
    over. What concerns a model is its setting ('learner set MODEL'). Candidates have workers of their own. Exits with 0 after
    SIGTERM or SIGINT, with everything committed and all models given up within 20 s.
    """
    from learner.service.exporting import serve_metrics
    from learner.service.fleet import CONNECTIONS, Fleet, connect

    set_up(log_format, functools.partial(log.line, "compile"))
    name = f"fleet of {models}"
    client = connect(embedded.find_or_start(redis_url), max_models)
    connection.require_version(client)
    gc.set_threshold(GARBAGE_OBJECTS)
    sys.setswitchinterval(SWITCH_SECONDS)
    _raise_open_files(CONNECTIONS * max_models)
    process = Fleet(client, redis_url, models, max_models, commit_seconds, lease_seconds, held_seconds)
    if metrics:
        workers = lambda: [(each.worker.store, each.worker.counts) for each in list(process.members.values())]  # noqa: E731
        serve_metrics(metrics, name, workers, probes={"/health": process.ailing, "/ready": process.unready})
    stop_on_signals(name, process.stop, lambda: process.n_uncommitted, DRAIN_SECONDS)
    log.line("start", f"{name} works up to {max_models} models")
    figures = process.run()
    signal.setitimer(signal.ITIMER_REAL, 0)
    log.line("stop", f"{name}: stopped with code 0: asked to stop", code=0)
    if as_json:
        click.echo(to_json(figures))


def _raise_open_files(wanted: int) -> None:
    """Allow the process so many open files more than usual, as far as its hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited: Any = resource.RLIM_INFINITY
    most = wanted + soft if hard == unlimited else min(wanted + soft, hard)
    if soft not in (unlimited, most):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
