"""The command that erases what a model keeps of a person."""

import re
from typing import Any

import click

from learner.commands.options import confirm, json_option, open_store, redis_option, to_json, yes_option
from learner.errors import LearnerError, show
from learner.messages import one_line

__all__ = ["erase"]


@click.command()
@click.argument("model")
@click.option("--entry", "entries", multiple=True, metavar="ID", help="An entry of the stream, by its id; repeatable.")
@click.option(
    "--id", "ids", multiple=True, help="All that a producer pushed, or an asker asked, under this id; repeatable."
)
@click.option("--feature", "features", multiple=True, metavar="NAME", help="A feature, and its weight; repeatable.")
@click.option(
    "--prefix", "prefixes", multiple=True, metavar="TEXT", help="All features whose names begin so; repeatable."
)
@yes_option
@redis_option
@json_option
def erase(model: str, yes: bool, redis_url: str | None, as_json: bool, **wanted: Any) -> None:
    """Erase entries, and features with their weights, from all that the server keeps of MODEL.

    Its snapshots and candidates forget them, too. Workers that run go on afterwards, without a restart. What the weights have
    learned from an entry stays in them. It asks first, unless told --yes.
    """
    from learner.service.erasing import Wanted
    from learner.service.erasing import erase as erase_wanted

    if not any(wanted.values()):
        raise LearnerError("erase must be told what: --entry, --id, --feature or --prefix")
    if any(not text for texts in wanted.values() for text in texts):
        raise LearnerError("what to erase must be named (got an empty text)")
    for entry in wanted["entries"]:
        if not re.fullmatch(r"[0-9]{1,20}-[0-9]{1,20}", entry):
            raise LearnerError(f"--entry must be an entry's id, as 1700000000000-0 (got {show(entry)})")
    if not yes:
        confirm(f"erasing from {model!r}", f"Erase this from {model}, for good?", f"nothing was erased from {model!r}")
    erased = erase_wanted(open_store(model, redis_url), Wanted(**wanted))
    if as_json:
        click.echo(to_json({"model": model, **erased}))
        return
    for line in _lines(erased):
        click.echo(one_line(line))


def _lines(erased: dict[str, Any]) -> list[str]:
    """Return in words what was erased, and what remains."""
    counts = (
        f"{erased['waiting']} entries that waited, {erased['learned']} learned ones, {erased['rejected']} rejected ones, "
        f"{erased['kept']} kept answers"
    )
    lines = [f"erased {counts}"]
    if erased["features"]:
        lines.append(f"erased features: {', '.join(erased['features'])} (with derived ones {erased['rows']} rows)")
    if erased["snapshots"]:
        lines.append(f"erased features from snapshots: {', '.join(erased['snapshots'])}")
    if erased["candidates"]:
        lines.append(f"erased features from candidates: {', '.join(erased['candidates'])}")
    for stream, ids in erased["found"].items():
        what = "learned, they bring it back" if stream == "examples" else "look at them"
        lines.append(f"remains in {len(ids)} entries of {stream} ({what}): {' '.join(ids)}")
    if erased["log"]:
        lines.append("remains in the server's append-only file until it is rewritten: BGREWRITEAOF")
    lines.append("remains in replies for a minute, in dumps and exported files, with producers")
    return lines
