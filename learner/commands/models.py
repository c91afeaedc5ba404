"""Commands about a model: create it, print its weights and its status, repair it."""

import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from learner.commands.options import (
    SUFFIX,
    is_saved,
    json_option,
    make_spec,
    model_options,
    open_store,
    redis_option,
    settings_said,
    to_json,
)
from learner.errors import LearnerError
from learner.messages import one_line
from learner.settings import SETTINGS
from learner.stored import require_readable

if TYPE_CHECKING:
    from learner.model import Model
    from learner.service.store import Store
    from learner.service.store.position import Position
    from learner.spec import Spec

__all__ = ["create", "repair", "set_", "status", "weights"]


@click.command()
@click.argument("model")
@model_options
@click.option("--from", "saved", metavar="FILE", help="Create it with what a saved model (NAME.learner) has learned.")
@click.option(
    "--beside", metavar="OLD", help="Make it a candidate of OLD: it learns OLD's stream, and is compared with it."
)
@click.option(
    "--from-history", is_flag=True, help="With --beside: it begins with the oldest entry that OLD's stream holds."
)
@redis_option
@json_option
def create(
    model: str,
    saved: str | None,
    beside: str | None,
    from_history: bool,
    redis_url: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Create MODEL, knowing nothing yet, or knowing what a saved model has learned.

    With --beside it is a candidate called OLD/MODEL: what no option says is as in OLD, and 'learner promote OLD MODEL' has it
    take OLD's place.
    """
    from learner.service.store import connection

    if is_saved(model):
        raise LearnerError(f"model name must not end with {SUFFIX}, as saved models do (got {model!r})")
    if (saved and beside) or (from_history and not beside):
        wrong = "--from with --beside" if beside else "--from-history without --beside"
        raise LearnerError(f"options must fit: a candidate begins with nothing learned, in OLD's stream (got {wrong})")
    if beside:
        from learner.commands.candidates import create_beside

        spec = create_beside(model, beside, from_history, options, redis_url)
        _say_created(f"{beside}/{model}", spec, as_json)
        return
    learned = _saved_model(saved) if saved else None
    spec = learned.spec if learned else make_spec(options)
    settings = settings_said(options)
    store = open_store(model, redis_url)
    connection.require_version(store.client)
    if not (_create_learned(store, learned, settings) if learned else store.create(spec.to_data(), settings)):
        raise LearnerError(f"model {model!r} exists already: choose another name")
    _say_created(model, spec, as_json)


def _say_created(model: str, spec: "Spec", as_json: bool) -> None:
    if as_json:
        click.echo(to_json({"model": model, "fingerprint": spec.fingerprint}))
    else:
        click.echo(f"created {model} ({spec.task}, {spec.loss} loss): now 'learner worker {model}'")


def _saved_model(path: str) -> "Model":
    """Return the model in the file of ``--from``."""
    from learner.commands.saved import require_plain
    from learner.model import Model

    require_plain("--from")
    return Model.load(path)


def _create_learned(store: "Store", learned: "Model", settings: "dict[str, str]") -> bool:
    from learner.service.creating import create_learned

    return create_learned(store, learned, settings)


@click.command(name="set")
@click.argument("model")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
@redis_option
@json_option
def set_(model: str, changes: tuple[str, ...], redis_url: str | None, as_json: bool) -> None:
    """Print MODEL's settings, or change some, each KEY=VALUE.

    They say how a model is served, and may change while a worker runs. KEY= sets one back to its default.
    """
    pairs = [change.partition("=") for change in changes]
    if wrong := [change for change, (_, equals, _) in zip(changes, pairs, strict=True) if not equals]:
        raise LearnerError(f"change must be KEY=VALUE (got {wrong[0]!r})")
    store = open_store(model, redis_url, may_be_candidate=True)
    store.spec()
    store.set({name: text for name, _, text in pairs})
    values = store.settings()
    if as_json:
        click.echo(to_json(values))
        return
    for name, setting in SETTINGS.items():
        value = "" if values[name] is None else values[name]
        click.echo(one_line(f"{name:<17} {value!s:>8}  {setting.meaning}"))


@click.command()
@click.argument("model")
@click.option(
    "-n",
    "--top",
    default=20,
    type=click.IntRange(min=0),
    show_default=True,
    help="How many, the largest first; 0 is all.",
)
@click.option("--prefix", default="", help="Only features whose name starts with it.")
@redis_option
@json_option
def weights(model: str, top: int, prefix: str, redis_url: str | None, as_json: bool) -> None:
    """Print MODEL's committed weights by name, the largest first; MODEL may be a saved model, NAME.learner."""
    from learner.commands.saved import asked

    by_name = asked(model, redis_url).weights(prefix, top or None)
    if as_json:
        click.echo(to_json(by_name))
        return
    from learner.commands.show import printable

    by_name = {printable(name): weight for name, weight in by_name.items()}
    width = max(map(len, by_name), default=0)
    for name, weight in by_name.items():
        click.echo(f"{name:<{width}}  {weight:+.6g}")


@click.command()
@click.argument("model")
@click.option(
    "--check",
    type=click.Choice(["live", "answering", "ready"]),
    is_flag=False,
    flag_value="ready",
    help="For probes: exit with 1 unless a process is alive, an answerer is, or (ready, or without a word) the owner learns.",
)
@click.option("--here", is_flag=True, help="With --check live or answering: only processes on this host count.")
@click.option("--max-lag", type=click.IntRange(min=0), help="With --check: how many entries may wait to be learned.")
@click.option(
    "--max-age",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="With --check: how many seconds entries may wait without a commit, and requests without an answer.",
)
@redis_option
@json_option
def status(
    model: str,
    check: str | None,
    here: bool,
    max_lag: int | None,
    max_age: float,
    redis_url: str | None,
    as_json: bool,
) -> None:
    """Print how MODEL is doing: lag, rate, progressive loss, features, memory, owner, last commit.

    With --check it prints one line, within 4 seconds of its start, and exits with 0 or 1; it starts no server.
    """
    if check:
        from learner.commands.probes import probe
        from learner.service.liveness import answering, live, ready

        host = socket.gethostname() if here else None
        judges = {
            "live": partial(live, host=host),
            "answering": partial(answering, host=host),
            "ready": partial(ready, max_lag=max_lag, max_age=max_age),
        }
        probe(model, redis_url, check, judges[check], as_json)
    state = open_store(model, redis_url, may_be_candidate=True).described()
    if as_json:
        click.echo(to_json(state))
        return
    from learner.commands.show import status_lines

    with require_readable(f"state of {model!r}", f"see 'learner repair {model}'"):
        lines = list(status_lines(state))
    for line in lines:
        click.echo(one_line(line))


@click.command()
@click.argument("model")
@click.option(
    "--from-start", "choice", flag_value="from-start", help="Learn what the stream has now, from its beginning."
)
@click.option("--skip", "choice", flag_value="skip", help="Skip what the stream has now, learn what comes after.")
@click.option(
    "--continue",
    "choice",
    flag_value="continue",
    help="Learn what comes after the last entry learned; what is lost is lost.",
)
@click.option("--forget", "choice", flag_value="forget", help="Forget all that was learned, and learn the stream anew.")
@click.option("--renew", "choice", flag_value="renew", help="Give what is not learned yet new ids, in a new stream.")
@click.option("--skip-entry", "entry_id", metavar="ID", help="Reject one entry that waits to be learned.")
@redis_option
@json_option
def repair(model: str, choice: str | None, entry_id: str | None, redis_url: str | None, as_json: bool) -> None:
    """Say whether MODEL's stream fits what was learned from it, or make it fit in the way chosen.

    A worker that learns must be stopped first; one that only answers learns on after a repair. Without a choice nothing
    changes; the exit code is 2 when the stream doesn't fit, or its last possible id was used.
    """
    from learner.service.store import repair as repairs

    if choice and entry_id:
        raise LearnerError(f"choice must be one (got --{choice} and --skip-entry)")
    store = open_store(model, redis_url)
    store.spec()
    with require_readable(f"cursor of {model!r}", f"'learner repair {model} --forget' learns the stream anew"):
        position = _repaired(store, choice, entry_id) if choice or entry_id else store.stream.committed_position()
    if as_json:
        click.echo(to_json(position.to_dict()))
    elif position.trouble:
        click.echo(one_line(position.trouble))
        for name, meaning in repairs.CHOICES.items():
            click.echo(f"  learner repair {model} --{name:11} {meaning}")
    else:
        lag = position.added - position.passed
        click.echo(
            f"{model}: {position.learned} entries learned up to {position.cursor}, {lag} to come: they fit the stream"
        )
        if position.end:
            click.echo(f"{position.end}, or 'learner repair {model} --renew' now")
    if position.trouble or position.end:
        sys.exit(2)


def _repaired(store: "Store", choice: str | None, entry_id: str | None) -> "Position":
    """Repair as chosen, as the owner; return the new position."""
    from learner.service.owning import own_without_worker
    from learner.service.store import repair as repairs

    own_without_worker(store, "a repair")
    try:
        if entry_id:
            return repairs.skip_entry(store, entry_id)
        return repairs.renew(store) if choice == "renew" else repairs.repair(store, str(choice))
    finally:
        store.ownership.release()
