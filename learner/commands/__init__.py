"""The command ``learner``: a table of subcommands, each imported only when it is used, so that ``--help`` starts at once."""

import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any, NamedTuple

import click

from learner import __version__, compiling
from learner.commands.exits import errors_as_lines

__all__ = ["COMMANDS", "Commands", "main", "settable"]


HOME = str(Path(__file__).parents[2])  # the folder of this package, of featurizers and of worker.py


class Entry(NamedTuple):
    """A command's module, and the first sentence of its help, which must equal the one in the module."""

    module: str
    line: str


COMMANDS = {
    "acl": Entry(
        "learner.commands.access",
        "Print the server's access rules for those who work with MODEL, for redis-cli or valkey-cli to run.",
    ),
    "answer": Entry("learner.commands.answer", "Answer MODEL's questions from its last commit, beside its worker."),
    "copy": Entry(
        "learner.commands.managing",
        "Copy OLD, as last committed, to a model NEW: spec, seed, settings and what it has learned; its stream is empty.",
    ),
    "create": Entry(
        "learner.commands.models", "Create MODEL, knowing nothing yet, or knowing what a saved model has learned."
    ),
    "delete": Entry(
        "learner.commands.managing", "Delete MODEL: what it has learned, its stream, its snapshots, everything."
    ),
    "demo": Entry(
        "learner.commands.demo",
        "Learn which flights will be late, live, on real data; a worker is killed half way.",
    ),
    "erase": Entry(
        "learner.commands.erasing",
        "Erase entries, and features with their weights, from all that the server keeps of MODEL.",
    ),
    "explain": Entry(
        "learner.commands.examples", "Ask MODEL why: what each feature of RECORD (JSON) adds to the score."
    ),
    "export": Entry(
        "learner.commands.managing",
        "Write all of MODEL to FILE (NAME.learner): spec, settings, state, the entries not learned yet, rejected, progress.",
    ),
    "featurize": Entry(
        "learner.commands.features",
        "Show what RECORD (one or a list in JSON, a file of records, or - for the standard input) becomes.",
    ),
    "fleet": Entry(
        "learner.commands.fleet",
        "Run one process of a fleet, which works many models: learn their streams, answer requests, commit.",
    ),
    "import": Entry(
        "learner.commands.managing",
        "Make a model of FILE, which 'learner export' wrote, under its own name or the name MODEL.",
    ),
    "init": Entry(
        "learner.commands.init",
        "Look at FILE and propose a model for it: the kind of each column, the task, the labels; write a model file.",
    ),
    "list": Entry(
        "learner.commands.managing",
        "List the server's models: task, state, rate, lag, losses, memory, owner.",
    ),
    "outcome": Entry(
        "learner.commands.outcomes",
        "Push the outcome of a prediction that MODEL was asked for under ID, to be learned from the features that it used.",
    ),
    "plot": Entry(
        "learner.commands.plots",
        "Draw a graph, or MODEL's progress, weights or decision boundary, as PNG or SVG",
    ),
    "predict": Entry(
        "learner.commands.examples",
        "Ask MODEL for the prediction of RECORD (one or a list in JSON, a file of records, or - for the standard input).",
    ),
    "promote": Entry(
        "learner.commands.candidates",
        "Have the candidate NEW take the place of OLD, in one transaction; OLD's model is the candidate NEW then.",
    ),
    "push": Entry(
        "learner.commands.examples",
        "Push the examples of FILE (- is the standard input) onto MODEL's stream.",
    ),
    "rejected": Entry(
        "learner.commands.rejected", "Look at what could not be learned, or put it back onto the stream."
    ),
    "rename": Entry(
        "learner.commands.managing", "Rename OLD to NEW, with its stream and all that it has learned; nothing is lost."
    ),
    "repair": Entry(
        "learner.commands.models",
        "Say whether MODEL's stream fits what was learned from it, or make it fit in the way chosen.",
    ),
    "replay": Entry(
        "learner.commands.replay",
        "Learn FILE (- is the standard input) in one pass without a server: predict each example, then learn it.",
    ),
    "rollback": Entry(
        "learner.commands.managing",
        "Go back to MODEL's snapshot NAME (by default the last one): forget what was learned since then.",
    ),
    "save": Entry(
        "learner.commands.saved", "Save MODEL, as last committed, to FILE (NAME.learner), with its secret seed."
    ),
    "serve": Entry(
        "learner.commands.serve",
        "Serve the server's models over HTTP: predictions, examples, outcomes, states, metrics, until SIGTERM.",
    ),
    "server": Entry(
        "learner.commands.machine", "Run the embedded server in the foreground, or print its URL, or stop it."
    ),
    "set": Entry("learner.commands.models", "Print MODEL's settings, or change some, each KEY=VALUE."),
    "snapshot": Entry(
        "learner.commands.managing",
        "Keep MODEL's last commit on the server, as a snapshot called NAME (by default the time).",
    ),
    "snapshots": Entry(
        "learner.commands.managing",
        "List MODEL's snapshots, the oldest first: name, time, commit, examples, progressive loss, memory.",
    ),
    "status": Entry(
        "learner.commands.models",
        "Print how MODEL is doing: lag, rate, progressive loss, features, memory, owner, last commit.",
    ),
    "templates": Entry(
        "learner.commands.features",
        "List the feature templates: parameters, and one example record with its features.",
    ),
    "top": Entry(
        "learner.commands.top",
        "Show the server's models, live: state, rate, lag, losses with a graph each, memory, refusals, drift.",
    ),
    "warm": Entry(
        "learner.commands.machine",
        "Compile the loops and keep them on disk, so that the first worker starts at once.",
    ),
    "weights": Entry(
        "learner.commands.models",
        "Print MODEL's committed weights by name, the largest first; MODEL may be a saved model, NAME.learner.",
    ),
    "worker": Entry("worker", "Run the worker of MODEL: learn its stream, answer requests, commit."),
}

GROUPS = {  # in the order in which a newcomer needs them
    "Start": ("demo", "init", "replay"),
    "Serve": ("create", "push", "worker", "answer", "predict", "outcome", "explain", "status", "serve", "fleet"),
    "Manage": (
        "list",
        "set",
        "save",
        "snapshot",
        "snapshots",
        "rollback",
        "promote",
        "copy",
        "rename",
        "export",
        "import",
        "delete",
        "erase",
    ),
    "Look": ("top", "weights", "plot", "templates", "featurize"),
    "Mend": ("rejected", "repair"),
    "Set up": ("server", "acl", "warm"),
}


class Commands(click.Group):
    """A group that imports a command when it is used; the command's function has the command's name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return a command; return None if the name is unknown."""
        if name not in COMMANDS:
            return None
        _import_own(PathFinder.find_spec("featurizers", path=[HOME]))
        if COMMANDS[name].module == "worker":
            _import_own(PathFinder.find_spec("worker", path=[HOME]))
        module = importlib.import_module(COMMANDS[name].module)
        command: click.Command = getattr(module, name, None) or getattr(module, f"{name}_")
        return settable(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by group without importing any."""
        width = max(map(len, COMMANDS))
        for title, names in GROUPS.items():
            with formatter.section(title):
                lines = (click.Command(name, help=COMMANDS[name].line).get_short_help_str(100) for name in names)
                formatter.write_dl([(f"{name:{width}}", line) for name, line in zip(names, lines, strict=True)])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program; help that can't be written is an error as one line, too."""
        return errors_as_lines(super().main)(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; print an error that a user can mend as one line, and exit with its code."""
        return errors_as_lines(super().invoke)(ctx)


def settable(command: click.Command) -> click.Command:
    """Let each option of a command be set by an environment variable, ``LEARNER_OPTION``, which its help names."""
    for option in command.params:
        if isinstance(option, click.Option) and option.envvar is None:
            option.envvar = "LEARNER_" + max(option.opts, key=len).lstrip("-").replace("-", "_").upper()
            option.show_envvar = True
    if isinstance(command, click.Group):
        for each in command.commands.values():
            settable(each)
    return command


def _import_own(spec: ModuleSpec | None) -> None:
    """Import a module that was looked for beside this package, whatever else has its name on the path.

    With ``python -m learner`` the path begins with the current folder, and a user may well have a ``worker.py`` there.
    """
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018  (it is installed with this package)
    known = sys.modules.get(spec.name)
    if known is None or known.__file__ != spec.origin:
        sys.modules[spec.name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[spec.name])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="learner")
def main() -> None:
    """Learn online from a stream on Redis, and ask for predictions while it learns.

    Start with 'learner demo', or with a file of your own, which needs no server: 'learner init FILE --target FIELD' proposes
    a model for it, 'learner replay FILE --target FIELD' learns it. Then 'learner create MODEL' and 'learner worker MODEL'
    serve a model. 'learner COMMAND --help' has the options.
    """
    compiling.prepare()
