"""The detector of drift: few false events where nothing changes, a rise of a fifth found soon, a fall no event."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from learner.drift import BLOCK, Drift

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def log_losses(r: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Losses of probabilities that are right."""
    p = 1.0 / (1.0 + np.exp(-r.normal(0.0, 1.5, n)))
    return -np.log(np.where(r.random(n) < p, p, 1.0 - p))


KINDS: dict[str, Draw] = {
    "log": log_losses,
    "squared": lambda r, n: r.normal(0.0, 1.0, n) ** 2,
    "heavy tails": lambda r, n: r.standard_t(3, n) ** 2,
    "rare": lambda r, n: np.where(r.random(n) < 0.02, 3.5, 0.03),
}


@pytest.mark.parametrize("kind", KINDS)
def test_at_most_one_false_event_in_20_streams_of_100_000(kind: str, seed: int) -> None:
    found = 0
    for i in range(20):
        drift = Drift()
        found += len(drift.observe(KINDS[kind](np.random.default_rng([seed, i]), 100_000)))
    assert found <= 1


@pytest.mark.parametrize(("kind", "n"), [("log", 2000), ("squared", 4000)])
def test_a_rise_of_a_fifth_is_found_and_a_fall_is_not(kind: str, n: int, seed: int) -> None:
    n_found = 0
    for i in range(20):
        r, drift = np.random.default_rng([seed, i]), Drift()
        assert not drift.observe(1.2 * KINDS[kind](r, 20_000))
        assert not drift.observe(KINDS[kind](r, 20_000))
        rises = drift.observe(1.2 * KINDS[kind](r, n))
        n_found += any(rise.after > rise.before and rise.n_after <= n for rise in rises)
    assert n_found >= 16


def test_it_does_not_matter_how_losses_come(seed: int) -> None:
    r = np.random.default_rng(seed)
    losses = np.concatenate([r.random(5000), 0.3 + r.random(5000)])
    whole = Drift().observe(losses)
    pieces, cuts = Drift(), np.sort(r.integers(0, 10_000, 50))
    assert [rise for part in np.split(losses, cuts) for rise in pieces.observe(part)] == whole
    assert len(whole) >= 1


def test_rejected_examples_and_losses_of_0_are_no_trouble() -> None:
    drift = Drift()
    assert drift.observe(np.full(5000, np.nan)) == []
    assert drift.n == 0
    assert drift.observe(np.zeros(5000)) == []
    assert drift.n == 5000
    assert drift.observe(np.full(3 * BLOCK, 1e300)) == []
