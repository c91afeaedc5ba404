"""Probes: whether a model's worker is alive or ready, as one line and an exit code, within a few seconds whatever hangs."""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import click
import redis

from learner.commands.options import to_json
from learner.errors import LearnerError
from learner.messages import one_line
from learner.service.store import Store, connection, embedded

__all__ = ["PROBE_SECONDS", "probe"]

PROBE_SECONDS = 4.0  # until a probe gives up


def probe(
    model: str, redis_url: str | None, check: str, judge: Callable[[Mapping[str, Any]], tuple[bool, str]], as_json: bool
) -> NoReturn:
    """Print what a check says of a model, and exit with 0 or 1; it starts no server.

    Parameters
    ----------
    model, redis_url : str
        The model, and its server.
    check : str
        What is checked, for the line.
    judge : callable
        Gets what `Store.status` returns; returns whether all is well, and the reason.
    as_json : bool
        Whether to print JSON.
    """

    def say(is_well: bool, reason: str) -> int:
        line = f"{'' if is_well else 'not '}{check}: {reason}"
        click.echo(
            to_json({"model": model, "check": check, "ok": is_well, "reason": reason}) if as_json else one_line(line)
        )
        sys.stdout.flush()
        return 0 if is_well else 1

    def give_up() -> None:  # in a thread: what hangs may be a look-up of a name, which no signal ends
        os._exit(say(False, f"no answer of the server within {PROBE_SECONDS:g} s"))

    timer = threading.Timer(PROBE_SECONDS, give_up)
    timer.daemon = True
    timer.start()
    try:
        is_well, reason = judge(_status(model, redis_url))
    except (LearnerError, redis.RedisError) as error:
        is_well, reason = False, str(error)
    timer.cancel()
    sys.exit(say(is_well, reason))


def _status(model: str, redis_url: str | None) -> dict[str, Any]:
    url = embedded.find(redis_url)
    if url is None:
        raise LearnerError("no server runs")
    return Store(connection.client(url), model).described()
