"""The command: runs the tests of the modules in this package and prints the table; exits with 1 if a test fails."""

import argparse
import importlib
import json
import pkgutil
import sys
import time
import traceback
from collections.abc import Iterator

from learner import compiling
from tests import reliability
from tests.reliability import Row, Test


def tests() -> Iterator[tuple[str, Test]]:
    """Yield the names and the functions of all tests, module after module, in the order of their source."""
    for info in sorted(pkgutil.iter_modules(reliability.__path__), key=lambda module: module.name):
        if info.name == "__main__":
            continue
        module = importlib.import_module(f"{reliability.__name__}.{info.name}")
        for name, value in vars(module).items():
            if getattr(value, "is_row", False) and value.__module__ == module.__name__:
                yield name, value


def run(name: str, test: Test, quick: bool) -> list[Row]:
    """Run one test; an exception becomes a row that failed."""
    started = time.monotonic()
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


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability", description=reliability.__doc__.splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true", help="the same with smaller counts, for every change")
    parser.add_argument("--json", action="store_true", help="print JSON, with more figures")
    parser.add_argument("--only", metavar="NAME", action="append", help="only tests whose name has NAME in it")
    parser.add_argument("--list", action="store_true", help="print the names of the tests")
    options = parser.parse_args()
    compiling.prepare()
    chosen = [(name, test) for name, test in tests() if not options.only or any(part in name for part in options.only)]
    if options.list:
        for name, test in chosen:
            print(f"{name:24} {(test.__doc__ or '').strip().splitlines()[0]}")
        return
    from learner.model import Model

    Model().warm()  # compiled before any deadline
    rows: list[Row] = []
    if not options.json:
        print("| test | wanted | got |\n| --- | --- | --- |", flush=True)
    for name, test in chosen:
        if sys.stderr.isatty():
            print(f"{name} ...", end="\r", file=sys.stderr, flush=True)
        for row in run(name, test, options.quick):
            rows.append(row)
            if not options.json:
                mark = {True: "", False: "**failed**: ", None: "not run: "}[row.passed]
                print(f"| {row.test} | {row.wanted} | {mark}{row.got} |", flush=True)
    if options.json:
        print(json.dumps([vars(row) for row in rows], indent=1))
    sys.exit(any(row.passed is False for row in rows))


if __name__ == "__main__":
    main()
