"""Addresses to listen at, as options name them."""

import re

from learner.errors import LearnerError

__all__ = ["host_and_port"]


def host_and_port(option: str, address: str) -> tuple[str, int]:
    """Return the host and the port of ``HOST:PORT``, or of ``PORT`` on 127.0.0.1.

    Raises
    ------
    LearnerError
        When it is neither.

    >>> [host_and_port("--metrics", address) for address in ("9100", "0.0.0.0:9100", "[::1]:9100")]
    [('127.0.0.1', 9100), ('0.0.0.0', 9100), ('::1', 9100)]
    """
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]:|([^:\[\]]+):)?(\d{1,5})", address)
    if not match or int(match[3]) > 65535:
        raise LearnerError(f"{option} must be HOST:PORT or PORT (got {address!r})")
    return match[1] or match[2] or "127.0.0.1", int(match[3])
