"""Following a model's settings: its worker reads them again about every second, so a change needs no restart."""

import time
from collections.abc import Mapping
from typing import Any

from learner.errors import LearnerError
from learner.service import log
from learner.service.acceptance import Acceptance
from learner.service.store import Store
from learner.service.store.durability import Durability

__all__ = ["ACCEPTANCE", "Following"]

READ_SECONDS = 1.0  # between two looks
ACCEPTANCE = {"max_rejected", "rejected_window"}  # the settings that say when learning ends
DURABILITY = {"durability", "replicas"}


class Following:
    """The settings of a model, as they were read last.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    options : mapping of str to object
        What this worker's options say: it counts in place of the setting of that name, unless it is None.

    Attributes
    ----------
    values : dict
        The value of every setting.
    """

    def __init__(self, store: Store, options: Mapping[str, Any]) -> None:
        self.store = store
        self._options = {name: value for name, value in options.items() if value is not None}
        self._wrong = ""
        self._read_at = time.monotonic()
        self.values = self._read()
        store.commits.history = self.values["history"]

    def begin(self) -> list[str]:
        """Have the durability take effect; return in words what the server lacks for it, where nobody asked for a level.

        Raises
        ------
        ServerError
            When the server can't provide the level that an option or a setting asks for.
        """
        self.store.ownership.durability, shortcomings = self._durability()
        return shortcomings

    def _durability(self) -> tuple[Durability, list[str]]:
        wanted = Durability(self.values["durability"], self.values["replicas"])
        if wanted.level == "crash" and "durability" not in self._options:
            return wanted, wanted.shortcomings(self.store.client)
        return wanted.on(self.store.client), []

    def acceptance(self) -> Acceptance:
        """Return an acceptance as the settings have it, which has seen nothing yet."""
        return Acceptance(self.values["max_rejected"], self.values["rejected_window"])

    def follow(self, acceptance: Acceptance) -> set[str]:
        """Read the settings if it is time, and have those that changed take effect; return their names."""
        if time.monotonic() - self._read_at < READ_SECONDS:
            return set()
        self._read_at = time.monotonic()
        try:
            values = self._read()
        except LearnerError as error:  # somebody else wrote there: the worker goes on as it was
            if str(error) != self._wrong:
                self._wrong = str(error)
                self._say(f"settings stay as they were: {error}", "warning")
            return set()
        changed = {name for name, value in values.items() if value != self.values[name]}
        if changed:
            self.values, self._wrong = values, ""
            self._say("settings changed: " + ", ".join(f"{name}={values[name]}" for name in sorted(changed)))
            self.store.commits.history = values["history"]
            acceptance.share, acceptance.window = values["max_rejected"], values["rejected_window"]
        if changed & DURABILITY:
            self._change_durability()
        return changed

    def _read(self) -> dict[str, Any]:
        return self.store.settings() | self._options

    def _change_durability(self) -> None:
        try:
            self.store.ownership.change_durability(self._durability()[0])
        except LearnerError as error:
            self._say(f"durability stays {self.store.ownership.durability}: {error}", "warning")

    def _say(self, text: str, level: str = "info") -> None:
        log.event(self.store.keys.model, "settings", text, level)
