"""Commands about whole models: list, delete, copy, rename, export, import; snapshots, and the way back to them."""

import time
from typing import TYPE_CHECKING, Any

import click

from learner.commands.options import confirm, is_saved, json_option, open_store, redis_option, to_json, yes_option
from learner.errors import LearnerError
from learner.messages import one_line

if TYPE_CHECKING:
    from learner.service.store import Store

__all__ = ["copy", "delete", "export", "import_", "list_", "rename", "rollback", "snapshot", "snapshots"]

MAX_SNAPSHOTS = 10  # see `learner.service.store.snapshots`, which loads numpy
FENCED_SHARE = 5  # of a lease, within which a worker that was replaced has noticed


# ---- list ----
@click.command("list")
@redis_option
@json_option
def list_(redis_url: str | None, as_json: bool) -> None:
    """List the server's models: task, state, rate, lag, losses, memory, owner."""
    from learner.service.store import connection, embedded, listing

    rows = list(listing.rows(connection.client(embedded.find_or_start(redis_url))))
    if as_json:
        click.echo(to_json(rows))
    elif not rows:
        click.echo("no models: make one with 'learner create MODEL'")
    else:
        for line in _table(rows):
            click.echo(line)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the list, a model each."""
    width = max(len("model"), *(len(row["model"]) for row in rows))
    titles = f"{'lag':>9} {'examples/s':>10} {'loss':>9} {'late':>9} {'answered':>9} {'MB':>8}  owner"
    lines = [f"{'model':<{width}} {'task':<10} {'state':<14} {titles}"]
    for row in rows:
        owner = row["owner"]
        who = f"process {owner['pid']} on {owner['host']}" if owner else "-"
        numbers = [
            _text(row["lag_entries"], "9d"),
            _text(row["rate"], "10.0f"),
            *(_text(row[name], "9.4f") for name in ("progressive_loss", "late_loss", "answered_loss")),
            _text(None if row["bytes"] is None else row["bytes"] / 1e6, "8.1f"),
        ]
        told = row["error"] or who
        lines.append(
            one_line(f"{row['model']:<{width}} {row['task'] or '-':<10} {row['state']:<14} {' '.join(numbers)}  {told}")
        )
    return lines


def _text(number: float | None, form: str) -> str:
    """Return a number, or a dash that is as wide.

    >>> _text(2.5, "6.2f"), _text(None, "6.2f")
    ('  2.50', '     -')
    """
    return f"{'-':>{form.rstrip('df').partition('.')[0]}}" if number is None else format(number, form)


# ---- delete ----
@click.command()
@click.argument("model")
@yes_option
@click.option("--force", is_flag=True, help="Even while a worker owns it: that worker then stops.")
@redis_option
@json_option
def delete(model: str, yes: bool, force: bool, redis_url: str | None, as_json: bool) -> None:
    """Delete MODEL: what it has learned, its stream, its snapshots, everything.

    It asks first, unless told --yes. While a worker owns MODEL it refuses, unless told --force.
    """
    from learner.service.store import candidates, contents, registry

    store = open_store(model, redis_url, may_be_candidate=True)
    is_model = store.exists(model)
    if not is_model and next(contents.keys_of(store.client, store.keys), None) is None:
        registry.unregister(store.client, model)
        raise LearnerError(f"model {model!r} does not exist, so there is nothing to delete")
    if not yes:
        confirm(
            f"deleting {model!r}",
            f"Delete {model} and all that it has learned?",
            f"model {model!r} was not deleted",
        )
    if is_model:
        for each in (store, *candidates.stores(store)):
            _own_to_delete(each, force)
    n = contents.delete(store)
    click.echo(to_json({"model": model, "keys": n}) if as_json else f"deleted {model}: {n} keys")


def _own_to_delete(store: "Store", force: bool) -> None:
    """Become the owner; by force even of a worker that lives, which is given the time to notice."""
    from learner.service.owning import own_without_worker

    owner = store.ownership.read()
    if force:
        store.ownership.take_over()
    else:
        own_without_worker(store, "a deletion (or add --force)")
    if "worker" in owner.fields and (force or owner.is_of_fleet):
        time.sleep(
            min(owner.lease_seconds, 5.0) / FENCED_SHARE
        )  # or it may still write notes, which nobody would delete


# ---- copy and rename ----
@click.command()
@click.argument("old")
@click.argument("new")
@redis_option
@json_option
def copy(old: str, new: str, redis_url: str | None, as_json: bool) -> None:
    """Copy OLD, as last committed, to a model NEW: spec, seed, settings and what it has learned; its stream is empty."""
    from learner.client import Client
    from learner.service.creating import create_learned

    _require_name(new)
    source, store = open_store(old, redis_url), open_store(new, redis_url)
    committed = Client(old, redis_url).committed()
    if not create_learned(store, committed, source.setting_texts()):
        raise LearnerError(f"model {new!r} exists already: choose another name")
    if as_json:
        click.echo(to_json({"model": new, "from": old, "examples": committed.n_examples}))
    else:
        click.echo(f"copied {old} ({committed.n_examples} examples) to {new}: now 'learner worker {new}'")


def _require_name(model: str) -> None:
    if is_saved(model):
        raise LearnerError(f"model name must not end with .learner, as saved models do (got {model!r})")


@click.command()
@click.argument("old")
@click.argument("new")
@redis_option
@json_option
def rename(old: str, new: str, redis_url: str | None, as_json: bool) -> None:
    """Rename OLD to NEW, with its stream and all that it has learned; nothing is lost.

    No worker may own OLD. If something ends it, the same command goes on. Run again later, it moves what was still pushed to
    OLD.
    """
    from learner.service.owning import own_without_worker
    from learner.service.store import candidates, moving

    _require_name(new)
    source, store = open_store(old, redis_url), open_store(new, redis_url)
    if source.keys.model == store.keys.model:
        raise LearnerError(f"new name must be another one (got {new!r})")
    went = moving.moved_to(source)
    if went not in (None, new):
        raise LearnerError(f"model {old!r} was renamed to {went!r} before: name that one (got {new!r})")
    if went is None:
        source.spec()
        if names := candidates.names(source):
            raise LearnerError(f"model {old!r} must have no candidates to be renamed: delete {', '.join(names)} first")
        source.stream.committed_position().require(old)
        moving.require_free(store)
        own_without_worker(source, "a renaming")
        moving.set_out(source, store)
    n = moving.move(source, store)
    if as_json:
        click.echo(to_json({"model": new, "from": old, "entries": n}))
    else:
        click.echo(f"renamed {old} to {new}, with {n} entries of its stream: now 'learner worker {new}'")


# ---- export and import ----
@click.command()
@click.argument("model")
@click.argument("file")
@redis_option
@json_option
def export(model: str, file: str, redis_url: str | None, as_json: bool) -> None:
    """Write all of MODEL to FILE (NAME.learner): spec, settings, state, the entries not learned yet, rejected, progress.

    A worker may learn on meanwhile. The file has the secret seed in it.
    """
    from learner.commands.saved import require_target
    from learner.service.portable import export_model

    require_target(file)
    counts = export_model(open_store(model, redis_url), file)
    if as_json:
        click.echo(to_json({"model": model, "file": file, **counts}))
    else:
        click.echo(f"exported {model} ({counts['examples']} examples, {counts['entries']} entries to come) to {file}")


@click.command("import")
@click.argument("file")
@click.argument("model", required=False)
@redis_option
@json_option
def import_(file: str, model: str | None, redis_url: str | None, as_json: bool) -> None:
    """Make a model of FILE, which 'learner export' wrote, under its own name or the name MODEL."""
    from learner.service.portable import import_model, name_in
    from learner.service.store import connection

    if model is None and (model := name_in(file)) is None:
        raise LearnerError(f"model must have a name: add one, as {file} is a saved model, which has none")
    _require_name(model)
    store = open_store(model, redis_url)
    connection.require_version(store.client)
    counts = import_model(store, file)
    if as_json:
        click.echo(to_json({"model": model, "file": file, **counts}))
    else:
        told = f"{counts['examples']} examples, {counts['entries']} entries to come"
        click.echo(f"imported {model} ({told}): now 'learner worker {model}'")


# ---- snapshots ----
@click.command()
@click.argument("model")
@click.argument("name", required=False)
@click.option(
    "--keep",
    default=MAX_SNAPSHOTS,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many are kept: the oldest go.",
)
@redis_option
@json_option
def snapshot(model: str, name: str | None, keep: int, redis_url: str | None, as_json: bool) -> None:
    """Keep MODEL's last commit on the server, as a snapshot called NAME (by default the time).

    It takes about as much of the server's memory as the model.
    """
    from learner.service.store import snapshots as taken

    store = open_store(model, redis_url)
    store.spec()
    name = name or time.strftime("%Y-%m-%d.%H-%M-%S", time.gmtime())
    over = taken.take(store, name, keep)
    (row,) = (each for each in taken.listed(store) if each["name"] == name)
    if as_json:
        click.echo(to_json({"model": model, "dropped": over, **row}))
        return
    for each in over:
        click.echo(one_line(f"dropped {each}, the oldest"))
    click.echo(f"snapshot {name} of {model}: commit {row['commits']}, {row['bytes'] / 1e6:.1f} MB")


@click.command()
@click.argument("model")
@click.option("--drop", metavar="NAME", help="Delete one.")
@redis_option
@json_option
def snapshots(model: str, drop: str | None, redis_url: str | None, as_json: bool) -> None:
    """List MODEL's snapshots, the oldest first: name, time, commit, examples, progressive loss, memory."""
    from learner.service.store import snapshots as taken

    store = open_store(model, redis_url)
    store.spec()
    if drop:
        taken.drop(store, drop)
    rows = taken.listed(store)
    if as_json:
        click.echo(to_json(rows))
        return
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(row["time"]))
        figures = f"{row['examples']:.0f} examples, loss {row['loss']:.6f}, {row['bytes'] / 1e6:.1f} MB"
        click.echo(one_line(f"{row['name']}  {when}  commit {row['commits']}, {figures}"))


@click.command()
@click.argument("model")
@click.argument("name", required=False)
@click.option("--relearn", is_flag=True, help="Learn again what the stream's history still has of the time since then.")
@redis_option
@json_option
def rollback(model: str, name: str | None, relearn: bool, redis_url: str | None, as_json: bool) -> None:
    """Go back to MODEL's snapshot NAME (by default the last one): forget what was learned since then.

    The cursor stays, so nothing is learned twice. A worker that runs goes on from there, without a restart.
    """
    from learner.model import Model
    from learner.service.store import snapshots as taken

    store = open_store(model, redis_url)
    about = Model.from_spec(store.spec())
    names = taken.names_of(store)
    if name is None and not names:
        raise LearnerError(f"model {model!r} must have a snapshot to go back to (it has none): see 'learner snapshot'")
    name = name or names[-1]
    found = taken.roll_back(store, name, about.fingerprint, about.row_width, relearn)
    if as_json:
        click.echo(to_json({"model": model, "snapshot": name, **found}))
        return
    again = f", {found['again']} of them are learned again" if relearn else ""
    click.echo(f"{model} is back at {name}, commit {found['commits']}: {found['since']} entries are forgotten{again}")
