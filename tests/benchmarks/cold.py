"""Cold start, from an empty cache folder to the first example learned: ``python -m tests.benchmarks.cold [CASE ...]``.

The compiled loops are kept on disk, so only the first process that uses them has to compile them. Each case runs twice
with the same cache folder, which is empty at first: *cold* is the first process, *warm* the second. The figures are
seconds of CPU time (of the process and its child processes) and of wall-clock time, medians over the runs.

- ``import alone`` imports and creates a model, but learns nothing: no cache shortens this time.
- ``default`` to ``ftrl`` create a model of that kind, learn one example from Python and score it.
- ``worker`` is ``learner worker MODEL --burst`` on a server of its own. One example and one request wait for each process,
  which ends when it has learned, answered and committed.

Without a CASE all cases run. PATH in ``--against PATH`` is another checkout of this project, such as a clone at an earlier
commit. Then both learners run in turn, and each figure is printed as ``before → after``; ``before`` is the other checkout.

Caveats:

- The cache folder is empty, but Python's bytecode exists, and the system has read most files before: the first start
  after an installation or a reboot takes longer.
- A child process that outlives its parent is not counted.
- The wall-clock time depends on what else the machine does; the CPU time depends on it much less.
"""

import argparse
import json
import os
import site
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from learner.service.store import connection, embedded
from tests.benchmarks import Asked, Row
from tests.benchmarks.core import machine, progress_bar, require_checkout, run, run_ours, table

KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "one rate": {"rates": [0.5]},
    "neural": {"neural": [16]},
    "multiclass": {"task": "multiclass"},
    "ftrl": {"optimizer": "ftrl"},
}
IMPORT, WORKER = "import alone", "worker"
CASES = (IMPORT, *KINDS, WORKER)
STATES = ("cold", "warm")
SECONDS = ("cpu", "wall")

# Run as `python -c` in the folder of a checkout, whose learner is then imported. Without options it learns nothing.
FIRST = """
import json, sys

import learner
from learner.model import Model

model = Model(**json.loads(sys.argv[1])) if len(sys.argv) > 1 else Model()
if len(sys.argv) > 1:
    x = {"colour=red": 1, "size": 2.5, "weight": 0.25}
    model.learn_one(x, "yes" if model.task == "multiclass" else 1)
    answer = model.predict_one(x) if model.task == "multiclass" else model.score_one(x)
    assert answer == "yes" or answer > 0.0 and model.n_examples == 1, answer
print(json.dumps({"file": learner.__file__}))
"""


@contextmanager
def empty_caches() -> Iterator[tuple[dict[str, str], Path]]:
    """Give an environment with empty caches, and the temporary folder that holds them, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="learner-") as place:
        folder = Path(place)
        places = {
            "HOME": "home", "XDG_CACHE_HOME": "cache", "NUMBA_CACHE_DIR": "numba", "LEARNER_CACHE": "learner",
            "LEARNER_HOME": "data",
        }  # fmt: skip
        for name in places.values():
            (folder / name).mkdir()
        packages = {"PYTHONUSERBASE": site.getuserbase()}  # otherwise Python would look in the new home folder
        yield os.environ | packages | {key: str(folder / name) for key, name in places.items()}, folder


def first_example(options: dict[str, Any] | None, root: Path, env: dict[str, str]) -> dict[str, float]:
    """Learn and score one example in a new process, or none if there are no options; return the process's seconds."""
    seconds: dict[str, float] = run_ours(FIRST, [] if options is None else [json.dumps(options)], root, env)["process"]
    return seconds


class Served:
    """A model on a server, for whose worker one example and one request wait each time it starts.

    Parameters
    ----------
    url : str
        The server's URL.
    root : Path
        The checkout whose learner is used. Creating the model uses other caches, since only the worker's start is measured.
    """

    def __init__(self, url: str, root: Path) -> None:
        self.client, self.root, self.n = connection.client(url), root, 0
        self.client.flushall()
        with empty_caches() as (env, _):
            run([sys.executable, "-m", "learner", "create", "cold"], root, env | {"REDIS_URL": url})

    def start(self, env: dict[str, str], url: str) -> dict[str, float]:
        """Run the worker until nothing is left to do, check what it did, and return its seconds."""
        self.n += 1
        record, prefix, replies = '{"colour": "red", "size": 2.5}', "learner:{cold}:", "learner:replies:cold"
        self.client.xadd(prefix + "examples", {"record": record, "target": "1"})
        self.client.xadd(prefix + "requests", {"record": record, "reply": replies})
        done = run([sys.executable, "-m", "learner", "worker", "cold", "--burst"], self.root, env | {"REDIS_URL": url})
        answer = self.client.lpop(replies)
        committed = self.client.xrevrange(prefix + "progress", count=1)
        if not answer or "score" not in json.loads(answer) or int(committed[0][1][b"examples"]) != self.n:
            got = f"the answer {answer!r}, the commit {committed}"
            sys.exit(f"worker must learn, answer and commit (got {got}): {done.output}")
        return {"cpu": done.cpu, "wall": done.wall}


def measure(runs: int, checkouts: dict[str, Path], cases: Sequence[str] = CASES) -> dict[str, Any]:
    """Run the cases, and return the figures."""
    measured: dict[tuple[str, ...], list[float]] = {}
    progress, step = progress_bar((1 + runs * len(cases)) * len(checkouts))
    with progress, embedded.temporary() as url:
        for which, root in checkouts.items():
            step(f"{which}: bytecode")
            with empty_caches() as (env, _):
                first_example(None, root, env)
                run([sys.executable, "-m", "learner", "worker", "--help"], root, env)
        for i in range(runs):
            for case in cases:
                for which in list(checkouts)[:: -1 if i % 2 else 1]:  # the checkouts take turns at going first
                    step(f"{case}, {which}")
                    root = checkouts[which]
                    served = Served(url, root) if case == WORKER else None
                    with empty_caches() as (env, folder):
                        for state in STATES:
                            seconds = served.start(env, url) if served else first_example(KINDS.get(case), root, env)
                            for kind in SECONDS:
                                measured.setdefault((which, case, f"{state}_{kind}"), []).append(seconds[kind])
                        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                        measured.setdefault((which, case, "cache_bytes"), []).append(size)
    result: dict[str, Any] = {"machine": machine("numba", "numpy"), "runs": runs}
    for (which, case, key), values in measured.items():
        result.setdefault(which, {}).setdefault(case, {})[key] = statistics.median(values)
    return result


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the row of the page."""
    row = measure(1 if asked.quick else 3, require_checkout(None), [WORKER])["after"][WORKER]
    yield Row(
        "a worker's first example learned, request answered and commit written, CPU seconds from an empty cache (a full one)",
        f"{row['cold_cpu']:.1f} ({row['warm_cpu']:.1f})",
        arguments=WORKER,
    )


def show(result: dict[str, Any]) -> str:
    """Return the table."""
    sides = [result[which] for which in ("before", "after") if which in result]

    def cell(case: str, key: str, form: str, unit: float = 1.0) -> str:
        return " → ".join(format(side[case][key] / unit, form) for side in sides)

    rows = [
        [
            case,
            *(cell(case, f"{state}_{kind}", ".2f") for state in STATES for kind in SECONDS),
            cell(case, "cache_bytes", ".2f", 1e6),
        ]
        for case in sides[0]
    ]
    header = ["first example", "cold: CPU s", "clock s", "warm: CPU s", "clock s", "cache, MB"]
    runs = result["runs"]
    quoted = f"medians of {runs} run{'s' if runs > 1 else ''}" + (", before → after" if len(sides) > 1 else "")
    hardware = "{processor}, {processors} processors, {system}; Python {python}, numba {numba}, numpy {numpy}"
    return f"{hardware.format(**result['machine'])}; {quoted}\n\n{table(header, rows)}"


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; by default all")
    parser.add_argument("--runs", type=int, default=3, help="how often each case starts from an empty folder")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--against", type=Path, metavar="PATH", help="another checkout, measured beside this one")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs must be at least 1 (got {options.runs})")
    if unknown := [case for case in options.cases if case not in CASES]:
        parser.error(f"CASE must be of {', '.join(CASES)} (got {', '.join(unknown)})")
    result = measure(options.runs, require_checkout(options.against), options.cases or CASES)
    print(json.dumps(result) if options.json else show(result))


if __name__ == "__main__":
    main()
