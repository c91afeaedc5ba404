"""The command ``learner``: a table of subcommands, each imported only when it is used, so that ``--help`` starts at once."""

import importlib
from typing import Any, NamedTuple

import click

from learner import compiling

__all__ = ["COMMANDS", "Commands", "main"]


class Entry(NamedTuple):
    """A command's module, and the first sentence of its help, which must equal the one in the module."""

    module: str
    line: str


COMMANDS = {
    "acl": Entry(
        "learner.commands.access",
        "Print the server's access rules for those who work with MODEL, for redis-cli or valkey-cli to run.",
    ),
    "create": Entry("learner.commands.models", "Create MODEL, knowing nothing yet."),
    "demo": Entry(
        "learner.commands.demo",
        "Learn which flights will be late, live, on real data; a worker is killed half way.",
    ),
    "explain": Entry(
        "learner.commands.examples", "Ask MODEL why: what each feature of RECORD (JSON) adds to the score."
    ),
    "plot": Entry(
        "learner.commands.plots",
        "Draw a graph, or MODEL's progress, weights or decision boundary, as PNG or SVG",
    ),
    "predict": Entry(
        "learner.commands.examples",
        "Ask MODEL for the prediction of RECORD (one or a list in JSON, a file of records, or - for the standard input).",
    ),
    "push": Entry(
        "learner.commands.examples",
        "Push the examples of FILE (- is the standard input) onto MODEL's stream.",
    ),
    "rejected": Entry(
        "learner.commands.rejected", "Look at what could not be learned, or put it back onto the stream."
    ),
    "repair": Entry(
        "learner.commands.models",
        "Say whether MODEL's stream fits what was learned from it, or make it fit in the way chosen.",
    ),
    "replay": Entry(
        "learner.commands.replay",
        "Learn FILE (- is the standard input) in one pass without a server: predict each example, then learn it.",
    ),
    "server": Entry(
        "learner.commands.machine", "Run the embedded server in the foreground, or print its URL, or stop it."
    ),
    "status": Entry(
        "learner.commands.models",
        "Print how MODEL is doing: lag, rate, progressive loss, features, memory, owner, last commit.",
    ),
    "warm": Entry(
        "learner.commands.machine",
        "Compile the loops and keep them on disk, so that the first worker starts at once.",
    ),
    "weights": Entry("learner.commands.models", "Print MODEL's committed weights by name, the largest first."),
    "worker": Entry("worker", "Run the worker of MODEL: learn its stream, answer requests, commit."),
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
        command: click.Command = getattr(importlib.import_module(COMMANDS[name].module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, click.Command(name, help=line).get_short_help_str(100)) for name, (_, line) in COMMANDS.items()]
            )

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; print an error that a user can mend as one line, and exit with its code."""
        from learner.commands.options import errors_as_lines

        return errors_as_lines(super().invoke)(ctx)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="learner")
def main() -> None:
    """Learn online from a stream on Redis, and ask for predictions while it learns."""
    compiling.prepare()
