"""The learners beside ours in the league, and how any learner is run under a protocol.

A learner has ``learn(lessons)`` and ``answers(requests)``: probabilities of a positive outcome, or numbers in a regression.
Vowpal Wabbit counts in eight settings, its own defaults among them. The references answer other questions, so they do not
count: what crosses of all features give (``-q ::``), what a small network gives (``--nn 16``), and what gradient boosted trees
with LightGBM's defaults give that see all lessons at once.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from tests.benchmarks.protocols import Example, Step

__all__ = ["BATCH_REFERENCES", "PEERS", "REFERENCES", "SETTINGS", "Learner", "LightGBM", "as_text", "clipped", "run"]

MAX_SCORE = 30.0  # of Vowpal Wabbit, beyond which its probability is not computed


class Learner(Protocol):
    """What a learner must do to take part."""

    def learn(self, lessons: Sequence[Example]) -> None:
        """Learn examples in their order."""

    def answers(self, requests: Sequence[Mapping[str, float]]) -> list[Any]:
        """Return for each request the probability of a positive outcome, a number, or the probabilities of classes."""


def run(learner: Learner, steps: Iterable[Step]) -> tuple[list[Any], list[Any]]:
    """Return a learner's answers to the requests of a protocol, and their outcomes."""
    answers: list[Any] = []
    outcomes: list[Any] = []
    for requests, lessons in steps:
        answers += learner.answers([features for _, features in requests])
        outcomes += [outcome for outcome, _ in requests]
        learner.learn(lessons)
    return answers, outcomes


class VowpalWabbit:
    """Vowpal Wabbit in this process, with 22 bits.

    Parameters
    ----------
    regression : bool
        Squared loss, in place of the logistic one.
    flags : str
        Other options of its command line.
    """

    def __init__(self, regression: bool, flags: str = "") -> None:
        from vowpalwabbit import Workspace

        loss = "squared" if regression else "logistic"
        self.regression = regression
        self.workspace = Workspace(f"--quiet -b 22 --loss_function {loss} {flags}", enable_logging=False)

    def learn(self, lessons: Sequence[Example]) -> None:
        """Learn examples in their order."""
        for outcome, features in lessons:
            self.workspace.learn(f"{outcome:.9g} {as_text(features)}")

    def answers(self, requests: Sequence[Mapping[str, float]]) -> list[float]:
        """Return for each request the probability of a positive outcome, or a number."""
        scores = [self.workspace.predict(as_text(features)) for features in requests]
        return scores if self.regression else [1.0 / (1.0 + math.exp(-clipped(score))) for score in scores]


def clipped(score: float) -> float:
    """Return a score within the bounds."""
    return min(max(score, -MAX_SCORE), MAX_SCORE)


def as_text(features: Mapping[str, float]) -> str:
    """Return features in Vowpal Wabbit's text format."""
    return "| " + " ".join(name if value == 1.0 else f"{name}:{value:.9g}" for name, value in features.items())


class LightGBM:
    """Gradient boosted trees at LightGBM's defaults, on a sparse matrix of the lessons' features.

    Parameters
    ----------
    regression : bool
        Numbers, in place of classes.
    """

    def __init__(self, regression: bool) -> None:
        import lightgbm

        self.regression = regression
        self.trees = (lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier)(verbosity=-1, n_jobs=1)
        self.columns: dict[str, int] = {}

    def learn(self, lessons: Sequence[Example]) -> None:
        """Fit the trees to all lessons at once."""
        if not lessons:
            return
        for _, features in lessons:
            for name in features:
                self.columns.setdefault(name, len(self.columns))
        self.trees.fit(self.matrix([features for _, features in lessons]), [outcome for outcome, _ in lessons])

    def answers(self, requests: Sequence[Mapping[str, float]]) -> list[float]:
        """Return for each request the probability of a positive outcome, or a number."""
        return [float(answer) for answer in self.trees.booster_.predict(self.matrix(requests))] if requests else []

    def matrix(self, rows: Sequence[Mapping[str, float]]) -> Any:
        """Return rows as a sparse matrix; features that no lesson had are left out."""
        from scipy.sparse import csr_matrix

        known = [[(self.columns[name], value) for name, value in row.items() if name in self.columns] for row in rows]
        ends = [0]
        for row in known:
            ends.append(ends[-1] + len(row))
        columns = [column for row in known for column, _ in row]
        values = [value for row in known for _, value in row]
        return csr_matrix((values, columns, ends), shape=(len(rows), len(self.columns)), dtype=float)


Make = Callable[[bool], Learner]


def vowpal_wabbit(flags: str) -> Make:
    """Return a function that makes a learner of Vowpal Wabbit with flags."""
    return lambda regression: VowpalWabbit(regression, flags)


SETTINGS = {  # of Vowpal Wabbit
    "vw": "",
    "-l .1": "-l 0.1",
    "-l 2": "-l 2",
    "sgd": "--sgd",
    "ftrl": "--ftrl",
    "coin": "--coin",
    "freegrad": "--freegrad",
    "adaptive": "--adaptive",
}
PEERS: dict[str, Make] = {name: vowpal_wabbit(flags) for name, flags in SETTINGS.items()}
REFERENCES: dict[str, Make] = {"-q ::": vowpal_wabbit("-q ::"), "--nn 16": vowpal_wabbit("--nn 16")}
BATCH_REFERENCES: dict[str, Make] = {"LightGBM": LightGBM}  # where all lessons come before all requests
