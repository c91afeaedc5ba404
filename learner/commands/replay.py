"""The learner on a file, without Redis: predict each example, then learn it, in one pass."""

import io
import itertools
import time
from collections.abc import Iterator
from typing import Any

import click
import msgpack
import numpy as np

from learner import kernels
from learner.commands.show import figure_lines, memory_lines
from learner.errors import ExampleError, FormatError, LearnerError
from learner.files import Packed, Source, guess, opened, read
from learner.model import Model
from learner.packing import by_name, pack, pack_example

__all__ = ["replay"]

BLOCK = 1000  # examples of a text format learned at once
BLOCK_BYTES = 1 << 20  # of msgpack
MAX_EXAMPLE_BYTES = 16 << 20


def replay(model: Model, file: str, file_format: str | None, target: str, quiet: bool = False) -> dict[str, Any]:
    """Learn a file and print how it goes, as Vowpal Wabbit does: a line whenever the examples have doubled.

    Returns
    -------
    dict
        The final figures: ``progressive_loss`` (log loss, squared error or hinge), ``constant_loss`` (of the best constant so
        far), ``examples``, ``rejected``, ``features``, ``bytes``, ``seconds``, ``examples_per_second``, and those of
        `learner.metrics.figures`.
    """
    show = _Table(model, quiet)
    model.warm()
    kernels.boundaries(np.frombuffer(b"", np.uint8), np.zeros(1, np.int64))
    started = time.perf_counter()
    due = 1  # show the example that makes it so many
    for block, ends in _blocks(model, file, file_format, target, show):
        first = 0
        while first < len(ends):
            last = min(len(ends), max(first + 1, first + due - model.n_examples))
            _learn(model, block[ends[first - 1] if first else 0 : ends[last - 1]], show)
            if model.n_examples >= due:
                show.row(block[ends[last - 2] if last > 1 else 0 : ends[last - 1]])
                due = 2 * model.n_examples
            first = last
    seconds = time.perf_counter() - started
    result: dict[str, Any] = model.summary() | {
        "rejected": show.n_bad,
        "seconds": round(seconds, 4),
        "examples_per_second": round(model.n_examples / seconds),
    }
    if norms := model.gradient_norms():
        result |= {"gradient_norms": norms, "warning": model.gradient_warning()}
    show.end(result)
    return result


def _blocks(
    model: Model, file: str, file_format: str | None, target: str, show: "_Table"
) -> Iterator[tuple[bytes, list[int]]]:
    """Yield a file's examples as features, packed, many at a time, and where each ends."""
    source = Source(file)
    if (file_format or guess(source.name)) == "msgpack":  # examples for the compiled loop as they are
        with opened(source) as stream:
            yield from whole(stream)
    else:
        examples = _examples(model, read(source, file_format, target=target, on_error=show.bad_line), show)
        while block := list(itertools.islice(examples, BLOCK)):
            yield b"".join(block), list(itertools.accumulate(map(len, block)))


def whole(stream: io.BufferedReader) -> Iterator[tuple[bytes, list[int]]]:
    """Yield msgpack as it is, cut between examples."""
    places = np.zeros(BLOCK_BYTES, np.int64)
    rest = b""
    while data := stream.read(BLOCK_BYTES):
        data = rest + data
        n = kernels.boundaries(np.frombuffer(data, np.uint8), places)
        ends = places[:n].tolist()
        rest = data[ends[-1] :] if n else data
        if len(rest) > MAX_EXAMPLE_BYTES:
            break
        yield data, ends
    if rest:
        raise FormatError(f"file must hold whole msgpack examples (its last {len(rest)} bytes are none)")


def _examples(model: Model, examples: Iterator[Packed], show: "_Table") -> Iterator[bytes]:
    for example in examples:
        try:
            yield packed_example(model, example)
        except ExampleError as error:
            show.bad(f"{example.where}: {error}")


def packed_example(model: Model, example: Packed) -> bytes:
    """Return an example of a file as the compiled loops scan it.

    Raises
    ------
    ExampleError
        When the model's featurizer can't make features of its record.
    """
    if example.kind == "features":
        return example.data
    value = msgpack.unpackb(example.data, strict_map_key=False)
    return pack_example(value[0], pack(model.features(value[1])), *value[2:])


def _learn(model: Model, block: bytes, show: "_Table") -> None:
    first = show.n_bad + model.n_examples + 1
    learned = model.learn_packed(block)
    for rejection in learned.rejections:
        show.bad(f"example {first + rejection.index}: {rejection.reason}")
    if len(learned.scores):
        show.score = float(learned.scores[-1])


class Rejected:
    """What could not be learned: counted, and reported on standard error."""

    def __init__(self) -> None:
        self.n_bad = 0

    def bad(self, message: str) -> None:
        """Report an example that can't be learned; the first ten are shown."""
        self.n_bad += 1
        if self.n_bad <= 10:
            click.echo(f"Error: {message}", err=True)

    def bad_line(self, where: str, message: str, raw: bytes) -> None:
        """Report a line that can't be read."""
        self.bad(f"{where}: {message}")


class _Table(Rejected):
    """The lines that are printed while it goes."""

    def __init__(self, model: Model, quiet: bool) -> None:
        super().__init__()
        self.model, self.quiet = model, quiet
        self.score = float("nan")
        self.last_loss = self.last_examples = 0.0
        if not quiet:
            click.echo(f"{model.task}, {model.spec.loss} loss")
            click.echo(f"{'average':>10} {'since':>10} {'example':>10} {'current':>12} {'current':>12} {'current':>9}")
            click.echo(f"{'loss':>10} {'last':>10} {'counter':>10} {'label':>12} {'prediction':>12} {'features':>9}")

    def row(self, example: bytes) -> None:
        """Print one line, about the last example learned."""
        if self.quiet:
            return
        model = self.model
        n, mean = model.n_examples, model.progressive_loss
        since = (mean * n - self.last_loss) / max(n - self.last_examples, 1.0)
        self.last_loss, self.last_examples = mean * n, float(n)
        value = msgpack.unpackb(example, strict_map_key=False)
        prediction = model.learner.prediction(self.score)
        click.echo(
            f"{mean:10.6f} {since:10.6f} {n:10d} {value[0]!s:>12.12} {prediction:12.4f} {len(by_name(value[1])) + 1:9d}"
        )

    def end(self, result: dict[str, Any]) -> None:
        """Print the final figures."""
        if not result["examples"]:
            raise LearnerError(f"file must hold at least one example that can be learned (got {self.n_bad} bad ones)")
        if self.quiet:
            return
        kind = self.model.learner.loss.measure
        click.echo()
        click.echo(f"examples          {result['examples']}" + (f" and {self.n_bad} rejected" if self.n_bad else ""))
        click.echo(f"progressive loss  {result['progressive_loss']:.6f} ({kind})")
        click.echo(f"best constant's   {result['constant_loss']:.6f}")
        for line in figure_lines(result):
            click.echo(line)
        for line in memory_lines(result):
            click.echo(line)
        if result.get("warning"):
            click.echo(f"warning           {result['warning']}")
        click.echo(f"seconds           {result['seconds']:.2f} ({result['examples_per_second']} examples/s)")
