"""The requests that wait, and the replies to them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import redis
from redis.exceptions import NoPermissionError

from learner.errors import StoreError
from learner.service.store.cluster import is_of_one
from learner.service.store.kept import KeptAnswers
from learner.service.store.line import Command
from learner.service.store.link import Link
from learner.service.store.position import LAST
from learner.service.store.scripts import script
from learner.service.wire import ANSWERERS, GROUP, REPLIES, REPLY_SECONDS

__all__ = ["MAX_REPLIES", "Answer", "Requests"]

MAX_REPLIES = 10_000  # replies kept in a list that nobody fetches


class Answer(NamedTuple):
    """The answer to a request.

    Parameters
    ----------
    request : bytes
        The request's id.
    key, reply : bytes
        The list to reply on, and the reply; an empty key: nobody gets it.
    name, kept : bytes
        Under which name the answer is kept, and what is kept of it; empty: nothing.
    """

    request: bytes
    key: bytes
    reply: bytes
    name: bytes = b""
    kept: bytes = b""


class Requests:
    """The stream ``requests`` and the lists of replies: EVAL; XLEN, XTRIM; WATCH, XINFO STREAM, DEL, XGROUP CREATE; TIME.

    Parameters
    ----------
    link : Link
        The model's.
    kept : KeptAnswers
        Those that wait for their outcomes.
    """

    def __init__(self, link: Link, kept: KeptAnswers) -> None:
        self._link = link
        self._kept = kept

    @property
    def reply_prefixes(self) -> tuple[str, ...]:
        """What the keys of replies start with: in a cluster the model's own prefix only, as others lie in other slots."""
        own = self._link.keys.replies
        return (own,) if is_of_one(self._link.client) else (own, REPLIES)

    def may_be_replied_to(self, key: bytes) -> bool:
        """Tell whether a key is one for replies: nobody makes a worker write to another one."""
        return key.startswith(tuple(prefix.encode() for prefix in self.reply_prefixes))

    def answer(
        self, answers: Sequence[Answer], owner: bytes = b"", dead: bytes = b"", ahead: Sequence[Command] = ()
    ) -> Sequence[int | bytes] | None:
        """Send replies, keep what waits for outcomes, and delete the requests; of those only that are still there: EVAL.

        Parameters
        ----------
        answers : sequence of Answer
            The requests and their replies.
        owner : bytes
            The token of the owner that answers; empty: an answerer does.
        dead : bytes
            For an answerer: the token of an owner that is known to be dead.
        ahead : sequence of Command
            The next read, which is sent along: see `Stream.ahead`.

        Returns
        -------
        sequence or None
            For each request 0 if it was gone, why its list can't be written to, or another number. None: it is another
            one's turn to answer, so nothing was done.

        Raises
        ------
        StoreError
            When the access rules don't let this user answer.
        """
        try:
            return self._answer(answers, owner, dead, ahead)
        except NoPermissionError as error:
            if len(answers) > 1:  # to one of the lists: the other replies are sent
                each = [self.answer([one], owner, dead) for one in answers]
                return None if None in each else [results[0] for results in each if results]
            if not answers or not answers[0].key:
                model = self._link.keys.model
                rule = f"must let it answer: renew them with 'learner acl {model}'"
                raise StoreError(f"access rules of {model!r} {rule} (got {error})") from error
            if self.answer([answers[0]._replace(key=b"")], owner, dead) is None:
                return None
            return [str(error).encode()]

    def _answer(
        self, answers: Sequence[Answer], owner: bytes, dead: bytes, ahead: Sequence[Command]
    ) -> Sequence[int | bytes] | None:
        keys = self._link.keys
        none = keys.requests
        kept = (keys.kept, keys.kept_bytes) if any(answer.kept for answer in answers) else (none, none)
        touched: list[Any] = [none, keys.owner, *kept]
        arguments: list[Any] = [owner, dead, ANSWERERS, REPLY_SECONDS, MAX_REPLIES, GROUP]
        for answer in answers:
            touched += [answer.key or none, keys.kept_answer(answer.name) if answer.kept else none]
            arguments += [answer.request, answer.reply, answer.name, answer.kept]
        command = ("EVAL", script("answer.lua"), len(touched), *touched, *arguments)
        line = self._link.other_line if self._link.line.is_open else self._link.line  # a read ahead goes on
        (results,) = line.exchange([command], ahead)
        if isinstance(results, Exception):
            raise results
        if results and kept[0] != none:
            *results, n, n_bytes, n_again, error = results
            self._kept.take(n, n_bytes, n_again, error)
        return cast("Sequence[int | bytes] | None", results)

    def bound(self, max_kept: int) -> int:
        """Return how many requests wait; if they are more than `max_kept`, delete the oldest without a reply."""
        n = int(self._link.client.xlen(self._link.keys.requests))
        if n > max_kept:
            self._link.client.xtrim(self._link.keys.requests, maxlen=max_kept, approximate=True)
        return n

    def renew(self) -> bool:
        """Begin the stream anew if it is empty and its last possible id was used; tell whether."""
        requests = self._link.keys.requests
        pipe: Any
        with self._link.client.pipeline() as pipe:
            try:
                pipe.watch(requests)
                info = pipe.xinfo_stream(requests)
                if info["length"] or info["last-generated-id"] != LAST:
                    return False
                pipe.multi()
                _queue_renewal(pipe, requests)
                pipe.execute()
            except redis.exceptions.NoPermissionError:
                raise
            except (redis.WatchError, redis.ResponseError):  # it has changed, or is no stream
                return False
        return True

    def is_stream(self) -> bool:
        """Tell whether the key holds a stream, or nothing, as far as an error shows it."""
        return self.n_waiting() is not None

    def n_waiting(self) -> int | None:
        """Return how many requests wait; None: the key holds no stream."""
        try:
            return int(self._link.client.xlen(self._link.keys.requests))
        except redis.ResponseError as error:
            if "WRONGTYPE" in str(error):
                return None
            raise

    def now_ms(self) -> float:
        """Return the Unix time in milliseconds by the server's clock, which also gives the stream ids their times."""
        seconds, microseconds = self._link.client.time()
        return seconds * 1e3 + microseconds / 1e3


def _queue_renewal(pipe: Any, requests: str) -> None:
    pipe.delete(requests)
    pipe.xgroup_create(requests, GROUP, "0", mkstream=True)
