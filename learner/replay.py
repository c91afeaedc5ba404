"""The learner on a file, without Redis: predict each example, then learn it, in one pass."""

import time
from collections.abc import Iterator
from typing import Any

import click
import msgpack

from learner.errors import ExampleError, LearnerError
from learner.formats import read
from learner.model import Model
from learner.wire import pack, pack_example

__all__ = ["replay"]

BLOCK = 4096  # examples learned at once, at most


def replay(model: Model, file: str, file_format: str | None, target: str, quiet: bool = False) -> dict[str, Any]:
    """Learn a file and print how it goes, as Vowpal Wabbit does: a line whenever the examples have doubled.

    Returns
    -------
    dict
        The final figures: ``progressive_loss`` (log loss, squared error or hinge), ``constant_loss`` (of the best constant so
        far), ``examples``, ``rejected``, ``features``, ``bytes``, ``seconds``, ``examples_per_second``.
    """
    show = _Table(model, quiet)
    model.linear.warm()
    started = time.perf_counter()
    block: list[bytes] = []
    due = 1
    for example in _examples(model, file, file_format, target, show.bad):
        block.append(example)
        if len(block) == BLOCK or model.n_examples + len(block) >= due:
            _learn(model, block, show)
            if model.n_examples >= due:
                show.row(block[-1])
                due = 2 * model.n_examples
            block.clear()
    _learn(model, block, show)
    seconds = time.perf_counter() - started
    result = {
        "progressive_loss": model.progressive_loss,
        "constant_loss": model.constant_loss,
        "examples": model.n_examples,
        "rejected": show.n_bad,
        "features": model.n_features,
        "bytes": model.nbytes,
        "seconds": round(seconds, 4),
        "examples_per_second": round(model.n_examples / seconds),
    }
    show.end(result)
    return result


def _examples(model: Model, file: str, file_format: str | None, target: str, bad: Any) -> Iterator[bytes]:
    """Yield a file's examples as features, packed; report what can't be."""
    for example in read(file, file_format, target=target, on_error=lambda where, message, _: bad(f"{where}: {message}")):
        if example.kind == "features":
            yield example.data
            continue
        value = msgpack.unpackb(example.data, strict_map_key=False)
        try:
            yield pack_example(value[0], pack(model.features(value[1])), *value[2:])
        except ExampleError as error:
            bad(f"{example.where}: {error}")


def _learn(model: Model, block: list[bytes], show: "_Table") -> None:
    learned = model.learn_packed(b"".join(block))
    for rejection in learned.rejections:
        show.bad(f"example {show.n_bad + model.n_examples}: {rejection.reason}")
    if len(learned.scores):
        show.score = float(learned.scores[-1])


class _Table:
    """The lines that are printed while it goes."""

    def __init__(self, model: Model, quiet: bool) -> None:
        self.model, self.quiet = model, quiet
        self.score = float("nan")
        self.n_bad = 0
        self.last_loss = self.last_examples = 0.0
        if not quiet:
            click.echo(f"{model.task}, {model.linear.loss.name} loss")
            click.echo(f"{'average':>10} {'since':>10} {'example':>10} {'current':>12} {'current':>12} {'current':>9}")
            click.echo(f"{'loss':>10} {'last':>10} {'counter':>10} {'label':>12} {'prediction':>12} {'features':>9}")

    def bad(self, message: str) -> None:
        """Report an example that can't be learned; the first ten are shown."""
        self.n_bad += 1
        if self.n_bad <= 10:
            click.echo(f"Error: {message}", err=True)

    def row(self, example: bytes) -> None:
        """Print one line, about the last example learned."""
        if self.quiet:
            return
        model = self.model
        n, mean = model.n_examples, model.progressive_loss
        since = (mean * n - self.last_loss) / max(n - self.last_examples, 1.0)
        self.last_loss, self.last_examples = mean * n, float(n)
        value = msgpack.unpackb(example, strict_map_key=False)
        prediction = model.linear.prediction(self.score)
        click.echo(f"{mean:10.6f} {since:10.6f} {n:10d} {value[0]!s:>12.12} {prediction:12.4f} {len(value[1]) + 1:9d}")

    def end(self, result: dict[str, Any]) -> None:
        """Print the final figures."""
        if not result["examples"]:
            raise LearnerError(f"file must hold at least one example that can be learned (got {self.n_bad} bad ones)")
        if self.quiet:
            return
        kind = {"logistic": "log loss", "squared": "squared error", "hinge": "hinge loss"}[self.model.linear.loss.name]
        click.echo()
        click.echo(f"examples          {result['examples']}" + (f" and {self.n_bad} rejected" if self.n_bad else ""))
        click.echo(f"progressive loss  {result['progressive_loss']:.6f} ({kind})")
        click.echo(f"best constant's   {result['constant_loss']:.6f}")
        click.echo(f"features          {result['features']} in {result['bytes'] / 1e6:.1f} MB")
        click.echo(f"seconds           {result['seconds']:.2f} ({result['examples_per_second']} examples/s)")
