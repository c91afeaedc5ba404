"""Several models on one file in one pass, side by side: whose predictions are better, and whether the difference is real.

All learn the same examples in the same order, so what is compared is the difference of two losses on one example, whose
spread is far smaller than that of either. The interval around the mean difference holds at every moment at once: one may
watch it, and stop as soon as it leaves out 0, which with an interval for a fixed number of examples would be a mistake.
"""

import itertools
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from learner.commands.replay import BLOCK, Rejected, packed_example, whole
from learner.errors import ExampleError, LearnerError, SpecError, show
from learner.files import Packed, Source, guess, opened, read
from learner.model import Model
from learner.tasks import TASKS

__all__ = ["ALPHA", "Differences", "Interval", "compare", "margin", "model_of_file"]

ALPHA = 0.05  # the probability that an interval is ever wrong, at most: of all the intervals of a comparison together
PEAK = 10_000  # examples at which the intervals are narrowest beside those for a fixed number of examples
FIRST = 1000  # examples without which nothing is said


def margin(n: Any, alpha: float) -> Any:
    """Return half the width of the confidence sequence of a mean of n values whose standard deviation is 1.

    The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, 2024, "Time-uniform central limit
    theory and asymptotic confidence sequences", by a Gaussian mixture:
    ``sqrt(2 (n r^2 + 1) / (n^2 r^2) log(sqrt(n r^2 + 1) / alpha))``, with the r that makes it narrowest about n = `PEAK`. It
    also holds for means that change, of differences that depend on those before, as those of two learners do (their version
    for martingales): what it covers is then the average of the conditional means so far.

    >>> print(f"{margin(10_000, 0.05):.4f}, and for one moment alone {1.96 / 10_000**0.5:.4f}")
    0.0304, and for one moment alone 0.0196
    """
    log = -2.0 * math.log(alpha)
    n_r2 = n * (log + math.log(log + 1.0)) / PEAK
    return np.sqrt(2.0 * (n_r2 + 1.0) / (n * n_r2) * np.log(np.sqrt(n_r2 + 1.0) / alpha))


class Interval(NamedTuple):
    """The mean difference of losses to the first model, and between what it lies, at all times; infinite at first."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` than the first, if that is real; else ``undecided``."""
        return "better" if self.high < 0.0 else "worse" if self.low > 0.0 else "undecided"


class Differences:
    """The running mean of paired differences of losses, weighted by importance, and its confidence sequence.

    Differs from the paper: the standard deviation is not yet known well, and the normal law not yet near, where a few huge
    differences make up much of the sum; so ``log(2 / alpha) d / n``, with the largest deviation d from the mean seen, is added
    on both sides, after the form of the empirical Bernstein bound (Maurer and Pontil, 2009). An event that comes less than
    once in some 500 examples, and outweighs all others, can still be overlooked at first: no method can tell what has not
    been seen.

    >>> same = Differences()
    >>> same.add(np.zeros(2000), np.ones(2000))
    >>> same.interval(ALPHA), same.interval(ALPHA).verdict
    (Interval(mean=0.0, low=0.0, high=0.0), 'undecided')
    """

    def __init__(self) -> None:
        self.n = 0
        self.weight = self.mean = self.squares = 0.0  # of the differences times importance: mean, squared deviations
        self.least, self.most = math.inf, -math.inf

    def add(self, differences: NDArray[np.float64], importances: NDArray[np.float64]) -> None:
        """Take in the differences of some examples; NaN where one of the two did not learn the example."""
        z = differences * importances
        z, importances = z[~np.isnan(z)], importances[~np.isnan(z)]
        if not len(z):
            return
        mean, n = float(z.mean()), len(z)
        delta = mean - self.mean  # two means and their squared deviations become one (Chan, Golub, LeVeque, 1979)
        self.squares += float(((z - mean) ** 2).sum()) + delta * delta * self.n * n / (self.n + n)
        self.n += n
        self.mean += delta * n / self.n
        self.weight += float(importances.sum())
        self.least, self.most = min(self.least, float(z.min())), max(self.most, float(z.max()))

    def interval(self, alpha: float) -> Interval:
        """Return the mean difference per unit of importance and between what it lies, which is wrong with probability alpha."""
        if not self.weight:
            return Interval(math.nan, -math.inf, math.inf)
        unit = self.n / self.weight
        if self.n < FIRST:
            return Interval(unit * self.mean, -math.inf, math.inf)
        deviation = math.sqrt(self.squares / self.n)
        farthest = max(self.most - self.mean, self.mean - self.least)
        half = deviation * float(margin(self.n, alpha)) + math.log(2.0 / alpha) * farthest / self.n
        return Interval(unit * self.mean, unit * (self.mean - half), unit * (self.mean + half))


def model_of_file(path: str, first: Model) -> Model:
    """Return the model that a TOML or JSON file describes, as `Model.from_spec` does.

    The task (with a quantile's level), the labels and the featurizer are the first model's where the file doesn't say.

    Raises
    ------
    LearnerError
        When the file can't be read, or breaks a rule.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        if path.endswith(".toml"):
            import tomllib

            spec = tomllib.loads(text)
        else:
            spec = json.loads(text)
    except (OSError, ValueError) as error:
        raise LearnerError(f"{path}: {error}") from error
    if not isinstance(spec, dict):
        raise SpecError(f"{path}: spec must be a map of names to values (got {show(spec)})")
    given = first.to_spec()
    same = ("task", "level", "labels", "featurizer")
    return Model.from_spec({name: given[name] for name in same if name in given} | spec)


def compare(
    models: dict[str, Model], file: str, file_format: str | None, target: str, quiet: bool = False
) -> dict[str, Any]:
    """Let several models learn a file side by side; print their losses whenever the examples have doubled, and a table.

    Parameters
    ----------
    models : mapping
        Name to model, of one task; the others are compared with the first. They learn with the first one's seed.

    Returns
    -------
    dict
        ``measure`` (what the loss is: the `measure` of its task, whatever a model learns with), ``alpha``, ``constant_loss``,
        ``examples``, ``rejected`` and ``specs``: a mapping a model of ``spec`` (its name), its `Model.summary`, ``loss``,
        ``examples_per_second``, ``difference`` of its loss from the first's, ``low``, ``high`` and ``verdict``.

    Raises
    ------
    LearnerError
        When the models can't be compared, or the file holds no example.
    """
    first = next(iter(models.values()))
    for name, model in models.items():
        if _aim(model) != _aim(first):
            raise SpecError(f"--compare must have the task and the labels of the first model ({name!r} has others)")
    seed = first.spec.seed.hex()  # the same initial weights for all: then a model is no other than itself
    runs = [_Run(name, Model.from_spec(model.to_spec() | {"seed": seed})) for name, model in models.items()]
    rejected = Rejected()
    table = _Table(runs, quiet)
    due = 1
    for blocks in _blocks([run.model for run in runs], file, file_format, target, rejected):
        for run, block in zip(runs, blocks, strict=True):
            run.learn(block, runs[0], rejected)
        if runs[0].model.n_examples >= due:
            table.row()
            due = 2 * runs[0].model.n_examples
    if not runs[0].model.n_examples:
        raise LearnerError(f"file must hold at least one example that can be learned (got {rejected.n_bad} bad ones)")
    table.end()
    alpha = ALPHA / max(len(runs) - 1, 1)  # all intervals together (Bonferroni)
    result = {
        "measure": table.measure,
        "alpha": ALPHA,
        "constant_loss": runs[0].loss("constant_"),
        "examples": runs[0].model.n_examples,
        "rejected": rejected.n_bad,
        "specs": [run.result(alpha) for run in runs],
    }
    if not quiet:
        _print(result, first.task)
    return result


def _aim(model: Model) -> tuple[Any, ...]:
    """Return what a model predicts: only what is the same can be compared."""
    return model.task, model.classes, model.spec.level


class _Run:
    """One model, what it lost against the first, and what it took."""

    def __init__(self, name: str, model: Model) -> None:
        self.name, self.model = name, model
        self.differences = Differences()
        self.seconds = 0.0
        model.warm()

    def learn(self, block: bytes, first: "_Run", rejected: Rejected) -> None:
        """Learn a block; the first has learned it already, or is this one."""
        n = self.model.n_examples + self.model.n_rejected
        start = time.perf_counter()
        learned = self.model.learn_packed(block)
        self.seconds += time.perf_counter() - start
        if self is first:
            self.losses = learned.losses
            for rejection in learned.rejections:
                rejected.bad(f"example {n + rejection.index + 1}: {rejection.reason}")
        self.differences.add(learned.losses - first.losses, learned.importances)

    def loss(self, prefix: str = "") -> float:
        """Return the mean of the measure."""
        _, name = TASKS[self.model.task].measure
        figure = self.model.figures()[prefix + name]
        return figure**2 if name == "rmse" else figure

    def result(self, alpha: float) -> dict[str, Any]:
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


def _blocks(
    models: Sequence[Model], file: str, file_format: str | None, target: str, rejected: Rejected
) -> Iterator[list[bytes]]:
    """Yield the file's examples many at a time, packed for each model; each featurizer sees a record once."""
    source = Source(file)
    if (file_format or guess(source.name)) == "msgpack":
        with opened(source) as stream:
            for block, ends in whole(stream):
                if ends:
                    yield [block[: ends[-1]]] * len(models)
        return
    specs = [model.to_spec()["featurizer"] for model in models]
    places = [specs.index(spec) for spec in specs]  # of the first model with the same featurizer
    examples = read(source, file_format, target=target, on_error=rejected.bad_line)
    while chunk := list(itertools.islice(examples, BLOCK)):
        parts: dict[int, list[bytes]] = {place: [] for place in places}
        for example in chunk:
            if packed := _packed(models, parts, example, rejected):
                for place, data in packed.items():
                    parts[place].append(data)
        yield [b"".join(parts[place]) for place in places]


def _packed(
    models: Sequence[Model], places: dict[int, list[bytes]], example: Packed, rejected: Rejected
) -> dict[int, bytes] | None:
    """Return an example packed by each featurizer; None if one refuses it: then nobody learns it."""
    try:
        return {place: packed_example(models[place], example) for place in places}
    except ExampleError as error:
        rejected.bad(f"{example.where}: {error}")
        return None


class _Table:
    """The lines that are printed while it goes: a column a model."""

    def __init__(self, runs: Sequence[_Run], quiet: bool) -> None:
        self.runs, self.quiet, self.shown = runs, quiet, 0
        self.measure = TASKS[runs[0].model.task].measure[0]
        if not quiet:
            for i, run in enumerate(runs):
                click.echo(f"({i}) {run.name}")
            click.echo(
                f"\n{'examples':>10}" + "".join(f"{f'({i})':>12}" for i in range(len(runs))) + f"  {self.measure}"
            )

    def row(self) -> None:
        """Print the losses of all examples so far."""
        self.shown = self.runs[0].model.n_examples
        if not self.quiet:
            click.echo(f"{self.shown:10}" + "".join(f"{run.loss():12.6f}" for run in self.runs))

    def end(self) -> None:
        """Print the last line, unless it is there already."""
        if self.shown < self.runs[0].model.n_examples:
            self.row()


def _print(result: dict[str, Any], task: str) -> None:
    columns = TASKS[task].columns
    width = max(len(row["spec"]) for row in result["specs"]) + 4
    titles = "".join(f"{title:>12}" for title in columns.values())
    click.echo(
        f"\n{'':{width}}{result['measure']:>14}{'minus (0)':>12}  {'95% at any time':24}{titles}{'examples/s':>12}"
    )
    for i, row in enumerate(result["specs"]):
        line = f"{f'({i}) ' + row['spec']:{width}}{row['loss']:14.6f}"
        beside = f"{row['difference']:+12.6f}  [{row['low']:+.6f}, {row['high']:+.6f}]" if i else ""
        figures = "".join(f"{row[name]:12.6f}" for name in columns)
        verdict = f"  {row['verdict']}" if i else ""
        click.echo(f"{line}{beside:38}{figures}{row['examples_per_second']:12}{verdict}")
    click.echo(f"{'best constant':{width}}{result['constant_loss']:14.6f}")
    if result["rejected"]:
        click.echo(f"rejected {result['rejected']}")
