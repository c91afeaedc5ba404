"""Who may do what on the server: four roles as access rules of Redis, made from the layout of a model's keys.

===========  ==================================================================================================================
producer     pushes examples, and sees how many are not learned yet
worker       learns them, answers, commits
asker        asks for predictions: pushes requests, reads replies
monitor      looks at status and progress; what it reads of the stream are sizes and places, but it could read entries, too
===========  ==================================================================================================================

A rule is a list of commands and the keys they may touch, a *selector* of its own: that a worker may add to ``rejected`` doesn't
let it add to ``examples``. Creating, repairing, reading weights and putting back what was rejected are the administrator's.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from learner.service.wire import REPLIES, Keys

__all__ = ["ROLES", "rules", "set_user"]

ROLES = ("producer", "worker", "asker", "monitor")

CONNECTING = ["ping", "client|setname", "client|setinfo"]
TRANSACTION = ["multi", "exec", "discard", "unwatch"]


def rules(model: str) -> dict[str, dict[str, Any]]:
    """Return for each role the commands that touch no key, and the selectors: (commands, keys with their permission).

    Permissions: R to read, W to write, RW for both.
    """
    keys = Keys(model)
    anything_of_state = keys.head.removesuffix("head") + "*"
    return {
        "producer": {
            "commands": [*CONNECTING, "wait", "waitaof"],
            "selectors": [
                (["xadd"], [("W", keys.examples)]),
                (["xinfo|groups"], [("R", keys.examples)]),
                (["exists"], [("R", keys.spec)]),
            ],
        },
        "worker": {
            "commands": [*CONNECTING, *TRANSACTION, "info", "time", "wait", "waitaof"],
            "selectors": [
                (["get"], [("R", keys.spec)]),
                (
                    [
                        "xread",
                        "xrange",
                        "xlen",
                        "xtrim",
                        "exists",
                        "xinfo|stream",
                        "xgroup|create",
                        "xgroup|setid",
                        "eval",
                    ],
                    [("RW", keys.examples), ("RW", keys.requests)],
                ),
                (["watch", "hgetall", "hmget", "hincrby", "hset", "hdel"], [("RW", keys.owner)]),
                (["get", "set", "del"], [("RW", keys.lease)]),
                (["hgetall", "hset", "hdel", "expire"], [("RW", keys.workers)]),
                (["hgetall", "hset", "del"], [("RW", keys.attempt)]),
                (["get", "set", "setrange", "hget", "hgetall", "hmget", "hset", "unlink"], [("RW", anything_of_state)]),
                (["xadd"], [("W", keys.rejected), ("W", keys.progress)]),
                (["rpush", "expire", "ltrim"], [("RW", f"{REPLIES}*")]),
            ],
        },
        "asker": {
            "commands": CONNECTING,
            "selectors": [(["xadd"], [("W", keys.requests)]), (["blpop"], [("RW", f"{REPLIES}*")])],
        },
        "monitor": {
            "commands": [*CONNECTING, *TRANSACTION, "info"],
            "selectors": [
                (["get"], [("R", keys.spec), ("R", keys.lease)]),
                (["hmget"], [("R", keys.head)]),
                (["hgetall"], [("R", keys.owner), ("R", keys.workers)]),
                (["xinfo|stream", "xinfo|groups", "xrange"], [("R", keys.examples)]),
                (["xlen"], [("R", keys.requests), ("R", keys.rejected)]),
                (["xrange", "xrevrange"], [("R", keys.progress)]),
            ],
        },
    }


def set_user(model: str, role: str, password: str | None = None) -> list[str]:
    """Return the command, as a list of arguments, that makes or replaces a role's user, ``MODEL-ROLE``.

    The password is in it as its SHA-256 only. Without one the user is there, but nobody can be it.

    >>> " ".join(set_user("spam", "asker"))
    'ACL SETUSER spam-asker reset on +ping +client|setname +client|setinfo (+xadd %W~learner:{spam}:requests) ...'
    """
    rule = rules(model)[role]
    password_hash = [] if password is None else ["#" + hashlib.sha256(password.encode()).hexdigest()]
    commands = ["+" + command for command in rule["commands"]]
    selectors = [
        "(" + " ".join([*(f"+{command}" for command in names), *(f"%{may}~{key}" for may, key in keys)]) + ")"
        for names, keys in rule["selectors"]
    ]
    return ["ACL", "SETUSER", f"{model}-{role}", "reset", "on", *password_hash, *commands, *selectors]


def environment_name(role: str) -> str:
    """Return the environment variable of a role's password.

    >>> environment_name("asker")
    'LEARNER_ASKER_PASSWORD'
    """
    return f"LEARNER_{role.upper()}_PASSWORD"


def passwords_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the roles' passwords that the environment has."""
    return {role: environment[environment_name(role)] for role in ROLES if environment.get(environment_name(role))}
