"""The orders in which a learner of the league is asked and taught, and the measures of its answers.

A protocol turns a stream's first examples into steps. In each step the learner first answers requests, and then learns lessons.
Only the protocol decides what is known when a request comes:

==============  ================================================================================================================
next            every example is a request, and then a lesson: the outcome of each is heard before the next one comes
late            blocks of 1,000: a whole block of requests is answered before any of it is learned; the first is only learned
fresh           the first 80% are lessons, the last 20% requests, whose outcomes are never learned
runs            as fresh, of shuffled examples; the lessons come with outcomes in runs of 50, the classes in proportion
runs 200        the same with runs of 200
runs 500        the same with runs of 500
alternating     the same with outcomes that alternate
sorted          the same with all negative lessons first
==============  ================================================================================================================

The last five are for binary outcomes. Such files are common: exports sorted by outcome, or positives and negatives from two
sources.
"""

import functools
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

__all__ = [
    "PROTOCOLS", "Example", "Protocol", "Step", "calibration_error", "in_runs", "log_loss", "loss_of", "mean_and_worsts",
    "of_outcomes",
]  # fmt: skip

Example = tuple[Any, dict[str, float]]  # the outcome: -1 or 1, a number or a class; the features

BLOCK = 1000
SHARE_OF_LESSONS = 0.8
SEED = 7
LEAST_PROBABILITY = 1e-6  # answers are clipped to this distance from 0 and 1
N_BINS = 10


class Step(NamedTuple):
    """Examples to answer without their outcomes, and examples to learn afterwards."""

    requests: Sequence[Example]
    lessons: Sequence[Example]


class Protocol(NamedTuple):
    """A protocol: how many examples of a stream it takes (None: all), its steps, and whether outcomes must be binary."""

    n_examples: int | None
    steps: Callable[[list[Example]], Iterator[Step]]
    binary_only: bool = False

    def of(self, stream: Iterable[Example]) -> Iterator[Step]:
        """Yield the steps of a stream; examples without features are left out."""
        return self.steps([*itertools.islice((example for example in stream if example[1]), self.n_examples)])


# ---- orders --------------------------------------------------------------------------------------------------------------
def one_by_one(examples: list[Example]) -> Iterator[Step]:
    """Yield each example as a request, then as a lesson."""
    for example in examples:
        yield Step([example], [example])


def in_blocks(examples: list[Example]) -> Iterator[Step]:
    """Yield blocks that are answered before they are learned; the first is only learned."""
    for first in range(0, len(examples), BLOCK):
        block = examples[first : first + BLOCK]
        yield Step(block if first else [], block)


def split(examples: list[Example]) -> Iterator[Step]:
    """Yield the lessons, then the requests."""
    n_lessons = int(SHARE_OF_LESSONS * len(examples))
    yield Step([], examples[:n_lessons])
    yield Step(examples[n_lessons:], [])


def is_positive(outcome: float) -> bool:
    """Tell whether a binary outcome is positive."""
    return outcome > 0


def in_runs(examples: list[Example], length: int, class_of: Callable[[Any], Any] = is_positive) -> list[Example]:
    """Return examples with outcomes in runs, in turn of each class, the rarest first.

    Of two classes the rarer has runs of `length`, the other as much longer ones as it is more frequent. Of more classes the
    runs are `length` long on average. So all classes last to the end.
    """
    by_class: dict[Any, list[Example]] = {}
    for example in examples:
        by_class.setdefault(class_of(example[0]), []).append(example)
    classes = sorted((by_class[name] for name in sorted(by_class, reverse=True)), key=len)
    size = len(classes[0]) if len(classes) == 2 else math.ceil(len(examples) / len(classes))
    ends = [min(first + length, size) for first in range(0, size, length)]
    return [
        example
        for start, end in itertools.pairwise([0, *ends])
        for members in classes
        for example in members[round(start * len(members) / size) : round(end * len(members) / size)]
    ]


def by_outcome(examples: list[Example]) -> list[Example]:
    """Return the negative examples, then the positive ones."""
    return sorted(examples, key=lambda example: example[0] > 0)


def rearranged(order: Callable[[list[Example]], list[Example]], examples: list[Example]) -> Iterator[Step]:
    """Yield the steps of `split` on shuffled examples, the lessons in another order."""
    examples = examples.copy()
    random.Random(SEED).shuffle(examples)
    lessons, requests = split(examples)
    yield Step([], order([*lessons.lessons]))
    yield requests


def of_outcomes(order: Callable[[list[Example]], list[Example]]) -> Protocol:
    """Return the protocol of an order of outcomes."""
    return Protocol(6_000, functools.partial(rearranged, order), binary_only=True)


PROTOCOLS = {
    "next": Protocol(None, one_by_one),
    "late": Protocol(20_000, in_blocks),
    "fresh": Protocol(20_000, split),
    "runs": of_outcomes(functools.partial(in_runs, length=50)),
    "runs 200": of_outcomes(functools.partial(in_runs, length=200)),
    "runs 500": of_outcomes(functools.partial(in_runs, length=500)),
    "alternating": of_outcomes(functools.partial(in_runs, length=1)),
    "sorted": of_outcomes(by_outcome),
}


# ---- measures ------------------------------------------------------------------------------------------------------------
def log_loss(probability: float, outcome: float) -> float:
    """Return the log loss of a positive outcome's probability."""
    probability = min(max(probability, LEAST_PROBABILITY), 1.0 - LEAST_PROBABILITY)
    return -math.log(probability if outcome > 0 else 1.0 - probability)


def loss_of(answers: Sequence[float], outcomes: Sequence[float], regression: bool) -> float:
    """Return the root mean squared error of numbers, or the mean log loss of probabilities."""
    pairs = zip(answers, outcomes, strict=True)
    if regression:
        return math.sqrt(sum((answer - outcome) ** 2 for answer, outcome in pairs) / len(answers))
    return sum(itertools.starmap(log_loss, pairs)) / len(answers)


def calibration_error(probabilities: Sequence[float], outcomes: Sequence[float]) -> float:
    """Return the expected calibration error: how far mean probability and share of positives differ, over bins of equal width.

    References: Naeini, Cooper, Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning.
    """
    gaps = [0.0] * N_BINS
    for probability, outcome in zip(probabilities, outcomes, strict=True):
        gaps[min(int(probability * N_BINS), N_BINS - 1)] += probability - (outcome > 0)
    return sum(map(abs, gaps)) / len(probabilities)


def mean_and_worsts(ratios: dict[str, float]) -> tuple[float, list[str]]:
    """Return the geometric mean of the streams' ratios, and the streams' names, the worst first."""
    mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
    return mean, sorted(ratios, key=ratios.__getitem__, reverse=True)
