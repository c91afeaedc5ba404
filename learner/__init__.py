"""A streaming sparse linear learner service on Redis.

`Model` is the learner by itself; `Client` pushes examples to a served one and asks it for predictions.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learner.client import Client
    from learner.model import Model

__all__ = ["Client", "Model"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import on first use: a client must not wait for the compiler that a model brings."""
    if name == "Client":
        from learner.client import Client

        return Client
    if name == "Model":
        from learner.model import Model

        return Model
    raise AttributeError(f"module 'learner' has no attribute {name!r}")
