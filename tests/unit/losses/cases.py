"""Every loss of the table `LOSSES`, so that a new loss is tested from its first day; and targets for each."""

import dataclasses
from functools import partial

import pytest
from hypothesis import strategies as st

from learner.losses import LOSSES

PARTS = ("value", "derivative", "step", "quadratic")  # that take a level
ALL = LOSSES | {
    f"quantile at {level}": dataclasses.replace(
        LOSSES["quantile"],
        **{part: partial(getattr(LOSSES["quantile"], part), level=level) for part in PARTS},
    )
    for level in (0.03, 0.9)
}
every_loss = pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
scores = st.floats(-1e4, 1e4)
distances = st.floats(-12, 12).map(lambda e: 10.0**e)
importances = st.floats(0, 100)


def targets(loss):
    return {"binary": (-1.0, 1.0), "poisson": (0.0, 0.3, 2.5)}.get(loss.task, (-1.7, 0.0, 2.5))


def any_target(loss):
    """Hypothesis's targets."""
    return (
        st.sampled_from(targets(loss))
        if loss.task == "binary"
        else st.floats(0.0 if loss.task == "poisson" else -1e4, 1e4)
    )
