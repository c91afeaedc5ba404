"""The named algorithms with options of their own, and their references, for tests."""

from learner.losses import LOSSES
from learner.model import Model
from tests.reference.optimizers import REFERENCES
from tests.unit.streams import SEED

OPTIONS = [
    {"name": "sgd", "rate": 0.05, "power": 0.0},
    {"name": "sgd", "rate": 0.05, "power": 0.0, "clip": False},
    {"name": "sgd", "rate": 0.3, "l1": 0.002, "l2": 0.01},
    {"name": "adagrad", "rate": 0.3},
    {"name": "adagrad", "rate": 0.3, "epsilon": 0.01, "l1": 0.02, "l2": 0.01},
    {"name": "adam", "rate": 0.01},
    {"name": "adam", "rate": 0.02, "beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3},
    {"name": "ftrl", "alpha": 0.2},
    {"name": "ftrl", "alpha": 0.2, "beta": 0.5, "l1": 0.7, "l2": 0.3},
    {"name": "ng", "rate": 1.0},
    {"name": "ng", "rate": 0.2, "power": 0.1},
    {"name": "nag"},
    {"name": "nag", "rate": 0.2},
]


def new(optimizer, loss="logistic"):
    return Model(LOSSES[loss].task, loss=loss, optimizer=optimizer, seed=SEED)


def reference(optimizer, loss="logistic"):
    options = dict(optimizer)
    return REFERENCES[options.pop("name")](loss, **options)
