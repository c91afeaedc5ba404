"""Commands about examples: push them, ask for predictions and explanations."""

import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import click
import msgpack

from learner.commands.options import (
    SOME_LEFT_OUT,
    durability_option,
    format_option,
    json_option,
    reading_options,
    redis_option,
    replicas_option,
    target_option,
    to_json,
)
from learner.errors import FormatError
from learner.files import Packed, Reading, Source, expand, read

__all__ = ["explain", "predict", "push"]

WAIT_NOTE_SECONDS = 5.0  # between two messages that a push waits for the worker
SHOWN_ERRORS = 10
ASKED_AT_ONCE = 1000  # records in a request


@click.command()
@click.argument("model")
@click.argument("file")
@format_option
@target_option
@reading_options
@click.option(
    "--id", "identity", help="A name for this push: pushed again under it, the same FILE is not learned again."
)
@durability_option
@replicas_option
@click.option(
    "--max-lag", type=click.IntRange(min=0), help="Wait while MODEL's stream holds more entries that are not learned."
)
@redis_option
@json_option
def push(
    model: str,
    file: str,
    file_format: str | None,
    target: str,
    how: Reading,
    identity: str | None,
    durability: str | None,
    replicas: int,
    max_lag: int | None,
    redis_url: str | None,
    as_json: bool,
) -> None:
    """Push the examples of FILE (- is the standard input) onto MODEL's stream.

    FILE may be a pattern, such as 'data/*.csv'. Lines that can't be read are named, counted and left out; the exit code is
    then 3, or 2 if nothing could be pushed. With --id, a push that failed half-way can be repeated.
    """
    from learner.client import Client
    from learner.commands.show import progress_bar

    client = Client(model, redis_url, durability=durability or "crash", replicas=replicas)
    client.require_model()
    on_wait = _WaitNotes(max_lag, quiet=as_json)
    pushed, started, run_numbers = 0, time.perf_counter(), itertools.count()
    files = expand(file)
    bad = _BadLines(len(files) > 1)
    for bad.file in files:
        with Source(bad.file) as source, progress_bar(source.size, quiet=as_json) as advance:
            for kind, run in _runs(read(source, file_format, target=target, how=how, on_error=bad)):
                name = f"{identity}/{next(run_numbers)}" if identity else None
                for n in client.push_packed(
                    run, features=kind == "features", id=name, max_lag=max_lag, on_wait=on_wait
                ):
                    pushed += n
                    advance(source.position())
    seconds = time.perf_counter() - started
    if as_json:
        click.echo(to_json({"model": model, "pushed": pushed, "bad": bad.n, "seconds": round(seconds, 3)}))
    else:
        click.echo(f"pushed {pushed} examples in {seconds:.1f} s" + (f", left out {bad.n} bad ones" if bad.n else ""))
    if bad.n:
        sys.exit(SOME_LEFT_OUT if pushed else 2)


class _BadLines:
    """Counts the lines that can't be read, and reports the first of them."""

    def __init__(self, is_pattern: bool) -> None:
        self.n = 0
        self.file = ""
        self.is_pattern = is_pattern

    def __call__(self, where: str, message: str, raw: bytes) -> None:
        self.n += 1
        if self.n <= SHOWN_ERRORS:
            click.echo(f"Error: {f'{self.file}: ' if self.is_pattern else ''}{where}: {message}", err=True)


class _WaitNotes:
    """Prints on a terminal, every few seconds, that the push waits until the worker has learned more."""

    def __init__(self, max_lag: int | None, quiet: bool) -> None:
        self.max_lag = max_lag
        self.quiet = quiet or not sys.stderr.isatty()
        self.noted_at = 0.0

    def __call__(self, lag: int) -> None:
        if time.monotonic() - self.noted_at > WAIT_NOTE_SECONDS and not self.quiet:
            self.noted_at = time.monotonic()
            click.echo(f"waiting: {lag} entries are not learned yet (--max-lag {self.max_lag})", err=True)


def _runs(examples: Iterator[Packed]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Group consecutive examples of the same kind into runs: yield (kind, the packed examples)."""
    for kind, run in itertools.groupby(examples, key=lambda example: example.kind):
        yield kind, (example.data for example in run)


@click.command()
@click.argument("model")
@click.argument("record")
@format_option
@target_option
@reading_options
@redis_option
@json_option
def predict(
    model: str, record: str, file_format: str | None, target: str, how: Reading, redis_url: str | None, as_json: bool
) -> None:
    """Ask MODEL for the prediction of RECORD (a record in JSON, a file of records, or - for the standard input).

    MODEL is a model on the server, or a saved model's file (NAME.learner), which needs no server.
    """
    from learner.commands.saved import asked

    client = asked(model, redis_url)
    if record.lstrip()[:1] in ("{", '"', "["):
        reply = client.ask({"record": _json(record)})
        click.echo(to_json(reply) if as_json else f"{reply['prediction']:.6g}" + _label(reply))
        return
    how = dataclasses.replace(how, needs_target=False)
    files = (read(file, file_format, target=target, how=how) for file in expand(record))
    for kind, run in _runs(itertools.chain.from_iterable(files)):
        while chunk := [
            msgpack.unpackb(data, strict_map_key=False)[1] for data in itertools.islice(run, ASKED_AT_ONCE)
        ]:
            for prediction in client.predict_many(chunk, features=kind == "features"):
                text = "-" if prediction is None else f"{prediction:.6g}"
                click.echo(to_json({"prediction": prediction}) if as_json else text)


@click.command()
@click.argument("model")
@click.argument("record")
@redis_option
@json_option
def explain(model: str, record: str, redis_url: str | None, as_json: bool) -> None:
    """Ask MODEL why: what each feature of RECORD (JSON) adds to the score.

    MODEL is a model on the server, or a saved model's file (NAME.learner), which needs no server.
    """
    from learner.commands.saved import asked

    reply = asked(model, redis_url).ask({"record": _json(record), "explain": "1"})
    if as_json:
        click.echo(to_json(reply))
        return
    from learner.commands.show import explanation

    explanation(reply)


def _json(record: str) -> str:
    """Return a record unchanged; it must be JSON."""
    try:
        json.loads(record)
    except ValueError as error:
        raise FormatError(f"record must be JSON (got {record[:60]!r}: {error})") from error
    return record


def _label(reply: dict[str, Any]) -> str:
    return f" {reply['label']}" if "label" in reply else ""
