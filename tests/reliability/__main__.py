"""The command: runs the tests of the modules in this package and prints the table; exits with 1 if a test fails."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from tests import reliability
from tests.reliability.running import each, tests

if TYPE_CHECKING:
    from tests.reliability import Row


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.reliability", description=reliability.__doc__.splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true", help="the same with smaller counts, for every change")
    parser.add_argument("--json", action="store_true", help="print JSON, with more figures")
    parser.add_argument("--only", metavar="NAME", action="append", help="only tests whose name has NAME in it")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="so many tests at once, in processes of their own"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the tests")
    options = parser.parse_args()
    chosen = [(name, test) for name, test in tests() if not options.only or any(part in name for part in options.only)]
    if options.list:
        for name, test in chosen:
            print(f"{name:24} {(test.__doc__ or '').strip().splitlines()[0]}")
        return
    rows: list[Row] = []
    if not options.json:
        print("| test | wanted | got |\n| --- | --- | --- |", flush=True)
    for found in each([name for name, _ in chosen], options.quick, options.jobs):
        for row in found:
            rows.append(row)
            if not options.json:
                mark = {True: "", False: "**failed**: ", None: "not run: "}[row.passed]
                print(f"| {row.test} | {row.wanted} | {mark}{row.got} |", flush=True)
    if options.json:
        print(json.dumps([vars(row) for row in rows], indent=1))
    sys.exit(any(row.passed is False for row in rows))


if __name__ == "__main__":
    main()
