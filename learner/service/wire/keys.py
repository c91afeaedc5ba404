"""The names of a model's keys, and the names that all models share."""

import copy
import re

from learner.errors import SpecError, show

__all__ = ["ANSWERERS", "FLEET", "GROUP", "MODELS", "REPLIES", "Keys", "is_name"]

REPLIES = "learner:replies:"  # replies go only to keys that start with this, or with a model's `Keys.replies`
MODELS = "learner:models"  # the set of all models' names
FLEET = "learner:fleet"  # the hash with the notes of fleets' processes
NAME = r"[A-Za-z0-9_.-]{1,64}"  # of a model, a candidate, a snapshot
ANSWERERS = "answerers"  # the consumer group of the requests through which answerers share them
GROUP = "learner"  # the consumer group whose position follows the cursor, so that standard tools show the right lag


class Keys:
    """The keys of a model: one hash tag, so that they share a cluster slot and a transaction.

    Raises
    ------
    SpecError
        When the model's name could break the keys.

    >>> Keys("spam").examples
    'learner:{spam}:examples'
    """

    def __init__(self, model: str) -> None:
        _require_name("model", model)
        self.model = model
        self.old: Keys | None = None  # of a candidate: the keys of the model beside which it learns
        self._place(f"learner:{{{model}}}:")
        self._place_state("state:")

    def _place(self, prefix: str) -> None:
        self.prefix = prefix
        self.everything = prefix + "*"  # the pattern of all keys of the model
        self.spec = prefix + "spec"
        self.settings = prefix + "settings"
        self.examples = prefix + "examples"
        self.requests = prefix + "requests"
        self.replies = prefix + "replies:"  # the client chooses what follows
        self.owner = prefix + "owner"
        self.lease = prefix + "lease"
        self.workers = prefix + "workers"
        self.answerers = prefix + "answerers"
        self.rejected = prefix + "rejected"
        self.progress = prefix + "progress"
        self.kept = prefix + "kept"  # the names of the answers that wait for their outcomes, by time
        self.kept_bytes = prefix + "kept_bytes"
        self.attempt = prefix + "attempt"
        self.snapshots = prefix + "snapshots"
        self.moved = prefix + "moved"  # where the model went
        self.arriving = prefix + "arriving"  # what is being written before there is a model
        self.arrived = prefix + "arrived"  # how far
        self.candidates = prefix + "candidates"  # notes of the models that learn beside this one
        self.of_candidates = prefix + "candidate:"  # what all keys of theirs start with

    def _place_state(self, name: str) -> None:
        self.state = self.prefix + name  # what all keys of the learned state start with
        self.head = self.state + "head"
        self.ids = self.state + "ids"

    @classmethod
    def named(cls, model: str) -> "Keys":
        """Return the keys of a model, or of a candidate, whose name is ``MODEL/CANDIDATE``.

        >>> Keys.named("spam/words").spec
        'learner:{spam}:candidate:words:spec'
        """
        old, slash, name = model.partition("/")
        return cls(old).candidate(name) if slash else cls(old)

    @classmethod
    def of_pattern(cls, pattern: str) -> "Keys":
        """Return the patterns of the keys of all models whose names match a pattern.

        >>> Keys.of_pattern("news-*").spec
        'learner:{news-*}:spec'
        """
        keys = cls("any")
        keys.model = pattern
        keys._place(f"learner:{{{pattern}}}:")
        keys._place_state("state:")
        return keys

    def candidate(self, name: str) -> "Keys":
        """Return the keys of a candidate, a model that learns beside this one: its stream of examples is this one's.

        Raises
        ------
        SpecError
            When the name could break the keys.
        """
        _require_name("candidate", name)
        keys = copy.copy(self)
        keys._place(f"{self.of_candidates}{name}:")
        keys._place_state("state:")
        keys.model, keys.old, keys.examples = f"{self.model}/{name}", self, self.examples
        return keys

    def snapshot(self, name: str) -> "Keys":
        """Return these keys, but with those of a snapshot in place of those of the learned state.

        Raises
        ------
        SpecError
            When the name could break the keys.

        >>> Keys("spam").snapshot("monday").head
        'learner:{spam}:snapshot:monday:head'
        """
        _require_name("snapshot", name)
        keys = copy.copy(self)
        keys._place_state(f"snapshot:{name}:")
        return keys

    def rows(self, segment: int) -> str:
        """Return the key of a segment of the base of the committed rows (see `learner.service.store.journal`)."""
        return f"{self.state}rows:{segment}"

    def delta(self, number: int) -> str:
        """Return the key of the rows that a commit changed."""
        return f"{self.state}delta:{number}"

    def kept_answer(self, name: bytes) -> bytes:
        """Return the key of what is kept of an answer; whoever asks chooses the name."""
        return self.kept.encode() + b":" + name

    def names(self, segment: int) -> str:
        """Return the key of a segment of the committed names."""
        return f"{self.state}names:{segment}"


def is_name(text: str) -> bool:
    """Tell whether a text can be the name of a model, a candidate or a snapshot.

    >>> is_name("spam-2"), is_name("spam/words"), is_name("")
    (True, False, False)
    """
    return bool(re.fullmatch(NAME, text))


def _require_name(kind: str, name: str) -> None:
    if not is_name(name):
        raise SpecError(f"{kind} name must be 1 to 64 of the characters A-Z a-z 0-9 _ . - (got {show(name)})")
