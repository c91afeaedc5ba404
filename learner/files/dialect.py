"""What divides the cells of a table: the delimiter, recognised from the first lines."""

import csv
import re

__all__ = ["DELIMITERS", "delimiter_of", "named_delimiter"]

DELIMITERS = ",;\t|"
SAMPLE_LINES = 20
_SEP = re.compile(rb'(?:\xef\xbb\xbf)?"?sep=([\x20-\x7e\t])"?[\r\n]*')


def named_delimiter(line: bytes) -> str | None:
    r"""Return the delimiter that Excel's first line names, or None if it is not such a line.

    >>> named_delimiter(b"sep=;\r\n"), named_delimiter(b"a;b\n")
    (';', None)
    """
    found = _SEP.fullmatch(line)
    return found[1].decode() if found else None


def delimiter_of(head: bytes, target: str, usual: str) -> str:
    r"""Return the delimiter of a table.

    It must divide the first line. Of several, the one is taken whose first line names the target, then the one that gives most
    lines as many cells as the first line has, then the usual one, then the one that gives the most cells.

    Parameters
    ----------
    head : bytes
        The first bytes of the table, without Excel's line.
    target : str
        The column of the outcome.
    usual : str
        The delimiter of the format; also of a table of one column.

    Examples
    --------
    >>> delimiter_of(b"x;y;target\n1,5;2,5;0\n", "target", ",")
    ';'
    >>> delimiter_of(b"text\na;b\n", "target", ",")
    ','
    """
    text = head.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = [line for line in text.splitlines(keepends=True) if line.strip()][: SAMPLE_LINES + 1]
    if len(lines) > 1 and len(lines) <= SAMPLE_LINES and not head.endswith((b"\n", b"\r")):
        lines.pop()  # may be cut off
    ranks = {delimiter: rank for delimiter in DELIMITERS if (rank := _rank(lines, delimiter, target, usual))}
    return max(ranks, key=lambda delimiter: ranks[delimiter]) if ranks else usual


def _rank(lines: list[str], delimiter: str, target: str, usual: str) -> tuple[float, ...]:
    """Return how well a delimiter divides lines, as numbers to compare; empty if it doesn't divide the first line."""
    try:
        rows = list(csv.reader(lines, delimiter=delimiter))
    except csv.Error:  # a cell of more than 128 KB
        return ()
    if not rows or len(rows[0]) < 2:
        return ()
    n_even = sum(len(row) == len(rows[0]) for row in rows)
    return target in [name.strip() for name in rows[0]], n_even / len(rows), delimiter == usual, len(rows[0])
