"""Whether a model's worker is alive, and whether it is ready: for probes, and in the words of ``learner status``."""

from collections.abc import Mapping, Sequence
from typing import Any

from learner.service.lease import process_ended

__all__ = ["answering", "described", "live", "owner_silence", "ready"]

STARTING_SECONDS = 600.0  # which compiling may take on a busy machine: a process that starts gives no signs of life
SILENT_SECONDS = 15.0  # without a sign of life, of a process that waits or works
LIVING = ("starting", "waiting", "running", "answering_only")

Status = Mapping[str, Any]
Verdict = tuple[bool, str]


def live(status: Status, host: str | None = None) -> Verdict:
    """Tell whether some process starts, waits or works with a sign of life, and say which, or what there is instead.

    Parameters
    ----------
    status : mapping
        What `learner.service.store.Store.status` returns.
    host : str, optional
        Only processes on this host count.

    >>> live({"owner": {}, "workers": []})
    (False, 'no process works for the model')
    >>> process = {"state": "running", "pid": 7, "host": "here", "silent": 1.0}
    >>> live({"owner": {}, "workers": [process]}), live({"owner": {}, "workers": [process | {"silent": 99.0}]})
    ((True, 'process 7 on here is running'), (False, 'process 7 on here is running, silent for 99 s'))
    """
    workers = [worker for worker in status["workers"] if host in (None, worker["host"])]
    for worker in workers:
        if worker["state"] in LIVING and not _is_silent(status, worker):
            return True, described(status, worker)
    where = f" on {host}" if host else ""
    return False, described(status, workers[-1]) if workers else f"no process works for the model{where}"


def answering(status: Status, host: str | None = None) -> Verdict:
    """Tell whether some answerer lives, and say which, or what there is instead; the parameters are those of `live`.

    >>> answering({"answerers": []})
    (False, 'no answerer works for the model')
    >>> answering({"answerers": [{"state": "running", "pid": 7, "host": "here", "commit": 3, "lives": True}]})
    (True, 'process 7 on here answers from commit 3')
    """
    answerers = [answerer for answerer in status["answerers"] if host in (None, answerer["host"])]
    for answerer in answerers:
        if answerer["lives"]:
            who = f"process {answerer['pid']} on {answerer['host']}"
            return True, f"{who} answers from commit {answerer.get('commit', 0)}"
        if answerer["state"] == "starting" and answerer["silent"] <= STARTING_SECONDS:
            return True, f"process {answerer['pid']} on {answerer['host']} is starting"
    where = f" on {host}" if host else ""
    return False, f"no answerer works for the model{where}"


def ready(status: Status, max_lag: int | None, max_age: float) -> Verdict:
    """Tell whether the owner answers and learns and is not behind, and say so in words.

    Parameters
    ----------
    status : mapping
        What `learner.service.store.Store.status` returns.
    max_lag : int, optional
        How many entries may wait to be learned.
    max_age : float
        For how many seconds a request may wait, and how old the last commit may be while entries wait.
    """
    owner = status["owner"]
    if "worker" not in owner:
        last = f": {described(status, status['workers'][-1])}" if status["workers"] else ""
        return False, f"no worker owns the model{last}"
    who = f"process {owner['pid']} on {owner['host']}"
    if process_ended(owner.get("process", "")):
        return False, f"{who} is dead"
    if "trouble" in owner:
        return False, f"{who} only answers: {owner['trouble']}"
    worker = _note_of_owner(status)
    if worker and (worker["state"] != "running" or _is_silent(status, worker)):
        return False, described(status, worker)
    if status["trouble"]:
        return False, status["trouble"]
    lag, age, waits = status["lag_entries"], _commit_age(status), status["request_age"] or 0.0
    if max_lag is not None and lag > max_lag:
        return False, f"{lag} entries wait to be learned, more than {max_lag}"
    if lag and age > max_age:
        return False, f"{lag} entries wait, and for {age:.0f} s nothing was committed, longer than {max_age:g} s"
    if waits > max_age:
        return False, f"a request waits for {waits:.0f} s, longer than {max_age:g} s"
    return True, f"{who} learns and answers, {lag} entries wait"


def described(status: Status, worker: Mapping[str, Any]) -> str:
    """Return in words what a process does, or how it ended.

    >>> described({"owner": {}}, {"state": "stopped", "pid": 7, "host": "here", "code": 5, "reason": "no"})
    'process 7 on here is stopped, code 5: no'
    """
    text = f"process {worker['pid']} on {worker['host']} is {worker['state']}"
    if worker["state"] == "stopped":
        return f"{text}, code {worker.get('code', '?')}: {worker.get('reason', '')}"
    return text + (f", silent for {worker['silent']:.0f} s" if _is_silent(status, worker) else "")


def owner_silence(status: Status) -> float | None:
    """Return for how many seconds the owner has given no sign of life; None: it is not silent, or unknown."""
    worker = _note_of_owner(status)
    return worker["silent"] if worker and _is_silent(status, worker) else None


def _is_silent(status: Status, worker: Mapping[str, Any]) -> bool:
    """Tell whether a process should have given a sign of life by now; an owner with a long lease gives few."""
    patience = STARTING_SECONDS if worker["state"] == "starting" else SILENT_SECONDS
    return bool(worker["silent"] > max(patience, float(status["owner"].get("lease", 0.0))))


def _note_of_owner(status: Status) -> Mapping[str, Any] | None:
    """Return what the owner's process noted last."""
    owner = status["owner"]
    who = [owner.get(name) for name in ("host", "pid", "process")]
    notes: Sequence[Mapping[str, Any]] = status["workers"]
    own = [note for note in notes if [note["host"], str(note["pid"]), note["process"]] == who]
    return max(own, key=lambda note: -note["silent"], default=None)


def _commit_age(status: Status) -> float:
    """Return for how many seconds nothing was committed: since the last commit, or since the owner took over."""
    last = max(status["committed"] or 0.0, float(status["owner"]["since"]))
    return max(float(status["now"]) - last, 0.0)
