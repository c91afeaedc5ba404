"""The screens of ``learner top``: what the server says of its models, as lines of text of a given width."""

import bisect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.text import Text

from learner.commands.show import printable, rejected_lines, status_lines
from learner.messages import one_line

__all__ = ["COLUMNS", "SORTS", "chart", "fitting", "graph", "model_lines", "order", "table"]

BLOCKS, PLAIN = "▁▂▃▄▅▆▇█", "_.,-=+*#"  # a graph's heights; where the terminal has no Unicode
LEAST_SPREAD = 0.05  # of the mean: a graph of numbers closer together than this looks flat
GRAPH = 8  # characters
CHART_ROWS = 6
COLOURS = {"running": "green", "starting": "cyan", "answering_only": "yellow", "none": "dim"}  # others are red


def graph(numbers: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """Return the last numbers as a line of blocks, from the least to the largest.

    >>> graph([1.0, 2.0, 4.0], 5), graph([1.0, 1.001], 5), graph([], 5)
    ('  ▁▃█', '   ▄▅', '     ')
    """
    numbers = numbers[-width:]
    if not numbers:
        return " " * width
    low, high = min(numbers), max(numbers)
    if (least := LEAST_SPREAD * abs(low + high) / 2) > high - low:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    top = len(blocks) - 1
    return "".join(blocks[round((x - low) / (high - low) * top) if high > low else 0] for x in numbers).rjust(width)


def compact(number: float | None, width: int = 6) -> str:
    """Return a count in few characters.

    >>> compact(None), compact(7), compact(12345.6), compact(123456), compact(5e6)
    ('-', '7', '12346', '123456', '5000k')
    """
    if number is None:
        return "-"
    for suffix in ("", "k", "M", "G", "T"):
        text = f"{number:.0f}{suffix}" if not suffix or number >= 100 else f"{number:.1f}{suffix}"
        if len(text) <= width:
            return text
        number /= 1000.0
    return "many"


def _loss(number: float | None) -> str:
    return "-" if number is None else f"{number:.4f}" if abs(number) < 1000 else f"{number:.2e}"


class Column(NamedTuple):
    """A column of the table: its title, its width, how early it is left out where it is narrow (0: never), and its text."""

    title: str
    width: int
    rank: int
    text: Callable[[Mapping[str, Any], str], str]  # of a row, with the blocks of graphs


def _figure(name: str) -> Callable[[Mapping[str, Any], str], str]:
    return lambda row, _: compact(row[name])


COLUMNS = (
    Column("model", 10, 0, lambda row, _: one_line(row["model"])),
    Column("task", 10, 5, lambda row, _: row["task"] or "-"),
    Column("state", 10, 0, lambda row, _: row["state"]),
    Column("lag", 6, 0, _figure("lag_entries")),
    Column("waiting", 7, 9, _figure("requests_waiting")),
    Column("answerers", 9, 10, _figure("answerers")),
    Column("rate", 6, 1, _figure("rate")),
    Column("loss", 8, 0, lambda row, _: _loss(row["progressive_loss"])),
    Column("", GRAPH, 2, lambda row, blocks: graph(row["recent_loss"], GRAPH, blocks)),
    Column("constant", 8, 4, lambda row, _: _loss(row["constant_loss"])),
    Column("late", 8, 1, lambda row, _: _loss(row["late_loss"])),
    Column("", GRAPH, 6, lambda row, blocks: graph(row["recent_late_loss"], GRAPH, blocks)),
    Column("MB", 6, 7, lambda row, _: "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}"),
    Column("refused", 7, 3, lambda row, _: compact(row["rejected"])),
    Column("drift at", 8, 8, lambda row, _: compact(row["drift_examples"], 8)),
)
SORTS = {  # the columns to sort by, and the figure of each; the largest first, but for names
    "model": "model",
    "state": "state",
    "lag": "lag_entries",
    "rate": "rate",
    "loss": "progressive_loss",
    "late": "late_loss",
    "MB": "bytes",
    "refused": "rejected",
    "drift at": "drift_examples",
}
LEFT = ("model", "task", "state")  # aligned to the left


def order(rows: Iterable[Mapping[str, Any]], by: str, part: str = "") -> list[Mapping[str, Any]]:
    """Return the rows whose names contain a part, sorted by a column."""
    chosen = sorted((row for row in rows if part.lower() in row["model"].lower()), key=lambda row: str(row["model"]))
    name = SORTS[by]
    if by in LEFT:
        return sorted(chosen, key=lambda row: str(row[name]))
    return sorted(chosen, key=lambda row: float("-inf") if row[name] is None else row[name], reverse=True)


def fitting(width: int | None) -> list[Column]:
    """Return the columns that fit into a width; None: all."""
    columns = sorted(COLUMNS, key=lambda column: column.rank)
    while width and columns[-1].rank and sum(column.width + 1 for column in columns) - 1 > width:
        columns.pop()
    return [column for column in COLUMNS if column in columns]


def table(
    rows: Sequence[Mapping[str, Any]], width: int | None = None, by: str | None = None, blocks: str = BLOCKS
) -> list[Text]:
    """Return the table's lines, the titles first; the names take what the other columns leave."""
    columns = fitting(width)
    rest = sum(column.width + 1 for column in columns[1:])
    longest = max([columns[0].width, *(len(one_line(row["model"])) for row in rows)])
    names = longest if width is None else max(columns[0].width, min(longest, width - rest))
    titles = Text(_row([column.title for column in columns], columns, names), "bold")
    if by:
        titles.highlight_words([by], "bold underline")
    lines = [titles]
    for row in rows:
        line = Text(_row([column.text(row, blocks) for column in columns], columns, names))
        start = sum(column.width + 1 for column in columns[1 : [c.title for c in columns].index("state")]) + names + 1
        line.stylize(COLOURS.get(row["state"], "red"), start, start + len(row["state"]))
        if row["error"] and width is None:
            line.append("  " + one_line(row["error"]))
        lines.append(line)
    return lines


def _row(texts: Sequence[str], columns: Sequence[Column], names: int) -> str:
    cells = []
    for i, (text, column) in enumerate(zip(texts, columns, strict=True)):
        width = names if i == 0 else column.width
        text = text if len(text) <= width else text[: width - 1] + "~"
        cells.append(text.ljust(width) if column.title in LEFT else text.rjust(width))
    return " ".join(cells)


# ---- one model -----------------------------------------------------------------------------------------------------------
Point = tuple[float, float, float]  # examples, the mean loss since the point before, the best constant's


def chart(points: Sequence[Point], width: int, blocks: str = BLOCKS) -> list[Text]:
    """Return a graph of the losses between commits over the number of examples, and the best constant's loss as a line."""
    width = max(width - 11, 10)
    last = points[-1][0]
    examples = [point[0] for point in points]
    shown = [points[bisect.bisect_left(examples, last * (i + 0.5) / width)] for i in range(width)]
    low, high = (choose(number for point in shown for number in point[1:]) for choose in (min, max))
    spread = max(high - low, LEAST_SPREAD * abs(high), 1e-9)
    low = min(max(low - spread / CHART_ROWS, 0.0), low)
    unit = (high - low or 1.0) / CHART_ROWS
    lines = []
    for i in reversed(range(CHART_ROWS)):
        label = _loss(high) if i == CHART_ROWS - 1 else _loss(low) if i == 0 else ""
        line = Text(f"{label:>9} ")
        for _, loss, constant in shown:
            filled = (loss - low) / unit - i
            if i <= (constant - low) / unit <= i + 1 and filled < 1.0:
                line.append("-", "yellow")
            elif filled <= 0.0:
                line.append(" ")
            else:
                line.append(blocks[min(int(filled * len(blocks)), len(blocks) - 1)], "cyan")
        lines.append(line)
    return [*lines, Text(f"{'0':>11}{f'{last:,.0f} examples':>{width - 1}}", "dim")]


def model_lines(
    row: Mapping[str, Any],
    details: Mapping[str, Any],
    points: Sequence[Point],
    strongest: Sequence[tuple[str, float, float]] | str,
    width: int,
    blocks: str = BLOCKS,
) -> Iterator[Text]:
    """Yield the lines about one model: losses, status, strongest features, and what was rejected last.

    Parameters
    ----------
    row : mapping
        The model's, of the table.
    details : mapping
        See `learner.service.store.listing.Board.details`.
    points : sequence
        Of the chart; none: there is none.
    strongest : sequence or str
        Features with weights and effects, the largest effect first; or why there are none.
    width : int
        In characters.
    blocks : str
        What graphs are made of.
    """
    if points:
        drift = "" if row["drift_examples"] is None else f"; it rose, as found at {row['drift_examples']:,.0f} examples"
        yield Text(f"loss between commits; - is the best constant's{drift}", "bold")
        yield from chart(points, width, blocks)
        yield Text()
    if "error" in details:
        yield Text(one_line(details["error"]), "red")
        return
    for line in status_lines(details["status"]):
        yield Text(one_line(line))
    yield from (Text(), Text("strongest features: effect on the score, weight", "bold"))
    if isinstance(strongest, str):
        yield Text(one_line(strongest), "dim")
    else:
        for name, weight, effect in strongest:
            yield Text(f"{effect:+10.4g} {weight:+10.4g}  {printable(name)}")
    yield from (Text(), Text("rejected, the latest first", "bold"))
    for entry in reversed(details["rejected"]):
        when = time.strftime("%H:%M:%S", time.localtime(int(entry["id"].partition("-")[0]) / 1e3))
        for i, line in enumerate(rejected_lines(entry)):
            yield Text(one_line(line if i else f"{when}  {line}"))
    if not details["rejected"]:
        yield Text("none", "dim")
