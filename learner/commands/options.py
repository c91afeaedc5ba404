"""The options that commands share, and the spec and the store that they stand for."""

import csv
import functools
import io
import json
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from learner.errors import LearnerError, SpecError, show
from learner.files import COLUMNAR, FORMATS, Reading, check_encoding
from learner.losses import LOSSES
from learner.messages import one_line
from learner.optimizers import OPTIMIZERS
from learner.settings import parse
from learner.spec import ACTIVATIONS, OUTCOMES, Spec
from learner.tasks import TASKS

if TYPE_CHECKING:
    from learner.service.store import Store

__all__ = [
    "FILE_SEED",
    "SOME_LEFT_OUT",
    "SUFFIX",
    "activation_option",
    "confirm",
    "decides_columns",
    "durability_option",
    "format_option",
    "is_saved",
    "is_terminal",
    "joined",
    "json_option",
    "log_format_option",
    "make_spec",
    "model_options",
    "numbers",
    "open_store",
    "overruled",
    "read_model_file",
    "reading_options",
    "redis_option",
    "replicas_option",
    "settings_said",
    "target_option",
    "to_json",
    "yes_option",
]


SOME_LEFT_OUT = 3  # the exit code when some examples of a file could be used and others not


# ---- the server ----
def _warn_of_password(ctx: click.Context, option: click.Parameter, url: str | None) -> str | None:
    if url is not None and ctx.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE:
        from learner.service.store.url import has_password

        if has_password(url):
            click.echo(
                "Warning: every user of this machine sees a password on the command line: use REDIS_URL", err=True
            )
    return url


redis_option = click.option(
    "--redis-url",
    envvar="REDIS_URL",
    show_envvar=True,
    callback=_warn_of_password,
    help="By default the embedded server.",
)
durability_option = click.option(
    "--durability",
    type=click.Choice(["crash", "power", "failover"]),
    help="What an acknowledged write must outlive; see the README.",
)
log_format_option = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Of the lines on the standard error: key=value pairs, or JSON objects.",
)
replicas_option = click.option(
    "--replicas", default=1, show_default=True, type=click.IntRange(min=1), help="That must have it, with failover."
)


def open_store(
    model: str, redis_url: str | None, may_be_candidate: bool = False, block_ms: int | None = None
) -> "Store":
    """Return the store of a model on the server of ``--redis-url``; start the embedded server if there is no other.

    Raises
    ------
    LearnerError
        When it is a candidate, MODEL/CANDIDATE, and the command has no use for one.
    """
    from learner.service.store import Store, connection, embedded

    if "/" in model and not may_be_candidate:
        raise LearnerError(f"model must be one of its own for this command (got the candidate {model!r})")
    return Store(connection.client(embedded.find_or_start(redis_url), block_ms=block_ms), model)


# ---- files and output ----
format_option = click.option(
    "--format", "file_format", type=click.Choice([*FORMATS, *COLUMNAR]), help="By default guessed from the name."
)
target_option = click.option("--target", help="The outcome's field (jsonl, csv). By default the model's, else target.")


def reading_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a file is read; the command gets a `Reading`, which needs a target, as ``how``."""

    @click.option(
        "--encoding",
        callback=lambda _ctx, _option, name: name and check_encoding(name),
        help="Of a text file, such as latin-1. By default UTF-8, or what a byte order mark says.",
    )
    @click.option("--columns", help="A table's columns, as NAME,NAME,...: its first line is data, too.")
    @click.option("--no-header", is_flag=True, help="A table's first line is data, too: its columns are c1, c2, ...")
    @functools.wraps(function)
    def wrapped(
        *args: Any, encoding: str | None, columns: str | None, no_header: bool, **options: Any
    ) -> Callable[..., Any]:
        names = tuple(_split(columns)) if columns else () if no_header else None
        how = Reading(names, encoding, others=Counter(), needs_target=True, on_note=_note)
        return function(*args, how=how, **options)  # type: ignore[no-any-return]

    return wrapped


def _note(note: str) -> None:
    click.echo(f"Note: {one_line(note)}", err=True)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def to_json(value: Any) -> str:
    """Return a value in JSON; see `learner.service.wire.to_json`."""
    from learner.service import wire

    return wire.to_json(value)


# ---- models ----
SUFFIX = ".learner"  # of the names of saved models
FILE_SEED = b"the seed of files"  # of models that learn a file: the seed draws the order in which examples are learned


yes_option = click.option("--yes", is_flag=True, help="Don't ask.")


def confirm(doing: str, question: str, otherwise: str) -> None:
    """Ask before something is done for good.

    Raises
    ------
    LearnerError
        When the answer is no, or nobody can be asked.
    """
    if not is_terminal():
        raise LearnerError(f"{doing} must be confirmed: add --yes (nobody can be asked here)")
    if not click.confirm(question, err=True):
        raise LearnerError(otherwise)


def is_terminal() -> bool:
    """Tell whether somebody can be asked."""
    return sys.stdin.isatty()


def settings_said(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that a model file has."""
    return parse((options["model_file"].data if options["model_file"] else {}).get("service", {}))


def is_saved(model: str) -> bool:
    """Tell whether a command's MODEL is a saved model's file: its name ends with ``.learner``."""
    return model.endswith(SUFFIX)


activation_option = click.option(
    "--activation", type=click.Choice(ACTIVATIONS), help="Of the neural head; by default tanh."
)


COLUMN_OPTIONS = {  # kinds of columns that may be said on the command line
    "number": "Columns that hold numbers.",
    "category": "Columns that hold categories, such as codes.",
    "text": "Columns that hold messages: their words are features.",
    "ignore": "Columns to leave out.",
}


@dataclass(frozen=True)
class ModelFile:
    """A model file that was read: its path, and its data."""

    path: str
    data: Mapping[str, Any]

    def __str__(self) -> str:
        return self.path


class _ModelFileType(click.ParamType):  # type: ignore[type-arg]  # generic in some releases only
    """Reads the model file that an option names."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ModelFile:
        return value if isinstance(value, ModelFile) else ModelFile(value, read_model_file(value))


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that describe a model; `make_spec` takes their values."""
    options = (
        click.option(
            "--spec",
            "model_file",
            type=_ModelFileType(),
            help="A model file (.toml or .json); options on the command line win over it.",
        ),
        click.option("--task", type=click.Choice(list(TASKS)), help="By default binary."),
        click.option("--level", help="Of --task quantile: the share to be below it; by default 0.5, the median."),
        click.option("--loss", type=click.Choice(list(LOSSES)), help="By default the task's."),
        click.option(
            "--featurizer",
            help="A ready one's name, or a TOML or JSON file. By default 'fields': every field a feature.",
        ),
        *(
            click.option(f"--{kind}", f"as_{kind}", metavar="COLUMN,...", help=help_line)
            for kind, help_line in COLUMN_OPTIONS.items()
        ),
        click.option("--only", metavar="COLUMN,...", help="Columns to use; all others are ignored."),
        click.option("--rates", help="Fix one learning rate, or several with commas, in place of the default mixture."),
        click.option(
            "--outcomes",
            type=click.Choice(OUTCOMES),
            help="late: predictions are asked for before the last outcomes are known (default); at_once: after.",
        ),
        click.option("--labels", help="What targets -1 and +1 are called, as NEGATIVE,POSITIVE."),
        click.option("--target-range", help="Reject targets outside, as LOW,HIGH: for numbers."),
        click.option("--neural", help="Add a neural head with so many hidden units, as 16, or a layer each, as 32,16."),
        activation_option,
        click.option("--neural-only", is_flag=True, help="The neural head alone, without the linear experts."),
        click.option(
            "--optimizer",
            help=f"A named algorithm in place of the mixture: {', '.join(OPTIMIZERS)}; as ftrl:alpha=0.1,l1=1.",
        ),
        click.option("--max-features", type=int, help="Keep at most so many features: the least useful go."),
        click.option("--max-labels", type=int, help="Of --task multiclass: reject more labels than so many (1000)."),
        click.option("--l1", type=float, help="Penalty on weights, which become exactly zero: those go."),
        click.option("--l2", type=float, help="Penalty on half the squares of weights."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def make_spec(
    options: Mapping[str, Any], seed: bytes | None = None, inherited: Mapping[str, Any] | None = None
) -> Spec:
    """Return the spec that the values of the `model_options`, by name, describe, with what a model file says beside them.

    Without a seed, a random one is drawn. What neither says is as in `inherited`.

    Raises
    ------
    LearnerError
        When a value breaks a rule.
    """
    data = (options["model_file"].data if options["model_file"] else {}) | _given(options)
    data.pop("service", None)
    columns = dict(data.get("columns") or options.get("decided") or {}) | _columns_given(options)
    if only := options["only"]:
        kept = _names("--only", only)
        columns = {name: columns[name] for name in kept if name in columns}
        data["featurizer"] = {"templates": [{"template": "fields", "only": kept}]}
    if columns:
        data["columns"] = columns
    data = dict(inherited or {}) | data
    data.setdefault("featurizer", "fields")
    if seed is not None:
        data.setdefault("seed", seed.hex())
    return Spec.from_data(data)


def overruled(options: Mapping[str, Any], decided: Mapping[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return the kinds that were decided on a file's rows, as the options overrule them.

    Raises
    ------
    LearnerError
        When an option names a column that the file does not have.
    """
    kinds = {name: {"kind": kind} for name, kind in _columns_given(options).items()}
    only = _names("--only", options["only"]) if options["only"] else list(decided)
    if unknown := [name for name in (*kinds, *only) if name not in decided]:
        raise LearnerError(f"columns must be of the file: {', '.join(decided)} (got {', '.join(unknown)})")
    return {name: kinds.get(name, column) if name in only else {"kind": "ignore"} for name, column in decided.items()}


def decides_columns(options: Mapping[str, Any]) -> bool:
    """Tell whether the kinds of a file's columns are decided on its rows: a model file or another featurizer says none."""
    if options["model_file"] and {"columns", "featurizer"} & options["model_file"].data.keys():
        return False
    return options["featurizer"] in (None, "fields")


def read_model_file(path: str) -> dict[str, Any]:
    """Return the data of a model file: TOML, or JSON if its name ends so.

    Raises
    ------
    LearnerError
        When the file can't be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        data = json.loads(text) if path.endswith(".json") else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise LearnerError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise SpecError(f"{path}: spec must be a map of names to values (got {show(data)})")
    return data


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the options say, as data of a spec; what they don't say is left out."""
    neural, activation, optimizer = options["neural"], options["activation"], options["optimizer"]
    if neural is None and (activation or options["neural_only"]):
        raise LearnerError("--activation and --neural-only must come with --neural (it is missing)")
    task, loss, level, rates, labels = (options[name] for name in ("task", "loss", "level", "rates", "labels"))
    target_range = options["target_range"]
    if loss in LOSSES and LOSSES[loss].task != "binary":
        task = LOSSES[loss].task
    data = {
        name: options.get(name)
        for name in ("target", "featurizer", "outcomes", "max_features", "max_labels", "l1", "l2")
    } | {
        "task": task,
        "loss": loss,
        "level": None if level is None else numbers("--level", level, float)[0],
        "rates": None if rates is None else numbers("--rates", rates, float),
        "labels": None if labels is None else _split(labels),
        "target_range": None if target_range is None else numbers("--target-range", target_range, float),
        "optimizer": None if optimizer is None else _optimizer(optimizer),
    }
    if neural:
        head = {"hidden": numbers("--neural", neural, int), "alone": options["neural_only"]}
        data["neural"] = head | ({"activation": activation} if activation else {})
    return {name: value for name, value in data.items() if value is not None}


def _columns_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kinds of columns that the options say."""
    return {
        name: kind
        for kind in COLUMN_OPTIONS
        if options[f"as_{kind}"]
        for name in _names(f"--{kind}", options[f"as_{kind}"])
    }


def _names(option: str, text: str) -> list[str]:
    """Return the names of columns in a value with commas."""
    names = [name.strip() for name in _split(text)]
    if not names or "" in names:
        raise LearnerError(f"{option} must be names of columns with commas (got {text!r})")
    return names


def _split(text: str) -> list[str]:
    """Return the parts of a text with commas; a part with a comma may stand in quotation marks, as in CSV."""
    return next(csv.reader([text]), [])


def joined(parts: Iterable[str]) -> str:
    """Return parts with commas, as options take them.

    >>> joined(["a, b", "c"])
    '"a, b",c'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(parts)
    return text.getvalue()


def _optimizer(text: str) -> dict[str, Any]:
    name, _, options = text.partition(":")
    spec: dict[str, Any] = {"name": name}
    for part in options.split(",") if options else []:
        option, equals, value = part.partition("=")
        if not equals or option in spec:
            raise LearnerError(f"--optimizer must be NAME or NAME:OPTION=NUMBER,... (got {text!r})")
        spec[option] = numbers("--optimizer", value, float)[0]
    return spec


def numbers(option: str, text: str, kind: type) -> list[Any]:
    """Return the numbers in a text with commas, converted by `kind`; `option` is named in the error."""
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise LearnerError(f"{option} must be numbers with commas (got {text!r})") from error
