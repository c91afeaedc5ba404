"""A model of a last commit, and a commit of a model: a saved model's state becomes the first one."""

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

__all__ = ["committed_model", "create_learned"]


def committed_model(store: Store) -> "Model":
    """Return a model as last committed."""
    from learner.model import Model

    model = Model.from_spec(store.spec())
    committed = store.commits.load(model.fingerprint, model.row_width, must_fit=not store.keys.old)
    if committed and committed.state:
        model.load_state(committed.state)
    return model


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
