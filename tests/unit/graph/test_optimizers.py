"""The optimizers: the steps of their papers, written out slowly."""

import math
import random

import numpy as np
import pytest

from learner.graph import SGD, AdaGrad, Adam, Parameter


def slow_sgd(w, gradients, rate=0.1):
    for g in gradients:
        w = w - rate * g
    return w


def slow_adagrad(w, gradients, rate=0.1, delta=1e-8):
    for t in range(len(gradients)):
        w = w - rate * gradients[t] / (delta + math.sqrt(sum(g * g for g in gradients[: t + 1])))
    return w


def slow_adam(w, gradients, rate=0.1, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Kingma and Ba, 2015: the moments as the weighted sums of all past gradients that their section 3 writes them out as."""
    for t in range(1, len(gradients) + 1):
        past = list(enumerate(gradients[:t], 1))
        m = sum((1 - beta1) * beta1 ** (t - i) * g for i, g in past) / (1 - beta1**t)
        v = sum((1 - beta2) * beta2 ** (t - i) * g * g for i, g in past) / (1 - beta2**t)
        w = w - rate * m / (math.sqrt(v) + epsilon)
    return w


@pytest.mark.parametrize(
    ("optimiser", "slow"), [(SGD(0.1), slow_sgd), (AdaGrad(0.1), slow_adagrad), (Adam(0.1), slow_adam)]
)
def test_an_optimiser_takes_the_steps_of_its_paper(optimiser, slow):
    r = random.Random(3)
    starts, gradients = [0.5, -2.0], [[r.gauss(0, 1), r.gauss(1, 3)] for _ in range(20)]
    w, b = Parameter(starts, "w"), Parameter(starts[0], "b")  # two parameters, each with a past of its own
    for pair in gradients:
        w.g, b.g = np.array(pair), np.array(-pair[0])
        optimiser.update([w, b])
    np.testing.assert_allclose(w.f, [slow(starts[i], [pair[i] for pair in gradients]) for i in (0, 1)], rtol=1e-12)
    assert b.f == pytest.approx(slow(starts[0], [-pair[0] for pair in gradients]), rel=1e-12)


def test_adagrad_leaves_what_has_no_gradient():
    w = Parameter([1.0, 1.0], "w")
    w.g = np.array([0.0, 3.0])
    AdaGrad(0.5).update([w])
    np.testing.assert_allclose(w.f, [1.0, 0.5])
