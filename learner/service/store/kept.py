"""Answers that are kept until their outcomes come: see `learner.service.keeping`."""

import contextlib
from collections.abc import Sequence
from typing import Any, cast

import redis
from redis.exceptions import NoPermissionError

from learner.service.store.link import Link
from learner.service.store.paging import pages
from learner.service.store.scripts import script
from learner.service.wire import Keys

__all__ = ["KeptAnswers", "n_kept", "queue_forget"]

AT_ONCE = 1000  # keys of a call of a script


class KeptAnswers:
    """The keys ``kept:NAME``, their index ``kept``, their sizes' sum ``kept_bytes``: EVAL; ZCARD, ZRANGEBYSCORE, GET, MGET.

    Parameters
    ----------
    link : Link
        The model's.

    Attributes
    ----------
    n, n_bytes : int
        How many there are, and the sum of their sizes, as the server said last; commits make them fewer meanwhile.
    n_again : int
        Answers so far that were not kept, as an earlier one has their name.
    error : str
        Why the last ones could not be kept; empty: they were.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self.n = self.n_bytes = self.n_again = 0
        self.error = ""

    def look(self) -> str:
        """Ask the server how many there are; return why no answers can be kept, "" if they can."""
        keys = self._link.keys
        with self._link.client.pipeline(transaction=False) as pipe:
            pipe.zcard(keys.kept)
            pipe.get(keys.kept_bytes)
            try:
                n, n_bytes = pipe.execute()
                self.n, self.n_bytes = n, int(n_bytes or 0) if n else 0
            except NoPermissionError:  # the user's access rules are an older release's
                return f"access rules must let the worker keep answers: renew them with 'learner acl {keys.model}'"
            except (redis.ResponseError, ValueError) as error:
                if isinstance(error, redis.ResponseError) and "WRONGTYPE" not in str(error):
                    raise
                return f"keys {keys.kept} and {keys.kept_bytes} must hold a sorted set and a number: delete them"
        return ""

    def take(self, n: int, n_bytes: int, n_again: int, error: bytes) -> None:
        """Take what the script that keeps answers says of them (see `learner.service.store.requests`)."""
        self.n, self.n_bytes = n, n_bytes
        self.n_again += n_again
        self.error = error.decode(errors="replace") or self.error

    def get(self, names: Sequence[bytes]) -> list[bytes | None]:
        """Return what is kept under some names."""
        return cast("list[bytes | None]", self._link.client.mget([self._link.keys.kept_answer(name) for name in names]))

    def before(self, ms: float, n: int) -> list[bytes]:
        """Return the names of at most `n` answers given before a time, in Unix milliseconds; the oldest first."""
        return cast(
            "list[bytes]", self._link.client.zrangebyscore(self._link.keys.kept, "-inf", f"({ms}", start=0, num=n)
        )


def queue_forget(pipe: Any, keys: Keys, names: Sequence[bytes]) -> None:
    """Queue the deletion of answers."""
    for some in pages(names, AT_ONCE):
        touched = [keys.kept, keys.kept_bytes, *map(keys.kept_answer, some)]
        pipe.execute_command("EVAL", script("forget.lua"), len(touched), *touched, *some)


def n_kept(link: Link) -> int | None:
    """Return how many answers wait for their outcomes; None if it is not known: ZCARD."""
    with contextlib.suppress(
        redis.ResponseError
    ):  # it holds something else, or the access rules are an older release's
        return link.client.zcard(link.keys.kept)
    return None
