"""How the loops are compiled, and where their machine code is kept.

The decorators say who calls a function. A `door` (or a `loop`, a door that compiles for seconds) is called from Python; its
machine code is kept on disk. An `inlined` or a `compiled` function is called by compiled code only: its machine code is part of
the doors that call it, and it has no wrapper for Python. When Python calls it nevertheless, it runs as plain Python, unless it
needs an intrinsic.

No compiled function allocates memory, so all do without numba's runtime (``_nrt=False``). With the runtime, numba counts
references to arrays by locked instructions at every call, which took 62% of the time of the loops.

Machine code is kept in a folder whose name is a digest of all compiled sources (see `sources`). numba itself checks only the
file of the door: after an edit of a loss, old machine code would still run.
"""

import contextlib
import functools
import hashlib
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
import platformdirs
from numba import njit
from numba.core import event
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from learner import compiling

__all__ = [
    "JIT", "Door", "cache_folder", "compiled", "door", "inlined", "listening", "loop", "machine_code_folder", "no", "sources",
    "switch", "yes",
]  # fmt: skip

JIT = not numba.config.DISABLE_JIT
LEARNER = Path(__file__).parent.parent
# without fast-math every run gives the same bits; division by zero gives infinity or NaN; other threads may run
OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "_nrt": False}


class _InnerLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of a function that only compiled code calls: it is linked into its callers, but never optimised or run alone.

    By default numba optimises each function with everything it calls, and generates machine code, before it does the same for
    the caller. Skipping this saves a third of the compile time.
    """

    def _optimize_final_module(self) -> None:
        pass  # only the door's module is optimised

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0  # there is no pointer: only the code that it is linked into calls it

    @property
    def codegen(self) -> Any:
        return _WithoutEnvironment


class _WithoutEnvironment:
    """Ignores numba's request to store the address of a function's globals, for tracebacks: there is no code to store it in."""

    @staticmethod
    def set_env(name: str, environment: Any) -> None:
        pass


class _InnerCompiler(Compiler):  # type: ignore[misc]
    """numba's compiler, with an `_InnerLibrary` as its output."""

    def __init__(self, typing: Any, target: Any, library: Any, *arguments: Any) -> None:
        super().__init__(typing, target, library or _InnerLibrary(target.codegen(), "inner"), *arguments)


INNER = OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _InnerCompiler}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function that only compiled code calls."""
    return _inner(njit(**INNER)(function))


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into its callers: passing a dozen arrays to it would cost as much as its work."""
    return _inner(njit(forceinline=True, **INNER)(function))


def _inner(dispatcher: Any) -> Any:
    """Make a dispatcher run plain Python when Python calls it: machine code without a wrapper would crash."""
    if JIT:
        base: Any = type(dispatcher)
        dispatcher.__class__ = _inner_class(base)
    return dispatcher


@functools.cache
def _inner_class(base: Any) -> Any:
    return type("Inner", (base,), {"__call__": lambda self, *arguments: self.py_func(*arguments)})


class Door:
    """A compiled function that Python calls. It is compiled, or loaded from disk, at its first call.

    Parameters
    ----------
    function : callable
        The function.
    is_loop : bool
        Whether compiling takes so long that a message is printed before.
    """

    def __init__(self, function: Callable[..., Any], is_loop: bool = False) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        if is_loop:
            _loops.add(function)
        self._dispatcher: Any = None if JIT else function

    def __call__(self, *arguments: Any) -> Any:
        """Call the machine code."""
        if self._dispatcher is None:
            return self._first_call(arguments)
        return self._dispatcher(*arguments)

    def _first_call(self, arguments: tuple[Any, ...]) -> Any:
        """Compile or load, and call. The loops raise nothing, so an error is the cache's: delete the machine code and retry."""
        for keep in (True, True, False):
            dispatcher = self._decorated(keep)
            try:
                result = dispatcher(*arguments)
            except Exception:  # a file was damaged, or the disk is full
                if not keep:
                    raise
                self._forget()
            else:
                self._dispatcher = dispatcher
                break
        return result

    def _forget(self) -> None:
        """Delete the machine code on disk."""
        name = f"{Path(self.py_func.__code__.co_filename).stem}.{self.py_func.__qualname__}-*"
        for path in machine_code_folder().rglob(name):
            with contextlib.suppress(OSError):  # another process deleted it, or nothing can be written there
                path.unlink()

    def _decorated(self, keep: bool) -> Any:
        _tell()
        dispatcher = njit(**OPTIONS)(self.py_func)
        if not keep:
            return dispatcher
        with _LOCK:
            before = numba.config.CACHE_DIR
            numba.config.CACHE_DIR = str(machine_code_folder())
            try:
                if _is_writable():
                    dispatcher.enable_caching()
                else:
                    dispatcher._cache = _ReadOnlyCache(self.py_func)
            except (OSError, RuntimeError):  # it can't be kept on disk; numba raises RuntimeError for that
                pass
            finally:
                numba.config.CACHE_DIR = before
        return dispatcher


def door(function: Callable[..., Any]) -> Door:
    """Make a function callable from Python, as machine code."""
    return Door(function)


def loop(function: Callable[..., Any]) -> Door:
    """Make a function a door to a whole loop, which takes seconds to compile."""
    return Door(function, is_loop=True)


class _ReadOnlyLocator(CompileResultCacheImpl._locator_classes[0]):  # type: ignore[misc]
    """numba's locator of ``CACHE_DIR``, without the attempt to write there."""

    def ensure_cache_path(self) -> None:
        pass


class _ReadOnlyImpl(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_ReadOnlyLocator,)


class _ReadOnlyCache(FunctionCache):  # type: ignore[misc]
    """Loads machine code where nothing can be written, as in a container's image; what is missing is compiled, and not kept."""

    _impl_class = _ReadOnlyImpl

    def save_overload(self, sig: Any, data: Any) -> None:
        pass


# ---- where machine code is kept ------------------------------------------------------------------------------------------
_LOCK = threading.Lock()  # numba's setting is global


def sources() -> list[Path]:
    """Return the files whose functions or constants are compiled; an edit of any of them invalidates all machine code."""
    modules = ("layout", "metrics", "optimizers")
    return [
        *sorted((LEARNER / "kernels").rglob("*.py")),
        *sorted((LEARNER / "losses").rglob("*.py")),
        *(LEARNER / f"{module}.py" for module in modules),
    ]


@functools.cache
def _digest() -> str:
    """Return 16 hex digits that change with every edit of a source."""
    digest = hashlib.sha256()
    for path in sources():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(LEARNER)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def machine_code_folder() -> Path:
    """Return the folder of the machine code of these sources."""
    return cache_folder() / _digest()


@functools.cache
def cache_folder() -> Path:
    """Return the folder of machine code: ``compiled`` in ``LEARNER_CACHE``, or else in the user's cache folder for learner.

    Only the user may have access to it, because numba unpickles and runs the files in it. It may be read-only if it has machine
    code of these sources, as in a container's image. If there can't be such a folder, return a temporary one, which is deleted
    when the process ends.
    """
    chosen = os.environ.get("LEARNER_CACHE")
    folder = (Path(chosen).absolute() if chosen else platformdirs.user_cache_path("learner")) / "compiled"
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
        wanted = os.R_OK | os.X_OK | (0 if (folder / _digest()).is_dir() else os.W_OK)
        if private and os.access(folder, wanted):
            return folder
    except OSError:
        pass
    _temporary.append(tempfile.TemporaryDirectory(prefix="learner-"))
    folder = Path(_temporary[0].name) / "compiled"
    folder.mkdir(mode=0o700)
    return folder


def _is_writable() -> bool:
    """Tell whether new machine code can be kept."""
    return os.access(cache_folder(), os.W_OK)


_temporary: list[tempfile.TemporaryDirectory[str]] = []  # deleted when the process ends


# ---- messages about compiling --------------------------------------------------------------------------------------------
EVENT = "numba:compile"


class _Listener(event.Listener):  # type: ignore[misc]
    """Calls back when compiling starts and when it ends: once for a door with everything that it calls.

    Parameters
    ----------
    started, ended : callable
        Take the door's name; `ended` also takes the seconds, or None if compiling failed.
    among : set of functions, optional
        Restricts the calls to these doors.
    """

    def __init__(
        self,
        started: Callable[[str], None],
        ended: Callable[[str, float | None], None],
        among: set[Callable[..., Any]] | None = None,
    ) -> None:
        self._started, self._ended, self._among = started, ended, among
        self._depth, self._since = 0, 0.0

    def _is_meant(self, event: Any) -> bool:
        return self._depth == 0 and (self._among is None or event.data["dispatcher"].py_func in self._among)

    def on_start(self, event: Any) -> None:
        if self._is_meant(event):
            self._since = time.perf_counter()
            self._started(event.data["dispatcher"].py_func.__name__)
        self._depth += 1

    def on_end(self, event: Any) -> None:
        self._depth -= 1
        if self._is_meant(event):
            seconds = None if sys.exc_info()[0] else time.perf_counter() - self._since
            self._ended(event.data["dispatcher"].py_func.__name__, seconds)


_loops: set[Callable[..., Any]] = set()


@functools.cache
def _tell() -> None:
    """Connect the process's announcer, if it has one, to the compiling of loops."""
    if (announcer := compiling.announcer) is not None:
        folder = cache_folder()
        fate = f"they are kept in {folder}" if _is_writable() else f"they are not kept, as {folder} is read-only"
        event.register(EVENT, _Listener(lambda name: announcer.started(name, fate), announcer.ended, _loops))


@contextlib.contextmanager
def listening(started: Callable[[str], None], ended: Callable[[str, float | None], None]) -> Iterator[None]:
    """Call `started` with a function's name before it is compiled, and `ended` with the name and the seconds afterwards.

    Loading machine code from disk makes no call.
    """
    with event.install_listener(EVENT, _Listener(started, ended)):
        yield


# ---- tables of functions -------------------------------------------------------------------------------------------------
def switch(functions: Sequence[Any], first: int = 0) -> Any:
    """Return a compiled function that calls one of several compiled functions, chosen by its place in the sequence.

    ``switch([f, g])(1, x)`` is ``g(x)``; there must be two functions or more. The place is a value, not a type: one compilation
    serves all places. Each call halves the remaining functions, because the compiler recurses once for every nested call.
    """
    half = len(functions) // 2
    if not half:
        return functions[0]
    middle, lower, upper = first + half, switch(functions[:half], first), switch(functions[half:], first + half)

    if len(functions) == 2:

        @inlined
        def one_of_two(place, *arguments):
            return lower(*arguments) if place < middle else upper(*arguments)

        return one_of_two

    if half == 1:

        @inlined
        def first_or_another(place, *arguments):
            return lower(*arguments) if place < middle else upper(place, *arguments)

        return first_or_another

    @inlined
    def one_of_many(place, *arguments):
        return lower(place, *arguments) if place < middle else upper(place, *arguments)

    return one_of_many


ONE, ZERO = np.uint64(1), np.uint64(0)


@inlined
def yes():
    """Return True as a plain boolean: numba would type the literal apart, and compile each callee once more for it."""
    return ONE > ZERO


@inlined
def no():
    """Return False: see `yes`."""
    return ONE < ZERO
