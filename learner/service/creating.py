"""Creating a model that knows something already: a saved model's state becomes the first commit."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from learner.answered import AnsweredLoss
from learner.late import LateLoss
from learner.service.committing import figures_of
from learner.service.store import Store
from learner.service.store.position import NEVER
from learner.service.store.snapshot import Learned

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["create_learned"]


def create_learned(store: Store, model: "Model", settings: Mapping[str, str]) -> bool:
    """Create a model on the server with what `model` has learned; return False if the name is taken.

    Its stream starts empty. A worker goes on as `model` would, to the same bits.

    Raises
    ------
    StoreError
        When keys of that name are there without a model.
    """
    dirty = np.ones(len(model.state()["rows"]), np.uint8)
    learned = Learned(model.state(), dirty, model.fingerprint)
    snapshot = store.commits.snapshot(learned, NEVER, 0, (), figures_of(model, LateLoss(), AnsweredLoss()))
    return store.commits.create(model.to_spec(), snapshot, settings)
