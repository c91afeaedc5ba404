"""Programs that measure, and their common face: a function ``page_rows(asked)`` that yields the rows of the page's table."""

from pathlib import Path
from typing import NamedTuple

__all__ = ["Asked", "Row"]


class Asked(NamedTuple):
    """What is asked of a program: the short form, and the folder of the league's streams, if there is one."""

    quick: bool = False
    folder: Path | None = None


class Row(NamedTuple):
    """A row of the table: what was measured, the figure, what is wanted of it, and the arguments with which it is printed."""

    what: str
    figure: str
    wanted: str = ""
    arguments: str = ""
