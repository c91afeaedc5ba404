"""The requests that wait, and the replies to them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import redis

from learner.service.store.cluster import is_of_one
from learner.service.store.kept import KeptAnswers
from learner.service.store.link import Link
from learner.service.store.position import LAST, NEVER, next_id
from learner.service.wire import GROUP, REPLIES, REPLY_SECONDS

if TYPE_CHECKING:
    from learner.service.store.line import Command

__all__ = ["MAX_REPLIES", "Requests"]

MAX_REPLIES = 10_000  # replies kept in a list that nobody fetches


class Requests:
    """The stream ``requests`` and the lists of replies: RPUSH, EXPIRE, LTRIM; XLEN, XTRIM; DEL, XGROUP CREATE; TIME.

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
        self, replies: Sequence[tuple[bytes, bytes]], up_to: bytes, to_keep: Mapping[bytes, bytes] | None = None
    ) -> list[tuple[bytes, Exception]]:
        """Send replies and delete the requests that they answer, in one transaction; return the keys that can't be written to.

        Parameters
        ----------
        replies : sequence of (key, reply)
            The lists to append to, and what to append.
        up_to : bytes
            The id of the last request answered: this request and all before it are deleted. After the last possible id, which
            anybody who may ask may have chosen, the stream begins anew, as nothing more can be added to the old one.
        to_keep : mapping of bytes to bytes, optional
            What is kept of these answers, by name.
        """
        client = self._link.client
        try:
            results = self._send(replies, up_to, to_keep or {})
        except redis.exceptions.NoPermissionError:  # to one of the keys: the other replies are sent
            if to_keep:
                self._send([], NEVER, to_keep)  # before them: whoever has an answer can rely on it
            results = self._send(replies, up_to, {}, transaction=False)
            if isinstance(results[-1], Exception):
                raise results[-1] from None
        failed = []
        for (key, _), length in zip(replies, results[::2], strict=False):
            if isinstance(length, Exception):
                failed.append((key, length))
            elif length > MAX_REPLIES:
                client.ltrim(cast("str", key), -MAX_REPLIES, -1)
        return failed

    def _send(
        self,
        replies: Sequence[tuple[bytes, bytes]],
        up_to: bytes,
        to_keep: Mapping[bytes, bytes],
        transaction: bool = True,
    ) -> list[Any]:
        """Keep answers, send replies and delete requests; return the results of the last two, of which some may be errors.

        All of it is one transaction: whoever has an answer can rely on what is kept of it.
        """
        requests = self._link.keys.requests
        commands: list[Command] = [self._kept.command(to_keep)] if to_keep else []
        for key, reply in replies:
            commands += [("RPUSH", key, reply), ("EXPIRE", key, REPLY_SECONDS)]
        if up_to == LAST:
            commands += [("DEL", requests), ("XGROUP", "CREATE", requests, GROUP, "0", "MKSTREAM")]
        else:
            commands.append(("XTRIM", requests, "MINID", next_id(up_to)))
        if not transaction:
            return self._link.line.exchange(commands)
        *queued, results = self._link.line.exchange([("MULTI",), *commands, ("EXEC",)])
        if isinstance(results, Exception):  # a command was refused, and so all are
            raise next((error for error in queued if isinstance(error, Exception)), results)
        if to_keep:
            self._kept.queued(results.pop(0))
        return cast("list[Any]", results)  # a reply key of another type harms only its client

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
        try:
            self._link.client.xlen(self._link.keys.requests)
        except redis.ResponseError as error:
            return "WRONGTYPE" not in str(error)
        return True

    def now_ms(self) -> float:
        """Return the Unix time in milliseconds by the server's clock, which also gives the stream ids their times."""
        seconds, microseconds = self._link.client.time()
        return seconds * 1e3 + microseconds / 1e3


def _queue_renewal(pipe: Any, requests: str) -> None:
    pipe.delete(requests)
    pipe.xgroup_create(requests, GROUP, "0", mkstream=True)
