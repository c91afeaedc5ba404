"""Each role of `learner.service.store.acl` tries, on a real server, the commands that only other roles may use."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import redis

from learner.model import Model
from learner.service.store import Store
from learner.service.store.acl import ROLES, rules, set_user
from learner.service.store.connection import client as connect
from learner.service.store.embedded import temporary
from learner.service.wire import Keys
from tests.reliability import Row, row

PASSWORD = "only-for-this-test"  # noqa: S105

FORMS: dict[str, list[Any]] = {  # the arguments after the key that make a command well-formed
    "xadd": ["*", "f", "v"],
    "xinfo|groups": [],
    "xinfo|stream": [],
    "exists": [],
    "get": [],
    "set": ["v"],
    "del": [],
    "unlink": [],
    "xread": [],  # the key comes last but one
    "xrange": ["-", "+", "COUNT", "1"],
    "xrevrange": ["+", "-", "COUNT", "1"],
    "xlen": [],
    "xtrim": ["MINID", "0"],
    "xgroup|create": ["another", "0"],
    "xgroup|delconsumer": ["answerers", "x"],
    "xinfo|consumers": ["answerers"],
    "xreadgroup": [],  # the key comes last but one
    "xpending": ["answerers"],
    "xclaim": ["answerers", "x", "0", "0-1"],
    "xack": ["answerers", "0-1"],
    "xdel": ["0-1"],
    "getrange": ["0", "1"],
    "xgroup|setid": ["learner", "0"],
    "eval": [],  # the key comes last
    "watch": [],
    "hgetall": [],
    "hget": ["f"],
    "hkeys": [],
    "hmget": ["f"],
    "hincrby": ["n", "1"],
    "hset": ["f", "v"],
    "hdel": ["f"],
    "setrange": ["0", "v"],
    "setnx": ["v"],
    "mget": [],
    "strlen": [],
    "incrby": ["1"],
    "decrby": ["1"],
    "zadd": ["1", "v"],
    "zrem": ["v"],
    "zcard": [],
    "zrangebyscore": ["0", "1"],
    "rpush": ["v"],
    "expire": ["60"],
    "ltrim": ["0", "-1"],
    "blpop": ["0.01"],
}
ADMINISTRATION = [
    ["KEYS", "*"], ["SCAN", "0"], ["FLUSHALL"], ["CONFIG", "GET", "*"], ["ACL", "LIST"], ["ACL", "WHOAMI"], ["SAVE"],
    ["SHUTDOWN", "NOSAVE"], ["CLIENT", "LIST"], ["MONITOR"], ["SUBSCRIBE", "c"], ["GET", "foreign"],
    ["SET", "foreign", "2"], ["DEL", "foreign"], ["RPUSH", "foreign", "x"], ["XADD", "learner:{other}:examples", "*", "f", "v"],
    ["GET", "learner:{other}:spec"], ["EVAL", "return redis.call('get', 'foreign')", "0"],
    ["SCRIPT", "FLUSH"], ["FUNCTION", "LIST"], ["SORT", "learner:replies:me"], ["RENAME", "foreign", "learner:replies:me"],
    ["RPUSH", "learner:replies:me", "spoofed"], ["RPUSH", "learner:{other}:replies:me", "spoofed"],
    ["BLPOP", "learner:replies:me", "0.01"], ["BLPOP", "learner:{other}:replies:me", "0.01"],
    ["XADD", "learner:{other}:requests", "*", "f", "v"],
]  # fmt: skip


def attempts(model: str, role: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield (the role that may use it, command) for all commands that a role may not use: others' and the administrator's."""
    own_commands = list(_allowed(model, role))
    for other in ROLES:
        for command, key in _allowed(model, other):
            if not any(command == own and fnmatchcase(key, pattern) for own, pattern in own_commands):
                name, *sub = command.split("|")
                key = key.replace("*", "x")
                if command == "xreadgroup":
                    yield other, ["XREADGROUP", "GROUP", "answerers", "x", "COUNT", "1", "STREAMS", key, ">"]
                elif command == "xread":
                    yield other, ["XREAD", "COUNT", "1", "STREAMS", key, "0"]
                elif command == "eval":
                    yield other, ["EVAL", "return redis.call('xlen', KEYS[1])", "1", key]
                else:
                    yield other, [name, *sub, key, *FORMS[command]]
    yield from (("nobody", command) for command in ADMINISTRATION)


def _allowed(model: str, role: str) -> Iterator[tuple[str, str]]:
    for commands, keys in rules(model)[role]["selectors"]:
        yield from ((command, key) for command in commands for _, key in keys)


def refused(connection: "redis.Redis", command: list[Any]) -> bool:
    """Tell whether the server refuses a command because the user has no permission."""
    try:
        connection.execute_command(*command)
    except redis.exceptions.NoPermissionError:
        return True
    except redis.ResponseError as error:
        return "NOPERM" in str(error) or "permission" in str(error)
    return False


def url_of(url: str, model: str, role: str) -> str:
    """Return the URL of a server for a role's user."""
    return f"redis://{model}-{role}:{PASSWORD}@{urlsplit(url).netloc.rpartition('@')[2]}/0"


@row
def roles(quick: bool) -> Row:
    """Each ACL role tries every command of the others, on the keys that those may use, and the administrator's commands."""
    n, allowed = 0, []
    with temporary() as url, connect(url) as admin:
        Store(admin, "m").create(Model("binary").to_spec())
        admin.set("foreign", "1")
        for role in ROLES:
            admin.execute_command(*set_user("m", role, PASSWORD))
        before = {key: admin.dump(key) for key in admin.scan_iter()}
        for role in ROLES:
            with connect(url_of(url, "m", role)) as connection:
                for other, command in attempts("m", role):
                    n += 1
                    if not refused(connection, command):
                        allowed.append((role, other, command))
        untouched = {key: admin.dump(key) for key in admin.scan_iter()} == before
        untouched = untouched and admin.exists(Keys("m").spec) == 1
    got = f"{n - len(allowed)} of {n} refused" + ("" if untouched else ", but keys changed")
    return Row(
        "each ACL role tries every other role's commands",
        "refused",
        got,
        not allowed and untouched,
        {"allowed": allowed},
    )
