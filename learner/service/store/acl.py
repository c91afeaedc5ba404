"""Access rules (Redis ACLs) for the roles of a model, made from its keys, and for fleets.

===========  ==================================================================================================================
producer     pushes examples, and reads how many are not learned yet
worker       learns them, answers, commits; also as the worker of a candidate
answerer     answers from the last commit; it can write nothing that was learned
asker        asks for predictions: pushes requests, reads replies
monitor      reads status and progress; of the stream only sizes and positions, though its rules let it read entries
fleet        is the worker of all models whose names match a pattern
===========  ==================================================================================================================

Replies are on the model's own keys only, ``learner:{MODEL}:replies:*``: on the keys that all models of a server share, a worker
could answer the clients of another model. An asker can read the replies to other askers whose keys it knows.

A role has *selectors*: each is a list of commands and the keys that these commands may touch. So a worker may add to
``examples`` (the entries that have held examples learned, or say that an outcome didn't come in time), but not to ``requests``.
In a cluster every node needs the rules: ACLs are not replicated, and a replica may become the primary.
Only an administrator may create a model, repair it, read its weights, or list rejected entries and put them back.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from learner.service.wire import FLEET, MODELS, Keys

__all__ = ["FLEET_ROLE", "ROLES", "fleet_rules", "rules", "set_user"]

ROLES = ("producer", "worker", "answerer", "asker", "monitor")
FLEET_ROLE = "fleet"

CONNECTING = ["ping", "client|setname", "client|setinfo", "cluster|slots"]
TRANSACTION = ["multi", "exec", "discard", "unwatch"]
KEEPING = ["setnx", "set", "get", "incrby", "zadd", "zcard"]  # answers until their outcomes come
FORGETTING = ["eval", "mget", "strlen", "unlink", "decrby", "zrem", "zrangebyscore"]  # them then
READING = ["xread", "xrange", "xlen", "xtrim", "xinfo|stream", "xgroup|create", "xgroup|setid", "eval", "del"]
ENDING = ["xlen", "xtrim", "xdel", "xack", "xinfo|stream", "xgroup|create", "del"]  # what a request was
WORKING_BESIDE = [  # on what candidates have
    *("watch", "get", "set", "setrange", "del", "unlink", "expire"),
    *("hget", "hgetall", "hmget", "hset", "hdel", "hincrby", "xadd", "xrevrange"),
]
LOOKING_BESIDE = ["exists", "get", "hmget", "hgetall", "xinfo|stream", "xlen", "xrange", "xrevrange"]


def rules(model: str) -> dict[str, dict[str, Any]]:
    """Return the rules by role: ``commands`` that touch no key, and ``selectors``: (commands, (permission, key) pairs).

    A permission is R to read, W to write, RW for both.
    """
    keys = Keys(model)
    return {
        "producer": {
            "commands": [*CONNECTING, "wait", "waitaof"],
            "selectors": [
                (["xadd"], [("W", keys.examples)]),
                (["xinfo|groups"], [("R", keys.examples)]),
                (["exists"], [("R", keys.spec)]),
            ],
        },
        "worker": _worker(keys),
        "answerer": _answerer(keys),
        "asker": {
            "commands": CONNECTING,
            "selectors": [
                (["xadd"], [("W", keys.requests)]),
                (["blpop"], [("RW", f"{keys.replies}*")]),
            ],
        },
        "monitor": {
            "commands": [*CONNECTING, *TRANSACTION, "info", "time"],
            "selectors": [
                (["get"], [("R", keys.spec), ("R", keys.lease)]),
                (["hmget"], [("R", keys.head)]),
                (["hgetall"], [("R", key) for key in (keys.owner, keys.workers, keys.answerers, keys.settings)]),
                (["xinfo|stream", "xinfo|groups", "xrange"], [("R", keys.examples)]),
                (["xlen"], [("R", keys.requests), ("R", keys.rejected)]),
                (["xinfo|stream"], [("R", keys.requests)]),
                (["xrange", "xrevrange"], [("R", keys.progress)]),
                (["hkeys"], [("R", keys.candidates)]),
                (LOOKING_BESIDE, [("R", f"{keys.of_candidates}*")]),
                (["zcard"], [("R", keys.kept)]),
            ],
        },
    }


def fleet_rules(pattern: str) -> dict[str, Any]:
    """Return the rules of a fleet's processes, for all models whose names match a pattern (as Redis matches keys)."""
    keys = Keys.of_pattern(pattern)
    own = [
        (["mget"], [("R", keys.lease)]),
        (["exists"], [("R", keys.spec), ("R", keys.workers)]),
        (["eval"], [("RW", keys.owner), ("RW", keys.lease), ("RW", keys.workers)]),
        (["smembers"], [("R", MODELS)]),
        (["hget", "hgetall", "hset", "hdel"], [("RW", FLEET)]),
    ]
    rule = _worker(keys)
    return rule | {"selectors": [*rule["selectors"], *own]}


def _answering(keys: Keys) -> list[Any]:
    """Return the selectors of whoever answers."""
    return [
        (["eval"], [("RW", key) for key in (keys.requests, keys.owner, f"{keys.kept}*", f"{keys.replies}*")]),
        (["watch"], [("R", keys.requests)]),
        (ENDING, [("RW", keys.requests)]),
        (KEEPING, [("RW", f"{keys.kept}*")]),
        (["rpush", "expire", "ltrim"], [("RW", f"{keys.replies}*")]),
    ]


def _worker(keys: Keys) -> dict[str, Any]:
    """Return the rules of a worker."""
    return {
        "commands": [*CONNECTING, *TRANSACTION, "info", "time", "wait", "waitaof"],
        "selectors": [
            *_answering(keys),
            (["get"], [("R", keys.spec)]),
            (["hgetall"], [("R", keys.settings), ("R", keys.answerers)]),
            (["watch"], [("R", key) for key in (keys.owner, keys.spec, keys.head, keys.examples)]),
            (
                READING,
                [("RW", keys.examples), ("RW", keys.requests)],
            ),
            (["hgetall", "hmget", "hincrby", "hset", "hdel"], [("RW", keys.owner)]),
            (["get", "set", "del"], [("RW", keys.lease)]),
            (["hgetall", "hset", "hdel", "expire"], [("RW", keys.workers)]),
            (["hgetall", "hset", "del"], [("RW", keys.attempt)]),
            (
                ["get", "set", "setrange", "hget", "hgetall", "hmget", "hset", "unlink"],
                [("RW", f"{keys.state}*")],
            ),
            (["xadd"], [("W", keys.examples), ("W", keys.rejected), ("W", keys.progress)]),
            (FORGETTING, [("RW", f"{keys.kept}*")]),
            (["hget"], [("R", keys.candidates), ("R", keys.moved)]),
            (WORKING_BESIDE, [("RW", f"{keys.of_candidates}*")]),
        ],
    }


def _answerer(keys: Keys) -> dict[str, Any]:
    """Return the rules of an answerer."""
    return {
        "commands": [*CONNECTING, *TRANSACTION, "info", "time"],
        "selectors": [
            *_answering(keys),
            (
                ["xreadgroup", "xpending", "xclaim", "xinfo|consumers", "xgroup|delconsumer", "eval"],
                [("RW", keys.requests)],
            ),
            (["get", "exists"], [("R", keys.spec), ("R", keys.lease)]),
            (["hgetall", "hget"], [("R", keys.settings), ("R", keys.moved)]),
            (["hgetall", "hmget"], [("R", keys.owner)]),
            (["get", "getrange", "hget", "hmget", "hgetall"], [("R", f"{keys.state}*")]),
            (["hgetall", "hset", "hdel", "expire"], [("RW", keys.answerers)]),
        ],
    }


def set_user(model: str, role: str, password: str | None = None) -> list[str]:
    """Return the command, as a list of arguments, that creates or replaces a role's user, ``MODEL-ROLE``.

    With the role `FLEET_ROLE` the model is a pattern of names. The command contains only the SHA-256 of the password. Without a
    password nobody can log in as the user.

    >>> " ".join(set_user("spam", "asker"))
    'ACL SETUSER spam-asker reset on +ping +client|setname +client|setinfo +cluster|slots (+xadd %W~learner:{spam}:...'
    """
    rule = fleet_rules(model) if role == FLEET_ROLE else rules(model)[role]
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
    """Return the passwords, by role, that are in the environment."""
    names = {role: environment_name(role) for role in (*ROLES, FLEET_ROLE)}
    return {role: environment[name] for role, name in names.items() if environment.get(name)}
