"""The group of commands: its table, its help, and that none of them is imported before it is asked for."""

import re

import pytest
from click.shell_completion import ShellComplete

from learner import commands
from learner.commands import main
from tests.command_line import invoke

COMMANDS = [
    "acl",
    "create",
    "demo",
    "explain",
    "featurize",
    "init",
    "plot",
    "predict",
    "push",
    "rejected",
    "repair",
    "replay",
    "save",
    "server",
    "status",
    "templates",
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


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("warm", "server", "rejected")])
def test_every_command_that_prints_for_people_prints_json_for_programs(name):
    assert "--json" in invoke(name, "--help").output


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
    assert [item.value for item in complete([], "re")] == ["rejected", "repair", "replay"]
    assert "--target" in [item.value for item in complete(["replay"], "--ta")]
