"""The commands. Each imports what it needs when it runs, so that ``learner --help`` starts at once."""

import functools
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from learner import compiling
from learner.errors import FormatError, LearnerError
from learner.losses import LOSSES
from learner.tasks import TASKS

if TYPE_CHECKING:
    from learner.files import Packed
    from learner.model import Model

WAIT_NOTE_SECONDS = 5.0
FORMATS = ("jsonl", "csv", "tsv", "vw", "libsvm", "msgpack")


class Commands(click.Group):
    """A group that imports the worker, which lives outside this package, and the pictures only when they are asked for."""

    lazy = {  # noqa: RUF012
        "plot": (
            "learner.commands.plots",
            "Draw a graph, or MODEL's progress, weights or decision boundary, as PNG or SVG",
        ),
        "worker": ("worker", "Run the worker of MODEL: learn its stream, answer requests,..."),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a command, importing it if need be."""
        if name in self.lazy:
            command: click.Command = getattr(importlib.import_module(self.lazy[name][0]), name)
            return command
        return super().get_command(ctx, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.commands.get(name)
            rows.append((name, command.get_short_help_str(100) if command else self.lazy[name][1]))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error a user can mend is one line and an exit code."""
        return errors_as_lines(super().invoke)(ctx)


def errors_as_lines(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the errors that a user can mend into one line and their exit code."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except LearnerError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "redis":  # asked by name: importing redis takes time
                raise
            click.echo(f"Error: server: {error}", err=True)
            sys.exit(2)

    return wrapped


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="learner")
def main() -> None:
    """Learn online from a stream on Redis, and ask for predictions while it learns."""
    compiling.prepare()


def _url_option(ctx: click.Context, option: click.Parameter, url: str | None) -> str | None:
    if url is not None:
        from learner.service.store.connection import has_password

        if has_password(url):
            click.echo(
                "Warning: every user of this machine sees a password on the command line: use REDIS_URL", err=True
            )
    return url


redis_option = click.option(
    "--redis-url", callback=_url_option, help="The server; by default REDIS_URL, else the embedded one."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
format_option = click.option(
    "--format", "file_format", type=click.Choice(FORMATS), help="By default guessed from the name."
)
durability_option = click.option(
    "--durability",
    type=click.Choice(["crash", "power", "failover"]),
    help="What an acknowledged write must outlive; see the README.",
)
replicas_option = click.option(
    "--replicas", default=1, show_default=True, type=click.IntRange(min=1), help="That must have it, with failover."
)
target_option = click.option("--target", default="target", show_default=True, help="The outcome's field (jsonl, csv).")


def to_json(value: Any) -> str:
    """Return a value in JSON; see `learner.service.wire.to_json`."""
    from learner.service import wire

    return wire.to_json(value)


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what a model is."""
    options = (
        click.option("--task", type=click.Choice(TASKS), default="binary", show_default=True),
        click.option("--level", help="Of --task quantile: the share to be below it; by default 0.5, the median."),
        click.option("--loss", type=click.Choice(LOSSES), help="By default the task's."),
        click.option(
            "--featurizer",
            help="A ready one's name, or a TOML or JSON file. By default 'fields': every field a feature.",
        ),
        click.option("--rates", help="Fix the learning rate, or several with commas, in place of the default four."),
        click.option("--labels", help="What targets -1 and +1 are called, as NEGATIVE,POSITIVE."),
        click.option("--neural", help="Add a neural head with so many hidden units, as 16, or a layer each, as 32,16."),
        click.option(
            "--activation", type=click.Choice(["relu", "logistic", "tanh"]), help="Of the neural head; by default tanh."
        ),
        click.option("--neural-only", is_flag=True, help="The neural head alone, without the linear experts."),
        click.option(
            "--optimizer",
            help="A named algorithm in place of the mixture: sgd, adagrad, adam, ftrl, ng, nag; as ftrl:alpha=0.1,l1=1.",
        ),
        click.option("--max-features", type=int, help="Keep at most so many features: the least useful go."),
        click.option("--l1", type=float, default=0.0, help="Penalty on weights, which become exactly zero: those go."),
        click.option("--l2", type=float, default=0.0, help="Penalty on half the squares of weights."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def make_model(
    task: str,
    level: str | None,
    loss: str | None,
    featurizer: str | None,
    rates: str | None,
    labels: str | None,
    neural: str | None,
    activation: str | None,
    neural_only: bool,
    optimizer: str | None,
    max_features: int | None,
    l1: float,
    l2: float,
) -> "Model":
    """Make a model of the command line's options."""
    from learner.model import Model

    if loss in LOSSES and LOSSES[loss].task != "binary":
        task = LOSSES[loss].task
    if neural is None and (activation or neural_only):
        raise LearnerError("--activation and --neural-only must come with --neural (it is missing)")
    head = neural and {
        "hidden": _numbers("--neural", neural, int), "activation": activation or "tanh", "alone": neural_only
    }  # fmt: skip
    return Model(
        task,
        featurizer=featurizer or "fields",
        loss=loss,
        level=None if level is None else _numbers("--level", level, float)[0],
        rates=None if rates is None else _numbers("--rates", rates, float),
        labels=None if labels is None else labels.split(","),
        neural=head or None,
        optimizer=None if optimizer is None else _optimizer(optimizer),
        max_features=max_features,
        l1=l1,
        l2=l2,
    )


def _optimizer(text: str) -> dict[str, Any]:
    name, _, options = text.partition(":")
    given: dict[str, Any] = {"name": name}
    for part in options.split(",") if options else []:
        option, equals, value = part.partition("=")
        if not equals or option in given:
            raise LearnerError(f"--optimizer must be NAME or NAME:OPTION=NUMBER,... (got {text!r})")
        given[option] = _numbers("--optimizer", value, float)[0]
    return given


def _numbers(option: str, text: str, kind: type) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise LearnerError(f"{option} must be numbers with commas (got {text!r})") from error


# ---- models and examples ----
@main.command()
@click.argument("model")
@model_options
@redis_option
@json_option
def create(model: str, redis_url: str | None, as_json: bool, **options: Any) -> None:
    """Create MODEL, knowing nothing yet."""
    from learner.service.store import Store, connection, embedded

    made = make_model(**options)
    client = connection.client(embedded.find_or_start(redis_url))
    connection.require_version(client)
    if not Store(client, model).create(made.to_spec()):
        raise LearnerError(f"model {model!r} exists already: choose another name")
    if as_json:
        click.echo(to_json({"model": model, "fingerprint": made.fingerprint}))
    else:
        click.echo(f"created {model} ({made.task}, {made.spec.loss} loss): now 'learner worker {model}'")


@main.command()
@click.argument("model")
@click.argument("file")
@format_option
@target_option
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
    identity: str | None,
    durability: str | None,
    replicas: int,
    max_lag: int | None,
    redis_url: str | None,
    as_json: bool,
) -> None:
    """Push the examples of FILE (- is the standard input) onto MODEL's stream.

    Lines that can't be read are named, counted and left out; the exit code is then 2. With --id, a push that failed half-way
    can be repeated.
    """
    from learner.client import Client
    from learner.commands.show import progress_bar
    from learner.files import Source, read

    client = Client(model, redis_url, durability=durability or "crash", replicas=replicas)
    client.require_model()
    bad: list[str] = []

    def on_error(where: str, message: str, raw: bytes) -> None:
        bad.append(f"{where}: {message}")
        if len(bad) <= 10:
            click.echo(f"Error: {bad[-1]}", err=True)

    told = 0.0

    def on_wait(lag: int) -> None:
        nonlocal told
        if time.monotonic() - told > WAIT_NOTE_SECONDS and sys.stderr.isatty() and not as_json:
            told = time.monotonic()
            click.echo(f"waiting: {lag} entries are not learned yet (--max-lag {max_lag})", err=True)

    pushed, started = 0, time.perf_counter()
    with Source(file) as source, progress_bar(source.size, quiet=as_json) as advance:
        examples = read(source, file_format, target=target, on_error=on_error)
        for i, (kind, run) in enumerate(by_kind(examples)):
            name = identity and f"{identity}/{i}"
            for n in client.push_packed(run, features=kind == "features", id=name, max_lag=max_lag, on_wait=on_wait):
                pushed += n
                advance(source.position())
    seconds = time.perf_counter() - started
    if as_json:
        click.echo(to_json({"model": model, "pushed": pushed, "bad": len(bad), "seconds": round(seconds, 3)}))
    else:
        click.echo(f"pushed {pushed} examples in {seconds:.1f} s" + (f", left out {len(bad)} bad ones" if bad else ""))
    if bad:
        sys.exit(2)


def by_kind(examples: "Iterator[Packed]") -> Iterator[tuple[str, Iterator[bytes]]]:
    """Group examples that follow one another into runs of records and runs of features."""
    import itertools

    for kind, run in itertools.groupby(examples, key=lambda example: example.kind):
        yield kind, (example.data for example in run)


@main.command()
@click.argument("model")
@click.argument("record")
@format_option
@target_option
@redis_option
@json_option
def predict(
    model: str, record: str, file_format: str | None, target: str, redis_url: str | None, as_json: bool
) -> None:
    """Ask MODEL for the prediction of RECORD (a record in JSON, a file of records, or - for the standard input)."""
    import msgpack

    from learner.client import Client
    from learner.files import read

    client = Client(model, redis_url)
    if record.lstrip()[:1] in ("{", '"', "["):
        reply = client.ask({"record": _json(record)})
        click.echo(to_json(reply) if as_json else f"{reply['prediction']:.6g}" + _label(reply))
        return
    for kind, run in by_kind(read(record, file_format, target=target)):
        while chunk := [
            msgpack.unpackb(data, strict_map_key=False)[1] for _, data in zip(range(1000), run, strict=False)
        ]:
            for prediction in client.predict_many(chunk, features=kind == "features"):
                shown = "-" if prediction is None else f"{prediction:.6g}"
                click.echo(to_json({"prediction": prediction}) if as_json else shown)


@main.command()
@click.argument("model")
@click.argument("record")
@redis_option
@json_option
def explain(model: str, record: str, redis_url: str | None, as_json: bool) -> None:
    """Ask MODEL why: what each feature of RECORD (JSON) adds to the score."""
    from learner.client import Client

    reply = Client(model, redis_url).ask({"record": _json(record), "explain": "1"})
    if as_json:
        click.echo(to_json(reply))
        return
    from learner.commands.show import explanation

    explanation(reply)


def _json(record: str) -> str:
    try:
        json.loads(record)
    except ValueError as error:
        raise FormatError(f"record must be JSON (got {record[:60]!r}: {error})") from error
    return record


def _label(reply: dict[str, Any]) -> str:
    return f" {reply['label']}" if "label" in reply else ""


@main.command()
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
    """Print MODEL's committed weights by name, the largest first."""
    from learner.client import Client

    found = Client(model, redis_url).weights(prefix, top or None)
    if as_json:
        click.echo(to_json(found))
    else:
        from learner.commands.show import printable

        found = {printable(name): weight for name, weight in found.items()}
        width = max(map(len, found), default=0)
        for name, weight in found.items():
            click.echo(f"{name:<{width}}  {weight:+.6g}")


@main.command()
@click.argument("model")
@redis_option
@json_option
def status(model: str, redis_url: str | None, as_json: bool) -> None:
    """Print how MODEL is doing: lag, rate, progressive loss, features, memory, owner, last commit."""
    from learner.service.store import Store, connection, embedded

    store = Store(connection.client(embedded.find_or_start(redis_url)), model)
    spec = store.spec()
    found = store.status() | {"task": spec["task"], "loss": spec["loss"]}
    if as_json:
        click.echo(to_json(found))
        return
    from learner.commands.show import status_lines

    for line in status_lines(found):
        click.echo(line)


@main.command()
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
@redis_option
@json_option
def repair(model: str, choice: str | None, redis_url: str | None, as_json: bool) -> None:
    """Say whether MODEL's stream fits what was learned from it, or make it fit in the way chosen.

    A running worker is replaced by a repair: it exits with 4. Without a choice nothing changes; the exit code is 2 when
    the stream doesn't fit.
    """
    from learner.service.store import Store, connection, embedded
    from learner.service.store.repair import CHOICES, repair

    store = Store(connection.client(embedded.find_or_start(redis_url)), model)
    store.spec()
    if choice:
        store.ownership.take_over()
        found = repair(store.client, store.keys, choice)
        store.ownership.release()
    else:
        found = store.stream.committed_position()
    if as_json:
        click.echo(to_json(found.to_dict()))
    elif found.trouble:
        click.echo(found.trouble)
        for name, meaning in CHOICES.items():
            click.echo(f"  learner repair {model} --{name:11} {meaning}")
    else:
        behind = found.added - found.passed
        click.echo(
            f"{model}: {found.learned} entries learned up to {found.cursor}, {behind} to come: they fit the stream"
        )
    if found.trouble:
        sys.exit(2)


# ---- what was rejected, and who may do what ----
@main.group()
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
    from learner.service.store import Store, connection, embedded
    from learner.service.store.rejected import listed

    store = Store(connection.client(embedded.find_or_start(redis_url)), model)
    store.spec()
    for found in listed(store, n):
        for line in [to_json(found)] if as_json else rejected_lines(found):
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
    from learner.service.store import Store, connection, embedded
    from learner.service.store.rejected import put_back

    if bool(ids) == everything:
        raise LearnerError("what to put back must be ids or --all (got " + ("both)" if ids else "neither)"))
    store = Store(connection.client(embedded.find_or_start(redis_url)), model)
    store.spec()
    kept = {}
    pushed = 0
    for entry_id, why in put_back(store, None if everything else ids):
        pushed += why is None
        if why is not None:
            kept[entry_id] = why
            click.echo(f"Error: rejected entry {entry_id} stays: {why}", err=True)
    if as_json:
        click.echo(to_json({"model": model, "pushed": pushed, "kept": kept}))
    else:
        click.echo(f"put back {pushed} of {pushed + len(kept)} rejected entries")
    if kept:
        sys.exit(2)


@main.command()
@click.argument("model")
@click.option("--role", type=click.Choice(["producer", "worker", "asker", "monitor"]), help="Only this one.")
@click.option(
    "--passwords",
    "path",
    type=click.Path(dir_okay=False),
    help="A JSON file of passwords by role; those missing are made up and written there, for your eyes only.",
)
@json_option
def acl(model: str, role: str | None, path: str | None, as_json: bool) -> None:
    """Print the server's access rules for those who work with MODEL, for redis-cli or valkey-cli to run.

    Passwords come from the file of --passwords, or LEARNER_PRODUCER_PASSWORD and so on; the rules hold their SHA-256 only.
    """
    import os
    import shlex

    from learner.commands.show import password_file
    from learner.service.store.acl import ROLES, passwords_of, set_user

    roles = [role] if role else list(ROLES)
    passwords = passwords_of(os.environ)
    if path:
        passwords = password_file(path, roles, passwords)
    for name in roles:
        command = set_user(model, name, passwords.get(name))
        click.echo(to_json({"role": name, "user": command[2], "command": command}) if as_json else shlex.join(command))
        if name not in passwords:
            click.echo(f"Warning: {command[2]} has no password yet: give --passwords FILE", err=True)


# ---- without Redis ----
@main.command()
@click.argument("file")
@format_option
@target_option
@model_options
@click.option(
    "--compare",
    "others",
    multiple=True,
    metavar="SPEC",
    help="Another model beside it, in the same pass: options as NAME=VALUE, such as 'rates=0.5 loss=hinge', in place of "
    "those given; or a .toml or .json file. May be given many times.",
)
@json_option
def replay(
    file: str, file_format: str | None, target: str, others: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Learn FILE (- is the standard input) in one pass without a server: predict each example, then learn it."""
    if others:
        from learner.commands.compare import compare

        models = _models(others, options)
        result = compare(models, file, file_format, target, quiet=as_json)
    else:
        from learner.commands.replay import replay as run

        result = run(make_model(**options), file, file_format, target, quiet=as_json)
    if as_json:
        click.echo(to_json(result))


def _models(specs: tuple[str, ...], options: dict[str, Any]) -> "dict[str, Model]":
    """Return the model of the options, and those that specs make of them, by name."""
    import shlex

    from learner.commands.compare import model_of_file

    command = {option.name: option for option in click.get_current_context().command.params}
    given = {name.replace("_", "-"): value for name, value in options.items() if value != command[name].default}
    shown = (name if value is True else f"{name}={value}" for name, value in given.items() if value)
    first = make_model(**options)
    models = {" ".join(shown) or "default": first}
    for spec in specs:
        name = spec or "default"
        while name in models:
            name += " again"
        if spec.endswith((".toml", ".json")) and "=" not in spec:
            models[name] = model_of_file(spec, first)
            continue
        changed = dict(options)
        try:
            words = shlex.split(spec)
        except ValueError:  # a quotation without its end
            words = [spec]
        for word in words:
            key, equals, value = word.partition("=")
            option = command.get(key.replace("-", "_"))
            if option is None or option.name not in options or bool(equals) == getattr(option, "is_flag", False):
                raise LearnerError(
                    f"--compare must be options of a model as NAME=VALUE, or a .toml or .json file (got {word!r})"
                )
            changed[option.name] = value if equals else True
        models[name] = make_model(**changed)
    return models


@main.command()
@click.option("--neural", help="Also for a neural head with so many hidden units, as 16, or a layer each, as 32,16.")
@click.option(
    "--activation", type=click.Choice(["relu", "logistic", "tanh"]), help="Of the neural head; by default tanh."
)
@json_option
def warm(neural: str | None, activation: str | None, as_json: bool) -> None:
    """Compile the loops and keep them on disk, so that the first worker starts at once."""
    from learner.kernels.jit import cache_folder
    from learner.model import Model

    kinds: list[dict[str, Any]] = [{}, {"rates": [0.5]}, {"task": "multiclass"}, {"optimizer": "adagrad"}]
    kinds.append({"max_features": 100})  # the tasks and the losses are values: they run the same loops
    if neural:
        head = {"hidden": _numbers("--neural", neural, int), "activation": activation or "tanh"}
        kinds += [{"neural": head}, {"neural": head | {"alone": True}}]
    started = time.perf_counter()
    for kind in kinds:
        Model(**kind).warm()
    seconds = time.perf_counter() - started
    if as_json:
        click.echo(to_json({"folder": str(cache_folder()), "seconds": round(seconds, 3)}))
    else:
        click.echo(f"ready in {seconds:.1f} s: the loops are in {cache_folder()}")


# ---- the server and the demo ----
@main.command()
@click.option("--url", "print_url", is_flag=True, help="Start it in the background if need be, and print its URL.")
@click.option("--stop", is_flag=True, help="Stop it, with everything on disk.")
def server(print_url: bool, stop: bool) -> None:
    """Run the embedded server in the foreground, or print its URL, or stop it."""
    from learner.service.store.embedded import Embedded

    embedded = Embedded()
    if print_url:
        click.echo(embedded.start())
    elif stop:
        click.echo("stopped" if embedded.stop() else "no server was running")
    else:
        sys.exit(embedded.run())


@main.command()
@click.option("--examples", type=click.IntRange(min=1000), help="Only so many flights; by default all 327,346.")
@json_option
def demo(examples: int | None, as_json: bool) -> None:
    """Learn which flights will be late, live, on real data; a worker is killed half way."""
    from learner.commands.demo import run

    run(examples, as_json)


if __name__ == "__main__":
    main()
