"""The league as a user meets it: our loss over that of the best peer, picked in hindsight.

``python -m tests.benchmarks.league FOLDER [stream ...]`` judges the default learner on the streams of a folder, and
``--own [stream ...]`` on those of `tests.benchmarks.own_streams`, under the protocols of `tests.benchmarks.protocols`: log loss
for binary outcomes, root mean squared error for numbers. The last lines have, for each protocol, the geometric mean of the
ratios and the two worst streams.

FOLDER holds ``streams.py`` (a list STREAMS of functions that yield (target, {name: value}), and a set REGRESSION of their
names), ``peers.json`` (for each stream and peer under ``next``: loss, seconds) and ``fresh_peers.json`` (for each
``stream/protocol`` and peer: loss). River's runs were stopped after 30,000 examples, so they count only on streams that are
not longer.

``--peers FILE``
    FILE holds more figures of peers, of the form of ``fresh_peers.json``. Those that are missing are measured and kept there
    (needs the extra ``bench``), and so is the calibration of the best peer under ``fresh``.
``--references``
    Beside the peers: learners that don't count (see `tests.benchmarks.peers`).
``--without``
    What each part of the mixture is worth: the geometric mean, over the streams, of the loss over the default's, and the median
    of the time of learning over the default's, with each part left out in turn, with one fixed rate, and with each named
    algorithm at its defaults.
``--model NAME=VALUE ...``
    Another model than the default, with options as in ``learner replay --compare``.
``--held-out``
    With ``--own``: the streams that are held out, in place of the others.
"""

import argparse
import importlib.util
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import click
import msgpack

from learner.commands import main as commands
from learner.commands.compare import make_specs
from learner.commands.replay import replay
from learner.model import Model
from learner.optimizers import OPTIMIZERS
from learner.spec import Spec
from learner.tasks import TASKS
from tests.benchmarks import Asked, Row, own_streams
from tests.benchmarks.peers import BATCH_REFERENCES, PEERS, REFERENCES, Make, run
from tests.benchmarks.protocols import PROTOCOLS, Example, Step, calibration_error, loss_of, mean_and_worsts

RATES, DECAYS = TASKS["binary"].rates["late"]

RIVER_EXAMPLES = 30_000
BLOCK = 1000
OWN_PEERS = Path(__file__).with_name("own_peers.json")


# ---- streams and the figures of peers ------------------------------------------------------------------------------------
def load_streams(folder: Path) -> ModuleType:
    """Return a folder's streams, as a module."""
    spec = importlib.util.spec_from_file_location("streams", folder / "streams.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"no streams.py in {folder}")
    streams = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(streams)
    return streams


def load_peers(folder: Path) -> dict[str, dict[str, float]]:
    """Return a folder's figures: ``stream/protocol`` to peer to loss."""
    figures: dict[str, dict[str, float]] = json.loads((folder / "fresh_peers.json").read_text())
    for stream, row in json.loads((folder / "peers.json").read_text()).items():
        figures[f"{stream}/next"] = {
            peer: loss for peer, (loss, _) in row.items() if peer != "constant" and loss is not None
        }
    return figures


class Figures:
    """Figures of peers, by ``stream/protocol`` and peer.

    Parameters
    ----------
    known : dict
        Figures that are not written again.
    file : Path, optional
        A JSON file of more figures. New ones are written there; without it, none are measured.
    """

    def __init__(self, known: dict[str, dict[str, float]], file: Path | None) -> None:
        self.known, self.file = known, file
        self.kept: dict[str, dict[str, float]] = json.loads(file.read_text()) if file and file.exists() else {}

    def of(self, key: str) -> dict[str, float]:
        """Return the figures of ``stream/protocol``, by peer; those that diverged are left out."""
        row = self.known.get(key, {}) | self.kept.get(key, {})
        return {peer: figure for peer, figure in row.items() if math.isfinite(figure)}

    def complete(self, key: str, measures: Mapping[str, Callable[[], float]], always: bool = False) -> None:
        """Measure what is missing of ``stream/protocol``, if there is a file to keep it, or `always`."""
        missing = [peer for peer in measures if peer not in self.of(key) and peer not in self.kept.get(key, {})]
        if not missing or (self.file is None and not always):
            return
        row = self.kept.setdefault(key, {})
        for peer in missing:
            row[peer] = measures[peer]()
        if self.file:
            self.file.write_text(json.dumps(self.kept, indent=1) + "\n")


# ---- our learner ---------------------------------------------------------------------------------------------------------
class Ours:
    """Our learner, as a user calls it.

    Parameters
    ----------
    regression : bool
        Numbers, in place of classes.
    options : mapping
        Of the model.
    """

    def __init__(self, regression: bool, options: Mapping[str, Any]) -> None:
        self.regression = regression
        self.model = Model(task_of(regression), **options)
        self.model.warm()
        self.seconds = 0.0  # of learning

    def learn(self, lessons: Sequence[Example]) -> None:
        """Learn examples in their order."""
        for first in range(0, len(lessons), BLOCK):
            data = b"".join(map(msgpack.packb, lessons[first : first + BLOCK]))
            start = time.perf_counter()
            self.model.learn_packed(data)
            self.seconds += time.perf_counter() - start

    def answers(self, requests: Sequence[Mapping[str, float]]) -> list[float]:
        """Return for each request the probability of a positive outcome, or a number."""
        if self.regression:
            return [float(self.model.predict_one(features)) for features in requests]
        return [self.model.predict_proba_one(features)[1] for features in requests]


class Judged(NamedTuple):
    """Our figures under a protocol: the loss, the calibration error (under ``fresh``), and the seconds of learning."""

    loss: float
    calibration: float | None
    seconds: float


def judge(protocol: str, steps: Sequence[Step], regression: bool, options: Mapping[str, Any]) -> Judged:
    """Run our learner under a protocol."""
    ours = Ours(regression, options)
    if protocol == "next":  # the loop that learns predicts each example before
        ours.learn([example for step in steps for example in step.lessons])
        loss = ours.model.progressive_loss
        return Judged(math.sqrt(loss) if regression else loss, None, ours.seconds)
    answers, outcomes = run(ours, steps)
    calibration = calibration_error(answers, outcomes) if is_calibrated(protocol, regression) else None
    return Judged(loss_of(answers, outcomes, regression), calibration, ours.seconds)


def task_of(regression: bool) -> str:
    """Return the name of the task."""
    return "regression" if regression else "binary"


def is_calibrated(protocol: str, regression: bool) -> bool:
    """Tell whether the calibration error is measured."""
    return protocol == "fresh" and not regression


def options_of(words: Sequence[str], regression: bool) -> dict[str, Any]:
    """Return a model's options, of values NAME=VALUE, as `Model` takes them."""
    if not words:
        return {}
    task = task_of(regression)
    arguments = ["-", "--task", task, "--compare", " ".join(words)]
    parameters = replay.make_context("replay", arguments, click.Context(commands, **commands.context_settings)).params
    default, spec = make_specs(parameters.pop("others"), parameters, replay.params).values()
    return changes(spec, default)


def changes(spec: Spec, default: Spec) -> dict[str, Any]:
    """Return the options in which a spec differs from another, its secret aside."""
    before = default.to_data()
    return {name: value for name, value in spec.to_data().items() if name != "seed" and value != before.get(name)}


def alternatives() -> dict[str, dict[str, Any]]:
    """Return the models that show what the parts of the mixture are worth, by name."""
    models: dict[str, dict[str, Any]] = {"default": {}}
    parts = Spec().parts
    for part in parts:
        models[f"without {part}"] = {"parts": [other for other in parts if other != part]}
    models["without derived"] = {"parts": [part for part in parts if part not in ("bins", "cells", "crosses")]}
    models[f"without rate {RATES[0]:g}"] = {
        "rates": [RATES[1], RATES[1]],
        "decays": [DECAYS[1]] * 2,
        "parts": list(parts),
    }
    models[f"without rate {RATES[1]:g}"] = {
        "rates": [RATES[0], RATES[0]],
        "decays": [DECAYS[0]] * 2,
        "parts": list(parts),
    }
    models["rates alone"] = {"parts": []}
    models["at once"] = {"outcomes": "at_once"}
    models |= {f"one rate, {rate:g}": {"rates": [rate]} for rate in (0.5, 2.0, 8.0)}
    return models | {name: {"optimizer": name} for name in OPTIMIZERS}


# ---- one stream under one protocol ---------------------------------------------------------------------------------------
def measures(makers: Mapping[str, Make], steps: Sequence[Step], regression: bool) -> dict[str, Callable[[], float]]:
    """Return a function for each learner that measures its loss."""

    def measure(make: Make) -> float:
        return loss_of(*run(make(regression), steps), regression)

    return {name: (lambda make=make: measure(make)) for name, make in makers.items()}


def fair_peers(figures: Figures, key: str, n_examples: int) -> dict[str, float]:
    """Return the losses of the peers that learned the same examples."""
    return {
        peer: loss
        for peer, loss in figures.of(key).items()
        if not peer.startswith("river") or n_examples <= RIVER_EXAMPLES
    }


def judge_stream(
    name: str, protocol: str, steps: Sequence[Step], regression: bool, figures: Figures, asked: argparse.Namespace
) -> dict[str, Any]:
    """Return the row of a stream under a protocol."""
    key = f"{name}/{protocol}"
    if not figures.of(key):
        figures.complete(key, measures(PEERS, steps, regression))
    peers = fair_peers(figures, key, sum(len(step.lessons) for step in steps))
    best = min(peers, key=peers.__getitem__) if peers else None
    ours = judge(protocol, steps, regression, options_of(asked.model, regression))
    row = {"loss": ours.loss, "peer": best, "peer_loss": peers.get(best or ""), "ratio": None, "seconds": ours.seconds}
    if best:
        row["ratio"] = ours.loss / peers[best]
    if ours.calibration is not None:
        row["calibration"] = ours.calibration
        if best in PEERS:
            figures.complete(f"{key}, calibration", {best: lambda: calibration_error(*run(PEERS[best](False), steps))})
        row["peer_calibration"] = figures.of(f"{key}, calibration").get(best or "")
    if asked.references and protocol != "next":
        makers = REFERENCES if protocol == "late" else REFERENCES | BATCH_REFERENCES
        figures.complete(f"{key}, references", measures(makers, steps, regression), always=True)
        row["references"] = figures.of(f"{key}, references")
    return row


def row_text(name: str, protocol: str, row: Mapping[str, Any]) -> str:
    """Return a row as a line."""
    line = f"{protocol:12} {name:12} ours {row['loss']:10.5g}"
    if row["peer"]:
        line += f"   best peer {row['peer_loss']:10.5g} {row['peer']:20} ratio {row['ratio']:7.4f}"
    if "calibration" in row:
        line += f"   calibration error {row['calibration']:.4f}"
    if row.get("peer_calibration") is not None:
        line += f" (peer {row['peer_calibration']:.4f})"
    for reference, loss in row.get("references", {}).items():
        line += f"   {reference} {loss:.5g}"
    return line


# ---- tables --------------------------------------------------------------------------------------------------------------
def summary(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the geometric mean of the ratios of a protocol's streams, the worst and the worst but one."""
    ratios = {name: row["ratio"] for name, row in table.items() if row["ratio"] is not None}
    if not ratios:
        return None
    mean, worsts = mean_and_worsts(ratios)
    return {"mean": mean, "worsts": {name: ratios[name] for name in worsts[:2]}}


def worth(runs: Mapping[str, Mapping[str, Mapping[str, Judged]]]) -> dict[str, dict[str, float]]:
    """Return, for each alternative and protocol, the mean of its losses over the default's, and its time over the default's.

    `runs` has, by protocol, stream and alternative, what was measured.
    """
    table: dict[str, dict[str, float]] = {}
    for name in alternatives():
        row = table[name] = {}
        times: list[float] = []
        for protocol, streams in runs.items():
            pairs = {stream: (judged[name], judged["default"]) for stream, judged in streams.items()}
            row[protocol] = mean_and_worsts({stream: one.loss / other.loss for stream, (one, other) in pairs.items()})[
                0
            ]
            times += [one.seconds / other.seconds for one, other in pairs.values()]
        row["time"] = statistics.median(times)
    return table


def print_summaries(summaries: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a line for each protocol."""
    for protocol, line in summaries.items():
        worsts = ", ".join(f"{ratio:.4f} on {name}" for name, ratio in line["worsts"].items())
        print(f"{protocol:12} geometric mean {line['mean']:.4f}, worst {worsts}")


def print_worth(table: Mapping[str, Mapping[str, float]]) -> None:
    """Print what the parts are worth."""
    print(f"\n{'loss over default':18}" + "".join(f"{column:>13}" for column in table["default"]))
    for name, row in table.items():
        print(f"{name:18}" + "".join(f"{value:13.4f}" for value in row.values()))


# ---- the program ---------------------------------------------------------------------------------------------------------
def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what is asked for in words, or on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="[FOLDER] [stream]", help="no FOLDER with --own")
    parser.add_argument("--own", action="store_true", help="the streams of tests/benchmarks/own_streams.py")
    parser.add_argument("--held-out", action="store_true", help="of these the ones that are held out, and no others")
    parser.add_argument("--protocol", action="append", choices=PROTOCOLS, help="only this one; may be given many times")
    parser.add_argument("--peers", type=Path, metavar="FILE", help="measure what is missing, and keep it in FILE")
    parser.add_argument("--references", action="store_true", help="beside the peers: learners that don't count")
    parser.add_argument("--without", action="store_true", help="also with each part left out, and single algorithms")
    parser.add_argument("--model", nargs="+", default=[], metavar="NAME=VALUE", help="options of our model")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_intermixed_args(words)
    if not asked.own and not asked.words:
        parser.error("FOLDER or --own")
    asked.folder = None if asked.own else Path(asked.words.pop(0))
    return asked


def league(asked: argparse.Namespace) -> tuple[ModuleType, list[Any], Figures]:
    """Return the module of streams, those to run, and the figures of peers."""
    if asked.folder:
        streams = load_streams(asked.folder)
        chosen, figures = streams.STREAMS, Figures(load_peers(asked.folder), asked.peers)
    else:
        streams = own_streams
        chosen = [stream for stream in streams.STREAMS if (stream.__name__ in streams.HELD_OUT) == asked.held_out]
        figures = Figures(json.loads(OWN_PEERS.read_text()) if OWN_PEERS.exists() else {}, asked.peers)
    return streams, [stream for stream in chosen if not asked.words or stream.__name__ in asked.words], figures


def judge_all(asked: argparse.Namespace) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, dict[str, Judged]]]]:
    """Return the rows of the streams, and with ``--without`` the runs of the alternatives, by protocol; print the rows."""
    module, streams, figures = league(asked)
    rows: dict[str, dict[str, Any]] = {}
    runs: dict[str, dict[str, dict[str, Judged]]] = {}
    for stream in streams:
        name, regression = stream.__name__, stream.__name__ in module.REGRESSION
        examples = [*stream()]
        for protocol, entry in PROTOCOLS.items():
            wanted = protocol in asked.protocol if asked.protocol else asked.peers or figures.of(f"{name}/{protocol}")
            if not wanted or (regression and entry.binary_only):
                continue
            steps = [*entry.of(examples)]
            row = rows.setdefault(protocol, {})[name] = judge_stream(name, protocol, steps, regression, figures, asked)
            if not asked.json:
                print(row_text(name, protocol, row), flush=True)
            if asked.without:
                options = options_of(asked.model, regression)
                runs.setdefault(protocol, {})[name] = {
                    other: judge(protocol, steps, regression, options | changed)
                    for other, changed in alternatives().items()
                }
    return rows, runs


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""

    def mean_and_worst(*words: str) -> str:
        rows, _ = judge_all(arguments([*words, "--json"]))
        line = summary(next(iter(rows.values())))
        return f"{line['mean']:.3f} ({max(line['worsts'].values()):.3f})" if line else "no peers"

    late, next_ = ("--protocol", "late"), ("--protocol", "next", "--model", "outcomes=at_once")
    if asked.folder:
        yield Row(
            "loss of requests whose neighbours' outcomes nobody has heard yet, over the best of eight Vowpal Wabbits in "
            "hindsight, six streams: geometric mean (worst)",
            mean_and_worst(str(asked.folder), *late), arguments="FOLDER --protocol late",
        )  # fmt: skip
        yield Row(
            "progressive loss with `outcomes=at_once`, over the best of eleven peer runs, six streams: the same",
            mean_and_worst(str(asked.folder), *next_), arguments="FOLDER --protocol next --model outcomes=at_once",
        )  # fmt: skip
    yield Row(
        "loss of such requests on 13 streams of our own: the same",
        mean_and_worst("--own", *(["bananas", "Wages"] if asked.quick else []), *late), arguments="--own --protocol late",
    )  # fmt: skip
    if not asked.quick:
        yield Row(
            "on six more that were held out: the same", mean_and_worst("--own", "--held-out", *late),
            arguments="--own --held-out --protocol late",
        )  # fmt: skip


def main() -> None:
    """Print the rows and the summaries, or JSON."""
    asked = arguments()
    rows, runs = judge_all(asked)
    summaries = {protocol: line for protocol, table in rows.items() if (line := summary(table))}
    if asked.json:
        parts = {"without": worth(runs)} if runs else {}
        print(json.dumps({"streams": rows, "summaries": summaries, **parts}))
        return
    print_summaries(summaries)
    if runs:
        print_worth(worth(runs))


if __name__ == "__main__":
    main()
