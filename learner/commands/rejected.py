"""``learner rejected``: the examples that could not be learned."""

import sys

import click

from learner.commands.options import json_option, open_store, redis_option, to_json
from learner.errors import LearnerError
from learner.messages import one_line

__all__ = ["rejected"]


@click.group()
def rejected() -> None:
    """Look at what could not be learned, or put it back onto the stream."""


@rejected.command("list")
@click.argument("model")
@click.option("-n", "n", default=20, show_default=True, type=click.IntRange(min=1), help="How many, the latest last.")
@redis_option
@json_option
def list_rejected(model: str, n: int, redis_url: str | None, as_json: bool) -> None:
    """Print what of MODEL's examples was rejected: where it failed, why, and what came."""
    from learner.commands.show import rejected_lines
    from learner.service.store.rejected import listed

    store = open_store(model, redis_url, may_be_candidate=True)
    store.spec()
    for entry in listed(store, n):
        for line in [to_json(entry)] if as_json else map(one_line, rejected_lines(entry)):
            click.echo(line)


@rejected.command("push")
@click.argument("model")
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All but those that killed a worker.")
@redis_option
@json_option
def push_rejected(model: str, ids: tuple[str, ...], everything: bool, redis_url: str | None, as_json: bool) -> None:
    """Put back onto MODEL's stream what was rejected under IDS, or --all: as when what it needs has been mended.

    Each is put back once, whatever happens. The exit code is 2 when one can't be.
    """
    from learner.service.store.rejected import put_back

    if bool(ids) == everything:
        raise LearnerError("what to put back must be ids or --all (got " + ("both)" if ids else "neither)"))
    store = open_store(model, redis_url)
    store.spec()
    kept = {}
    pushed = 0
    for entry_id, reason in put_back(store, None if everything else ids):
        pushed += reason is None
        if reason is not None:
            kept[entry_id] = reason
            click.echo(f"Error: rejected entry {one_line(entry_id)} stays: {one_line(reason)}", err=True)
    if as_json:
        click.echo(to_json({"model": model, "pushed": pushed, "kept": kept}))
    else:
        click.echo(f"put back {pushed} of {pushed + len(kept)} rejected entries")
    if kept:
        sys.exit(2)
