"""``learner acl``: the server's access rules for a model."""

import os
import shlex

import click

from learner.commands.options import json_option, to_json

__all__ = ["acl"]


@click.command()
@click.argument("model")
@click.option(
    "--role",
    type=click.Choice(["producer", "worker", "answerer", "asker", "monitor", "fleet"]),
    help="Only this one. With fleet, which is printed only if asked for, MODEL is the pattern of 'learner fleet --models'.",
)
@click.option(
    "--passwords",
    "path",
    type=click.Path(dir_okay=False),
    help="A JSON file of passwords by role; those missing are made up and written there, for your eyes only.",
)
@json_option
def acl(model: str, role: str | None, path: str | None, as_json: bool) -> None:
    """Print the server's access rules for those who work with MODEL, for redis-cli or valkey-cli to run.

    Passwords come from the file of --passwords, or LEARNER_PRODUCER_PASSWORD and so on; the rules hold their SHA-256 only.
    """
    from learner.commands.show import password_file
    from learner.service.store.acl import ROLES, passwords_of, set_user

    roles = [role] if role else list(ROLES)
    passwords = passwords_of(os.environ)
    if path:
        passwords = password_file(path, roles, passwords)
    for name in roles:
        command = set_user(model, name, passwords.get(name))
        click.echo(to_json({"role": name, "user": command[2], "command": command}) if as_json else shlex.join(command))
        if name not in passwords:
            click.echo(f"Warning: {command[2]} has no password yet: give --passwords FILE", err=True)
