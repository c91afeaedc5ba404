"""Commands about examples: push them, ask for predictions and explanations."""

import dataclasses
import itertools
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgpack

from learner.commands.columns import of_model, other_values
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
from learner.commands.records import are_records, is_json, parsed
from learner.commands.show import answer_text, printable
from learner.errors import FormatError, LearnerError
from learner.files import Reading, Source, expand, read
from learner.messages import one_line
from learner.service.wire import MAX_SHORT_BYTES

if TYPE_CHECKING:
    from learner.client import Client
    from learner.client.batches import Batch
    from learner.service.recent import RecentIds

__all__ = ["BadLines", "explain", "predict", "push"]

WAIT_NOTE_SECONDS = 5.0  # between two messages that a push waits for the worker
SHOWN_ERRORS = 10
MAX_IDENTITY_BYTES = MAX_SHORT_BYTES - 24  # of a push: its entries add two numbers
ASKED_AT_ONCE = 1000  # records, whose answers are printed before the next ones are asked for


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
    target: str | None,
    how: Reading,
    identity: str | None,
    durability: str | None,
    replicas: int,
    max_lag: int | None,
    redis_url: str | None,
    as_json: bool,
) -> None:
    """Push the examples of FILE (- is the standard input) onto MODEL's stream.

    FILE may be a pattern, such as 'data/*.csv'. Lines that can't be read or are too large are named, counted and left out; the
    exit code is then 3, or 2 if nothing could be pushed. With --id, a push that failed half-way can be repeated.
    """
    from learner.client import Client
    from learner.client.runs import runs
    from learner.commands.show import progress_bar

    client = Client(model, redis_url, durability=durability or "crash", replicas=replicas)
    client.require_model()
    target, how = of_model(client, target, how)
    on_wait = _WaitNotes(max_lag, quiet=as_json)
    repeats = _Repeats(client, identity)
    pushed, started, run_numbers = 0, time.perf_counter(), itertools.count()
    files = expand(file)
    bad = BadLines(len(files) > 1)
    for bad.file in files:
        with Source(bad.file) as source, progress_bar(source.size, quiet=as_json) as advance:
            examples = read(source, file_format, target=target, how=how, on_error=bad)
            for features, run, name in runs(examples, bad, identity, run_numbers):
                for n in client.push_packed(
                    run, features=features, id=name, max_lag=max_lag, on_wait=on_wait, on_batch=repeats
                ):
                    pushed += n
                    advance(source.position())
    seconds = time.perf_counter() - started
    others = other_values(how)
    if as_json:
        figures = {"model": model, "pushed": pushed, "repeated": repeats.n, "bad": bad.n, "seconds": round(seconds, 3)}
        click.echo(to_json(figures | others))
    else:
        repeated = f", {repeats.n} of them repeats, not learned again" if repeats.n else ""
        left_out = f", left out {bad.n} bad ones" if bad.n else ""
        click.echo(f"pushed {pushed} examples in {seconds:.1f} s{repeated}{left_out}")
    if bad.n:
        sys.exit(SOME_LEFT_OUT if pushed else 2)


class BadLines:
    """Counts the lines that can't be read, and reports the first of them."""

    def __init__(self, is_pattern: bool) -> None:
        self.n = 0
        self.file = ""
        self.is_pattern = is_pattern

    def __call__(self, where: str, message: str, raw: bytes) -> None:
        """Count a line, and report it if it is among the first."""
        self.n += 1
        if self.n <= SHOWN_ERRORS:
            click.echo(f"Error: {one_line(f'{self.file}: ' * self.is_pattern + f'{where}: {message}')}", err=True)


class _Repeats:
    """Counts the examples of entries under whose ids something was learned already, as far as this user may know.

    Parameters
    ----------
    client : Client
        Of the model.
    identity : str or None
        The push's ``--id``; None: nothing is a repeat.

    Attributes
    ----------
    n : int
        How many.
    """

    def __init__(self, client: "Client", identity: str | None) -> None:
        self.n = 0
        self._recent: RecentIds | tuple[()] = ()
        if identity is None:
            return
        from learner.service.store import Store

        if len(identity.encode()) > MAX_IDENTITY_BYTES:
            raise LearnerError(f"--id must be at most {MAX_IDENTITY_BYTES} bytes (got {len(identity.encode())})")
        self._recent = Store(client.redis, client.keys.model).known_ids() or ()

    def __call__(self, batch: "Batch") -> None:
        if batch.ids:
            self.n += sum(n for n, name in zip(batch.sizes, batch.ids, strict=True) if name.encode() in self._recent)


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


@click.command()
@click.argument("model")
@click.argument("record")
@click.option("--outcome-id", help="Of one RECORD: a name under which 'learner outcome' tells what came of it.")
@format_option
@target_option
@reading_options
@redis_option
@json_option
def predict(
    model: str,
    record: str,
    outcome_id: str | None,
    file_format: str | None,
    target: str | None,
    how: Reading,
    redis_url: str | None,
    as_json: bool,
) -> None:
    """Ask MODEL for the prediction of RECORD (one or a list in JSON, a file of records, or - for the standard input).

    MODEL is a model on the server, or a saved model's file (NAME.learner), which needs no server. Prints a line for each
    record, in order: the probability of the positive class; where classes have labels, the likeliest label and its
    probability; else a number. A record without an answer has a line with its error. Exits with 3 when some records had no
    answer, with 2 when none had one.
    """
    from learner.commands.saved import asked

    client = asked(model, redis_url)
    printed = _Answers(as_json)
    value = parsed(record) if is_json(record) else None
    if value is not None and not are_records(value):
        printed.one(client, record, outcome_id)
    elif outcome_id is not None:
        raise LearnerError(f"--outcome-id must be of one record in JSON (got {record!r:.60})")
    else:
        target, how = of_model(client, target, dataclasses.replace(how, needs_target=False))
        lines = _lines_of_list(value) if value is not None else _lines(record, file_format, target, how)
        printed.many(client, lines)
        if not printed.n_answers and not printed.n_errors:
            raise LearnerError(f"{record}: must hold at least one record (it holds none)")
    sys.exit(printed.exit_code)


class _Line(NamedTuple):
    """A line of a file to predict: its number, ``features``, ``record``, ``error`` or ``damage``, and the content or message.

    After damage the rest of the file can't be read.
    """

    number: int
    kind: str
    content: Any


def _lines_of_list(records: list[Any]) -> Iterator[_Line]:
    for i, content in enumerate(records, 1):
        yield _Line(i, "record", content)


def _lines(file: str, file_format: str | None, target: str, how: Reading) -> Iterator[_Line]:
    """Yield the lines of a file in order, those that can't be read as errors."""
    bad: list[_Line] = []

    def on_error(where: str, message: str, raw: bytes) -> None:
        bad.append(_Line(_number(where), "error", message))

    try:
        for name in expand(file):
            for example in read(name, file_format, target=target, how=how, on_error=on_error):
                yield from bad
                bad.clear()
                content = msgpack.unpackb(example.data, strict_map_key=False)[1]
                yield _Line(_number(example.where), example.kind, content)
    except FormatError as error:
        bad.append(_Line(0, "damage", str(error)))
    yield from bad


def _number(where: str) -> int:
    """Return the number of a place such as ``line 17``."""
    return int(where.rpartition(" ")[2])


class _Answers:
    """Prints answers and errors, a line each, and counts them."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.n_answers = self.n_errors = 0

    @property
    def exit_code(self) -> int:
        """2: there was no answer, but an error; 3: there were both."""
        return (SOME_LEFT_OUT if self.n_answers else 2) if self.n_errors else 0

    def one(self, client: "Client", record: str, outcome_id: str | None) -> None:
        """Ask for one record in JSON; without --json, an error is the command's."""
        try:
            answer = client.ask({"record": record} | ({} if outcome_id is None else {"outcome_id": outcome_id}))
        except LearnerError as error:
            if not self.as_json:
                raise
            self._error(1, str(error))
        else:
            self._answer(answer)
            if not self.as_json and "unknown_fields" in answer:
                unknown = ", ".join(map(printable, answer["unknown_fields"]))
                click.echo(
                    f"Note: the model has learned nothing about these fields or their values: {unknown}", err=True
                )
            if not self.as_json and "missing_fields" in answer:
                missing = ", ".join(map(printable, answer["missing_fields"]))
                click.echo(f"Note: the record lacks {missing}", err=True)

    def many(self, client: "Client", lines: Iterator[_Line]) -> None:
        """Ask for many records; stop where nobody answers, or the rest can't be read."""
        try:
            for kind, run in itertools.groupby(lines, key=lambda line: line.kind):
                while chunk := list(itertools.islice(run, ASKED_AT_ONCE)):
                    self._chunk(client, kind, chunk)
        except LearnerError as error:
            if not self.n_answers:
                raise
            self.n_errors += 1
            click.echo(f"Error: {one_line(str(error))}", err=True)

    def _chunk(self, client: "Client", kind: str, chunk: list[_Line]) -> None:
        """Print the answers to records of one kind, asked for at once; or print errors."""
        if kind == "damage":
            raise FormatError(chunk[0].content)
        if kind == "error":
            for line in chunk:
                self._error(line.number, line.content)
            return
        contents = [line.content for line in chunk]
        answers = client.ask_many(contents, features=kind == "features", probabilities=self.as_json)
        for line, answer in zip(chunk, answers, strict=True):
            if isinstance(answer, LearnerError):
                self._error(line.number, str(answer))
            else:
                self._answer(answer)

    def _answer(self, answer: dict[str, Any]) -> None:
        self.n_answers += 1
        click.echo(to_json(answer) if self.as_json else answer_text(answer))

    def _error(self, line: int, message: str) -> None:
        self.n_errors += 1
        click.echo(
            to_json({"error": message, "line": line}) if self.as_json else f"Error: line {line}: {one_line(message)}"
        )


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

    parsed(record)
    reply = asked(model, redis_url).ask({"record": record, "explain": "1"})
    if as_json:
        click.echo(to_json(reply))
        return
    from learner.commands.show import explanation

    explanation(reply)
