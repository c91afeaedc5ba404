"""Compares several models on one file in one pass: which predicts better, and whether the difference is real.

All models learn the same examples in the same order, so the losses of two models can be subtracted example by example. These
differences vary far less than the losses themselves. The confidence interval of the mean difference holds at all times at once,
so it may be looked at after every example.
"""

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from learner.commands.blocks import Block, Rejected, read_blocks, regrouped
from learner.commands.options import FILE_SEED, make_spec
from learner.commands.show import notice_lines
from learner.confidence import Differences
from learner.errors import LearnerError, SpecError, show
from learner.files import READING, Reading
from learner.late import BLOCK_EXAMPLES, LateLoss
from learner.model import Model
from learner.spec import Spec
from learner.tasks import TASKS

__all__ = ["ALPHA", "compare", "make_specs", "spec_of_file"]

ALPHA = 0.05  # the probability that any of a comparison's intervals is ever wrong, at most


# ---- the specs ---------------------------------------------------------------------------------------------------------
def make_specs(
    others: Sequence[str], options: Mapping[str, Any], parameters: Sequence[click.Parameter]
) -> dict[str, Spec]:
    """Return the specs of the first model and of the other models, by name.

    Parameters
    ----------
    others : sequence of str
        The values of ``--compare``: options as NAME=VALUE, which replace the first model's, or the path of a file.
    options : mapping
        The first model's options, by name.
    parameters : sequence of click.Parameter
        The command's options: their defaults, and which are flags.

    Raises
    ------
    LearnerError
        When a value of ``--compare`` is neither, or an option's value breaks a rule.
    """
    by_name = {option.name: option for option in parameters if option.name is not None}
    chosen = {
        name.replace("_", "-"): value for name, value in options.items() if value and value != by_name[name].default
    }
    words = (name if value is True else f"{name}={value}" for name, value in chosen.items())
    first = make_spec(options, FILE_SEED)
    specs = {" ".join(words) or "default": first}
    for other in others:
        name = other or "default"
        while name in specs:
            name += " again"
        if other.endswith((".toml", ".json")) and "=" not in other:
            specs[name] = spec_of_file(other, first)
        else:
            specs[name] = make_spec({**options, **_changes(other, options, by_name)})
    return specs


def _changes(other: str, options: Mapping[str, Any], by_name: Mapping[str, click.Parameter]) -> dict[str, Any]:
    """Return the options that a value of ``--compare``, NAME=VALUE ..., changes, by name."""
    try:
        words = shlex.split(other)
    except ValueError:  # a quote is not closed
        words = [other]
    changes: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        name = key.replace("-", "_")
        if name not in options or bool(equals) == getattr(by_name[name], "is_flag", False):
            raise LearnerError(
                f"--compare must be options of a model as NAME=VALUE, or a .toml or .json file (got {word!r})"
            )
        changes[name] = value if equals else True
        kind = by_name[name].type
        if not equals or isinstance(kind, click.Choice):  # the spec has the rules of choices
            continue
        try:
            changes[name] = kind.convert(value, by_name[name], None)
        except click.UsageError as error:
            raise LearnerError(f"--compare {word}: {error.message}") from error
    return changes


def spec_of_file(path: str, first: Spec) -> Spec:
    """Return the spec in a TOML or JSON file; its task, level, labels and featurizer are by default those of the first model.

    Raises
    ------
    LearnerError
        When the file can't be read, or breaks a rule.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        if path.endswith(".toml"):
            import tomllib

            data = tomllib.loads(text)
        else:
            data = json.loads(text)
    except (OSError, ValueError) as error:
        raise LearnerError(f"{path}: {error}") from error
    if not isinstance(data, dict):
        raise SpecError(f"{path}: spec must be a map of names to values (got {show(data)})")
    inherited = first.to_data()
    same = ("task", "level", "labels", "featurizer")
    return Spec.from_data({name: inherited[name] for name in same if name in inherited} | data)


# ---- the comparison ----------------------------------------------------------------------------------------------------
def compare(
    specs: dict[str, Spec],
    file: str,
    file_format: str | None,
    target: str,
    how: Reading = READING,
    *,
    quiet: bool = False,
    late: int = BLOCK_EXAMPLES,
) -> dict[str, Any]:
    """Let several models learn a file; print their losses whenever the number of examples has doubled, and a final table.

    Parameters
    ----------
    specs : mapping
        Name to spec, all of one task; the others are compared with the first. All models get the seed of the first.
    late : int
        The examples of a block for the late loss (see `learner.late`); 0: it is not measured.

    Returns
    -------
    dict
        ``measure`` (the name of the loss that is compared: the task's, even if a model minimizes another), ``alpha``,
        ``constant_loss``, ``examples``, ``rejected`` and ``specs``: for each model a mapping of ``spec`` (its name),
        ``loss``, ``difference`` (its loss minus the first model's), ``low``, ``high``, ``verdict``,
        ``examples_per_second``, ``late_loss`` and ``late_examples`` (if `late` is not 0), and the figures of
        `Model.summary`.

    Raises
    ------
    LearnerError
        When the models can't be compared, or the file holds no example.
    """
    first = next(iter(specs.values()))
    for name, spec in specs.items():
        if _aim(spec) != _aim(first):
            raise SpecError(f"--compare must have the task and the labels of the first model ({name!r} has others)")
    seed = first.seed.hex()  # the same initial weights for all, so that two equal specs have a difference of exactly 0
    runs = [_Run(name, Model.from_spec(spec.to_data() | {"seed": seed})) for name, spec in specs.items()]
    rejected = Rejected()
    table = _Table(runs, quiet)
    due = 1
    groups = read_blocks([run.model for run in runs], file, file_format, target, how, rejected)
    for blocks in regrouped(groups, late) if late else groups:
        for run, block in zip(runs, blocks, strict=True):
            if late and run.model.n_examples:
                run.late_loss.add(*run.model.losses_packed(block.data))
            run.learn(block, runs[0], rejected)
        if runs[0].model.n_examples >= due:
            table.row()
            due = 2 * runs[0].model.n_examples
    if not runs[0].model.n_examples:
        raise rejected.all_rejected(runs[0].model)
    for run in runs:
        run.end()
    table.end()
    alpha = ALPHA / max(len(runs) - 1, 1)  # of each interval, so that ALPHA holds for all of them together (Bonferroni)
    result = {
        "measure": table.measure,
        "alpha": ALPHA,
        "constant_loss": runs[0].loss("constant_"),
        "examples": runs[0].model.n_examples,
        "rejected": rejected.n,
        "specs": [run.result(alpha) | (run.late_loss.summary() if late else {}) for run in runs],
    }
    if not quiet:
        _print(result, runs)
    return result


def _aim(spec: Spec) -> tuple[Any, ...]:
    """Return task, labels and level: only models that agree in them can be compared."""
    return spec.task, spec.labels, spec.level


class _Run:
    """One of the models, the differences of its losses from the first model's, and the seconds that it took to learn."""

    def __init__(self, name: str, model: Model) -> None:
        self.name, self.model = name, model
        self.differences = Differences()
        self.late_loss = LateLoss()
        self.seconds = 0.0
        model.warm()

    def learn(self, block: Block, first: "_Run", rejected: Rejected) -> None:
        """Learn examples; the first model must have learned them before, unless this is the first model."""
        start = time.perf_counter()
        learned = self.model.learn_packed(block.data)
        self.seconds += time.perf_counter() - start
        if self is first:
            self.losses = learned.losses
            for rejection in learned.rejections:
                rejected.add(f"{block.place(rejection.index)}: {rejection.reason}")
        self.differences.add(learned.losses - first.losses, learned.importances)

    def end(self) -> None:
        """Learn what is held back: the file is at its end."""
        start = time.perf_counter()
        self.model.learn_held()
        self.seconds += time.perf_counter() - start

    def loss(self, prefix: str = "") -> float:
        """Return the mean of the measure; with the prefix ``constant_`` the mean for the best constant."""
        _, name = TASKS[self.model.task].measure
        figure = self.model.figures()[prefix + name]
        return figure**2 if name == "rmse" else figure

    def late_column(self) -> str:
        """Return the late loss for the table; "" if none was measured, or if the model's own loss is not the measure."""
        is_measure = self.model.learner.loss.measure == TASKS[self.model.task].measure[0]
        return f"{self.late_loss.mean:.6f}" if is_measure and self.late_loss.examples else ""

    def result(self, alpha: float) -> dict[str, Any]:
        """Return the final figures; alpha bounds the probability that the interval is ever wrong."""
        interval = self.differences.interval(alpha)
        return {
            "spec": self.name,
            "loss": self.loss(),
            "difference": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "verdict": interval.verdict,
            "examples_per_second": round(self.model.n_examples / self.seconds),
            **self.model.summary(),
        }


class _Table:
    """The lines that are printed while the file is learned, with a column for each model."""

    def __init__(self, runs: Sequence[_Run], quiet: bool) -> None:
        self.runs, self.quiet, self.last_examples = runs, quiet, 0
        self.measure = TASKS[runs[0].model.task].measure[0]
        if not quiet:
            for i, run in enumerate(runs):
                click.echo(f"({i}) {run.name}")
            click.echo(
                f"\n{'examples':>10}" + "".join(f"{f'({i})':>12}" for i in range(len(runs))) + f"  {self.measure}"
            )

    def row(self) -> None:
        """Print the losses of all examples so far."""
        self.last_examples = self.runs[0].model.n_examples
        if not self.quiet:
            click.echo(f"{self.last_examples:10}" + "".join(f"{run.loss():12.6f}" for run in self.runs))

    def end(self) -> None:
        """Print a last line, unless it has been printed."""
        if self.last_examples < self.runs[0].model.n_examples:
            self.row()


def _print(result: dict[str, Any], runs: Sequence[_Run]) -> None:
    """Print the final table, with a line for each model."""
    columns = TASKS[runs[0].model.task].columns
    width = max(len(row["spec"]) for row in result["specs"]) + 4
    titles = "".join(f"{title:>12}" for title in columns.values())
    click.echo(
        f"\n{'':{width}}{result['measure']:>14}{'minus (0)':>12}  {'95% at any time':24}{'late loss':>12}{titles}"
        f"{'examples/s':>12}"
    )
    for i, (row, run) in enumerate(zip(result["specs"], runs, strict=True)):
        line = f"{f'({i}) ' + row['spec']:{width}}{row['loss']:14.6f}"
        beside = f"{row['difference']:+12.6f}  [{row['low']:+.6f}, {row['high']:+.6f}]" if i else ""
        figures = "".join(f"{row[name]:12.6f}" for name in columns)
        verdict = f"  {row['verdict']}" if i else ""
        click.echo(f"{line}{beside:38}{run.late_column():>12}{figures}{row['examples_per_second']:12}{verdict}")
    click.echo(f"{'best constant':{width}}{result['constant_loss']:14.6f}")
    if result["rejected"]:
        click.echo(f"rejected {result['rejected']}")
    for line in notice_lines(result["specs"][0], result["specs"][0]["progressive_loss"]):
        click.echo(line)
