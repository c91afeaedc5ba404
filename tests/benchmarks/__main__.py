"""The command: runs the programs of this package one after another, and prints the table of tests/README.md.

Each program has a function ``page_rows(asked)`` that yields its rows. It is a command of its own, too, which prints more, and
its own text says what it compares and with which caveats.
"""

import argparse
import datetime as dt
import importlib
import json
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests import benchmarks
from tests.benchmarks import Asked

__all__ = ["BEGIN", "END", "HEADER", "PAGE", "Line", "markdown", "merged", "names", "parsed"]

PAGE = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- python -m tests.benchmarks --write -->\n", "<!-- end -->\n"
HEADER = "| what | figure | wanted | measured | printed by |\n| --- | --- | --- | --- | --- |\n"
CAVEATS = (
    "Ratios are medians over pairs of consecutive runs, and other work on the machine still disturbs them, latencies "
    "most of all. Random streams show speed and memory, not how good predictions are. Each program's text has its own caveats."
)
COMMAND = "python -m tests.benchmarks."


class Line(NamedTuple):
    """A line of the table, as text."""

    what: str
    figure: str
    wanted: str
    measured: str
    printed_by: str

    def __str__(self) -> str:
        return f"| {' | '.join(self)} |"


def names() -> list[str]:
    """Return the names of the programs: the modules with a function ``page_rows``."""
    modules = [info.name for info in pkgutil.iter_modules(benchmarks.__path__) if info.name != "__main__"]
    folder = Path(benchmarks.__path__[0])
    return [name for name in modules if "\ndef page_rows(" in (folder / f"{name}.py").read_text(encoding="utf-8")]


def lines_of(name: str, asked: Asked) -> Iterator[Line]:
    """Run a program, and yield its lines."""
    today = f"{dt.date.today():%d %b %Y}".removeprefix("0")
    for row in importlib.import_module(f"{benchmarks.__name__}.{name}").page_rows(asked):
        command = f"{COMMAND}{name} {row.arguments}".rstrip()
        yield Line(row.what, row.figure, row.wanted, today, f"`{command}`")


# ---- the page ------------------------------------------------------------------------------------------------------------
def heading() -> str:
    """Return what is said above the table: the machine, and what holds of all figures."""
    from tests.benchmarks.core import machine

    about = machine("numba", "numpy")
    return (
        "Last written on {processor}, {processors} processors, {system}, Python {python}, numba {numba}, numpy {numpy}; "
        "the machine's load was {load:.1f}. ".format(**about, load=os.getloadavg()[0])
        + CAVEATS
    )


def parsed(page: str) -> list[Line]:
    """Return the lines of a page's table."""
    table = page.partition(BEGIN)[2].partition(END)[0].partition(HEADER)[2]
    return [Line(*line.removeprefix("| ").removesuffix(" |").split(" | ")) for line in table.strip().splitlines()]


def merged(old: Iterable[Line], new: Iterable[Line]) -> list[Line]:
    """Return old lines with the new ones in their places, those of a program together."""
    lines = {line.what: line for line in (*old, *new)}
    programs = [line.printed_by.removeprefix(f"`{COMMAND}").split()[0].strip("`") for line in lines.values()]
    places = {program: place for place, program in enumerate(dict.fromkeys(programs))}
    in_place = sorted(zip(programs, lines.values(), strict=True), key=lambda pair: places[pair[0]])
    return [line for _, line in in_place]


def markdown(lines: Iterable[Line]) -> str:
    """Return the table."""
    return HEADER + "".join(f"{line}\n" for line in lines)


def write(lines: list[Line]) -> None:
    """Put lines into the page's table."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    table = markdown(merged(parsed(page), lines))
    PAGE.write_text(f"{before}{BEGIN}{heading()}\n\n{table}{END}{after}", encoding="utf-8")


# ---- the program ---------------------------------------------------------------------------------------------------------
def main() -> None:
    """Print the table, or JSON; exit with 1 if a program fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", action="append", help="only programs whose name has NAME in it")
    parser.add_argument("--quick", action="store_true", help="fewer examples and pairs: figures that are no evidence")
    parser.add_argument("--folder", type=Path, help="the league's streams, for the rows that need them")
    parser.add_argument("--write", action="store_true", help="put the rows into the table of tests/README.md")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--list", action="store_true", help="print the names of the programs")
    options = parser.parse_args()
    if options.write and options.quick:
        parser.error("--write must go without --quick")
    chosen = [name for name in names() if not options.only or any(part in name for part in options.only)]
    if options.list:
        print("\n".join(chosen))
        return
    asked, lines, failed = Asked(options.quick, options.folder), [], []
    if not options.json:
        print(f"{heading()}\n\n{HEADER}", end="", flush=True)
    for name in chosen:
        try:
            for line in lines_of(name, asked):
                lines.append(line)
                if not options.json:
                    print(line, flush=True)
        except (Exception, SystemExit):  # noqa: BLE001  (the other programs must still run)
            traceback.print_exc()
            failed.append(name)
    if options.json:
        print(json.dumps({"heading": heading(), "rows": [line._asdict() for line in lines], "failed": failed}))
    if options.write:
        write(lines)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
