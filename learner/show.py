"""What commands print for people."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

__all__ = ["explanation", "printable", "progress_bar", "status_lines"]


@contextlib.contextmanager
def progress_bar(n_bytes: int | None, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error while a file is read, if that is a terminal; give what moves it to a position."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda position: None
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("push", total=n_bytes)
        yield lambda position: progress.update(task, completed=position)


def explanation(reply: dict[str, Any]) -> None:
    """Print a prediction and what each feature adds to its score."""
    rows = reply["contributions"]
    rows = [(printable(name), *numbers) for name, *numbers in rows]
    width = max(len(row[0]) for row in rows)
    click.echo(f"prediction {reply['prediction']:.6g}, score {reply['score']:+.6g}")
    click.echo(f"{'feature':<{width}} {'value':>12} {'- mean':>12} {'* weight':>12} {'= adds':>12}")
    for name, value, mean, weight, contribution in rows:
        shown = f"{mean:12.6g}" if mean else f"{'':12}"
        click.echo(f"{name:<{width}} {value:12.6g} {shown} {weight:+12.6g} {contribution:+12.6g}")


def printable(name: str) -> str:
    r"""Return a feature name as a terminal may have it: strangers choose names, and terminals obey control characters.

    >>> print(printable("w=\x1b[2J"), printable("w=né"))
    'w=\x1b[2J' w=né
    """
    return name if name.isprintable() else repr(name)


def status_lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of ``learner status``."""
    progress, owner = found["progress"], found["owner"]
    yield f"model             {found['model']} ({found['task']}, {found['loss']} loss)"
    if "worker" in owner:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(owner["since"])))
        yield f"owner             process {owner['pid']} on {owner['host']} since {since}, epoch {owner['epoch']}"
        yield f"durability        {owner['durability']}, confirmed up to commit {found['confirmed']} of {found['commits']}"
    else:
        yield "owner             none: start one with 'learner worker " + found["model"] + "'"
    yield f"lag               {found['lag_entries']} entries, {found['requests_waiting']} requests waiting"
    if found["trouble"]:
        yield f"trouble           {found['trouble']}: see 'learner repair {found['model']}'"
    if progress:
        yield f"examples          {progress['examples']:.0f} and {progress['rejected']:.0f} rejected"
        yield f"rate              {progress['rate']:.0f} examples/s before the last commit"
        yield f"progressive loss  {progress['loss']:.6f} (best constant's {progress['constant_loss']:.6f})"
        yield f"features          {progress['features']:.0f} in {progress['bytes'] / 1e6:.1f} MB"
        norms = [f"{name[5:]} {norm:.3g}" for name, norm in progress.items() if name.startswith("norm_")]
        if norms:
            yield f"gradient norms    {', '.join(norms)}"
    if found["committed"]:
        ago = time.time() - found["committed"]
        yield f"last commit       {ago:.1f} s ago, up to {found['cursor']} ({found['commits']} commits)"
