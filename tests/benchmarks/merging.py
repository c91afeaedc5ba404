"""One model over P learners, each of which reads a share of the stream: a simulation of what merging them costs in loss.

``python -m tests.benchmarks.merging [FOLDER] [stream ...]`` runs on the streams of `tests.benchmarks.own_streams`, or on those
of a FOLDER as in `tests.benchmarks.league`. The service can't do this: the figures say whether it should.

Each example goes to one of the learners, drawn at random, which predicts it and then learns it. After every so many examples
of the stream all learners are merged, and go on from the merged model. The learner is plain AdaGrad (Duchi, Hazan, Singer
2011), ``G_i += g_i^2, w_i -= rate g_i / sqrt(G_i)``, in float64. Let ``dw_p`` and ``dG_p`` be what learner p has changed since
the last merge, ``a_p`` its part of a feature's updates since then, and ``b_p = dG_p / sum dG``. The rules, for each feature:

===================  ==========================================================================================================
never                the learners are not merged
added                ``w + sum dw_p``, ``G + sum dG_p``
average              ``w + mean dw_p``, ``G + mean dG_p``
by updates           ``w + sum a_p dw_p``, ``G + sum a_p dG_p``
by updates, slowed   ``w + sum a_p dw_p``, ``G + sum dG_p``: steps get as small as if one learner had read everything
by squares           ``w + sum b_p dw_p``, ``G + sum b_p dG_p``
by squares, slowed   ``w + sum b_p dw_p``, ``G + sum dG_p``
===================  ==========================================================================================================

The figures are progressive losses over those of one learner that reads the whole stream, with the rate that is best for it in
hindsight: the median over the seeds that deal out the examples, then the geometric mean over the streams, and the worst one.
``empty``: the learners begin with an empty model, and the loss is that of the whole stream. ``half``: one learner reads the
first half, then they share the second half, and the loss is that of the second half.

``--ours``: our own default learner, whose states are merged as `tests.benchmarks.merged_states` says. A block of 256 examples
is answered before it is learned, and ``empty`` begins after 1,024 examples. Before a merge a learner learns the examples that
it holds; the one learner that reads everything does so at the same moments, as that alone may make its loss smaller. The
rules by squares are left out, as the sums of squared gradients decay there.

Caveats: each value is divided by the largest size of its feature in the stream, and numeric targets are standardized, both
known beforehand. A ratio counts as 10 at most. All learners are equally fast, and a merge takes no time. Streams are short:
with more examples from an empty model the ratios get smaller.
"""

import argparse
import itertools
import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learner.commands.options import FILE_SEED
from tests.benchmarks import Asked, Row, own_streams
from tests.benchmarks.league import Ours, load_streams
from tests.benchmarks.merged_states import copied, merged
from tests.benchmarks.protocols import Example, loss_of, mean_and_worsts

Array = NDArray[Any]
Rule = Callable[[Array, Array], tuple[Array, Array]]

RATES = (0.125, 0.25, 0.5, 1.0)
LEARNERS = (2, 4, 8)
INTERVALS = (256, 1024, 4096)
MOST_EXAMPLES, N_SEEDS = 20_000, 3
SITUATIONS = {"empty": 0.0, "half": 0.5}  # the share of the stream that one learner reads before
OUR_BLOCK, OUR_START = 256, 1024  # examples
OUR_LEARNERS, OUR_RULES = (4, 8), ("never", "added", "average", "by updates")
WORST = 10.0  # what a ratio counts at most


# ---- streams -------------------------------------------------------------------------------------------------------------
class Stream(NamedTuple):
    """A stream in arrays: the targets, and each example's features as slots and values; slot 0 is the constant."""

    regression: bool
    n_features: int
    targets: Array
    slots: list[Array]
    values: list[Array]


def in_arrays(examples: Iterable[Example], regression: bool) -> Stream:
    """Return examples in arrays, with values scaled to 1 at most and numeric targets standardized."""
    names = {"": 0}
    targets, slots, values = [], [], []
    for target, features in examples:
        targets.append(float(target))
        slots.append(np.array([0, *(names.setdefault(name, len(names)) for name in features)]))
        values.append(np.array([1.0, *features.values()]))
    sizes = np.zeros(len(names))
    for where, numbers in zip(slots, values, strict=True):
        np.maximum.at(sizes, where, abs(numbers))
    sizes[sizes == 0.0] = 1.0
    scaled = [numbers / sizes[where] for where, numbers in zip(slots, values, strict=True)]
    y = np.array(targets)
    return Stream(regression, len(names), (y - y.mean()) / y.std() if regression else y, slots, scaled)


# ---- the learner ---------------------------------------------------------------------------------------------------------
def learn(model: Array, slots: Array, values: Array, target: float, rate: float, regression: bool) -> float:
    """Predict an example, then learn it; return its loss. A model is (2, features): weights, sums of squared gradients."""
    score = float(model[0, slots] @ values)
    if regression:
        loss, slope = (score - target) ** 2, score - target
    else:
        margin = min(max(target * score, -500.0), 500.0)
        loss, slope = math.log1p(math.exp(-margin)), -target / (1.0 + math.exp(margin))
    gradient = slope * values
    model[1, slots] += gradient * gradient
    model[0, slots] -= rate * gradient / np.sqrt(model[1, slots] + 1e-12)
    return loss


# ---- the rules -----------------------------------------------------------------------------------------------------------
def parts(numbers: Array) -> Array:
    """Return each learner's part of the sum of numbers of shape (learners, features); 0 where all are 0."""
    total: Array = numbers.sum(axis=0)
    return np.divide(numbers, total, out=np.zeros_like(numbers), where=total > 0.0)


# A rule gets each learner's updates and new squared gradients of each feature, of shape (learners, features), and returns what
# share of a learner's changes of weights is taken, and of its changes of the sums of squared gradients.
RULES: dict[str, Rule | None] = {
    "never": None,
    "added": lambda updates, squares: (np.ones_like(updates), np.ones_like(updates)),
    "average": lambda updates, squares: (
        np.full_like(updates, 1 / len(updates)),
        np.full_like(updates, 1 / len(updates)),
    ),
    "by updates": lambda updates, squares: (parts(updates), parts(updates)),
    "by updates, slowed": lambda updates, squares: (parts(updates), np.ones_like(updates)),
    "by squares": lambda updates, squares: (parts(squares), parts(squares)),
    "by squares, slowed": lambda updates, squares: (parts(squares), np.ones_like(updates)),
}


# ---- the simulation ------------------------------------------------------------------------------------------------------
def simulate(
    stream: Stream,
    rate: float,
    n_learners: int = 1,
    interval: int = 0,
    rule: Rule | None = None,
    seed: int = 0,
    alone: float = 0.0,
) -> float:
    """Return the loss of learners on shares of a stream, of which one alone reads the share `alone` before.

    The loss is the mean after that share: log loss, or the root mean squared error.
    """
    n, first = len(stream.targets), int(alone * len(stream.targets))
    model = np.zeros((2, stream.n_features))
    losses = [learn(model, *example, rate, stream.regression) for example in taken(stream, 0, first)]
    learners, updates = np.repeat(model[None], n_learners, axis=0), np.zeros((n_learners, stream.n_features))
    dealt = np.random.default_rng(seed).integers(n_learners, size=n).tolist()
    losses = []
    for t, example in enumerate(taken(stream, first, n), first):
        losses.append(learn(learners[dealt[t]], *example, rate, stream.regression))
        updates[dealt[t], example[0]] += 1.0
        if rule and (t + 1) % interval == 0:
            moves = learners - model
            model = model + (np.stack(rule(updates, moves[:, 1]), axis=1) * moves).sum(axis=0)
            learners[:], updates[:] = model, 0.0
    return loss_size(statistics.fmean(losses), stream.regression)


def taken(stream: Stream, first: int, end: int) -> Iterator[tuple[Array, Array, float]]:
    """Yield slots, values and target of a stream's examples."""
    targets = stream.targets[first:end].tolist()
    return zip(stream.slots[first:end], stream.values[first:end], targets, strict=True)


def loss_size(loss: float, regression: bool) -> float:
    """Return a mean loss as it is compared."""
    return math.sqrt(loss) if regression else loss


class Case(NamedTuple):
    """A line of the table."""

    situation: str
    n_learners: int
    interval: int  # 0: not merged
    rule: str


def cases(n_learners: Sequence[int], intervals: Sequence[int], rules: Iterable[str]) -> list[Case]:
    """Return all lines."""
    each = itertools.product(SITUATIONS, n_learners, rules)
    return [
        Case(situation, n, interval, rule)
        for situation, n, rule in each
        for interval in (intervals if RULES[rule] else [0])
    ]


def ratios(stream: Stream, wanted: Sequence[Case], seeds: int) -> dict[Case, float]:
    """Return the median loss over that of one learner, for each case."""
    table = {}
    for situation, alone in SITUATIONS.items():
        ones = {rate: simulate(stream, rate, alone=alone) for rate in RATES}
        rate = min(ones, key=ones.__getitem__)
        for case in (case for case in wanted if case.situation == situation):
            rule = RULES[case.rule]
            runs = [
                simulate(stream, rate, case.n_learners, case.interval, rule, seed, alone) / ones[rate]
                for seed in range(seeds)
            ]
            table[case] = bounded(statistics.median(runs))
    return table


def bounded(ratio: float) -> float:
    """Return a ratio as it counts."""
    return ratio if ratio < WORST else WORST  # nan counts, too


# ---- our own learner -----------------------------------------------------------------------------------------------------
def simulate_ours(
    examples: Sequence[Example],
    regression: bool,
    n_learners: int = 1,
    interval: int = 0,
    rule: Rule | None = None,
    *,
    alone: int,
) -> float:
    """Return the loss of our own learners on shares of a stream, after `alone` examples that one of them has read."""
    learners = [Ours(regression, {"seed": FILE_SEED}) for _ in range(n_learners)]
    learners[0].learn(examples[:alone])
    before = spread(learners, state_of(learners[0]))
    dealt = np.random.default_rng(0).integers(n_learners, size=len(examples)).tolist()
    answers = np.empty(len(examples))
    for start in range(alone, len(examples), OUR_BLOCK):
        block = range(start, min(start + OUR_BLOCK, len(examples)))
        for p, learner in enumerate(learners):
            own = [t for t in block if dealt[t] == p]
            answers[own] = learner.answers([examples[t][1] for t in own])
            learner.learn([examples[t] for t in own])
        if rule and block.stop % interval == 0:
            before = spread(learners, merged(before, [state_of(learner) for learner in learners], rule))
    return loss_of(answers[alone:].tolist(), [y for y, _ in examples[alone:]], regression)


def state_of(learner: Ours) -> dict[str, Array]:
    """Return a copy of a learner's state, in which no example is held."""
    learner.model.learn_held()
    return copied(learner.model.state())


def spread(learners: Sequence[Ours], state: dict[str, Array]) -> dict[str, Array]:
    """Give all learners one state; return it."""
    for learner in learners:
        learner.model.load_state(state)
    return copied(state)


def ratios_of_ours(examples: Sequence[Example], regression: bool, wanted: Sequence[Case]) -> dict[Case, float]:
    """As `ratios`, of our own learner, with one seed."""
    table = {}
    ones: dict[tuple[str, int], float] = {}
    for situation, share in SITUATIONS.items():
        alone = max(OUR_START, int(share * len(examples)) // OUR_BLOCK * OUR_BLOCK)
        for case in (case for case in wanted if case.situation == situation):
            rule = RULES[case.rule]
            key = situation, case.interval
            if key not in ones:
                ones[key] = simulate_ours(examples, regression, 1, case.interval, rule, alone=alone)
            loss = simulate_ours(examples, regression, case.n_learners, case.interval, rule, alone=alone)
            table[case] = bounded(loss / ones[key])
    return table


# ---- the program ---------------------------------------------------------------------------------------------------------
def streams_of(folder: Path | None, names: Sequence[str], n_examples: int) -> Iterator[tuple[str, list[Example], bool]]:
    """Yield name, examples, and whether targets are numbers, of the streams asked for."""
    module = load_streams(folder) if folder else own_streams
    for stream in module.STREAMS:
        if stream.__name__ in names or not names:
            examples = itertools.islice((example for example in stream() if example[1]), n_examples)
            yield stream.__name__, [*examples], stream.__name__ in module.REGRESSION


def summary(tables: dict[str, dict[Case, float]]) -> dict[Case, tuple[float, float]]:
    """Return for each case the geometric mean over the streams, and the worst."""
    lines = {}
    for case in next(iter(tables.values())):
        mean, worsts = mean_and_worsts({name: table[case] for name, table in tables.items()})
        lines[case] = mean, tables[worsts[0]][case]
    return lines


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""
    wanted = [Case("empty", n, 1024, rule) for rule in ("by updates", "added") for n in OUR_LEARNERS]
    names = ["VerbAgg", "Wages"] if asked.quick else []
    plain: dict[str, dict[Case, float]] = {}
    of_ours: dict[str, dict[Case, float]] = {}
    for name, examples, regression in streams_of(None, names, 3000 if asked.quick else MOST_EXAMPLES):
        plain[name] = ratios(in_arrays(examples, regression), wanted, 1 if asked.quick else N_SEEDS)
        of_ours[name] = ratios_of_ours(examples, regression, wanted)

    def figure(tables: dict[str, dict[Case, float]], rule: str) -> str:
        lines = summary(tables)
        return "; ".join(f"{lines[case][0]:.3f} ({lines[case][1]:.3f})" for case in wanted if case.rule == rule)

    yield Row(
        "a simulation: 4; 8 default learners on shares of a stream, merged every 1,024 examples by a mean weighted by updates: "
        "loss over that of one learner, 19 streams: geometric mean (worst)",
        figure(of_ours, "by updates"), arguments="--ours",
    )  # fmt: skip
    yield Row(
        "the same if their changes are added; 10 is the most that counts", figure(of_ours, "added"), arguments="--ours"
    )
    yield Row("the same two of plain AdaGrad learners", f"{figure(plain, 'by updates')}; {figure(plain, 'added')}")


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="[FOLDER] [stream]")
    parser.add_argument("--examples", type=int, default=MOST_EXAMPLES, help="of each stream, at most")
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    parser.add_argument("--ours", action="store_true", help="our own default learner")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    folder = Path(asked.words.pop(0)) if asked.words and Path(asked.words[0]).is_dir() else None
    wanted = cases(OUR_LEARNERS, INTERVALS, OUR_RULES) if asked.ours else cases(LEARNERS, INTERVALS, RULES)
    tables: dict[str, dict[Case, float]] = {}
    for name, examples, regression in streams_of(folder, asked.words, asked.examples):
        if asked.ours:
            tables[name] = ratios_of_ours(examples, regression, wanted)
        else:
            tables[name] = ratios(in_arrays(examples, regression), wanted, asked.seeds)
        if not asked.json:
            worst = max(tables[name].items(), key=lambda item: item[1])
            print(f"{name}: {len(examples):,} examples, worst {worst[1]:.3f} of {worst[0]}", flush=True)
    if asked.json:
        rows = [
            {"stream": name, **case._asdict(), "ratio": x}
            for name, table in tables.items()
            for case, x in table.items()
        ]
        print(json.dumps(rows))
        return
    print(f"\n{'':6} {'learners':>8} {'interval':>8}  {'rule':20} mean (worst)")
    for case, (mean, worst) in summary(tables).items():
        print(f"{case.situation:6} {case.n_learners:8} {case.interval:8}  {case.rule:20} {mean:.3f} ({worst:.3f})")


if __name__ == "__main__":
    main()
