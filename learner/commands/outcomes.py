"""The command ``learner outcome``: what came of a prediction, once that is known."""

import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import click
import msgpack

from learner.commands.examples import BadLines
from learner.commands.options import (
    SOME_LEFT_OUT,
    format_option,
    json_option,
    reading_options,
    redis_option,
    target_option,
    to_json,
)
from learner.errors import LearnerError
from learner.files import Reading, expand, read

__all__ = ["outcome"]

Named = tuple[Any, Any, Any]  # an outcome: the answer's name, the target, the importance


@click.command()
@click.argument("model")
@click.argument("outcome_id", metavar="[ID", required=False)
@click.argument("value", metavar="TARGET]", required=False)
@click.option("--importance", default=1.0, show_default=True, type=float, help="The example's weight.")
@click.option("--file", "path", help="Push the outcomes of a file (- is the standard input), one a line or a row.")
@click.option("--id-field", default="outcome_id", show_default=True, help="The field of a file with the IDs.")
@format_option
@target_option
@reading_options
@redis_option
@json_option
def outcome(
    model: str,
    outcome_id: str | None,
    value: str | None,
    importance: float,
    path: str | None,
    id_field: str,
    file_format: str | None,
    target: str | None,
    how: Reading,
    redis_url: str | None,
    as_json: bool,
) -> None:
    """Push the outcome of a prediction that MODEL was asked for under ID, to be learned from the features that it used.

    With --file, push those of a file: each line or row has an ID, a target, and an importance, unless that is 1. An outcome
    may be pushed again: it is learned once. Exits with 3 when some lines could not be read, with 2 when none could.
    """
    from learner.client import Client
    from learner.commands.columns import target_of
    from learner.commands.saved import spec_of

    if (value is None) == (path is None):
        raise LearnerError("outcome must be ID and TARGET, or --file (got both or neither)")
    client, bad = Client(model, redis_url), BadLines(is_pattern=path is not None and len(expand(path)) > 1)
    client.require_model()
    if path is None:
        found: Iterator[Named] = iter([(str(outcome_id), value, importance)])
    else:
        field = target or spec_of(client).get("target") or target_of(None, None)
        found = _of_files(path, file_format, field, dataclasses.replace(how, kinds={}), id_field, bad)
    n = client.outcomes(found)
    if as_json:
        click.echo(to_json({"model": model, "pushed": n, "bad": bad.n}))
    else:
        click.echo(f"pushed {n} outcome{'s' * (n != 1)}" + (f", left out {bad.n} bad ones" if bad.n else ""))
    if bad.n:
        sys.exit(SOME_LEFT_OUT if n else 2)


def _of_files(
    path: str, file_format: str | None, target: str, how: Reading, id_field: str, bad: BadLines
) -> Iterator[Named]:
    """Yield the outcomes of files; report the lines that hold none."""
    from learner.client.batches import outcome_entry

    for bad.file in expand(path):
        for example in read(bad.file, file_format, target=target, how=how, on_error=bad):
            value, record, *importance = msgpack.unpackb(example.data, strict_map_key=False)
            name, weight = record.get(id_field), record.get("importance", (importance or [1.0])[0])
            named = str(name) if isinstance(name, int) else name, value, 1.0 if weight in ("", None) else weight
            try:
                outcome_entry(*named)
            except LearnerError as error:
                bad(example.where, str(error), example.data)
            else:
                yield named
