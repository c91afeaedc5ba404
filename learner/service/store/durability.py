"""Durability: three levels, what each requires of the server, and how a write is confirmed.

==========  ====================================  =======================================================================
level       nothing is lost when                  it requires
==========  ====================================  =======================================================================
crash       worker, producer or server is killed  ``appendonly yes``; ``appendfsync everysec`` is enough
power       the machine loses power               ``appendfsync always``, or WAITAOF (Redis 7.2, Valkey) after a write
failover    the primary is lost for good          WAIT after a write, and ``min-replicas-to-write`` at the primary
==========  ====================================  =======================================================================

At every level one transaction writes state and cursor, so they agree even when the server loses data. A level guarantees that
an *acknowledged* write is not lost: a push that returned, or a commit that `learner status` calls confirmed.
"""

from dataclasses import dataclass, replace
from typing import Any

import redis

from learner.errors import LearnerError, ServerError, show
from learner.settings import LEVELS

__all__ = ["Durability", "has_waitaof"]

WAITAOF_VERSION = (7, 2)


@dataclass(frozen=True)
class Durability:
    """A level of durability.

    Parameters
    ----------
    level : str
        One of `LEVELS`.
    replicas : int
        How many replicas a write must reach, with "failover".
    waitaof : bool
        With "power": whether to send WAITAOF after a write; if not, the server must have ``appendfsync always``.

    Raises
    ------
    LearnerError
        When the level is unknown, or there are no replicas.
    """

    level: str = "crash"
    replicas: int = 1
    waitaof: bool = True

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise LearnerError(f"durability must be one of {', '.join(LEVELS)} (got {show(self.level)})")
        if self.replicas < 1:
            raise LearnerError(f"replicas must be at least 1 (got {self.replicas})")

    def __str__(self) -> str:
        return f"{self.level} ({self.replicas} replicas)" if self.level == "failover" else self.level

    def shortcomings(self, client: "redis.Redis") -> list[str]:
        """Return, in words, what the server lacks for this level, and which of its settings can't be read."""
        info: Any = client.info()
        shortcomings = []
        if str(info.get("maxmemory_policy", "noeviction")).startswith("allkeys"):
            shortcomings.append(
                f"maxmemory-policy must be noeviction (got {info['maxmemory_policy']}: it drops keys when full)"
            )
        if not info.get("aof_enabled", 0):
            shortcomings.append(
                "appendonly must be yes (got no: a server that is killed forgets what came after its last dump)"
            )
        config = self._config(client)
        if self.level == "power" and not has_waitaof(info):
            fsync = config.get("appendfsync", "unknown: CONFIG GET is refused")
            if fsync != "always":
                shortcomings.append(
                    f"appendfsync must be always, or the server have WAITAOF (got {fsync}, {info['redis_version']})"
                )
        if self.level == "failover":
            if info.get("role") != "master":
                shortcomings.append(f"role must be master (got {info.get('role')})")
            if int(info.get("connected_slaves", 0)) < self.replicas:
                shortcomings.append(
                    f"replicas must be at least {self.replicas} (got {info.get('connected_slaves', 0)})"
                )
            least = config.get("min-replicas-to-write", "unknown: CONFIG GET is refused")
            if not str(least).isdigit() or int(least) < self.replicas:
                shortcomings.append(
                    f"min-replicas-to-write must be at least {self.replicas} (got {least}): a primary that is cut off "
                    "would go on taking what is lost when it comes back"
                )
        return shortcomings

    def on(self, client: "redis.Redis") -> "Durability":
        """Return this level, with `waitaof` set to what this server has.

        Raises
        ------
        ServerError
            When the server lacks something, or a setting can't be read.
        """
        if shortcomings := self.shortcomings(client):
            raise ServerError(f"server: durability {self.level!r} asks for more: {'; '.join(shortcomings)}")
        info: Any = client.info()
        return replace(self, waitaof=has_waitaof(info))

    def _config(self, client: Any) -> dict[str, str]:
        try:
            return dict(client.config_get("*") if self.level != "crash" else {})
        except redis.RedisError:  # managed servers refuse CONFIG
            return {}

    @property
    def waits(self) -> bool:
        """Whether a command must be sent after a write to wait until the write is durable."""
        return self.level == "failover" or (self.level == "power" and self.waitaof)

    def queue(self, pipe: Any, seconds: float) -> None:
        """Queue the command, if the level needs one, that waits until the writes before it on this connection are durable."""
        timeout_ms = max(int(1000 * seconds), 1)  # 0 would wait for good
        if self.level == "failover":
            pipe.execute_command("WAIT", self.replicas, timeout_ms)
        elif self.waits:
            pipe.execute_command("WAITAOF", 1, 0, timeout_ms)

    def confirmed(self, reply: Any) -> bool:
        """Tell whether the reply to the queued command says that the writes are durable."""
        return bool(reply[0] >= 1 if self.level == "power" else int(reply) >= self.replicas)


def has_waitaof(info: dict[str, Any]) -> bool:
    """Tell from a server's INFO whether it has WAITAOF."""
    version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    return version >= WAITAOF_VERSION  # Valkey says which Redis it is compatible with: 7.2
