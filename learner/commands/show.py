"""What commands print for people."""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from learner.commands.candidates import lines_of_comparison, verdict
from learner.errors import LearnerError
from learner.late import order_notice
from learner.service.liveness import owner_silence
from learner.service.wire import to_json

__all__ = [
    "answer_text",
    "answered_lines",
    "explanation",
    "figure_lines",
    "late_lines",
    "memory_lines",
    "notice_lines",
    "password_file",
    "printable",
    "progress_bar",
    "rejected_lines",
    "status_lines",
]

DATA_CHARACTERS = 500  # shown of a rejected example
WORKER_STATES = {  # of processes that are not the owner, in words
    "starting": "compiling its loops, or loading",
    "waiting": "in its place when it ends",
    "dead": "it ended without a word",
}

FIGURES = {  # name in `learner.metrics.figures` -> title, and the best constant's value if it is the same for all data
    "log_loss": ("log loss", None),
    "accuracy": ("accuracy", None),
    "auc": ("AUC", 0.5),
    "calibration_error": ("calibration error", None),
    "mae": ("MAE", None),
    "rmse": ("RMSE", None),
    "r2": ("R2", 0.0),
    "deviance": ("deviance", None),
    "pinball": ("pinball loss", None),
    "covered": ("covered", None),
}


@contextlib.contextmanager
def progress_bar(n_bytes: int | None, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error, if that is a terminal; give a function that takes the bytes read so far."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda position: None
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("push", total=n_bytes)
        yield lambda position: progress.update(task, completed=position)


def answer_text(answer: dict[str, Any]) -> str:
    """Return an answer as one line: the likeliest label and its probability; without labels the prediction.

    >>> answer_text({"task": "binary", "prediction": 0.25, "score": -1.1, "label": "ham"})
    'ham 0.75'
    >>> answer_text({"task": "binary", "prediction": 0.25, "score": -1.1, "label": -1})
    '0.25'
    """
    label, p = answer.get("label"), answer["prediction"]
    if not isinstance(label, str):
        return "-" if p is None else f"{p:.6g}"  # many classes before the first example
    if answer["task"] == "binary" and answer["score"] <= 0.0:
        p = 1.0 - p
    return f"{printable(label)} {p:.6g}"


def explanation(reply: dict[str, Any]) -> None:
    """Print a prediction and what each feature adds to its score."""
    rows = reply["contributions"]
    rows = [(printable(name), *numbers) for name, *numbers in rows]
    width = max(len(row[0]) for row in rows)
    click.echo(f"prediction {reply['prediction']:.6g}, score {reply['score']:+.6g}")
    click.echo(f"{'feature':<{width}} {'value':>12} {'- mean':>12} {'* weight':>12} {'= adds':>12}")
    for name, value, mean, weight, contribution in rows:
        centre = f"{mean:12.6g}" if mean else f"{'':12}"
        click.echo(f"{name:<{width}} {value:12.6g} {centre} {weight:+12.6g} {contribution:+12.6g}")


def printable(name: str) -> str:
    r"""Return a feature name without control characters, which terminals would obey: strangers can choose names.

    >>> print(printable("w=\x1b[2J"), printable("w=né"))
    'w=\x1b[2J' w=né
    """
    return name if name.isprintable() else repr(name)


def figure_lines(figures: dict[str, float]) -> Iterator[str]:
    r"""Yield the lines of the progressive evaluation: over all examples and the last, each beside the best constant's figure.

    >>> figures = {"mae": 1.0, "constant_mae": 3.0, "window_mae": 0.5, "window_constant_mae": 2.0, "window_examples": 7500}
    >>> print(*figure_lines(figures), sep="\n")
                             all     constant    last 7500     constant
    MAE                        1            3          0.5            2
    """
    if "window_examples" not in figures:  # the commit was written before these figures existed
        return
    last = f"last {figures['window_examples']:.0f}"
    yield f"{'':17} {'all':>11} {'constant':>12} {last:>12} {'constant':>12}"
    for name, (label, constant) in FIGURES.items():
        if name in figures:
            row = f"{label:17} {figures[name]:11.6g}"
            beside = [figures.get(f"{window}constant_{name}", constant) for window in ("", "window_")]
            columns = [f"{'' if value is None else format(value, '.6g'):>12}" for value in beside]
            yield f"{row} {columns[0]} {figures['window_' + name]:12.6g} {columns[1]}".rstrip()


def late_lines(figures: dict[str, float]) -> Iterator[str]:
    """Yield the line of the late loss; none before the first block was measured.

    >>> print(*late_lines({"late_loss": 0.5, "late_examples": 3000}))
    late loss         0.500000 (of 3000 examples)
    """
    if figures.get("late_examples"):
        yield f"late loss         {figures['late_loss']:.6f} (of {figures['late_examples']:.0f} examples)"


def answered_lines(figures: dict[str, float], kept: int | None) -> Iterator[str]:
    """Yield the lines about late outcomes; none where nobody asks with an ``outcome_id``.

    >>> print(*answered_lines({"answered_loss": 0.5, "answered_examples": 90, "expired": 2}, 7))
    answered loss     0.500000 (of 90 answers whose outcomes came) late outcomes     7 awaited, 2 didn't come in time
    """
    if figures.get("answered_examples"):
        n = figures["answered_examples"]
        yield f"answered loss     {figures['answered_loss']:.6f} (of {n:.0f} answers whose outcomes came)"
    if kept or figures.get("answered_examples") or figures.get("expired"):
        awaited = "?" if kept is None else kept
        yield f"late outcomes     {awaited} awaited, {figures.get('expired', 0):.0f} didn't come in time"


def notice_lines(figures: dict[str, float], progressive_loss: float) -> Iterator[str]:
    """Yield a sentence if the late loss is far above the progressive loss: see `learner.late.order_notice`."""
    if notice := order_notice(figures.get("late_loss", 0.0), figures.get("late_examples", 0), progressive_loss):
        yield notice


def rejected_lines(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of ``learner rejected list`` about one entry."""
    yield f"{entry['id']}  {printable(entry['stage'])}: {printable(entry['reason'])}"
    data = printable(entry["data"] if entry["example"] is None else to_json(entry["example"]))
    cut = f" ... ({entry['bytes']} bytes)" if len(data) > DATA_CHARACTERS else ""
    yield f"    entry {printable(entry['entry'])}, {printable(entry['field'])}: {data[:DATA_CHARACTERS]}{cut}"


def password_file(path: str, roles: list[str], known: dict[str, str]) -> dict[str, str]:
    """Return the passwords, by role, of a JSON file; add missing passwords to the file first, the known ones or new ones.

    Raises
    ------
    LearnerError
        When the file can't be read or written, or other users may read it.
    """
    file = Path(path)
    try:
        passwords = json.loads(file.read_bytes()) if file.exists() else {}
        if not isinstance(passwords, dict) or not all(isinstance(value, str) and value for value in passwords.values()):
            raise LearnerError(f"file {path} must be a JSON map of role to password")
        if file.exists() and ((status := file.stat()).st_mode & 0o077 or status.st_uid != os.getuid()):
            came = f"mode {status.st_mode & 0o777:o}, user {status.st_uid}"
            raise LearnerError(f"file {path} must be for your eyes only (got {came})")
        passwords |= {role: known.get(role) or secrets.token_urlsafe(32) for role in roles if role not in passwords}
        file.touch(mode=0o600)
        file.write_text(json.dumps(passwords, indent=2))
    except (OSError, ValueError) as error:
        raise LearnerError(f"file {path} must be a JSON map of role to password (got {error})") from error
    return passwords


def memory_lines(figures: dict[str, float]) -> Iterator[str]:
    r"""Yield the number of features; for a model that drops features also how many were admitted, refused and evicted.

    >>> print(*memory_lines({"features": 9, "bytes": 1e6, "admitted": 12, "refused": 5, "evicted": 3}), sep="\n")
    features          9 in 1.0 MB
    features before   12 admitted, 5 times refused, 3 evicted
    """
    yield f"features          {figures['features']:.0f} in {figures['bytes'] / 1e6:.1f} MB"
    if "evicted" in figures:
        counts = "{admitted:.0f} admitted, {refused:.0f} times refused, {evicted:.0f} evicted".format(**figures)
        yield f"features before   {counts}"


def worker_lines(status: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of ``learner status`` about processes that are silent, start, wait, or have ended."""
    if (silent := owner_silence(status)) is not None:
        yield f"silent            for {silent:.0f} s: no sign of life of the owner"
    for worker in status["workers"]:
        who = f"process {worker['pid']} on {printable(worker['host'])}"
        if what := WORKER_STATES.get(worker["state"]):
            yield f"{worker['state']:17} {who}: {what}"
        elif worker["state"] == "stopped":
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(worker["since"]))
            yield f"stopped           {who} at {when}, code {worker.get('code', '?')}: {printable(worker.get('reason', ''))}"


def answerer_lines(answerers: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the line of ``learner status`` about answerers; none where there are none.

    >>> print(*answerer_lines([{"lives": True, "commit": 7, "age": 2.5}, {"lives": True, "commit": 8, "age": 0.5}]))
    answerers         2 live, from commit 7 on, made 2.5 s ago
    >>> print(*answerer_lines([{"lives": False, "commit": 7, "age": 99.0}]))
    answerers         0 live
    """
    alive = [each for each in answerers if each["lives"]]
    if alive:
        oldest = min(alive, key=lambda each: each.get("commit", 0))
        made = "" if oldest["age"] is None else f", made {oldest['age']:.1f} s ago"
        yield f"answerers         {len(alive)} live, from commit {oldest.get('commit', 0)} on{made}"
    elif answerers:
        yield "answerers         0 live"


def _history_lines(history: dict[str, Any]) -> Iterator[str]:
    """Yield the line of the learned entries that a stream still holds; none if it keeps none.

    >>> print(*_history_lines({"seconds": 3600.0, "entries": 5, "since": None}))
    history           5 entries that were learned, kept for 3600 s
    """
    if history["seconds"]:
        since = history["since"]
        words = "" if since is None else f", since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(since))}"
        yield f"history           {history['entries']} entries that were learned, kept for {history['seconds']:g} s{words}"


def _candidate_line(status: dict[str, Any]) -> str:
    """Return the line of ``learner status`` about a candidate."""
    name = status["model"].partition("/")[2]
    if "error" in status:
        return f"candidate         {name}: damaged: {printable(status['error'])}"
    progress = status["progress"]
    if "worker" not in status["owner"]:
        how = "no worker owns it" + (f"; {status['trouble']}" if status["trouble"] else "")
    else:
        how = f"{status['lag_entries']} entries behind"
    what = f"{progress.get('examples', 0):.0f} examples"
    if progress.get("beside_examples"):
        difference, low, high = (progress[f"beside_{name}"] for name in ("difference", "low", "high"))
        what += f", late loss {difference:+.6f} on {progress['beside_examples']:.0f}: {verdict(difference, low, high)}"
    return f"candidate         {name}: {what} ({how})"


def status_lines(status: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of ``learner status``."""
    progress, owner = status["progress"], status["owner"]
    yield f"model             {status['model']} ({status['task']}, {status['loss']} loss)"
    if "worker" in owner:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(owner["since"])))
        yield f"owner             process {owner['pid']} on {owner['host']} since {since}, epoch {owner['epoch']}"
        yield f"durability        {owner['durability']}, confirmed up to commit {status['confirmed']} of {status['commits']}"
    else:
        yield "owner             none: start one with 'learner worker " + status["model"] + "'"
    yield from worker_lines(status)
    yield from answerer_lines(status["answerers"])
    n_requests = "?" if status["requests_waiting"] is None else status["requests_waiting"]
    yield f"lag               {status['lag_entries']} entries, {n_requests} requests waiting"
    yield from _history_lines(status["history"])
    if "trouble" in owner:
        yield f"only answers      {printable(owner['trouble'])}"
    old, _, candidate_name = status["model"].partition("/")
    if status["trouble"] and not owner.get("trouble", "").startswith(status["trouble"]):
        remedy = f"delete {status['model']}" if candidate_name else f"repair {old}"
        yield f"trouble           {status['trouble']}: see 'learner {remedy}'"
    for candidate in status["candidates"]:
        yield _candidate_line(candidate)
    for end in status["ends"]:
        yield f"end               {end}: see 'learner repair {status['model']}'"
    if progress:
        more = f", {progress['held']:.0f} held back" if progress.get("held") else ""
        if progress.get("repeated"):
            more += f", {progress['repeated']:.0f} entries repeated since the worker started, not learned again"
        yield f"examples          {progress['examples']:.0f} and {progress['rejected']:.0f} rejected{more}"
        yield f"rate              {progress['rate']:.0f} examples/s before the last commit"
        yield f"progressive loss  {progress['loss']:.6f} (best constant's {progress['constant_loss']:.6f})"
        yield from late_lines(progress)
        yield from answered_lines(progress, status.get("kept"))
        if candidate_name:
            yield from lines_of_comparison(progress, old)
        yield from notice_lines(progress, progress["loss"])
        if "drift_examples" in progress:
            words = "the loss rose from {drift_before:.6f} to {drift_after:.6f}, found at {drift_examples:.0f} examples"
            yield "drift             " + words.format(**progress)
        yield from figure_lines(progress)
        yield from memory_lines(progress)
        norms = [f"{name[5:]} {norm:.3g}" for name, norm in progress.items() if name.startswith("norm_")]
        if norms:
            yield f"gradient norms    {', '.join(norms)}"
    if status["committed"]:
        ago = time.time() - status["committed"]
        yield f"last commit       {ago:.1f} s ago, up to {status['cursor']} ({status['commits']} commits)"
