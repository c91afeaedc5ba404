"""Loads the source that `learner.graph.compiler` writes: keeps it in a file, runs it, and lets the caller compile it."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

__all__ = ["load"]


def load(source: str, link: Callable[[ModuleType], None], folder: Path) -> ModuleType:
    """Run generated source as a module, let ``link`` compile its functions, and return the module.

    The source is kept in a file that is named by the source's digest: numba caches machine code only for functions from files,
    and finds it again by the file's path, time and size. So a file with the right content is not written again. The cached
    machine code belongs to this text alone, so the text must name everything that the machine code depends on.

    Parameters
    ----------
    source : str
        A `learner.graph.compiler.Program.source`, perhaps with more functions appended, such as a loop over examples that calls
        ``forward`` and ``backward``.
    link : callable
        Takes the module and replaces its functions by compiled ones.
    folder : Path
        Where the source is kept. Whoever may write there may run code as this user, so it is created for the user alone.
    """
    source += f"\n\n# linked by {link.__module__}.{link.__qualname__}\n"
    name = "learner_graph_" + hashlib.sha256(source.encode()).hexdigest()[:24]
    if name in sys.modules:  # machine code is never freed, so equal sources share it
        return sys.modules[name]
    path = folder / f"{name}.py"
    if not path.exists() or path.read_text("utf-8") != source:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(source, "utf-8")
        draft.replace(path)
    module = ModuleType(name)
    module.__file__ = str(path)
    # The text comes from the table of operations and from the calling program, never from data: a node's name enters it only as
    # an identifier within a comment. And this text is what runs, whatever the file in the folder says.
    exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102
    link(module)
    sys.modules[name] = module  # numba looks up a function's globals there when it compiles it
    return module
