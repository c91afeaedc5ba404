"""Who may do what: a file of tokens, each with roles and, if it is not for all, the models that it is for.

::

    [[token]]
    sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"   # or token = "foo"
    roles = ["asker", "monitor"]
    models = ["spam"]        # without it: all

The roles are those of `learner.service.store.acl`, without the worker's: a producer pushes examples and outcomes, an asker
asks, a monitor reads states, figures and progress, and an administrator also weights and rejected records.
"""

import hashlib
import hmac
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from learner.errors import LearnerError, show
from learner.http.refusals import RefusedError
from learner.service import log
from learner.service.wire.keys import is_name

__all__ = ["ROLES", "Tokens"]

ROLES = ("producer", "asker", "monitor", "administrator")
LEAST_CHARACTERS = 16  # of a token that stands in the file itself
MAX_TOKENS, MAX_FILE_BYTES = 1000, 1 << 20  # so many are read in a moment, during which nothing is answered
CHALLENGE = {"www-authenticate": "Bearer"}


class Token(NamedTuple):
    """What the holder of a token may do: in which roles, and with which models (None: all)."""

    digest: bytes
    roles: frozenset[str]
    models: frozenset[str] | None

    def allows(self, model: str | None) -> bool:
        """Tell whether it is for a model; a candidate's is that of the model beside it."""
        return self.models is None or model is None or model.partition("/")[0] in self.models


EVERYTHING = Token(b"", frozenset(ROLES), None)  # what everybody is where there is no file


class Tokens:
    """The tokens of a file, which is read again when it has changed.

    A file that can't be read any more changes nothing: the tokens before count, and the log says so.

    Parameters
    ----------
    path : str or None
        The file; None: everybody may do everything.

    Raises
    ------
    LearnerError
        When the file can't be read or breaks a rule, or other users may read it.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._seen: Any = None
        self._problem = ""  # that the log has said
        self._tokens: list[Token] = []
        if path is not None:
            self._seen, self._tokens = _state(path), _read(path)

    @property
    def are_required(self) -> bool:
        """Whether a request must have one."""
        return self._path is not None

    def require(self, authorization: str | None, role: str | None, model: str | None) -> Token:
        """Return the token of a request, once it is sure that it may do what it asks for.

        Raises
        ------
        RefusedError
            When it has none that is known (401), or its token is not for this (403).
        """
        if self._path is None or role is None:
            return EVERYTHING
        self._read_again()
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise RefusedError(401, "request must have a token: 'Authorization: Bearer TOKEN' (it has none)", CHALLENGE)
        digest = hashlib.sha256(given.strip().encode("latin-1", "replace")).digest()
        known = [token for token in self._tokens if hmac.compare_digest(token.digest, digest)]
        if not known:
            raise RefusedError(401, "token must be one of the server's (it is not)", CHALLENGE)
        (token,) = known  # none stands in the file twice
        if role not in token.roles:
            has = ", ".join(sorted(token.roles))
            raise RefusedError(403, f"token must have the role {role} for this (it has {has})")
        if not token.allows(model):
            raise RefusedError(403, f"token must be for the model {show(model)} (it is for others)")
        return token

    def _read_again(self) -> None:
        """Read the file again if it has changed."""
        path = str(self._path)
        try:
            seen = self._seen
            self._seen = state = _state(path)
            if state == seen:
                return
            self._tokens = _read(path)
        except LearnerError as error:
            if self._problem != str(error):
                self._problem = str(error)
                log.line("tokens", f"{error}: the tokens before still count", "error")
        else:
            self._problem = ""
            log.line("tokens", f"{path} was read again: {len(self._tokens)} tokens", tokens=len(self._tokens))


def _state(path: str) -> tuple[int, ...]:
    """Return what changes when a file does."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise LearnerError(f"--tokens must be a file that can be read (got {path}: {error.strerror})") from error
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode, status.st_uid


def _read(path: str) -> list[Token]:
    """Return the tokens of a file that other users can't read."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise LearnerError(f"--tokens must be a file (got {path}, which is none)")
            if status.st_mode & 0o027 or status.st_uid not in (0, os.getuid()):  # a group may read a mounted secret
                raise LearnerError(
                    f"--tokens must be a file that other users can't read: chmod 600 {path} (got mode "
                    f"{stat.S_IMODE(status.st_mode):o}, user {status.st_uid})"
                )
            text = file.read(MAX_FILE_BYTES + 1)
            if len(text) > MAX_FILE_BYTES:
                raise LearnerError(f"--tokens must be at most {MAX_FILE_BYTES} bytes (got more: {path})")
            data = tomllib.loads(text.decode())
    except OSError as error:
        raise LearnerError(f"--tokens must be a file that can be read (got {path}: {error.strerror})") from error
    except (ValueError, RecursionError) as error:  # what it says may hold a token
        raise LearnerError(f"--tokens must be TOML (got {path}, which is none)") from error
    rows = data.get("token")
    if set(data) != {"token"} or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise LearnerError(f"--tokens must have tables [[token]] and nothing else (got {path})")
    if len(rows) > MAX_TOKENS:
        raise LearnerError(f"--tokens must have at most {MAX_TOKENS} tokens (got {len(rows)} in {path})")
    tokens = [_token(row, f"{path}, token {number}") for number, row in enumerate(rows, 1)]
    places: dict[bytes, int] = {}
    for number, token in enumerate(tokens, 1):
        if (first := places.setdefault(token.digest, number)) != number:
            raise LearnerError(f"{path}, token {number}: must be another one than token {first} (they are the same)")
    return tokens


def _at_once(path: str, flags: int) -> int:
    """Open a file; of a FIFO wait for no writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _token(row: dict[str, Any], where: str) -> Token:
    """Return a token; messages never hold it."""
    if unknown := sorted(row.keys() - {"token", "sha256", "roles", "models"}):
        raise LearnerError(f"{where}: must have token or sha256, roles and models only (got {show(unknown[0])})")
    roles, models = row.get("roles"), row.get("models")
    if not _are_texts(roles) or not roles or not {*roles} <= {*ROLES}:
        raise LearnerError(f"{where}: roles must be a list of some of {', '.join(ROLES)} (got {show(roles)})")
    if models is not None and not _are_texts(models):
        raise LearnerError(f"{where}: models must be a list of names (got {show(models)})")
    for model in models or ():
        if not is_name(model):
            raise LearnerError(f"{where}: models must be names of models, without candidates (got {show(model)})")
    return Token(_digest(row, where), frozenset(roles), None if models is None else frozenset(models))


def _digest(row: dict[str, Any], where: str) -> bytes:
    if ("token" in row) == ("sha256" in row):
        raise LearnerError(f"{where}: must have either token or sha256 (got both or neither)")
    if "sha256" in row:
        if not re.fullmatch("[0-9a-fA-F]{64}", str(row["sha256"])):
            raise LearnerError(f"{where}: sha256 must be 64 hexadecimal digits (they are not)")
        return bytes.fromhex(row["sha256"])
    text = row["token"]
    if not isinstance(text, str) or not re.fullmatch(f"[!-~]{{{LEAST_CHARACTERS},}}", text):
        raise LearnerError(f"{where}: token must be at least {LEAST_CHARACTERS} printable characters (it is not)")
    return hashlib.sha256(text.encode()).digest()


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
