"""Everything that may go wrong, done on purpose to real server and worker processes: ``python -m tests.reliability``.

Every function marked with `row` in a module of this package is one test (or several rows of one) of the table that the
command prints::

    @row
    def second_worker(quick: bool) -> Row:
        \"\"\"A sentence of what is done.\"\"\"
        ...
        return Row("owner frozen, second takes over, first wakes", "0 wrong commits", f"{n} wrong commits", n == 0)

With ``quick`` it does the same less often. What it raises is a row that failed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Row", "row"]


@dataclass
class Row:
    """A line of the table.

    Parameters
    ----------
    test : str
        What was done.
    wanted, got : str
        What must come out, and what did: measured, not typed in.
    passed : bool or None
        None when it can't be done on this machine; `got` says why.
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
