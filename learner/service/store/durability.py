"""The three levels of what a model outlives, what each needs of the server, and how a write is confirmed.

==========  ====================================  =======================================================================
level       nothing is lost when                  it needs
==========  ====================================  =======================================================================
crash       worker, producer or server is killed  ``appendonly yes``; ``appendfsync everysec`` will do
power       the machine loses its power           ``appendfsync always``, or WAITAOF (Redis 7.2, Valkey) after a write
failover    the primary is lost for good          WAIT after a write, and ``min-replicas-to-write`` at the primary
==========  ====================================  =======================================================================

At every level, and without any, state and cursor are one transaction: they agree whatever is lost. What a level adds is that
an *acknowledged* write, a push that returned or a commit that `learner status` calls confirmed, is not lost.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from learner.errors import LearnerError, ServerError, show

if TYPE_CHECKING:
    import redis

__all__ = ["LEVELS", "Durability"]

LEVELS = ("crash", "power", "failover")
WAITAOF_VERSION = (7, 2)


@dataclass(frozen=True)
class Durability:
    """A level, and the number of replicas that "failover" asks for.

    Raises
    ------
    LearnerError
        When it is none of `LEVELS`.
    """

    level: str = "crash"
    replicas: int = 1
    waitaof: bool = True  # False: every write is on disk before it is answered

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise LearnerError(f"durability must be one of {', '.join(LEVELS)} (got {show(self.level)})")
        if self.replicas < 1:
            raise LearnerError(f"replicas must be at least 1 (got {self.replicas})")

    def __str__(self) -> str:
        return f"{self.level} ({self.replicas} replicas)" if self.level == "failover" else self.level

    def shortcomings(self, client: "redis.Redis") -> list[str]:
        """Return what the server lacks for this level, in words; what can't be seen is said so too."""
        info: Any = client.info()
        found = []
        if str(info.get("maxmemory_policy", "noeviction")).startswith("allkeys"):
            found.append(
                f"maxmemory-policy must be noeviction (got {info['maxmemory_policy']}: it drops keys when full)"
            )
        if not info.get("aof_enabled", 0):
            found.append(
                "appendonly must be yes (got no: a server that is killed forgets what came after its last dump)"
            )
        config = self._config(client)
        if self.level == "power" and not self._has_waitaof(info):
            fsync = config.get("appendfsync", "unknown: CONFIG GET is refused")
            if fsync != "always":
                found.append(
                    f"appendfsync must be always, or the server have WAITAOF (got {fsync}, {info['redis_version']})"
                )
        if self.level == "failover":
            if info.get("role") != "master":
                found.append(f"role must be master (got {info.get('role')})")
            if int(info.get("connected_slaves", 0)) < self.replicas:
                found.append(f"replicas must be at least {self.replicas} (got {info.get('connected_slaves', 0)})")
            least = config.get("min-replicas-to-write", "unknown: CONFIG GET is refused")
            if not str(least).isdigit() or int(least) < self.replicas:
                found.append(
                    f"min-replicas-to-write must be at least {self.replicas} (got {least}): a primary that is cut off "
                    "would go on taking what is lost when it comes back"
                )
        return found

    def on(self, client: "redis.Redis") -> "Durability":
        """Return this level as the server gives it.

        Raises
        ------
        ServerError
            When the server can't give what the level says, or doesn't tell.
        """
        if found := self.shortcomings(client):
            raise ServerError(f"server: durability {self.level!r} asks for more: {'; '.join(found)}")
        info: Any = client.info()
        return replace(self, waitaof=self._has_waitaof(info))

    def _config(self, client: Any) -> dict[str, str]:
        try:
            return dict(client.config_get("*") if self.level != "crash" else {})
        except Exception as error:  # managed servers refuse CONFIG
            if type(error).__module__.partition(".")[0] != "redis":
                raise
            return {}

    @staticmethod
    def _has_waitaof(info: dict[str, Any]) -> bool:
        version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
        return version >= WAITAOF_VERSION  # Valkey reports the Redis it is compatible with, 7.2

    @property
    def waits(self) -> bool:
        """Whether a write must be waited for."""
        return self.level == "failover" or (self.level == "power" and self.waitaof)

    def queue(self, pipe: Any, timeout_ms: int) -> None:
        """Queue what waits for the writes before it on the same connection, if anything does."""
        if self.level == "failover":
            pipe.execute_command("WAIT", self.replicas, timeout_ms)
        elif self.waits:
            pipe.execute_command("WAITAOF", 1, 0, timeout_ms)

    def confirmed(self, reply: Any) -> bool:
        """Tell whether the answer to what was queued says that the writes are safe."""
        return bool(reply[0] >= 1 if self.level == "power" else int(reply) >= self.replicas)
