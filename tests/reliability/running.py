"""Running the tests of this package: one after another, or several at once in processes of their own."""

import importlib
import multiprocessing
import pkgutil
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from learner import compiling
from tests import reliability
from tests.reliability import Row, Test

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["each", "tests"]


def tests() -> "Iterator[tuple[str, Test]]":
    """Yield the names and the functions of all tests, module after module, in the order of their source."""
    for info in sorted(pkgutil.iter_modules(reliability.__path__), key=lambda module: module.name):
        if info.name == "__main__":
            continue
        module = importlib.import_module(f"{reliability.__name__}.{info.name}")
        for name, value in vars(module).items():
            if getattr(value, "is_row", False) and value.__module__ == module.__name__:
                yield name, value


def run(name: str, quick: bool) -> list[Row]:
    """Run one test; an exception becomes a row that failed."""
    started, test = time.monotonic(), dict(tests())[name]
    try:
        result = test(quick)
    except Exception as error:  # noqa: BLE001  (the other tests must still run)
        traceback.print_exc()
        got = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        result = Row(name.replace("_", " "), "a result", got, False)
    rows = result if isinstance(result, list) else [result]
    for row in rows:
        row.details = {"name": name, "seconds": round(time.monotonic() - started, 1), **row.details}
    return rows


def each(names: list[str], quick: bool, jobs: int) -> "Iterator[list[Row]]":
    """Yield the rows of each test, in order; several tests may run at once."""
    if jobs == 1:
        warm()
        for name in names:
            if sys.stderr.isatty():
                print(f"{name} ...", end="\r", file=sys.stderr, flush=True)
            yield run(name, quick)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), warm) as pool:
        yield from pool.map(run, names, [quick] * len(names))


def warm() -> None:
    """Compile the loops, or load them, before any deadline."""
    compiling.prepare()
    from learner.model import Model

    Model().warm()
