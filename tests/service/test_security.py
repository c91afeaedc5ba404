"""The rules of the roles, run by the server, and the limits that it has of its own."""

import json
import shlex

from click.testing import CliRunner

from learner.commands import main
from learner.service.store import acl, journal, segments


def test_the_rules_are_printed_for_people_and_programs_and_run_by_the_server(client, tmp_path, monkeypatch):
    path = tmp_path / "passwords.json"
    result = CliRunner().invoke(main, ["acl", "m", "--passwords", str(path)])
    assert result.exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    passwords = json.loads(path.read_text())
    assert set(passwords) == set(acl.ROLES)
    assert len(set(passwords.values())) == 5
    assert not any(password in result.output for password in passwords.values())

    for line in result.stdout.splitlines():
        assert client.execute_command(*shlex.split(line)) in (True, b"OK")
        client.execute_command("ACL", "DELUSER", shlex.split(line)[2])
    again = CliRunner().invoke(main, ["acl", "m", "--passwords", str(path)])
    assert again.output == result.output
    monkeypatch.setenv("LEARNER_ASKER_PASSWORD", "mine")
    one = CliRunner().invoke(main, ["acl", "m", "--role", "asker", "--json"])
    assert json.loads(one.stdout)["command"] == acl.set_user("m", "asker", "mine")
    assert one.stderr == ""
    nobody = CliRunner().invoke(main, ["acl", "m", "--role", "worker"])
    assert "m-worker has no password yet" in nobody.stderr
    path.chmod(0o644)
    assert "for your eyes only" in CliRunner().invoke(main, ["acl", "m", "--passwords", str(path)]).stderr


def test_the_embedded_server_takes_all_that_a_commit_writes_and_nothing_larger(client):
    assert int(client.config_get("proto-max-bulk-len")["proto-max-bulk-len"]) == journal.MAX_DELTA_BYTES
    assert segments.SEGMENT_BYTES <= journal.MAX_DELTA_BYTES
