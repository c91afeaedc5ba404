"""Everything that may go wrong, done on purpose to real server and worker processes: ``python -m tests.reliability``.

The command prints a table. Every function marked with `row` in a module of this package is a test, which returns one or
several rows of the table::

    @row
    def second_worker(quick: bool) -> Row:
        \"\"\"A sentence of what is done.\"\"\"
        ...
        return Row("owner frozen, second takes over, first wakes", "0 wrong commits", f"{n} wrong commits", n == 0)

With ``quick`` a test does the same less often. An exception becomes a row that failed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from learner import compiling

__all__ = ["Row", "row"]

compiling.choose_target()  # before numba is imported: workers find what is compiled here, and the other way round


@dataclass
class Row:
    """A row of the table.

    Parameters
    ----------
    test : str
        What was done.
    wanted, got : str
        The required result, and the measured result.
    passed : bool or None
        None if the test was not run; `got` says why.
    details : dict
        More figures, which ``--json`` prints.
    """

    test: str
    wanted: str
    got: str
    passed: bool | None
    details: dict[str, Any] = field(default_factory=dict)


Test = Callable[[bool], "Row | list[Row]"]


def row(function: Test) -> Test:
    """Mark a function as a test of the table."""
    function.__dict__["is_row"] = True
    return function
