"""The roles on a real server: each may do nothing of what only the others do."""

import json

import pytest
import redis

from learner.service.store.acl import ROLES, set_user
from learner.service.store.connection import client as connect
from tests.reliability.roles import PASSWORD, attempts, refused


@pytest.mark.parametrize("role", ROLES)
def test_a_role_can_do_nothing_that_only_others_do(client, redis_url, roles, role):
    client.set("foreign", "1")
    with connect(roles[role]) as connection:
        for other, command in attempts("m", role):
            assert refused(connection, command), (role, other, command)
    assert client.get("foreign") == b"1"


def test_the_rules_hold_no_password_and_only_its_own_opens_a_user(client, redis_url, roles):
    assert PASSWORD not in json.dumps([set_user("m", role, PASSWORD) for role in ROLES])
    with connect(roles["asker"].replace(PASSWORD, "wrong")) as connection, pytest.raises(redis.AuthenticationError):
        connection.ping()
    client.execute_command(*set_user("m", "asker"))
    with connect(roles["asker"]) as connection, pytest.raises(redis.AuthenticationError):
        connection.ping()
