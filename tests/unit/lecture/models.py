"""Models with the lecture's weights and features, and its training loop."""

import numpy as np
import pytest

from featurizers import (
    Featurizer,
)
from learner import Model, layout
from learner.graph import (
    backward,
    forward,
    parameters,
)

SEED = b"sixteen bytes it"


def weighted(weights, *templates):
    """A model with these weights and no constant: loaded, for features whose values are at most 128 in size."""
    model = Model(featurizer=Featurizer(templates) if templates else None, rates=[1.0], seed=SEED)
    seen = Model(rates=[1.0], seed=SEED)
    seen.learn_one(dict.fromkeys(weights, 128.0), 1)
    state = {name: array.copy() for name, array in seen.state().items()}
    state["rows"][:, layout.HEADER] = [0.0, *(128.0 * weight for weight in weights.values())]
    model.load_state(state)
    return model


def learned(task, examples, *templates, **options):
    """A model that has learned (record, target) one after another, of the given features alone."""
    options = {"rates": [0.5, 32.0]} | options
    model = Model(task, featurizer=Featurizer(templates) if templates else None, seed=SEED, **options)
    for x, y in examples:
        model.learn_one(x, y)
    return model


def close(value):
    """As near as the weights' float32 allows."""
    return pytest.approx(value, rel=1e-6, abs=1e-6)


CARS = np.array([[0.0, 2.0], [2.0, 0.0], [0.0, 0.0], [2.0, 2.0]])  # where two cars are, from one side of the road
SAFE = np.array([1.0, 1.0, -1.0, -1.0])
CARS_PHI = np.column_stack([np.ones(4), CARS])  # phi(x) = [1, x1, x2]


def train(loss, optimiser, steps):
    learned = parameters(loss)
    for _ in range(steps):
        forward(loss)
        backward(loss)
        optimiser.update(learned)
    return float(forward(loss))
