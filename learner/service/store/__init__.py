"""A model in Redis: every command that the service sends is in this package, one concern a module.

`Store` gives access to a model; each of its parts has a module. `connection` makes connections and `embedded` runs a server.
`repair`, `rejected` and `acl` are for the administrator.
"""

import contextlib
import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import redis
from redis.exceptions import NoPermissionError

from learner.errors import LearnerError, MissingError, SpecError, StoreError
from learner.service.store import candidates, status
from learner.service.store.attempts import Attempts
from learner.service.store.cluster import find_anew, is_of_one, towards
from learner.service.store.kept import KeptAnswers
from learner.service.store.link import LastCommit, Lines, Link
from learner.service.store.moving import moved_to
from learner.service.store.ownership import Ownership
from learner.service.store.position import create_group
from learner.service.store.processes import Answerers, Processes
from learner.service.store.registry import register
from learner.service.store.requests import Requests
from learner.service.store.settings import read_settings, read_texts, write_settings
from learner.service.store.sharing import Sharing
from learner.service.store.stream import SharedStream, Stream
from learner.service.wire import Keys
from learner.stored import require_readable, require_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from learner.service.recent import RecentIds
    from learner.service.store.commits import Commits

__all__ = ["Store"]


class Store:
    """A model in Redis.

    Parameters
    ----------
    client : redis.Redis
        A connection made by `learner.service.store.connection.client`, which never repeats a command.
    model : str
        The model's name; of a candidate ``MODEL/CANDIDATE``.
    lines : Lines, optional
        Shared with other models that the same thread works in turns.

    Attributes
    ----------
    ownership : Ownership
        Which worker may commit.
    processes : Processes
        Notes of the processes that start, wait or run.
    answerers : Answerers
        Notes of the answerers.
    sharing : Sharing
        How answerers share the requests.
    attempts : Attempts
        Notes of the entries and requests that a worker takes up.
    stream : Stream
        The examples, and the cursor's position among them.
    kept : KeptAnswers
        The answers that wait for their outcomes.
    requests : Requests
        The requests that wait, and the replies.
    commits : Commits
        The learned state.
    """

    def __init__(self, client: "redis.Redis", model: str, lines: Lines | None = None) -> None:
        keys = Keys.named(model)
        self._link = Link(towards(client, keys.spec), keys, lines or Lines())
        self._last = LastCommit()
        self.ownership = Ownership(self._link, self._last)
        self.processes = Processes(self._link)
        self.answerers = Answerers(self._link)
        self.sharing = Sharing(self._link, self.answerers.name)
        self.attempts = Attempts(self._link, self.ownership)
        kind = SharedStream if self.keys.old else Stream
        self.stream = kind(self._link, self._last, self.ownership, self.attempts)
        self.kept = KeptAnswers(self._link)
        self.requests = Requests(self._link, self.kept)
        self._commits: Commits | None = None
        self._making = threading.Lock()  # a worker's heart and its loop may both be the first to use `commits`

    @property
    def commits(self) -> "Commits":
        """The learned state, as commits."""
        from learner.service.store.commits import Commits  # numpy: not for status, nor for clients

        with self._making:
            if self._commits is None:
                self._commits = Commits(self._link, self._last, self.ownership, self.stream)
            return self._commits

    @property
    def client(self) -> "redis.Redis":
        """The connection of all parts; setting it replaces it for all of them."""
        return self._link.client

    @client.setter
    def client(self, client: "redis.Redis") -> None:
        self._link.client = towards(client, self.keys.spec)
        self._link.lines.forget()

    def find_anew(self) -> None:
        """Find the server anew, over new connections, when it is used next: it gave no answer."""
        self._link.lines.close(self.client)
        find_anew(self.client)

    @property
    def keys(self) -> Keys:
        """The model's keys."""
        return self._link.keys

    def create(self, spec: Mapping[str, Any], settings: Mapping[str, str] | None = None) -> bool:
        """Write the spec and the settings of a new model and create its streams; return False if the name is taken."""
        keys = self.keys
        pipe: Any
        with self.client.pipeline() as pipe:
            try:
                pipe.watch(keys.spec, keys.arriving)
                if pipe.exists(keys.spec):
                    return False
                if pipe.exists(keys.arriving):
                    raise StoreError(
                        f"model name {keys.model!r} must be free (there is {keys.arriving}: a renaming, an import or "
                        "a deletion has not ended): run that again, or delete the model"
                    )
                pipe.multi()
                pipe.set(keys.spec, json.dumps(spec))
                pipe.unlink(keys.moved)
                pipe.execute()
            except redis.WatchError as error:
                raise _one_at_a_time(keys.model, error) from error
        write_settings(self._link, settings or {})
        register(self.client, self.keys.model)
        for stream in (self.keys.examples, self.keys.requests):
            create_group(self.client, stream)
        return True

    def exists(self, model: str) -> bool:
        """Tell whether a model, this one or another, exists."""
        return bool(self.client.exists(Keys.named(model).spec))

    def streams(self, cursor: int, n: int) -> tuple[int, list[bytes]] | None:
        """Scan about `n` of the server's keys for streams named like those of models.

        Returns
        -------
        (int, list of bytes) or None
            The next cursor and the streams' keys; None: the access rules forbid SCAN. Of a cluster they are those of the
            model's primary that name no model, as other models are elsewhere.
        """
        try:
            after, found = cast("Any", self.client.scan(cursor, match="learner:*", count=n, _type="stream"))
        except NoPermissionError:
            return None
        return after, [key for key in found if b"{" not in key] if is_of_one(self.client) else found

    def spec(self) -> dict[str, Any]:
        """Return the model's spec.

        Raises
        ------
        MissingError
            When there is no such model.
        StoreError
            When an older learner made it, or its spec can't be read or is none.
        """
        return self.spec_of(cast("bytes | None", self.client.get(self.keys.spec)))

    def spec_of(self, data: bytes | None) -> dict[str, Any]:
        """Return the spec that the model's key holds, as `spec` does."""
        if data is None:
            if name := moved_to(self):
                raise MissingError(
                    f"model {self.keys.model!r} was renamed to {name!r}: what is still pushed here, or left, goes there "
                    f"with 'learner rename {self.keys.model} {name}'"
                )
            old, _, name = self.keys.model.partition("/")
            how = f"{name} --beside {old}" if name else old
            raise MissingError(f"model {self.keys.model!r} does not exist: make it with 'learner create {how}'")
        with require_readable(f"spec of {self.keys.model!r}", f"put it back at {self.keys.spec}"):
            try:
                spec = require_spec(json.loads(data))
            except SpecError as error:
                raise ValueError(str(error)) from error
        if "outcomes" not in spec:  # by default they come late now: it would become another model
            raise StoreError(
                f"spec of {self.keys.model!r} must say how outcomes come (it does not: an older learner wrote it); push the "
                "stream again to a new model"
            )
        return spec

    def settings(self) -> dict[str, Any]:
        """Return the value of every setting (see `learner.settings`); the defaults if this user may not read them."""
        return read_settings(self._link)

    def set(self, data: Mapping[str, Any]) -> None:
        """Check and write settings; an empty text as a value sets one back to its default."""
        write_settings(self._link, data)

    def setting_texts(self) -> dict[str, str]:
        """Return the settings that are set, as texts."""
        return read_texts(self._link)

    def claim(self, purpose: bytes) -> bytes:
        """Take a name that no model has, to write a model piece by piece; return the token for `guarded`.

        Whoever claimed it for the same purpose before, and has not ended, can write nothing more.

        Raises
        ------
        StoreError
            When there is a model, or something else is being written.
        """
        keys, token = self.keys, purpose + secrets.token_hex(8).encode()
        pipe: Any
        with self.client.pipeline() as pipe:
            try:
                pipe.watch(keys.spec, keys.arriving)
                before = pipe.get(keys.arriving)
                if pipe.exists(keys.spec) or not (before is None or before.startswith(purpose)):
                    raise StoreError(
                        f"model name {keys.model!r} must be free (something else is, or is being, written there)"
                    )
                pipe.multi()
                pipe.set(keys.arriving, token)
                pipe.execute()
            except redis.WatchError as error:
                raise _one_at_a_time(keys.model, error) from error
        return token

    @contextlib.contextmanager
    def guarded(self, token: bytes) -> "Iterator[Any]":
        """Give a transaction that is run at the end of the block, if the key ``arriving`` still holds a token then.

        Raises
        ------
        StoreError
            When it does not: somebody else writes this model, too.
        """
        pipe: Any
        with self.client.pipeline() as pipe:
            try:
                pipe.watch(self.keys.arriving)
                if pipe.get(self.keys.arriving) != token:
                    raise redis.WatchError("somebody else writes it")
                pipe.multi()
                yield pipe
                pipe.execute()
            except redis.WatchError as error:
                raise _one_at_a_time(self.keys.model, error) from error

    def known_spec(self) -> dict[str, Any] | None:
        """Return the model's spec; None if this user may not read it."""
        try:
            return self.spec()
        except NoPermissionError:
            return None

    def known_ids(self) -> "RecentIds | None":
        """Return the ids of the last entries learned, as of the last commit; None if this user may not read them."""
        from learner.service.store.loading import recent_ids

        try:
            return recent_ids(self._link, bytes.fromhex(self.spec()["seed"]))
        except NoPermissionError:
            return None

    def status(self) -> dict[str, Any]:
        """Return the last commit's figures, the owner, the processes and the lag, without the state; of its candidates, too."""
        of_candidates = [each._status_of_candidate() for each in candidates.stores(self)]
        return status.status(self._link, self.stream, self.processes, self.answerers) | {"candidates": of_candidates}

    def described(self) -> dict[str, Any]:
        """Return what ``learner status --json`` prints: `status`, with the model's task and loss."""
        spec, model = self.spec(), self.keys.model
        with require_readable(f"state of {model!r}", f"see 'learner repair {model}'"):
            return self.status() | {"task": spec["task"], "loss": spec["loss"]}

    def _status_of_candidate(self) -> dict[str, Any]:
        """Return the status of a candidate; what is damaged in it must not hide that of the model beside it."""
        try:
            return self.status()
        except (LearnerError, redis.ResponseError, LookupError, TypeError, ValueError) as error:
            return {"model": self.keys.model, "error": str(error)}

    def latest_progress(self) -> dict[str, float]:
        """Return the figures that the last commit recorded; none before the first."""
        return status.latest_of(cast("Any", self.client.xrevrange(self.keys.progress, count=1)))

    def progress(self) -> Sequence[dict[bytes, bytes]]:
        """Return the figures that the last commits recorded, the latest last."""
        return status.progress(self._link)


def _one_at_a_time(model: str, error: redis.WatchError) -> StoreError:
    return StoreError(f"model {model!r} must be written by one at a time (got {error}): try again")
