"""``learner top``: all models of a server, live."""

import contextlib
import math
import os
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

import click

from learner.commands.options import json_option, redis_option, to_json
from learner.messages import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from learner.service.store.listing import Board

__all__ = ["top"]

N_STRONGEST, N_REJECTED = 10, 10
KEYS = {b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down", b"\x1b": "escape"}
KEYS |= {b"k": "up", b"j": "down", b"\r": "enter", b"\n": "enter", b"\x7f": "backspace", b"\x08": "backspace"}
SUSPEND = "\x1a"
LOOK_SECONDS = 0.2  # between two looks at the terminal's size
PAUSE = 20.0  # between two readings of an open model's curve and weights, in times of what one takes
HELP = "arrows or j, k: select   enter: open   s: sort   /: filter   q: quit"
HELP_OPEN = "arrows or j, k: scroll   esc or q: back"


@click.command()
@click.option(
    "--every",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Seconds between two readings of the server.",
)
@click.option("--once", is_flag=True, help="Print the models once, as where the output is no terminal.")
@redis_option
@json_option
def top(every: float, once: bool, redis_url: str | None, as_json: bool) -> None:
    """Show the server's models, live: state, rate, lag, losses with a graph each, memory, refusals, drift.

    Keys: arrows or j and k select, Enter opens a model, Esc goes back, s sorts by the next column, / filters by name, q ends.
    """
    from learner.service.store import connection, embedded
    from learner.service.store.listing import Board

    url = embedded.find_or_start(redis_url)
    board = Board(connection.client(url))
    if as_json:
        click.echo(to_json(board.read()))
    elif once or not _is_terminal():
        from learner.commands.screens import table

        for line in table(board.read()):
            click.echo(line.plain.rstrip())
    else:
        _run(board, url, every)


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") not in (None, "dumb")


# ---- the terminal --------------------------------------------------------------------------------------------------------
def _run(board: "Board", url: str, every: float) -> None:
    """Show the board until a key ends it, and leave the terminal as it was."""
    from rich.console import Console
    from rich.live import Live

    for name in ("COLUMNS", "LINES"):  # where a shell exports them, rich would keep to them when the terminal changes
        os.environ.pop(name, None)
    console = Console()
    view = View(board, url, console)
    with contextlib.suppress(KeyboardInterrupt):
        while not view.is_over:
            with _keyboard() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
                _show(view, keys, live, every)
            if not view.is_over:
                os.kill(0, signal.SIGTSTP)  # until the shell's fg


def _show(view: "View", keys: "Callable[[float], list[str]]", live: "Live", every: float) -> None:
    """Show the view until a key ends it, or Ctrl-Z is pressed."""
    from rich.text import Text

    due, size, pressed = 0.0, live.console.size, list[str]()
    while not view.is_over and SUSPEND not in pressed:
        is_due = time.monotonic() >= due
        if is_due:
            view.look()
            due = time.monotonic() + every
        pressed = keys(min(LOOK_SECONDS, max(due - time.monotonic(), 0.0)) if not is_due else 0.0)
        for key in pressed:
            view.press(key)
        if is_due or pressed or live.console.size != size:
            size = live.console.size
            live.update(Text("\n", no_wrap=True, overflow="crop").join(view.lines()), refresh=True)


@contextlib.contextmanager
def _keyboard() -> "Iterator[Callable[[float], list[str]]]":
    """Have the terminal give each key at once, Ctrl-Z too; give a function that returns those pressed. Signals end it."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    handlers = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)}
    try:
        tty.setcbreak(descriptor)
        own = termios.tcgetattr(descriptor)
        own[6][termios.VSUSP] = bytes([os.fpathconf(descriptor, "PC_VDISABLE") & 0xFF])
        termios.tcsetattr(descriptor, termios.TCSADRAIN, own)
        yield lambda seconds: _pressed(descriptor, seconds)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _pressed(descriptor: int, seconds: float) -> list[str]:
    """Return the keys pressed within a time."""
    if not select.select([descriptor], [], [], seconds)[0]:
        return []
    data = os.read(descriptor, 1024)
    if not data:  # the terminal is gone
        raise KeyboardInterrupt
    return keys_in(data)


def _end(number: int, _frame: Any) -> NoReturn:
    sys.exit(128 + number)


def keys_in(data: bytes) -> list[str]:
    r"""Return the keys that a terminal sent: names of special ones, and characters.

    >>> keys_in(b"\x1b[Bsq"), keys_in(b"\x1b"), keys_in("/é".encode()), keys_in(b"\x1b[1;5C")
    (['down', 's', 'q'], ['escape'], ['/', 'é'], [])
    """
    keys = []
    while data:
        n = next((len(key) for key in KEYS if len(key) > 1 and data.startswith(key)), 1)
        if n == 1 and data.startswith((b"\x1b[", b"\x1bO")):  # another special key, which ends with a letter or ~
            n = next((i + 1 for i, c in enumerate(data) if i > 1 and 64 <= c <= 126), len(data))
            data = data[n:]
            continue
        if n == 1 and data[0] >= 128:  # a character of several bytes
            n = next((i for i, c in enumerate(data) if i and c & 0xC0 != 0x80), len(data))
        keys.append(KEYS.get(data[:n]) or data[:n].decode(errors="replace"))
        data = data[n:]
    return keys


# ---- what is shown -------------------------------------------------------------------------------------------------------
class View:
    """What is shown: the table, or one model that is open.

    Parameters
    ----------
    board : Board
        Reads the server.
    url : str
        The server's.
    console : Console
        Knows the terminal's size.

    Attributes
    ----------
    is_over : bool
        Whether a key has ended it.
    """

    def __init__(self, board: "Board", url: str, console: "Console") -> None:
        from learner.commands import screens

        self.is_over = False
        self._board, self._url, self._console = board, url, console
        self._blocks = screens.BLOCKS if console.encoding.lower().startswith("utf") else screens.PLAIN
        self._sorts = list(screens.SORTS)
        self._by, self._part = self._sorts[0], ""
        self._is_typing = False
        self._selected: str | None = None
        self._opened: Opened | None = None
        self._top = 0  # the first line, or row, that is shown
        self._read_at: float | None = None

    def look(self) -> None:
        """Read the server."""
        self._board.look()
        if not self._board.trouble:
            self._read_at = time.time()
            if self._opened:
                self._opened.look(self._board)

    def _rows(self) -> list[Any]:
        from learner.commands.screens import order

        return order(self._board.rows, self._by, self._part)

    # ---- keys ----
    def press(self, key: str) -> None:
        """Do what a key says."""
        if self._is_typing:
            self._type(key)
        elif self._opened:
            if key in ("escape", "q"):
                self._opened, self._top = None, 0
            self._top = max(self._top + {"down": 1, "up": -1}.get(key, 0), 0)
        elif key in ("escape", "q"):
            self.is_over = key == "q" or not self._part
            self._part = ""
        elif key in ("up", "down"):
            self._move(1 if key == "down" else -1)
        elif key == "s":
            self._by = self._sorts[(self._sorts.index(self._by) + 1) % len(self._sorts)]
        elif key == "/":
            self._is_typing, self._part = True, ""
        elif key == "enter" and self._selected:
            self._opened, self._top = Opened(self._selected, self._url), 0
            self._opened.look(self._board)

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self._is_typing = False
            self._part = self._part if key == "enter" else ""
        elif key == "backspace":
            self._part = self._part[:-1]
        else:
            self._part += {"up": "k", "down": "j"}.get(key, key)

    def _move(self, by: int) -> None:
        names = [row["model"] for row in self._rows()]
        if names:
            at = names.index(self._selected) + by if self._selected in names else 0
            self._selected = names[min(max(at, 0), len(names) - 1)]

    # ---- lines ----
    def lines(self) -> "list[Text]":
        """Return the lines of the screen: at most as many as it has."""
        from rich.text import Text

        width, height = self._console.size
        rows = self._rows()
        if self._selected not in [row["model"] for row in rows]:
            self._selected = rows[0]["model"] if rows else None
        body = self._open_lines(width, height - 2) if self._opened else self._table_lines(rows, width, height - 2)
        foot = f"filter: {one_line(self._part)}_" if self._is_typing else HELP_OPEN if self._opened else HELP
        if self._part and not self._is_typing and not self._opened:
            foot = f"filter: {one_line(self._part)} (esc: all)   " + foot
        return [self._head(len(rows)), *body[: height - 2], *[Text()] * (height - 2 - len(body)), Text(foot, "dim")]

    def _head(self, n: int) -> "Text":
        from rich.text import Text

        if self._board.trouble:
            since = (
                ""
                if self._read_at is None
                else f"; this is of {time.strftime('%H:%M:%S', time.localtime(self._read_at))}"
            )
            return Text(f"server: {self._board.trouble}, trying again{since}", "bold red")
        what = one_line(self._opened.model) if self._opened else f"{n} models, by {self._by}"
        return Text(f"{what}   {time.strftime('%H:%M:%S')}", "bold")

    def _table_lines(self, rows: list[Any], width: int, height: int) -> "list[Text]":
        from rich.text import Text

        from learner.commands.screens import table

        titles, *lines = table(rows, width, self._by, self._blocks)
        if not lines:
            what = "no models: make one with 'learner create MODEL'" if not self._part else "no model has such a name"
            return [titles, Text(what if self._read_at else "")]
        at = [row["model"] for row in rows].index(self._selected)
        self._top = min(max(self._top, at - height + 2), at)
        lines[at].stylize("reverse")
        return [titles, *lines[self._top : self._top + height - 1]]

    def _open_lines(self, width: int, height: int) -> "list[Text]":
        from learner.commands.screens import model_lines

        opened = self._opened
        assert opened is not None  # noqa: S101
        row = next((row for row in self._board.rows if row["model"] == opened.model), {"drift_examples": None})
        lines = list(model_lines(row, opened.details, opened.points, opened.strongest, width, self._blocks))
        self._top = min(self._top, max(len(lines) - height, 0))
        return lines[self._top :]


class Opened:
    """The model that is open.

    Parameters
    ----------
    model, url : str
        Its name, and its server's URL.

    Attributes
    ----------
    details : dict
        See `learner.service.store.listing.Board.details`.
    points : list of (float, float, float)
        Of the graph: examples, the mean loss since the point before, the best constant's.
    strongest : list of (str, float, float), or str
        The strongest features, their weights and effects; or why they are not known. Another thread reads them.
    """

    def __init__(self, model: str, url: str) -> None:
        self.model, self._url = model, url
        self.details: dict[str, Any] = {}
        self.points: list[tuple[float, float, float]] = []
        self.strongest: list[tuple[str, float, float]] | str = "reading the weights ..."
        self._due = 0.0

    def look(self, board: "Board") -> None:
        """Read the model; now and then its weights, too."""
        self.details = board.details(self.model, N_REJECTED)
        if time.monotonic() >= self._due:
            self._due = math.inf
            threading.Thread(target=self._read_learned, daemon=True).start()

    def _read_learned(self) -> None:
        from learner.client import Client
        from learner.service.curves import curve
        from learner.service.store import Store

        started = time.monotonic()
        try:
            client = Client(self.model, self._url)
            if losses := curve(Store(client.redis, self.model).progress()):
                self.points = list(zip(losses.examples, losses.recent, losses.constant, strict=True))
            self.strongest = client.committed().weights.strongest(N_STRONGEST)
        except Exception as error:  # noqa: BLE001  (it is shown)
            self.strongest = str(error)
        self._due = time.monotonic() + PAUSE * (time.monotonic() - started)
