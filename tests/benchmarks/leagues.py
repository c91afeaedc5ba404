"""The leagues of classes, quantiles and counts: our loss over that of the best of eight Vowpal Wabbits, picked in hindsight.

``python -m tests.benchmarks.leagues [stream ...]`` judges the default learner on the streams of
`tests.benchmarks.task_streams`, under five of the protocols of `tests.benchmarks.protocols`: ``next``, ``late``, ``fresh``,
``runs`` and ``alternating``. Of numbers, the runs are of outcomes above the median and of the others. The losses: log loss of
classes, pinball loss of quantiles, mean Poisson deviance of counts.

The peers are Vowpal Wabbit in the eight settings of the main league (see `tests.benchmarks.league`), with 22 bits. For classes
it has ``--oaa`` with logistic loss and ``--probabilities``, and is told the number of classes, which ours need not know. For
the others it has ``--loss_function quantile --quantile_tau`` and ``--loss_function poisson``. Their figures are in
``task_peers.json``; ``--measure`` adds those that are missing (needs the extra ``bench``). ``--references`` adds LightGBM under
``fresh``, ``runs`` and ``alternating``, at its defaults with the same loss, on all lessons at once: it does not count.

``--task TASK``, ``--protocol NAME`` and ``--held-out`` choose, as in the main league.
"""

import argparse
import functools
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack

from learner.losses import LOSSES
from learner.model import Model
from tests.benchmarks import Asked, Row
from tests.benchmarks.league import BLOCK, Figures, print_summaries, row_text, summary
from tests.benchmarks.peers import SETTINGS, LightGBM, as_text, clipped, run
from tests.benchmarks.protocols import LEAST_PROBABILITY, PROTOCOLS, Example, Protocol, Step, in_runs, of_outcomes
from tests.benchmarks.task_streams import N_EXAMPLES, STREAMS, TaskStream
from tests.conftest import SEED

FILE = Path(__file__).with_name("task_peers.json")
TASKS = ("multiclass", "quantile", "poisson")
LEAST_RATE = 1e-9  # a rate of 0 would have an infinite deviance


# ---- protocols -----------------------------------------------------------------------------------------------------------
def runs_of(examples: list[Example], length: int) -> list[Example]:
    """Return examples with outcomes in runs: of each class, or of numbers above their median and of the others."""
    if isinstance(examples[0][0], str):
        return in_runs(examples, length, str)
    median = statistics.median(outcome for outcome, _ in examples)
    return in_runs(examples, length, lambda outcome: outcome > median)


OURS: dict[str, Protocol] = {
    "next": PROTOCOLS["next"]._replace(n_examples=N_EXAMPLES),
    "late": PROTOCOLS["late"],
    "fresh": PROTOCOLS["fresh"],
    "runs": of_outcomes(functools.partial(runs_of, length=50)),
    "alternating": of_outcomes(functools.partial(runs_of, length=1)),
}


# ---- losses --------------------------------------------------------------------------------------------------------------
def loss_of(answers: Sequence[Any], outcomes: Sequence[Any], stream: TaskStream) -> float:
    """Return the mean log loss of classes' probabilities, pinball loss of quantiles, or deviance of rates."""
    pairs = zip(answers, outcomes, strict=True)
    if stream.task == "multiclass":
        losses = [-math.log(min(max(answer.get(outcome, 0.0), LEAST_PROBABILITY), 1.0)) for answer, outcome in pairs]
    elif stream.level is not None:
        losses = [max(stream.level * (y - q), (stream.level - 1.0) * (y - q)) for q, y in pairs]
    else:
        losses = [LOSSES["poisson"].value(math.log(max(rate, LEAST_RATE)), y) for rate, y in pairs]
    return sum(losses) / len(losses)


# ---- learners ------------------------------------------------------------------------------------------------------------
class Ours:
    """Our learner at its defaults."""

    def __init__(self, stream: TaskStream) -> None:
        options = {} if stream.level is None else {"level": stream.level}
        self.model = Model(stream.task, seed=SEED, **options)

    def learn(self, lessons: Sequence[Example]) -> None:
        """Learn examples in their order."""
        for first in range(0, len(lessons), BLOCK):
            self.model.learn_packed(b"".join(map(msgpack.packb, lessons[first : first + BLOCK])))

    def answers(self, requests: Sequence[Mapping[str, float]]) -> list[Any]:
        """Return for each request a number, or the probabilities of classes."""
        answer = self.model.predict_proba_one if self.model.task == "multiclass" else self.model.predict_one
        return [answer(features) for features in requests]


class VowpalWabbit:
    """Vowpal Wabbit in this process, with 22 bits; it takes features as text.

    Parameters
    ----------
    stream : TaskStream
        What is learned.
    classes : list of str
        The stream's classes.
    flags : str
        Other options of its command line.
    """

    def __init__(self, stream: TaskStream, classes: Sequence[str], flags: str) -> None:
        from vowpalwabbit import Workspace

        losses = {
            "multiclass": f"logistic --oaa {len(classes)} --probabilities",
            "quantile": f"quantile --quantile_tau {stream.level}",
            "poisson": "poisson",
        }
        options = f"--quiet -b 22 --loss_function {losses[stream.task]} {flags}"
        self.task, self.classes = stream.task, classes
        self.numbers = {name: i + 1 for i, name in enumerate(classes)}
        self.workspace = Workspace(options, enable_logging=False)

    def learn(self, lessons: Sequence[tuple[Any, str]]) -> None:
        """Learn examples in their order."""
        for outcome, text in lessons:
            self.workspace.learn(f"{self.numbers.get(outcome, outcome)} {text}")

    def answers(self, requests: Sequence[str]) -> list[Any]:
        """Return for each request a number, or the probabilities of classes."""
        answers = [self.workspace.predict(text) for text in requests]
        if self.task == "multiclass":
            return [dict(zip(self.classes, answer, strict=True)) for answer in answers]
        return [math.exp(clipped(answer)) for answer in answers] if self.task == "poisson" else answers


class Trees(LightGBM):
    """LightGBM with the stream's loss."""

    def __init__(self, stream: TaskStream) -> None:
        import lightgbm

        super().__init__(regression=True)
        options = {
            "multiclass": {},
            "quantile": {"objective": "quantile", "alpha": stream.level},
            "poisson": {"objective": "poisson"},
        }
        make = lightgbm.LGBMClassifier if stream.task == "multiclass" else lightgbm.LGBMRegressor
        self.trees = make(verbosity=-1, n_jobs=1, **options[stream.task])

    def answers(self, requests: Sequence[Mapping[str, float]]) -> list[Any]:
        """Return for each request a number, or the probabilities of classes."""
        if not requests or not hasattr(self.trees, "classes_"):
            return super().answers(requests)
        rows = self.trees.booster_.predict(self.matrix(requests))
        return [dict(zip(self.trees.classes_, row, strict=True)) for row in rows]


# ---- one stream under one protocol ---------------------------------------------------------------------------------------
def in_text(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield steps with the features as Vowpal Wabbit's text."""
    for step in steps:
        yield Step(*([(outcome, as_text(features)) for outcome, features in examples] for examples in step))


def measure_peers(stream: TaskStream, steps: Sequence[Step]) -> dict[str, Any]:
    """Return a function for each peer that measures its loss."""
    texts = [*in_text(steps)]
    outcomes = {outcome for step in steps for outcome, _ in (*step.lessons, *step.requests)}
    classes = sorted(outcomes) if stream.task == "multiclass" else []
    return {
        name: lambda flags=flags: loss_of(*run(VowpalWabbit(stream, classes, flags), texts), stream)
        for name, flags in SETTINGS.items()
    }


def judge_stream(
    stream: TaskStream, protocol: str, steps: Sequence[Step], figures: Figures, references: bool
) -> dict[str, Any]:
    """Return the row of a stream under a protocol."""
    key = f"{stream.name}/{protocol}"
    if figures.file:
        figures.complete(key, measure_peers(stream, steps))
    peers = figures.of(key)
    best = min(peers, key=peers.__getitem__) if peers else None
    loss = loss_of(*run(Ours(stream), steps), stream)
    row = {
        "loss": loss,
        "peer": best,
        "peer_loss": peers.get(best or ""),
        "ratio": loss / peers[best] if best else None,
    }
    if references and not any(step.requests and step.lessons for step in steps):
        row["references"] = {"LightGBM": loss_of(*run(Trees(stream), steps), stream)}
    return row


# ---- the program ---------------------------------------------------------------------------------------------------------
def judged(
    streams: Sequence[TaskStream], protocols: Sequence[str], figures: Figures, references: bool = False
) -> Iterator[tuple[TaskStream, str, dict[str, Any]]]:
    """Yield the row of each stream under each protocol."""
    for stream in streams:
        examples = [*stream.examples()]
        for protocol in protocols:
            steps = [*OURS[protocol].of(examples)]
            yield stream, protocol, judge_stream(stream, protocol, steps, figures, references)


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""
    kept = Figures(json.loads(FILE.read_text()), None)

    def mean_and_worst(task: str) -> str:
        cells = []
        for held_out in (False, True):
            streams = [s for s in STREAMS if s.task == task and s.is_held_out == held_out][: 1 if asked.quick else None]
            line = summary({stream.name: row for stream, _, row in judged(streams, ["late"], kept)})
            cells.append(f"{line['mean']:.3f} ({max(line['worsts'].values()):.3f})" if line else "no peers")
        return "; ".join(cells)

    late = "--protocol late --task "
    yield Row(
        "log loss of classes, requests as above, over the best of eight Vowpal Wabbits with `--oaa`: geometric mean (worst); "
        "on held-out streams",
        mean_and_worst("multiclass"), arguments=late + "multiclass",
    )  # fmt: skip
    yield Row("the same, pinball loss of quantiles", mean_and_worst("quantile"), arguments=late + "quantile")
    yield Row("the same, deviance of counts", mean_and_worst("poisson"), arguments=late + "poisson")


def main() -> None:
    """Print the rows and the summaries, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="stream")
    parser.add_argument("--task", action="append", choices=TASKS, help="only this one; may be given many times")
    parser.add_argument("--held-out", action="store_true", help="the streams that are held out, and no others")
    parser.add_argument("--protocol", action="append", choices=OURS, help="only this one; may be given many times")
    parser.add_argument(
        "--measure", action="store_true", help=f"measure peers that are missing, and keep them in {FILE.name}"
    )
    parser.add_argument("--references", action="store_true", help="beside the peers: LightGBM, which doesn't count")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = Figures({}, FILE) if asked.measure else Figures(json.loads(FILE.read_text()), None)
    streams = [
        stream
        for stream in STREAMS
        if stream.is_held_out == asked.held_out
        and stream.task in (asked.task or TASKS)
        and (not asked.names or stream.name in asked.names)
    ]
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for stream, protocol, row in judged(streams, asked.protocol or [*OURS], figures, asked.references):
        rows.setdefault(f"{stream.task}, {protocol}", {})[stream.name] = row
        if not asked.json:
            print(row_text(stream.name, protocol, row), flush=True)
    summaries = {name: line for name, table in rows.items() if (line := summary(table))}
    if asked.json:
        print(json.dumps({"streams": rows, "summaries": summaries}))
        return
    print_summaries(summaries)


if __name__ == "__main__":
    main()
