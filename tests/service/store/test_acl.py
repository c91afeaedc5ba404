"""The roles on a real server: each may do nothing of what only the others do."""

import json
from pathlib import Path

import pytest
import redis

from learner.service.store.acl import ROLES, set_user
from learner.service.store.connection import client as connect
from learner.service.store.position import LAST
from tests.reliability.roles import PASSWORD, attempts, refused
from tests.streams import KEYS

DEPLOY = Path(__file__).parents[3] / "deploy" / "README.md"
REPLY = KEYS.replies + "somebody's"
CAN_ALSO = {  # what the table in deploy/ says that a role can do besides its work: words of the table, and the command
    "producer": [
        ("delete examples", ["XADD", KEYS.examples, "MAXLEN", "1", "*", "x", "y"]),
        ("add `learn held` entries", ["XADD", KEYS.examples, "*", "learn", "held"]),
        ("the last possible one", ["XADD", KEYS.examples, LAST, "x", "y"]),
    ],
    "asker": [
        ("delete others' requests", ["XADD", KEYS.requests, "MAXLEN", "1", "*", "x", "y"]),
        ("choose a request's id", ["XADD", KEYS.requests, LAST, "x", "y"]),
        ("take another asker's reply", ["BLPOP", REPLY, "1"]),
    ],
    "monitor": [
        ("read the examples", ["XRANGE", KEYS.examples, "-", "+"]),
        ("requests that wait", ["XINFO", "STREAM", KEYS.requests, "FULL"]),
        ("the spec", ["GET", KEYS.spec]),
    ],
    "answerer": [
        ("delete all requests", ["DEL", KEYS.requests]),
        ("send any reply", ["RPUSH", REPLY, "{}"]),
        ("change what is kept of answers", ["SET", KEYS.kept_answer(b"x"), "y"]),
        ("read all that was learned", ["HGETALL", KEYS.head]),
        ("run Lua scripts", ["EVAL", "return 1", "1", KEYS.requests]),
    ],
    "worker": [
        ("add, delete and change examples", ["XADD", KEYS.examples, "*", "x", "y"]),
        ("add, delete and change examples", ["DEL", KEYS.examples]),
        ("change all that was learned", ["HSET", KEYS.head, "cursor", "1-1"]),
        ("send any reply", ["RPUSH", REPLY, "{}"]),
        ("write what it likes to `rejected`", ["XADD", KEYS.rejected, "*", "x", "y"]),
        ("delete all but add none", ["DEL", KEYS.requests]),
        ("take the model over", ["HSET", KEYS.owner, "epoch", "9"]),
        ("run Lua scripts", ["EVAL", "return 1", "0"]),
    ],
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_can_do_nothing_that_only_others_do(client, redis_url, roles, role):
    client.set("foreign", "1")
    with connect(roles[role]) as connection:
        for other, command in attempts("m", role):
            assert refused(connection, command), (role, other, command)
    assert client.get("foreign") == b"1"


@pytest.mark.parametrize("role", ROLES)
def test_the_table_in_deploy_says_what_a_role_can_really_do(client, roles, role):
    row = next(line for line in DEPLOY.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {role} |"))
    for stream in (KEYS.examples, KEYS.requests):
        client.xadd(stream, {"of": "another"})
        client.xadd(stream, {"of": "another"})
    client.rpush(REPLY, "{}")
    with connect(roles[role]) as connection:
        for words, command in CAN_ALSO[role]:
            assert words in row
            connection.execute_command(*command)
    if role in ("producer", "asker"):
        stream = KEYS.examples if role == "producer" else KEYS.requests
        assert {b"of": b"another"} not in [fields for _, fields in client.xrange(stream)]


def test_the_rules_hold_no_password_and_only_its_own_opens_a_user(client, redis_url, roles):
    assert PASSWORD not in json.dumps([set_user("m", role, PASSWORD) for role in ROLES])
    with connect(roles["asker"].replace(PASSWORD, "wrong")) as connection, pytest.raises(redis.AuthenticationError):
        connection.ping()
    client.execute_command(*set_user("m", "asker"))
    with connect(roles["asker"]) as connection, pytest.raises(redis.AuthenticationError):
        connection.ping()
