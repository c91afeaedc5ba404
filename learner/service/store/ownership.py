"""Who owns a model: the one worker that may commit.

Taking over raises the owner's epoch, and a commit of an older epoch fails (it is *fenced*). The owner shows that it lives by
changing the key ``lease`` (see `learner.service.lease`).
"""

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis

from learner.errors import FencedError, MissingError, StoreError
from learner.service.lease import LEASE_SECONDS, process_name
from learner.service.store.durability import Durability
from learner.service.store.link import LastCommit, Link
from learner.service.store.position import Position, create_group
from learner.stored import require_readable

__all__ = ["IDENTITY", "Owner", "Ownership"]

IDENTITY = ("worker", "epoch")  # the fields that identify the owner
FIELDS = ("worker", "host", "pid", "process", "since", "lease", "durability", "fleet", "trouble")  # that an owner has
LEAVING = "answered_by"  # the field that says that the owner leaves questions to answerers; it outlives the owner
LENDER = "lender"  # the field with the token of the worker that an administrator replaced, to give it back soon


@dataclass
class Owner:
    """The owner of a model.

    Parameters
    ----------
    fields : dict
        The hash ``owner``; without the field ``worker`` nobody owns the model.
    sign : bytes or None
        Its last sign of life, which changes while it lives.
    """

    fields: dict[str, str]
    sign: bytes | None

    @property
    def lease_seconds(self) -> float:
        """How many seconds its sign of life may stay the same."""
        return float(self.fields.get("lease", LEASE_SECONDS))

    @property
    def only_answers(self) -> bool:
        """Whether it learns and commits nothing any more, because of a trouble with the stream."""
        return "trouble" in self.fields

    @property
    def is_of_fleet(self) -> bool:
        """Whether it works other models, too, and takes this one up again if it loses it to a process that gives it back."""
        return "fleet" in self.fields

    @property
    def leaves_questions(self) -> bool:
        """Whether it leaves questions to answerers."""
        return LEAVING in self.fields

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(self.fields["since"])))
        return f"process {self.fields['pid']} on {self.fields['host']} since {since}, epoch {self.fields['epoch']}"


class Ownership:
    """The hash ``owner`` and the key ``lease``: WATCH, MULTI, HGETALL, HMGET, HINCRBY, HSET, HDEL; GET, SET, DEL.

    Parameters
    ----------
    link : Link
        The model's.
    last : LastCommit
        The last commit of this process.

    Attributes
    ----------
    epoch : int
        The number of this process's takeover, counted over all takeovers of the model; 0 before.
    token : bytes
        A random name of this owner, new at each takeover; empty before.
    durability : Durability
        What a commit must survive to be confirmed; set it before taking over.
    is_of_fleet : bool
        Whether this process works other models, too; set it before taking over.
    confirmed : int
        The number of the last confirmed commit.
    """

    def __init__(self, link: Link, last: LastCommit) -> None:
        self._link = link
        self._last = last
        self.epoch = 0
        self.token = b""
        self.durability = Durability()
        self.is_of_fleet = False
        self.confirmed = 0
        self._n_signs = 0

    def read(self) -> Owner:
        """Return the model's owner with its last sign of life.

        Raises
        ------
        StoreError
            When something else wrote its fields.
        """
        with self._link.client.pipeline() as pipe:
            self.queue_read(pipe)
            return self.parsed(*pipe.execute())

    def queue_read(self, pipe: Any) -> None:
        """Queue the commands whose results `parsed` takes."""
        pipe.hgetall(self._link.keys.owner)
        pipe.get(self._link.keys.lease)

    def parsed(self, fields: Mapping[bytes, bytes], sign: bytes | None) -> Owner:
        """Return the owner whose fields and last sign of life the server has, as `read` does."""
        with require_readable(f"owner of {self._link.keys.model!r}", f"delete {self._link.keys.owner}"):
            owner = Owner({key.decode(): value.decode() for key, value in fields.items()}, sign)
            str(owner) if "worker" in owner.fields else owner.lease_seconds
        return owner

    # ---- taking over, and releasing ----
    def take_over(self, lease_seconds: float = LEASE_SECONDS) -> int:
        """Become the owner, even if another process owns the model; return the new epoch."""
        with self._link.client.pipeline() as pipe:
            self._queue(pipe, lease_seconds)
            self.epoch = int(pipe.execute()[0])
        self._create_group()
        return self.epoch

    def succeed(self, owner: Owner, lease_seconds: float = LEASE_SECONDS, lends: bool = False) -> bool:
        """Become the owner after `owner`; return False if another process did so first.

        Parameters
        ----------
        owner : Owner
            The last one.
        lease_seconds : float
            This process's lease.
        lends : bool
            Whether `owner` lives and may take over again, as after `borrow`.

        Raises
        ------
        MissingError
            When there is no such model any more.
        """
        token, epoch = (owner.fields[name].encode() if name in owner.fields else None for name in IDENTITY)
        pipe: Any
        with self._link.client.pipeline() as pipe:
            try:
                pipe.watch(self._link.keys.owner, self._link.keys.spec)
                if self._identity(pipe) != [token, epoch]:
                    return False
                if pipe.get(self._link.keys.spec) is None:
                    raise MissingError(
                        f"model {self._link.keys.model!r} does not exist any more: the server was emptied, or went back to "
                        "older data, or somebody deleted the model"
                    )
                pipe.multi()
                self._queue(pipe, lease_seconds)
                if lends and token:
                    pipe.hset(self._link.keys.owner, LENDER, token)
                self.epoch = int(pipe.execute()[0])
            except redis.WatchError:  # redis-py raises it for a changed owner and for a lost connection
                return False
        self._create_group()
        return True

    def _create_group(self) -> None:
        """Create the stream and its group, unless they exist; what else may be there, the check of the stream tells."""
        if self._link.keys.old:
            return
        with contextlib.suppress(redis.ResponseError):
            create_group(self._link.client, self._link.keys.examples)

    def owned_already(self, owner: Owner) -> bool:
        """Tell whether `owner` is this process: its takeover succeeded, but the answer was lost."""
        if owner.fields.get("worker", "").encode() != self.token or not self.token:
            return False
        self.epoch = int(owner.fields["epoch"])
        return True

    def borrow(self) -> None:
        """Become the owner for a moment, even in place of a worker that lives: it may take over again (`is_lent`)."""
        keys = self._link.keys
        pipe: Any
        with self._link.client.pipeline() as pipe:
            while True:
                with contextlib.suppress(redis.WatchError):
                    pipe.watch(keys.owner)
                    worker, lender = pipe.hmget(keys.owner, "worker", LENDER)
                    pipe.multi()
                    self._queue(pipe, LEASE_SECONDS)
                    if lender or worker:  # one that lent it before has not taken over again yet
                        pipe.hset(keys.owner, LENDER, lender or worker)
                    self.epoch = int(pipe.execute()[0])
                    return

    def is_lent(self) -> bool:
        """Tell whether the process that took over from this one did so only to give the model back."""
        (lender,) = cast("list[Any]", self._link.client.hmget(self._link.keys.owner, [LENDER]))
        return bool(self.token) and lender == self.token

    def queue_return(self, pipe: Any) -> None:
        """Queue, after MULTI, the end of the owner's turn, if there is an owner: it may take over again (`is_lent`).

        The transaction must watch the owner.
        """
        keys = self._link.keys
        lender = self.read().fields.get("worker")
        pipe.hincrby(keys.owner, "epoch", 1)
        pipe.hdel(keys.owner, *FIELDS)
        if lender:
            pipe.hset(keys.owner, LENDER, lender)
        pipe.unlink(keys.lease, keys.attempt)

    def release(self) -> None:
        """Stop being the owner, unless another process took over."""
        keys = self._link.keys
        pipe: Any
        with self._link.client.pipeline() as pipe:
            try:
                pipe.watch(keys.owner)
                if self._is_owner(pipe):
                    pipe.multi()
                    pipe.hdel(keys.owner, *FIELDS)
                    pipe.delete(keys.lease)
                    pipe.delete(keys.attempt)
                    pipe.execute()
            except redis.WatchError as error:  # redis-py raises it for a changed owner and for a lost connection
                if self._is_owner(self._link.client):
                    raise redis.ConnectionError(f"lost while releasing ({error})") from error

    def _queue(self, pipe: Any, lease_seconds: float) -> None:
        """Queue the commands of a takeover; the first one's result is the new epoch."""
        self.token = secrets.token_hex(8).encode()
        pipe.hincrby(self._link.keys.owner, "epoch", 1)
        fields = {
            "worker": self.token,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": process_name(),
            "since": f"{time.time():.3f}",
            "lease": f"{lease_seconds:g}",
            "durability": str(self.durability),
        }
        pipe.hdel(self._link.keys.owner, "trouble", "fleet", LENDER)
        pipe.hset(self._link.keys.owner, mapping=fields | ({"fleet": 1} if self.is_of_fleet else {}))
        pipe.set(self._link.keys.lease, self._sign())

    def note_trouble(self, trouble: str) -> None:
        """Note that this owner only answers from now on, and why; empty: that it learns on. A takeover removes the note, too.

        Raises
        ------
        FencedError
            When another worker has taken over.
        """
        self._note("trouble", trouble)

    def leaves_questions(self) -> bool:
        """Tell whether the note is there that the owner leaves questions to answerers."""
        (note,) = cast("list[Any]", self._link.client.hmget(self._link.keys.owner, [LEAVING]))
        return note is not None

    def note_leaving(self, leaves: bool) -> None:
        """Note that this owner leaves questions to answerers from now on, or that it answers them.

        Raises
        ------
        FencedError
            When another worker has taken over.
        """
        self._note(LEAVING, "answerers" if leaves else "")

    def change_durability(self, durability: Durability) -> None:
        """Have the commits after this moment survive something else.

        Raises
        ------
        FencedError
            When another worker has taken over.
        """
        self._note("durability", str(durability))
        self.durability, self.confirmed = durability, 0

    def _note(self, field: str, text: str) -> None:
        """Write a field of this owner; empty: delete it."""
        with self.transaction(f"while noting the {field}") as pipe:
            pipe.multi()
            if text:
                pipe.hset(self._link.keys.owner, field, text)
            else:
                pipe.hdel(self._link.keys.owner, field)
            pipe.execute()

    @contextlib.contextmanager
    def transaction(self, when: str, *watched: str) -> Iterator[Any]:
        """Give a pipeline that watches the owner, which is this process, and other keys; the block calls MULTI and EXEC.

        Parameters
        ----------
        when : str
            For the error, as in "while trimming the stream".
        watched : str
            The other keys.

        Raises
        ------
        FencedError
            When another worker has taken over.
        redis.ConnectionError
            When another key has changed, or the connection was lost.
        """
        pipe: Any
        with self._link.client.pipeline() as pipe:
            try:
                pipe.watch(self._link.keys.owner, *watched)
                self.require(pipe)
                yield pipe
            except redis.WatchError as error:  # redis-py raises it for a changed key and for a lost connection
                self.require()
                raise redis.ConnectionError(f"lost {when} ({error})") from error

    # ---- signs of life ----
    def beat(self, seconds: float = 1.0) -> None:
        """Give a sign of life, and wait at most so long until the server confirms the commits before it.

        Raises
        ------
        FencedError
            When another worker has taken over.
        StoreError
            When the server lost what this worker committed.
        """
        self.require()
        number = self._last.number
        with self._link.client.pipeline(transaction=False) as pipe:  # one connection: once the sign is durable,
            pipe.set(self._link.keys.lease, self._sign(), xx=True)  # so are the commits before it
            self.durability.queue(pipe, seconds)
            results = pipe.execute()
        if self.durability.waits and self.durability.confirmed(results[-1]):
            self.confirmed = number

    # ---- many owners at once: see `learner.service.store.beating` ----
    @property
    def last_commit(self) -> int:
        """The number of this process's last commit."""
        return self._last.number

    def life(self) -> tuple[bytes, int, bytes]:
        """Return the token, the epoch and the next sign of life."""
        return self.token, self.epoch, self._sign()

    def problem(self, identity: Any) -> Exception | None:
        """Return why a process must not go on, if the owner has this identity; None: it may."""
        try:
            self._require_identity(identity)
        except (FencedError, StoreError) as error:
            return error
        return None

    def _sign(self) -> bytes:
        if not self.durability.waits:
            self.confirmed = self._last.number
        self._n_signs += 1
        return b"%b %d %d" % (self.token, self._n_signs, self.confirmed)

    # ---- checking ----
    def require(self, client: Any = None) -> None:
        """Make sure that this process is still the owner.

        Parameters
        ----------
        client : redis.Redis or pipeline that watches, optional
            Reads the owner; by default the store's connection.

        Raises
        ------
        FencedError
            When another worker has taken over.
        StoreError
            When the server went back to data from before this worker's takeover.
        """
        self._require_identity(self._identity(self._link.client if client is None else client))

    def _require_identity(self, identity: list[bytes | None]) -> None:
        if identity == self._own_identity():
            return
        model, epoch = self._link.keys.model, identity[1]
        with require_readable(f"owner of {model!r}", f"delete {self._link.keys.owner}"):
            number = int(epoch or 0)
        if number < self.epoch:  # a takeover raises it, so only older data has a lower one
            lost = "everything of this model" if epoch is None else f"what came after epoch {epoch.decode()}"
            raise StoreError(
                f"server lost {lost} while this worker, of epoch {self.epoch}, had learned {self._last.n_entries} entries of "
                f"{model!r}: it was emptied, or went back to older data, or somebody deleted the model; a worker "
                "started now goes on from what there is, or says what doesn't fit"
            )
        is_repeated = number == self.epoch and identity[0] is not None
        emptied = (
            "; as its epoch is no higher, the server was emptied or went back to older data" if is_repeated else ""
        )
        raise FencedError(
            f"another worker owns {model!r} now (epoch {number}, this one's is {self.epoch}): nothing of "
            f"this one is committed any more{emptied}"
        )

    def require_fit(self, position: Position) -> None:
        """Make sure that the stream fits the cursor of a position.

        Raises
        ------
        FencedError
            When it doesn't fit because another worker has taken over.
        StoreError
            When it doesn't fit for another reason.
        """
        if position.trouble and self.epoch:  # commits of another owner must not look like lost entries
            self.require()
        position.require(self._link.keys.model)

    def _is_owner(self, client: Any) -> bool:
        """Tell whether this process is the owner, by token and epoch: an epoch repeats if a server goes back to older data."""
        return self._identity(client) == self._own_identity()

    def _own_identity(self) -> list[bytes | None]:
        return [self.token, str(self.epoch).encode()]

    def _identity(self, client: Any) -> list[bytes | None]:
        """Return the owner's token and epoch, as the server has them."""
        fields: list[bytes | None] = client.hmget(self._link.keys.owner, *IDENTITY)
        return fields
