"""Which models have no living owner, as seen by a fleet's process: one look at the signs of life of all others' models."""

import functools
from typing import TYPE_CHECKING, Any

from learner.service.lease import Silence, process_ended
from learner.service.owning import is_vacant
from learner.service.store import Store, fleets
from learner.service.store.ownership import Owner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from learner.service.store.link import Lines

__all__ = ["Vacancies"]

LEFT_LOOKS = 3  # at so many, a model that is still vacant was left by all others


class Vacancies:
    """The models of others, or of nobody.

    Parameters
    ----------
    lines : Lines
        Of the process's models.
    """

    def __init__(self, lines: "Lines") -> None:
        self._lines = lines
        self._stores: dict[str, Store] = {}
        self._owners: dict[str, Owner] = {}  # as they were read last
        self._silences: dict[str, Silence] = {}
        self._n_looks: dict[str, int] = {}  # at those that are vacant

    def look(self, client: Any, names: "Sequence[str]") -> "Mapping[str, Owner]":
        """Return those of some models that are vacant, with their last owner: it has left, ended, or been silent for its lease.

        Only a model whose owner is another one, or is silent, is looked at closely.
        """
        self._keep(client, names)
        signs = fleets.signs(client, list(self._stores.values()))
        changed = {name for name, sign in signs.items() if not self._is_known(name, sign)}
        for name in changed & self._owners.keys():
            del self._owners[name]
        self._owners |= fleets.owners(client, [self._stores[name] for name in changed])
        has_ended, vacant = functools.cache(process_ended), dict[str, Owner]()
        for name in signs.keys() & self._owners.keys():
            owner, silence = self._owners[name], self._silences.setdefault(name, Silence())
            owner.sign = signs[name]
            if is_vacant(self._stores[name], owner, silence, has_ended):
                vacant[name] = owner
        self._n_looks = {name: self._n_looks.get(name, 0) + 1 for name in vacant}
        return vacant

    def left(self) -> set[str]:
        """Return those vacant ones that other processes have left alone for a while."""
        return {name for name, n in self._n_looks.items() if n >= LEFT_LOOKS}

    def _keep(self, client: Any, names: "Sequence[str]") -> None:
        """Keep what is known of these models, and nothing of others."""
        for known in (self._owners, self._silences):
            for name in known.keys() - set(names):
                del known[name]
        self._stores = {name: self._stores.get(name) or Store(client, name, self._lines) for name in names}

    def _is_known(self, name: str, sign: bytes | None) -> bool:
        owner = self._owners.get(name)
        token = owner.fields.get("worker", "") if owner else ""
        return bool(token) and sign is not None and sign.split()[:1] == [token.encode()]
