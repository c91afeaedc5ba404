"""Compares several models on one file in one pass: which predicts better, and whether the difference is real.

All models learn the same examples in the same order, so the losses of two models can be subtracted example by example. These
differences vary far less than the losses themselves. The confidence interval of the mean difference holds at all times at once,
so it may be looked at after every example.
"""

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from learner.commands.blocks import Block, Rejected, read_blocks, regrouped
from learner.commands.measures import AbsoluteErrors, common_measure
from learner.commands.options import FILE_SEED, make_spec, read_model_file
from learner.commands.show import notice_lines
from learner.confidence import ALPHA, Differences
from learner.errors import LearnerError, SpecError
from learner.files import READING, Reading
from learner.late import BLOCK_EXAMPLES, LateLoss
from learner.model import Model
from learner.spec import Spec
from learner.tasks import TASKS

__all__ = ["ALPHA", "compare", "make_specs", "spec_of_file"]

OF_TASK = ("loss", "level", "labels", "target_range", "max_labels")  # options that another task may not have


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
        name.replace("_", "-"): value
        for name, value in options.items()
        if name in by_name.keys() - {"target"} and value and value != by_name[name].default
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
            changes = _changes(other, options, by_name)
            of_task = dict.fromkeys(OF_TASK) if "task" in changes else {}
            specs[name] = make_spec({**options, **of_task, **changes})
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
    inherited, data = first.to_data(), read_model_file(path)
    same = (
        ["task", "level", "labels", "target_range", "max_labels"] if data.get("task", first.task) == first.task else []
    )
    same += ["target", *([] if "featurizer" in data else ["featurizer", "columns"])]
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
        Name to spec, with a measure in common; the others are compared with the first. All models get the seed of the first.
    late : int
        The examples of a block for the late loss (see `learner.late`); 0: it is not measured.

    Returns
    -------
    dict
        ``measure`` (the name of the loss that is compared: the task's, even if a model minimizes another; the absolute error
        if models predict numbers by different tasks or levels), ``alpha``,
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
        if common_measure([first, spec]) is None:
            rule = "classes if it does, of the same two labels, or numbers if it does"
            raise SpecError(f"--compare must predict as the first model does: {rule} ({name!r} does not)")
    measure = common_measure(specs.values())
    assert measure is not None  # noqa: S101  (each has one in common with the first)
    seed = first.seed.hex()  # the same initial weights for all, so that two equal specs have a difference of exactly 0
    runs = [_Run(name, Model.from_spec(spec.to_data() | {"seed": seed}), measure) for name, spec in specs.items()]
    rejected = Rejected()
    table = _Table(runs, measure, quiet)
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
        "measure": measure,
        "alpha": ALPHA,
        "constant_loss": _constant_loss(runs),
        "examples": runs[0].model.n_examples,
        "rejected": rejected.n,
        "specs": [run.result(alpha) | (run.late_loss.summary() if late else {}) for run in runs],
    }
    if not quiet:
        _print(result, runs)
    return result


def _constant_loss(runs: "Sequence[_Run]") -> float | None:
    """Return the best constant's measure, of the first model that has it; None if none has."""
    return next((loss for run in runs if (loss := run.constant_loss()) is not None), None)


class _Run:
    """One of the models, the differences of its losses from the first model's, and the seconds that it took to learn."""

    def __init__(self, name: str, model: Model, measure: str) -> None:
        self.name, self.model, self.measure = name, model, measure
        self.absolute_errors = AbsoluteErrors(model) if measure != TASKS[model.task].measure[0] else None
        self.differences = Differences()
        self.late_loss = LateLoss()
        self.seconds = 0.0
        model.warm()

    def learn(self, block: Block, first: "_Run", rejected: Rejected) -> None:
        """Learn examples; the first model must have learned them before, unless this is the first model."""
        start = time.perf_counter()
        learned = self.model.learn_packed(block.data)
        self.seconds += time.perf_counter() - start
        self.losses = self.absolute_errors.add(learned, block.data) if self.absolute_errors else learned.losses
        if self is first:
            for rejection in learned.rejections:
                rejected.add(f"{block.place(rejection.index)}: {rejection.reason}")
        self.differences.add(self.losses - first.losses, learned.importances)

    def end(self) -> None:
        """Learn what is held back: the file is at its end."""
        start = time.perf_counter()
        self.model.learn_held()
        self.seconds += time.perf_counter() - start

    def loss(self) -> float:
        """Return the mean of the measure."""
        return self.absolute_errors.mean if self.absolute_errors else self._own_loss("")

    def constant_loss(self) -> float | None:
        """Return the mean of the measure for the best constant; None if the model doesn't count it."""
        return self.model.figures().get("constant_mae") if self.absolute_errors else self._own_loss("constant_")

    def _own_loss(self, prefix: str) -> float:
        _, name = TASKS[self.model.task].measure
        figure = self.model.figures()[prefix + name]
        return figure**2 if name == "rmse" else figure

    def late_text(self) -> str:
        """Return the late loss for the table; "" if none was measured, or if the model's own loss is not the measure."""
        is_measure = self.model.learner.loss.measure == self.measure
        return _figure(self.late_loss.mean) if is_measure and self.late_loss.examples else ""

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

    WIDTH = 14  # of a column: the longest figure and a space

    def __init__(self, runs: Sequence[_Run], measure: str, quiet: bool) -> None:
        self.runs, self.quiet, self.last_examples = runs, quiet, 0
        if not quiet:
            for i, run in enumerate(runs):
                click.echo(f"({i}) {run.name}")
            titles = "".join(f"{f'({i})':>{self.WIDTH}}" for i in range(len(runs)))
            click.echo(f"\n{'examples':>10}{titles}  {measure}")

    def row(self) -> None:
        """Print the losses of all examples so far."""
        self.last_examples = self.runs[0].model.n_examples
        if not self.quiet:
            losses = "".join(f"{_figure(run.loss()):>{self.WIDTH}}" for run in self.runs)
            click.echo(f"{self.last_examples:10}{losses}")

    def end(self) -> None:
        """Print a last line, unless it has been printed."""
        if self.last_examples < self.runs[0].model.n_examples:
            self.row()


def _figure(value: float, signed: bool = False) -> str:
    """Return a figure for a table: six decimals, or seven digits if it is large; never more than 13 characters.

    >>> _figure(0.4216543219), _figure(-1234567.5, signed=True), _figure(0.5, signed=True)
    ('0.421654', '-1234568', '+0.500000')
    """
    sign = "+" if signed else ""
    return f"{value:{sign}.6f}" if not abs(value) >= 1e5 else f"{value:{sign}.7g}"


def _print(result: dict[str, Any], runs: Sequence[_Run]) -> None:
    """Print the final table, with a line for each model, and every column as wide as its longest text."""
    columns = TASKS[runs[0].model.task].columns
    shared = [name for name in columns if all(name in TASKS[run.model.task].columns for run in runs)]
    lines = [["", result["measure"], "minus (0)", "95% at any time", "late loss", *(columns[name] for name in shared)]]
    lines[0] += ["examples/s", ""]
    for i, (row, run) in enumerate(zip(result["specs"], runs, strict=True)):
        interval = f"[{_figure(row['low'], signed=True)}, {_figure(row['high'], signed=True)}]"
        beside = [_figure(row["difference"], signed=True), interval] if i else ["", ""]
        figures = [_figure(row[name]) for name in shared]
        line = [f"({i}) {row['spec']}", _figure(row["loss"]), *beside, run.late_text(), *figures]
        lines.append([*line, str(row["examples_per_second"]), row["verdict"] if i else ""])
    if result["constant_loss"] is not None:
        lines.append(["best constant", _figure(result["constant_loss"]), *[""] * (len(lines[0]) - 2)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    click.echo()
    is_text = [i in (0, 3, len(widths) - 1) for i in range(len(widths))]  # names, intervals, verdicts
    for line in lines:
        aligned = (
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(line, widths, is_text, strict=True)
        )
        click.echo("  ".join(aligned).rstrip())
    if result["rejected"]:
        click.echo(f"rejected {result['rejected']}")
    for line_of_notice in notice_lines(result["specs"][0], result["specs"][0]["progressive_loss"]):
        click.echo(line_of_notice)
