"""A streaming sparse linear learner service on Redis.

`Model` is the learner by itself; `Client` pushes examples to a served one and asks it for predictions, `AsyncClient` does so
with asyncio.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learner.client import AsyncClient, Client
    from learner.model import Model

__all__ = ["AsyncClient", "Client", "Model"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import on first use: a client must not wait for the compiler that a model brings."""
    if name in ("AsyncClient", "Client"):
        from learner import client

        return getattr(client, name)
    if name == "Model":
        from learner.model import Model

        return Model
    raise AttributeError(f"module 'learner' has no attribute {name!r}")
