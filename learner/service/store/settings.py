"""A model's settings, in the hash ``settings`` beside its spec: HGETALL, HSET, HDEL (see `learner.settings`)."""

from collections.abc import Mapping
from typing import Any, cast

import redis
from redis.exceptions import NoPermissionError

from learner import settings
from learner.errors import StoreError
from learner.service.store.link import Link
from learner.stored import require_readable

__all__ = ["read_settings", "read_texts", "write_settings"]


def read_settings(link: Link) -> dict[str, Any]:
    """Return the value of every setting; the defaults if this user may not read them.

    Raises
    ------
    StoreError
        When what is there is no setting's value.
    """
    with require_readable(f"settings of {link.keys.model!r}", f"see 'learner set {link.keys.model}'"):
        return settings.read(read_texts(link))


def read_texts(link: Link) -> dict[str, str]:
    """Return the settings that are set, as texts; none if this user may not read them.

    Raises
    ------
    StoreError
        When the key holds no texts.
    """
    keys = link.keys
    try:
        texts = cast("dict[bytes, bytes]", link.client.hgetall(keys.settings))
    except NoPermissionError:  # the user's access rules are an older release's
        return {}
    except redis.ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        raise StoreError(
            f"settings of {keys.model!r} must be a hash (something else is there): delete {keys.settings}"
        ) from error
    with require_readable(f"settings of {keys.model!r}", f"delete {keys.settings}"):
        return {name.decode(): text.decode() for name, text in texts.items()}


def write_settings(link: Link, data: Mapping[str, Any]) -> None:
    """Check and write settings; an empty text as a value sets one back to its default.

    Raises
    ------
    LearnerError
        When a name is unknown, or a value breaks its rule: then nothing is written.
    """
    texts = settings.parse(data)
    unset = [name for name, text in texts.items() if not text]
    mapping = {name: text for name, text in texts.items() if text}
    with link.client.pipeline() as pipe:
        if mapping:
            pipe.hset(link.keys.settings, mapping=cast("dict[Any, Any]", mapping))
        if unset:
            pipe.hdel(link.keys.settings, *unset)
        pipe.execute()
