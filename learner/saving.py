"""Saved models: one file holds a model's spec and its learned state.

The file is a zip without compression, with these members:

``spec.json``
    The model's description, as `learner.spec.Spec.to_data` returns it. The seed is in it, which is a secret: keep the file as
    you keep a password.
``NAME.npy``
    The array NAME of `learner.model.Model.state`, in numpy's format; ``names.npy`` holds the features' names.
``format.json``
    ``format`` and ``layout``, the number of the state's format and the digest of its constants (see `learner.layout`), and
    ``sha256``, the digests of the other members by name.

``service/...``
    What a server kept of the model beside its state, in a file of ``learner export`` (see `learner.service.portable`).

Other members are ignored. Equal models have equal files, byte for byte.

The digests find damage, not malice: whoever writes a file can write its digests, too. So load only files that you trust.
"""

import contextlib
import hashlib
import io
import json
import os
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learner import layout
from learner.errors import FormatError, LearnerError
from learner.stored import require_spec

__all__ = ["Saved", "load", "member", "members", "require_writable", "save"]

SPEC, FORMAT = "spec.json", "format.json"
OWNER_ONLY = 0o600
PIECE_BYTES = 1 << 20  # of a member that is read in pieces
FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # of every member, so that equal models have equal bytes
DAMAGE = (  # what zipfile, json and numpy raise at damaged bytes
    zipfile.BadZipFile, struct.error, ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


class Saved(NamedTuple):
    """A saved model: the data of its spec, and its state."""

    spec: dict[str, Any]
    state: dict[str, NDArray[Any]]


# ---- writing ----
def save(path: str | os.PathLike[str], saved: Saved, more: Mapping[str, Iterable[bytes]] | None = None) -> None:
    """Write a file, which is there whole or not at all: a file that was there is replaced at the end, and keeps its mode.

    A new file can be read by its owner only, as a secret is in it.

    Parameters
    ----------
    path : str or path
        The file.
    saved : Saved
        The model.
    more : mapping of str to iterable of bytes, optional
        Further members, each in pieces; no name may end with ``.npy``.

    Raises
    ------
    LearnerError
        When the file can't be written.
    """
    target = _target(path)
    with _errors_of(path), _replacing(target) as file:
        _write(file, saved, more or {})


def require_writable(path: str | os.PathLike[str]) -> None:
    """Make sure that `save` can write a file, as far as that is known before.

    Raises
    ------
    LearnerError
        When it can't.
    """
    target = _target(path)
    with _errors_of(path), tempfile.TemporaryFile(dir=target.parent):
        pass


def _target(path: str | os.PathLike[str]) -> Path:
    """Return the file that a path leads to; what is there must be a file that may be written."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise LearnerError(f"saved model must be a file (got {os.fspath(path)!r}, which is none)")
    if target.exists() and not os.access(target, os.W_OK):
        raise LearnerError(f"saved model {os.fspath(path)} can't be written (the file there may not be changed)")
    return target


@contextlib.contextmanager
def _errors_of(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LearnerError(f"saved model {os.fspath(path)} can't be written ({error.strerror or error})") from error


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    """Give a new file in the target's folder, which replaces the target when the block ends well."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            Path(name).chmod(stat.S_IMODE(target.stat().st_mode) if target.exists() else OWNER_ONLY)
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Have a folder's new names on disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Hashing:
    """Writes to a file, and has the digest of all that was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.file.write(data)


def _write(file: IO[bytes], saved: Saved, more: Mapping[str, Iterable[bytes]]) -> None:
    digests = {}
    with zipfile.ZipFile(file, "w") as archive:
        with _member(archive, SPEC) as member:
            member.write(json.dumps(saved.spec).encode())
        digests[SPEC] = member.digest.hexdigest()
        for name in sorted(saved.state):
            with _member(archive, f"{name}.npy") as member:
                np.save(member, np.ascontiguousarray(saved.state[name]), allow_pickle=False)
            digests[f"{name}.npy"] = member.digest.hexdigest()
        for name, pieces in more.items():
            with _member(archive, name) as member:
                for piece in pieces:
                    member.write(piece)
            digests[name] = member.digest.hexdigest()
        with _member(archive, FORMAT) as member:
            head = {"format": layout.STATE_FORMAT, "layout": layout.digest(), "sha256": digests}
            member.write(json.dumps(head, sort_keys=True).encode())


@contextlib.contextmanager
def _member(archive: zipfile.ZipFile, name: str) -> Iterator[_Hashing]:
    info = zipfile.ZipInfo(name, FIRST_DATE)
    info.create_system, info.external_attr = 3, OWNER_ONLY << 16  # as Unix writes it, on every system
    with archive.open(info, "w", force_zip64=True) as file:
        yield _Hashing(file)


# ---- reading ----
def load(path: str | os.PathLike[str]) -> Saved:
    """Return what a file holds.

    Raises
    ------
    FormatError
        When it can't be read, is damaged, is no saved model, or has another format.
    """
    with _reading(path) as archive:
        digests = _digests(archive)
        spec = require_spec(json.loads(_read(archive, SPEC, digests[SPEC])))
        arrays = {name.removesuffix(".npy"): digest for name, digest in digests.items() if name.endswith(".npy")}
        state = {name: _array(_read(archive, f"{name}.npy", digest)) for name, digest in arrays.items()}
    return Saved(spec, state)


def members(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the members that a file has beside the spec and the arrays.

    Raises
    ------
    FormatError
        As those of `load`.
    """
    with _reading(path) as archive:
        return [name for name in _digests(archive) if name != SPEC and not name.endswith(".npy")]


def member(path: str | os.PathLike[str], name: str) -> Iterator[bytes]:
    """Yield a member in pieces; if it is damaged, the error comes at its end.

    Raises
    ------
    FormatError
        As those of `load`.
    """
    with _reading(path) as archive:
        wanted, digest = _digests(archive)[name], hashlib.sha256()
        with archive.open(_info(archive, name)) as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
                yield piece
        _require_digest(name, digest.hexdigest(), wanted)


@contextlib.contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """Give a file's archive; whatever reading it raises becomes one error."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except LearnerError as error:
        raise FormatError(f"saved model {os.fspath(path)}: {error}") from error
    except OSError as error:
        raise FormatError(f"saved model {os.fspath(path)} can't be read ({error.strerror or error})") from error
    except DAMAGE as error:
        raise FormatError(f"saved model {os.fspath(path)} is damaged, or is none ({_words(error)})") from error


def _digests(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the digests of the members by name, once the format is known to be ours."""
    head = json.loads(_stored(archive, FORMAT))
    number, ours = int(head["format"]), layout.STATE_FORMAT
    if number > ours:
        raise FormatError(f"its format must be {ours} (got {number}): a newer learner wrote it; update this one")
    if number < ours:
        raise FormatError(
            f"its format must be {ours} (got {number}): an older learner wrote it; learn the examples again, as with "
            "'learner replay FILE --save'"
        )
    if (digest := head.get("layout", layout.FIRST_DIGEST)) != layout.digest():
        raise FormatError(
            f"its layout must be {layout.digest()} (got {digest}): it was learned with other constants, so its numbers mean "
            "something else; learn the examples again, as with 'learner replay FILE --save'"
        )
    return dict(head["sha256"])


def _read(archive: zipfile.ZipFile, name: str, digest: str) -> bytes:
    data = _stored(archive, name)
    _require_digest(name, hashlib.sha256(data).hexdigest(), digest)
    return data


def _require_digest(name: str, digest: str, wanted: str) -> None:
    if digest != wanted:
        raise ValueError(f"{name} must have the digest in {FORMAT}")


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    return archive.read(_info(archive, name))


def _info(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Return where a member is, which must not be compressed: a few bytes could stand for more than fits into memory."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} must be stored without compression")
    return info


def _array(data: bytes) -> NDArray[Any]:
    array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def _words(error: Exception) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split()).strip("'\"") or type(error).__name__
