"""Learns a file with one model, without Redis, in one pass: each example is predicted, then learned."""

import time
from collections import deque
from typing import Any, TextIO

import click
import msgpack
import numpy as np

from learner import kernels
from learner.commands.blocks import Block, Rejected, read_blocks, regrouped
from learner.commands.options import to_json
from learner.commands.show import figure_lines, late_lines, memory_lines, notice_lines
from learner.errors import ExampleError
from learner.files import READING, Reading
from learner.late import BLOCK_EXAMPLES, LateLoss
from learner.messages import one_line
from learner.model import Model
from learner.packing import by_name

__all__ = ["learn_file"]


def learn_file(
    model: Model,
    file: str,
    file_format: str | None,
    target: str,
    how: Reading = READING,
    *,
    quiet: bool = False,
    late: int = BLOCK_EXAMPLES,
    predictions: TextIO | None = None,
) -> dict[str, Any]:
    """Learn a file; like Vowpal Wabbit, print a line of figures whenever the number of examples has doubled.

    Parameters
    ----------
    late : int
        The examples of a block for the late loss (see `learner.late`); 0: it is not measured.
    predictions : text file, optional
        Gets each example's prediction, made before learning it (see `_Predictions`).

    Returns
    -------
    dict
        The final figures: ``progressive_loss`` (the mean of the task's loss: log loss, hinge, squared error, pinball loss or
        deviance), ``constant_loss`` (the same for the best constant so far), ``late_loss`` and ``late_examples`` (if `late`
        is not 0), ``examples``, ``rejected``, ``features``, ``bytes``, ``seconds``, ``examples_per_second``, and the figures
        of `learner.metrics.figures`.

    Raises
    ------
    LearnerError
        When the file can't be read, or holds no example that can be learned.
    """
    written = _Predictions(model, predictions) if predictions else None
    rejected = Rejected(written.error if written else None)
    table = _Table(model, quiet)
    model.warm()
    kernels.boundaries(np.frombuffer(b"", np.uint8), np.zeros(1, np.int64))
    started = time.perf_counter()
    n_before = model.n_examples
    due = n_before + 1  # the number of examples at which the next line is printed
    late_loss = LateLoss()
    groups = read_blocks([model], file, file_format, target, how, rejected)
    for (block,) in regrouped(groups, late) if late else groups:
        data, ends, _ = block
        first = 0
        if late and model.n_examples:
            started += 0.0 if late_loss.examples else _seconds_to_warm(model)
            late_loss.add(*model.losses_packed(data))
        while first < len(ends):
            last = min(len(ends), max(first + 1, first + due - model.n_examples)) if written is None else first + 1
            part = block.part(first, last)
            if written:
                written.answer(part.data)
            score = _learn(model, part, rejected)
            if model.n_examples >= due:
                table.row(data[ends[last - 2] if last > 1 else 0 : ends[last - 1]], score)
                due = 2 * model.n_examples
            first = last
    if written:
        written.close()
    model.learn_held()
    seconds = time.perf_counter() - started
    n_learned = model.n_examples - n_before
    if not n_learned:
        raise rejected.all_rejected(model)
    result: dict[str, Any] = model.summary() | {
        **(late_loss.summary() if late else {}),
        "rejected": rejected.n,
        "seconds": round(seconds, 4),
        "examples_per_second": round(n_learned / seconds),
    }
    if norms := model.gradient_norms():
        result |= {"gradient_norms": norms, "warning": model.gradient_warning()}
    if not quiet:
        _print(result, model.learner.loss.measure)
    return result


class _Predictions:
    """Writes a JSON object a line: the answer to each example before it is learned, or the error of one that can't be read.

    Parameters
    ----------
    model : Model
        Answers.
    file : text file
        Written to.
    """

    def __init__(self, model: Model, file: TextIO) -> None:
        self.model, self.file = model, file
        self.n = 0
        self._errors: deque[tuple[int, str]] = deque()  # after how many examples, and the message

    def error(self, n_read: int, message: str) -> None:
        """Note that an example can't be read, after so many that can, of which some may not be answered yet."""
        self._errors.append((n_read, message))

    def answer(self, example: bytes) -> None:
        """Write the answer to an example."""
        self._write_errors()
        buffer = np.frombuffer(example, np.uint8)
        start = int(kernels.skip(buffer, 1))  # after the head of the array, and the target
        try:
            answer = self.model.answer(example[start : int(kernels.skip(buffer, start))])
        except ExampleError as error:
            answer = {"error": str(error)}
        self.file.write(to_json(answer) + "\n")
        self.n += 1

    def _write_errors(self) -> None:
        while self._errors and self._errors[0][0] <= self.n:
            self.file.write(to_json({"error": self._errors.popleft()[1]}) + "\n")

    def close(self) -> None:
        """Write the last errors."""
        self._write_errors()
        self.file.flush()


def _seconds_to_warm(model: Model) -> float:
    """Compile the loop that only scores, or load it from disk; return the seconds that it took."""
    start = time.perf_counter()
    model.losses_packed(b"")
    return time.perf_counter() - start


def _learn(model: Model, block: Block, rejected: Rejected) -> float:
    """Learn examples; return the score of the last example before it was learned."""
    learned = model.learn_packed(block.data)
    for rejection in learned.rejections:
        rejected.add(f"{block.place(rejection.index)}: {rejection.reason}")
    return float(learned.scores[-1])


class _Table:
    """The lines of figures that are printed while a file is learned."""

    def __init__(self, model: Model, quiet: bool) -> None:
        self.model, self.quiet = model, quiet
        self.last_examples = float(model.n_examples)
        self.last_loss = model.progressive_loss * model.n_examples if model.n_examples else 0.0
        if not quiet:
            click.echo(f"{model.task}, {model.spec.loss} loss")
            click.echo(f"{'average':>10} {'since':>10} {'example':>10} {'current':>12} {'current':>12} {'current':>9}")
            click.echo(f"{'loss':>10} {'last':>10} {'counter':>10} {'label':>12} {'prediction':>12} {'features':>9}")

    def row(self, example: bytes, score: float) -> None:
        """Print a line: the figures so far, and the last example with its score before it was learned."""
        if self.quiet:
            return
        model = self.model
        n, mean = model.n_examples, model.progressive_loss
        since = (mean * n - self.last_loss) / max(n - self.last_examples, 1.0)
        self.last_loss, self.last_examples = mean * n, float(n)
        target, features, *_ = msgpack.unpackb(example, strict_map_key=False)
        label, prediction = one_line(str(target)), model.learner.prediction(score)
        click.echo(
            f"{mean:10.6f} {since:10.6f} {n:10d} {label:>12.12} {prediction:12.4f} {len(by_name(features)) + 1:9d}"
        )


def _print(result: dict[str, Any], measure: str) -> None:
    """Print the final figures."""
    click.echo()
    n_rejected = result["rejected"]
    click.echo(f"examples          {result['examples']}" + (f" and {n_rejected} rejected" if n_rejected else ""))
    click.echo(f"progressive loss  {result['progressive_loss']:.6f} ({measure})")
    for line in late_lines(result):
        click.echo(line)
    click.echo(f"best constant's   {result['constant_loss']:.6f}")
    for line in notice_lines(result, result["progressive_loss"]):
        click.echo(line)
    for line in figure_lines(result):
        click.echo(line)
    for line in memory_lines(result):
        click.echo(line)
    if result.get("warning"):
        click.echo(f"warning           {result['warning']}")
    click.echo(f"seconds           {result['seconds']:.2f} ({result['examples_per_second']} examples/s)")
