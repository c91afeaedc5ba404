"""Why nobody answered a request, as far as the client's access rules let it see."""

from collections.abc import Sequence
from typing import Any

from learner.service.lease import process_ended
from learner.service.store.processes import readable
from learner.service.wire import GROUP, Keys

__all__ = ["LOOKS", "exists", "lag_in", "look", "why_silent"]

LOOKS = 6  # commands of a look


def look(redis: Any, keys: Keys) -> Any:
    """Send the commands that tell how a model's worker is; each result may be an error, such as for missing rights."""
    pipe = redis.pipeline(transaction=False)
    pipe.exists(keys.spec)
    pipe.hgetall(keys.owner)
    pipe.hgetall(keys.workers)
    pipe.xlen(keys.requests)
    pipe.xinfo_groups(keys.examples)
    pipe.hgetall(keys.answerers)
    return pipe.execute(raise_on_error=False)


def exists(seen: Sequence[Any]) -> bool:
    """Tell whether the model exists; True if the look doesn't show it."""
    return bool(_known(seen[0]) != 0)


def why_silent(keys: Keys, seen: Sequence[Any]) -> str:
    """Return in words why there is no answer.

    >>> why_silent(Keys("spam"), [1, {}, {}, 3, [], {}])
    "no worker runs: start one with 'learner worker spam'"
    >>> why_silent(Keys("spam"), [PermissionError("no rights")] * LOOKS)
    'is its worker running? (learner worker spam)'
    """
    _, owner, notes, n_waiting, groups, answerers = map(_known, seen)
    if owner is None:
        return f"is its worker running? (learner worker {keys.model})"
    owner = {name.decode(): value.decode() for name, value in owner.items()}
    waiting = "" if n_waiting is None else f", and {n_waiting} requests wait"
    living = [note for note in readable(answerers or {}).values() if not process_ended(note["process"])]
    if n_living := sum(note["state"] == "running" for note in living):
        return f"its answerers ({n_living}) gave no answer{waiting}"
    if "worker" in owner and not process_ended(owner["process"]):
        behind = lag_in(groups or [])
        who = f"its worker (process {owner['pid']} on {owner['host']})"
        return f"{who} is behind by {behind} entries{waiting}" if behind else f"{who} gave no answer{waiting}"
    for note in readable(notes or {}).values():
        if not process_ended(note["process"]) and note["state"] in ("starting", "waiting"):
            who = f"process {note['pid']} on {note['host']}"
            return (
                f"its worker is starting ({who}){waiting}"
                if note["state"] == "starting"
                else f"{who} waits to take over"
            )
    return f"no worker runs: start one with 'learner worker {keys.model}'"


def lag_in(groups: Sequence[dict[str, Any]]) -> int | None:
    """Return the lag that XINFO GROUPS shows of the stream of examples: entries that are not learned; None if it is unknown."""
    lags = [group["lag"] for group in groups if group["name"] == GROUP.encode() and group["lag"] is not None]
    return int(lags[0]) if lags else None


def _known(result: Any) -> Any:
    return None if isinstance(result, Exception) else result
