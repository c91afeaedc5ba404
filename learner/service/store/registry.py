"""Which models a server has: the set ``learner:models``, put right by what SCAN finds, and the memory of their keys.

The set lies in a cluster slot of its own, and the access rules of a model's roles don't have it. So it is written beside the
model, not with it, and whoever may not write it goes on without.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import redis

from learner.service.store.cluster import nodes, towards
from learner.service.store.paging import pages
from learner.service.wire import MODELS, Keys, is_name

__all__ = ["memory", "models", "register", "registered", "unregister"]

PAGE_KEYS = 1000


def register(client: redis.Redis, model: str) -> None:
    """Add a model's name: SADD."""
    with contextlib.suppress(redis.ResponseError):
        towards(client, MODELS).sadd(MODELS, model)


def unregister(client: redis.Redis, model: str) -> None:
    """Remove a model's name: SREM."""
    with contextlib.suppress(redis.ResponseError):
        towards(client, MODELS).srem(MODELS, model)


def registered(client: redis.Redis) -> list[str]:
    """Return the names that the set has, in any order; none if this user may not read it: SMEMBERS."""
    with contextlib.suppress(redis.exceptions.NoPermissionError):
        return [name for member in _members(client) if is_name(name := member.decode(errors="replace"))]
    return []


def models(client: redis.Redis) -> list[str]:
    """Return the names of all models in order, and put the set right: SMEMBERS, SCAN, EXISTS, SADD, SREM.

    Raises
    ------
    redis.ResponseError
        When this user may read neither the set nor the names of keys.
    """
    known: set[str] = set()
    try:
        known = {name.decode(errors="replace") for name in _members(client)}
        seen = {model for node in nodes(client) for model, _ in _scan(node, "learner:{*}:spec")}
    except redis.exceptions.NoPermissionError:
        if not known:
            raise
        seen = set()
    is_model = {name: _is_there(client, Keys(name).spec) for name in known - seen if is_name(name)}
    for name in seen - known:
        register(client, name)
    for name in known - seen:
        if not is_model.get(name):
            unregister(client, name)
    return sorted(seen | {name for name, is_there in is_model.items() if is_there})


def memory(client: redis.Redis) -> dict[str, int] | None:
    """Return the bytes that each model's keys take on the server: SCAN, MEMORY USAGE; None: this user may not look."""
    total: Counter[str] = Counter()
    try:
        for node in nodes(client):
            for page in pages(_scan(node, "learner:{*}:*"), PAGE_KEYS):
                _add(node, page, total)
    except redis.exceptions.NoPermissionError:
        return None
    return dict(total)


def _add(client: redis.Redis, page: list[tuple[str, bytes]], total: "Counter[str]") -> None:
    with client.pipeline(transaction=False) as pipe:
        for _, key in page:
            pipe.memory_usage(key)
        for (model, _), n_bytes in zip(page, pipe.execute(), strict=True):
            total[model] += n_bytes or 0  # a key may be gone by now


def _is_there(client: redis.Redis, key: str) -> bool:
    return bool(towards(client, key).exists(key))


def _members(client: redis.Redis) -> Any:
    try:
        return towards(client, MODELS).smembers(MODELS)
    except redis.ResponseError as error:  # the key may hold something else, too: then SCAN tells
        if isinstance(error, redis.exceptions.NoPermissionError) or "WRONGTYPE" in str(error):
            return set()
        raise


def _scan(client: redis.Redis, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield (model, key) for each key of a model that matches a pattern."""
    for key in client.scan_iter(match=pattern, count=PAGE_KEYS):
        match = re.match(rb"learner:\{([^}]*)\}:", key)
        if match and is_name(name := match[1].decode(errors="replace")):
            yield name, key
