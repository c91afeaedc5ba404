"""The group of commands: its table, its help, and that none of them is imported before it is asked for."""

import json
import re

import click
import pytest
from click.shell_completion import ShellComplete

from learner import commands
from learner.commands import main
from tests.command_line import invoke

COMMANDS = [
    "acl",
    "answer",
    "copy",
    "create",
    "delete",
    "demo",
    "erase",
    "explain",
    "export",
    "featurize",
    "fleet",
    "import",
    "init",
    "list",
    "outcome",
    "plot",
    "predict",
    "promote",
    "push",
    "rejected",
    "rename",
    "repair",
    "replay",
    "rollback",
    "save",
    "serve",
    "server",
    "set",
    "snapshot",
    "snapshots",
    "status",
    "templates",
    "top",
    "warm",
    "weights",
    "worker",
]


def test_the_commands_are_these():
    assert main.list_commands(None) == COMMANDS
    listed = invoke("--help").output
    assert all(re.search(rf"^  {name}  +\w", listed, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_has_the_first_sentence_of_every_command_s_help(name):
    command = main.get_command(None, name)
    assert command.name == name
    assert commands.COMMANDS[name].line == command.get_short_help_str(1000)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    output = invoke(name, "--help").output
    assert output.startswith(f"Usage: main {name}")
    assert invoke(name, "-h").output == output


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("warm", "serve", "server", "rejected")])
def test_every_command_that_prints_for_people_prints_json_for_programs(name):
    assert "--json" in invoke(name, "--help").output


def options_of(command):
    """Return the options of a command and of its subcommands."""
    nested = getattr(command, "commands", {}).values()
    own = [option for option in command.params if isinstance(option, click.Option)]
    return own + [option for each in nested for option in options_of(each)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_a_variable_of_the_environment_that_help_names(name):
    options = options_of(main.get_command(None, name))
    assert all(option.show_envvar for option in options)
    assert {option.envvar for option in options} <= {"REDIS_URL"} | {
        "LEARNER_" + spelling.lstrip("-").replace("-", "_").upper() for option in options for spelling in option.opts
    }


def test_what_the_environment_sets_counts_and_is_named_where_it_is_wrong(monkeypatch):
    monkeypatch.setenv("LEARNER_JSON", "1")
    assert json.loads(invoke("templates").stdout)
    monkeypatch.setenv("LEARNER_COMMIT_SECONDS", "soon")
    assert "(env var: 'LEARNER_COMMIT_SECONDS')" in invoke("worker", "m", code=2).output


def test_the_version_is_printed():
    assert invoke("--version").output.strip().endswith("0.1.0")
    assert invoke("--version").output.startswith("learner, ")


def test_the_help_groups_every_command_once_and_says_where_to_start():
    assert sorted(name for names in commands.GROUPS.values() for name in names) == sorted(commands.COMMANDS)
    output = invoke("--help").output
    places = [output.index(f"\n{title}:\n") for title in commands.GROUPS]
    assert places == sorted(places)
    assert "Start with 'learner demo'" in " ".join(output.split())


def test_a_shell_can_complete_commands_and_options():
    complete = ShellComplete(main, {}, "learner", "_LEARNER_COMPLETE").get_completions
    assert [item.value for item in complete([], "re")] == ["rejected", "rename", "repair", "replay"]
    assert "--target" in [item.value for item in complete(["replay"], "--ta")]
