"""How the processes of a fleet share the models: by what they cost, and without moving what need not move.

The *cost* of a model is the share of a processor that its turns took lately, and `IDLE_COST` for its upkeep. Each process knows
the costs of all (see `learner.service.store.fleets`), and decides for itself: one below the mean takes models that nobody has,
one clearly above it gives some back. No process tells another one what to do, and none has to live for the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

__all__ = ["IDLE_COST", "Part", "n_to_take", "rank", "surplus"]

IDLE_COST = 0.0005  # of a processor: what a model costs that has nothing to do (signs of life, looks)
TOLERANCE = 0.2  # of the mean, above it: until then a process gives nothing back, as costs vary
LEAST_SURPLUS = 0.02  # of a processor


class Part(NamedTuple):
    """A process's part of the models.

    Parameters
    ----------
    models, most : int
        How many it works, and how many it may.
    cost : float
        Of all of them.
    """

    models: int
    most: int
    cost: float

    @property
    def is_full(self) -> bool:
        """Whether it may take no more."""
        return self.models >= self.most


def n_to_take(own: Part, others: Sequence[Part], n_vacant: int) -> int:
    """Return how many of the models that nobody has a process takes: enough to come up to the mean cost.

    >>> n_to_take(Part(0, 100, 0.0), [], 30)
    30
    >>> n_to_take(Part(0, 100, 0.0), [Part(0, 100, 0.0)], 31)
    16
    >>> n_to_take(Part(10, 100, 0.5), [Part(0, 100, 0.0)], 30)
    0
    >>> n_to_take(Part(90, 100, 0.0), [Part(30, 30, 0.9)], 30)
    10
    """
    rooms = [part for part in (own, *others) if not part.is_full]
    if not n_vacant or own.is_full:
        return 0
    mean = (sum(part.cost for part in rooms) + n_vacant * IDLE_COST) / len(rooms)
    n = max(0, -(-(mean - own.cost) // IDLE_COST))
    return int(min(n, n_vacant, own.most - own.models))


def surplus(own: Part, others: Sequence[Part], costs: Mapping[str, float]) -> list[str]:
    """Return the models that a process gives back to come down to the mean cost: as few as need be, the dearest first.

    There are none while it is hardly above the mean, or no other process has room.

    >>> surplus(Part(3, 9, 0.9), [Part(0, 9, 0.1)], {"a": 0.5, "b": 0.3, "c": 0.1})
    ['b', 'c']
    >>> surplus(Part(3, 9, 0.55), [Part(3, 9, 0.45)], {"a": 0.5, "b": 0.05})
    []
    >>> surplus(Part(2, 9, 0.9), [Part(9, 9, 0.1)], {"a": 0.5, "b": 0.4})
    []
    """
    rooms = [part for part in others if not part.is_full]
    if not rooms:
        return []
    mean = (own.cost + sum(part.cost for part in rooms)) / (1 + len(rooms))
    excess = own.cost - mean
    if excess <= max(TOLERANCE * mean, LEAST_SURPLUS):
        return []
    found = []
    for name in sorted(costs, key=lambda name: -costs[name]):
        if costs[name] <= excess * (1 + 1e-9):
            found.append(name)
            excess -= costs[name]
    return found[: sum(part.most - part.models for part in rooms)]


def rank(model: str, own: str, others: Iterable[str]) -> int:
    """Return how many other processes, by their names, come before this one at a model, so that each takes others first."""
    mine = _weight(model, own)
    return sum(_weight(model, name) > mine for name in others)


def _weight(model: str, name: str) -> bytes:
    return blake2b(f"{model} {name}".encode(), digest_size=8).digest()
