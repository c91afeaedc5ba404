"""Speed and memory of the learner beside Vowpal Wabbit's on the same examples: ``python -m tests.benchmarks.core``.

Vowpal Wabbit runs as its users run it: as a process of its own, with logistic loss and otherwise its default settings. It
runs in four ways: with 2^18 weights (its default) and with 2^22, from a text file and from the binary cache that it makes
of the text. The time is the wall-clock time of the whole process, less that of the same process on an empty file: what
remains is the pass over the examples. A second table includes the start.

Ours is a process of its own, too. Before the clock starts, it has loaded its compiled loops, and the examples into memory
as msgpack. The time is that of one pass, from these bytes to updated weights. There are two streams of 200,000 examples
(see `tests.benchmarks.streams`):

- sparse, 25 features an example out of about 240,000 names: learned by the default model, with one learning rate
  (``rates=[0.5]``), and with a neural head of 16 units, mixed with the linear experts and alone. All four are compared
  with the same plain Vowpal Wabbit, which has no neural head here;
- dense, 30 numbers an example, arrays of float32: learned by the default model and with one learning rate.

In every pair ours runs once, then Vowpal Wabbit in its four ways. The figures are our examples a second over Vowpal
Wabbit's, medians over the pairs: above 1, ours is faster.

A last table has the microseconds of one call from Python, on a model that has learned 10,000 examples, medians over
batches of 100 calls: ``learn_packed`` and ``score_packed`` of a packed example, ``learn_one`` and ``score_one`` of a dict
or an array.

PATH in ``--against PATH`` is another checkout of this project, such as a clone at an earlier commit. Then both learners
run in turn, on the same data in the same pairs, and each figure is printed as ``before → after``; ``before`` is the other
checkout.

Caveats:

- Vowpal Wabbit's time includes parsing text, and ours includes parsing msgpack. Vowpal Wabbit's cache is parsed already and
  holds hashes, not names.
- Vowpal Wabbit keeps no names and does not look for collisions: with 2^18 weights many of the sparse stream's names
  share a weight. With 2^24 or more, the operating system would spend most of the time on allocating memory.
- Vowpal Wabbit runs on two threads, one that parses and one that learns, and so does ours. ``CPU/wall`` says how busy they
  were. If the system runs both threads on one processor, ``CPU/wall`` is 1, and the pass may take twice as long as with
  two processors. Both happen on the same machine within a minute, so the lowest and highest rates are printed, too.
- Ours has read its file before the clock starts; Vowpal Wabbit reads while it learns, from the system's file cache.
- Other work on the machine disturbs both. Ratios are steadier than examples a second.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks import Asked, Row
from tests.benchmarks.streams import write_dense, write_zipf

__all__ = ["ROOT", "machine", "progress_bar", "require_checkout", "run_ours", "table"]

ROOT = Path(__file__).resolve().parents[2]

KINDS: dict[str, tuple[str, dict[str, Any]]] = {  # our row: its stream, and the model's options
    "default": ("sparse", {}),
    "one rate": ("sparse", {"rates": [0.5]}),
    "neural, mixed": ("sparse", {"neural": [16]}),
    "neural, alone": ("sparse", {"neural": {"hidden": [16], "alone": True}}),
    "dense": ("dense", {}),
    "dense, one rate": ("dense", {"rates": [0.5]}),
}
WRITERS = {"sparse": write_zipf, "dense": write_dense}
CALLS = ("learn_packed", "learn_one", "score_packed", "score_one")
PEERS = {  # a way to run Vowpal Wabbit: the options for its bits (18 by default), and whether it reads its cache
    "18 bits, text": ([], False),
    "18 bits, cache": ([], True),
    "22 bits, text": (["-b", "22"], False),
    "22 bits, cache": (["-b", "22"], True),
}

# Run as `python -c` in the folder of a checkout, whose learner is then imported. Arguments: JSON options, file of examples.
OURS = """
import itertools, json, statistics, sys, time

import msgpack
import numpy as np

import learner
from learner.model import Model

options = {"seed": b"sixteen bytes it"} | json.loads(sys.argv[1])
with open(sys.argv[2], "rb") as file:
    data = file.read()

Model(**options).learn_packed(data[:1])  # loads the loops, in any checkout
model = Model(**options)
cpu, wall = time.process_time(), time.perf_counter()
model.learn_packed(data)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
figures = {
    "file": learner.__file__,
    "seconds": wall,
    "cpu": cpu,
    "examples": model.n_examples,
    "features": model.n_features,
    "bytes_per_feature": model.nbytes / model.n_features,
    "progressive_loss": model.progressive_loss,
}

BEFORE, N, BATCH = 10_000, 2500, 100
unpacker = msgpack.Unpacker(max_buffer_size=len(data))
unpacker.feed(data)
ends = [0]
for _ in range(BEFORE + 3 * N):
    unpacker.skip()
    ends.append(unpacker.tell())
packed = [data[start:end] for start, end in itertools.pairwise(ends)]


def unpacked(features):
    if isinstance(features, msgpack.ExtType):
        return np.frombuffer(features.data, "<f4")
    return features


examples = [(unpacked(x), y) for y, x in map(msgpack.unpackb, packed[BEFORE:])]


def microseconds(call, items):
    times = []
    for first in range(0, len(items), BATCH):
        batch = items[first : first + BATCH]
        start = time.perf_counter()
        for item in batch:
            call(item)
        times.append((time.perf_counter() - start) / len(batch) * 1e6)
    return statistics.median(times)


model = Model(**options)
model.learn_packed(data[: ends[BEFORE]])
asked = [x for x, _ in examples[2 * N :]]
learner_of = model.learner if hasattr(model, "learner") else model.linear  # as older checkouts call it
figures["microseconds"] = {
    "learn_packed": microseconds(model.learn_packed, packed[BEFORE : BEFORE + N]),
    "learn_one": microseconds(lambda example: model.learn_one(*example), examples[N : 2 * N]),
    "score_packed": microseconds(learner_of.score_packed, [model.pack(x) for x in asked]),
    "score_one": microseconds(model.score_one, asked),
}
assert model.n_examples == BEFORE + 2 * N and not model.n_rejected
print(json.dumps(figures))
"""


class Run(NamedTuple):
    """One run of a process: seconds of wall-clock time and of CPU time, and the output."""

    wall: float
    cpu: float
    output: str


def run(command: Sequence[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> Run:
    """Run a command to its end and measure it; if it fails, exit with its output."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)[:200]}: must end with 0 (got {done.returncode}):\n{done.stderr or done.stdout}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, done.stdout + done.stderr)


# ---- ours ------------------------------------------------------------------------------------------------------------------
def run_ours(program: str, arguments: Sequence[str], root: Path, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a program with the learner of a checkout; return the JSON object that it prints, and the ``process``'s seconds.

    With ``-c`` Python imports from the current folder before any installed package. The object's ``file`` must show that.
    """
    done = run([sys.executable, "-c", program, *arguments], root, env)
    figures: dict[str, Any] = json.loads(done.output.strip().splitlines()[-1])
    if not Path(figures["file"]).resolve().is_relative_to(root):
        sys.exit(f"learner must be imported from {root} (got {figures['file']})")
    return figures | {"process": {"wall": done.wall, "cpu": done.cpu}}


def require_checkout(path: Path | None) -> dict[str, Path]:
    """Return the checkouts to measure: this one as ``after``, and the other checkout, if there is one, as ``before``."""
    if path is None:
        return {"after": ROOT}
    if not (path / "learner" / "model.py").is_file():
        sys.exit(f"--against must be a checkout of this project, with learner/model.py (got {path})")
    return {"before": path.resolve(), "after": ROOT}


# ---- Vowpal Wabbit ---------------------------------------------------------------------------------------------------------
class Peer:
    """Vowpal Wabbit on a stream, run in one of its ways.

    Parameters
    ----------
    text, empty : Path
        A file with the examples, and an empty file.
    bits : list of str
        The options that set the bits.
    cached : bool
        Whether to make a cache of each file and read the caches.
    """

    def __init__(self, text: Path, empty: Path, bits: list[str], cached: bool) -> None:
        self.command = [sys.executable, "-m", "vowpalwabbit", *bits, "--loss_function", "logistic"]
        self.full, self.start = ["-d", str(text)], ["-d", str(empty)]
        if cached:
            name = "".join(bits)
            for data, path in ((self.full, text), (self.start, empty)):
                cache = ["--cache_file", f"{path}{name}.cache"]
                run([*self.command, "--quiet", *data, *cache, "--kill_cache"])
                data += cache
        self.output = run([*self.command, *self.full]).output
        if cached:  # make sure that it reads the cache: with an empty text file it must find the examples all the same
            output = run([*self.command, *self.start[:2], *self.full[2:]]).output
            if self.number("number of examples", output) != self.number("number of examples"):
                sys.exit(f"Vowpal Wabbit must read its cache (got {output})")

    def number(self, name: str, output: str | None = None) -> float:
        """Return a figure that it prints at the end, of the first run or of another output."""
        match = re.search(rf"{name} = ([0-9.e+-]+)", self.output if output is None else output)
        if not match:
            sys.exit(f"Vowpal Wabbit must print its {name} (got {self.output if output is None else output})")
        return float(match[1])

    def measure(self) -> tuple[Run, Run]:
        """Run it on the examples, and on the empty file."""
        return run([*self.command, "--quiet", *self.full]), run([*self.command, "--quiet", *self.start])


# ---- the machine, and what is printed --------------------------------------------------------------------------------------
def machine(*packages: str) -> dict[str, Any]:
    """Return the processor's name, the number of processors that may be used, and the versions of Python and packages."""
    name = ""
    if sys.platform == "darwin":
        name = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True).stdout
    elif (information := Path("/proc/cpuinfo")).exists():
        match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", information.read_text(), re.MULTILINE)
        name = match[1] if match else ""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": name.strip() or platform.processor() or platform.machine(),
        "processors": usable,
        "system": platform.system(),
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, with aligned columns.

    >>> print(table(["what", "s"], [["cold", "1.5"], ["warm", "10.5"]]))
    | what |    s |
    | ---- | ---: |
    | cold |  1.5 |
    | warm | 10.5 |
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        rest = (f" {cell:>{width}} |" for cell, width in zip(cells[1:], widths[1:], strict=True))
        return f"| {cells[0]:<{widths[0]}} |" + "".join(rest)

    return "\n".join(map(line, [header, rule, *rows]))


def progress_bar(total: int, quiet: bool = False) -> tuple[Progress, Callable[[str], None]]:
    """Return a progress bar on standard error, shown if that is a terminal, and a function to call before each step."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
    task = progress.add_task("", total=total)
    steps = -1

    def step(name: str) -> None:
        nonlocal steps
        steps += 1
        progress.update(task, description=name, completed=steps)

    return progress, step


# ---- measuring -------------------------------------------------------------------------------------------------------------
def measure(
    pairs: int, checkouts: dict[str, Path], quiet: bool = False, rows: Sequence[str] = tuple(KINDS)
) -> dict[str, Any]:
    """Run some rows of the tables, by default all, and return the figures."""
    kinds = {row: KINDS[row] for row in rows}
    streams = list(dict.fromkeys(stream for stream, _ in kinds.values()))
    n_steps = len(streams) * (1 + len(PEERS)) + len(kinds) * (len(checkouts) + pairs * (len(checkouts) + len(PEERS)))
    progress, step = progress_bar(n_steps, quiet)
    with tempfile.TemporaryDirectory() as place, progress:
        files, peers = {}, {}
        for stream in streams:
            folder = Path(place) / stream
            folder.mkdir()
            step(f"writing the {stream} stream")
            files[stream], text = WRITERS[stream](folder)
            empty = folder / "empty.vw"
            empty.write_text("")
            for name, (bits, cached) in PEERS.items():
                step(f"Vowpal Wabbit, {stream}, {name}: trying")
                peers[stream, name] = Peer(text, empty, bits, cached)

        def ours(kind: str, which: str) -> dict[str, Any]:
            stream, options = kinds[kind]
            return run_ours(OURS, [json.dumps(options), str(files[stream])], checkouts[which])

        for kind in kinds:  # the first run of each compiles
            for which in checkouts:
                step(f"{kind}, {which}: compiling")
                ours(kind, which)
        runs: dict[tuple[str, str], list[Any]] = {}
        for i in range(pairs):
            for kind, (stream, _) in kinds.items():
                for which in list(checkouts)[:: -1 if i % 2 else 1]:  # the checkouts take turns at going first
                    step(f"{kind}, {which}")
                    runs.setdefault((kind, which), []).append(ours(kind, which))
                for name in PEERS:
                    step(f"{kind}: Vowpal Wabbit, {name}")
                    runs.setdefault((kind, name), []).append(peers[stream, name].measure())
    result: dict[str, Any] = {"machine": machine("numba", "numpy", "vowpalwabbit"), "pairs": pairs}
    for which in checkouts:
        result[which] = {kind: ours_figures(runs, kind, which) for kind in kinds}
    if "before" in checkouts:
        result["after_over_before"] = {
            kind: statistics.median(
                before["seconds"] / after["seconds"]
                for before, after in zip(runs[kind, "before"], runs[kind, "after"], strict=True)
            )
            for kind in kinds
        }
    result["vw"] = {
        stream: {
            name: vw_figures(
                peers[stream, name], [pair for kind in kinds if kinds[kind][0] == stream for pair in runs[kind, name]]
            )
            for name in PEERS
        }
        for stream in streams
    }
    return result


def ours_figures(runs: dict[tuple[str, str], list[Any]], kind: str, which: str) -> dict[str, Any]:
    """Return the figures of our runs of one kind and one checkout."""
    our_runs = runs[kind, which]
    last = our_runs[-1]
    ratios, ranges, whole = {}, {}, {}
    for name in PEERS:
        pairs = list(zip(our_runs, runs[kind, name], strict=True))
        over_vw = [(full.wall - start.wall) / ours["seconds"] for ours, (full, start) in pairs]
        ratios[name], ranges[name] = statistics.median(over_vw), [min(over_vw), max(over_vw)]
        whole[name] = statistics.median(full.wall / ours["seconds"] for ours, (full, _) in pairs)
    return {
        "examples_per_second": statistics.median(ours["examples"] / ours["seconds"] for ours in our_runs),
        "over_vw": ratios,
        "over_vw_ranges": ranges,
        "over_vw_with_its_start": whole,
        "cpu_over_wall": statistics.median(ours["cpu"] / ours["seconds"] for ours in our_runs),
        **{key: last[key] for key in ("examples", "features", "bytes_per_feature", "progressive_loss")},
        "microseconds": {call: statistics.median(ours["microseconds"][call] for ours in our_runs) for call in CALLS},
    }


def vw_figures(peer: Peer, runs: list[tuple[Run, Run]]) -> dict[str, float]:
    """Return the figures of Vowpal Wabbit's runs."""
    n = peer.number("number of examples")
    rates = [n / (full.wall - start.wall) for full, start in runs]
    return {
        "examples_per_second": statistics.median(rates),
        "lowest": min(rates),
        "highest": max(rates),
        "examples_per_second_with_its_start": statistics.median(n / full.wall for full, _ in runs),
        "start_seconds": statistics.median(start.wall for _, start in runs),
        "cpu_over_wall": statistics.median((full.cpu - start.cpu) / (full.wall - start.wall) for full, start in runs),
        "progressive_loss": peer.number("average loss"),
    }


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""
    ours = measure(1 if asked.quick else 5, require_checkout(None), quiet=True)["after"]

    def over(kind: str) -> str:
        text, cache, *more = (f"{ours[kind]['over_vw'][name]:.2f}" for name in PEERS)
        first = next(iter(PEERS))
        with_start, lowest = ours[kind]["over_vw_with_its_start"][first], ours[kind]["over_vw_ranges"][first][0]
        return f"{text} ({cache}; {', '.join(more)}), lowest of its pairs {lowest:.2f}; with its start {with_start:.2f}"

    def microseconds(kind: str) -> str:
        return "; ".join(f"{ours[kind]['microseconds'][call]:.1f}" for call in ("learn_one", "score_one"))

    yield Row(
        "examples/s over Vowpal Wabbit's from text at its default of 18 bits (from its cache; both at 22 bits)",
        over("default"), "at least 0.6",
    )  # fmt: skip
    yield Row("the same, one learning rate", over("one rate"), "at least 1.3")
    yield Row("the same, a neural head of 16, beside the linear experts", over("neural, mixed"))
    yield Row("the same, 30 dense numbers as arrays", over("dense"))
    yield Row("one example from Python, learned; scored, microseconds", microseconds("default"), "scored: at most 10")
    yield Row(
        "bytes of memory a feature, including its name, at 247,000 features",
        f"{ours['default']['bytes_per_feature']:.0f}", "at most 130",
    )  # fmt: skip


# ---- printing --------------------------------------------------------------------------------------------------------------
def show(result: dict[str, Any]) -> str:
    """Return the tables."""
    sides = [result[which] for which in ("before", "after") if which in result]

    def cell(kind: str, form: str, *path: str) -> str:
        values = []
        for side in sides:
            value = side[kind]
            for key in path:
                value = value[key]
            values.append(format(value, form))
        return " → ".join(values)

    def shown(name: str, *columns: tuple[str, str, tuple[str, ...]]) -> str:
        header = [name, *(title for title, _, _ in columns)]
        return table(
            header, [[kind, *(cell(kind, form, *path) for _, form, path in columns)] for kind in result["after"]]
        )

    machine, pairs = result["machine"], result["pairs"]
    quoted = f"medians of {pairs} pair{'s' if pairs > 1 else ''}" + (", before → after" if len(sides) > 1 else "")
    parts = [
        "{processor}, {processors} processors, {system}; Python {python}, numba {numba}, numpy {numpy}, "
        "Vowpal Wabbit {vowpalwabbit}".format(**machine),
        f"Examples a second over Vowpal Wabbit's, its start taken off; {quoted}:\n\n"
        + shown("ours", *((name, ".2f", ("over_vw", name)) for name in PEERS)),
        "The same with its start left in (ours is without one):\n\n"
        + shown("ours", *((name, ".2f", ("over_vw_with_its_start", name)) for name in PEERS)),
        "Ours, on its two threads:\n\n"
        + shown(
            "ours",
            ("examples/s", ",.0f", ("examples_per_second",)),
            ("CPU/wall", ".2f", ("cpu_over_wall",)),
            ("features", ",", ("features",)),
            ("bytes each", ".1f", ("bytes_per_feature",)),
            ("log loss", ".5f", ("progressive_loss",)),
        ),
        "Microseconds of a call from Python, after 10,000 examples:\n\n"
        + shown("ours", *((call, ".2f", ("microseconds", call)) for call in CALLS)),
        "Vowpal Wabbit, on its two threads:\n\n"
        + table(
            ["stream", "examples/s", "lowest", "highest", "with its start", "start, s", "CPU/wall", "log loss"],
            [
                [
                    f"{stream}, {name}", f"{row['examples_per_second']:,.0f}",
                    f"{row['lowest']:,.0f}", f"{row['highest']:,.0f}",
                    f"{row['examples_per_second_with_its_start']:,.0f}", f"{row['start_seconds']:.3f}",
                    f"{row['cpu_over_wall']:.2f}", f"{row['progressive_loss']:.5f}",
                ]
                for stream, rows in result["vw"].items()
                for name, row in rows.items()
            ],
        ),
    ]  # fmt: skip
    if "after_over_before" in result:
        ratios = [[kind, f"{ratio:.2f}"] for kind, ratio in result["after_over_before"].items()]
        parts.insert(1, "Examples a second, after over before:\n\n" + table(["ours", "ratio"], ratios))
    return "\n\n".join(parts)


def main() -> None:
    """Print the tables, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="how often each is run")
    parser.add_argument(
        "--only", action="append", choices=KINDS, metavar="ROW", help=f"one of {', '.join(KINDS)}; may be repeated"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--against", type=Path, metavar="PATH", help="another checkout, measured beside this one")
    options = parser.parse_args()
    if options.pairs < 1:
        parser.error(f"--pairs must be at least 1 (got {options.pairs})")
    if not importlib.util.find_spec("vowpalwabbit"):
        sys.exit("Vowpal Wabbit must be installed: pip install '.[bench]'")
    result = measure(options.pairs, require_checkout(options.against), rows=options.only or tuple(KINDS))
    print(json.dumps(result) if options.json else show(result))


if __name__ == "__main__":
    main()
