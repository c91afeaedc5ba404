"""The rows of ``learner list``: what each model of a server is, and how it is doing."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import redis

from learner.errors import LearnerError
from learner.service.lease import process_ended
from learner.service.store import Store, candidates, registry

__all__ = ["rows"]

FIGURES = ("rate", "examples", "late_loss", "answered_loss")  # of the last commit, by the same names


def rows(client: redis.Redis) -> Iterator[dict[str, Any]]:
    """Yield a row for each model, by name: ``model``, ``task``, ``state``, figures, ``bytes``, ``owner``, ``error``.

    What is not known is None. A model that is damaged has the state ``damaged`` and an ``error`` that says how.
    """
    sizes = registry.memory(client) or {}
    for store in _stores(client):
        name = store.keys.model
        row: dict[str, Any] = {"model": name, "task": None, "state": "damaged", "lag_entries": None}
        row |= dict.fromkeys((*FIGURES, "progressive_loss", "owner", "error")) | {"bytes": sizes.get(name)}
        try:
            row |= _figures(store.described())
        except (LearnerError, redis.ResponseError) as error:
            if not store.exists(name):  # it was deleted just now
                continue
            row["error"] = str(error)
        yield row


def _stores(client: redis.Redis) -> Iterator[Store]:
    """Yield each model, and after it its candidates."""
    for name in registry.models(client):
        yield (store := Store(client, name))
        with contextlib.suppress(redis.ResponseError):
            yield from candidates.stores(store)


def _figures(status: Mapping[str, Any]) -> dict[str, Any]:
    progress, owner = status["progress"], status["owner"]
    row = {name: progress.get(name) for name in FIGURES}
    for loss, of in (("late_loss", "late_examples"), ("answered_loss", "answered_examples")):
        if not progress.get(of):
            row[loss] = None
    return row | {
        "task": status["task"],
        "state": _state(status),
        "lag_entries": status["lag_entries"],
        "progressive_loss": progress.get("loss"),
        "owner": {name: owner[name] for name in ("host", "pid", "epoch")} if "worker" in owner else None,
    }


def _state(status: Mapping[str, Any]) -> str:
    """Return in one word what the model's worker does; ``none`` if it has none.

    >>> _state({"owner": {}, "workers": [{"state": "starting"}], "trouble": None})
    'starting'
    """
    owner = status["owner"]
    if "worker" in owner:
        if process_ended(owner.get("process", "")):
            return "dead"
        return "answering_only" if "trouble" in owner or status["trouble"] else "running"
    states = [worker["state"] for worker in status["workers"]]
    return next((state for state in ("starting", "stopped", "dead") if state in states), "none")
