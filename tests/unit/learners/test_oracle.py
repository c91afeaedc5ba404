"""The named algorithms beside Vowpal Wabbit's: the same progressive loss, but for two deviations."""

from collections import defaultdict

import pytest

from learner import kernels
from learner.layout import CONSTANT_NAME as CONSTANT
from learner.losses import LOSSES
from tests.reference.optimizers import Nag, Ng, dot, slope_of
from tests.unit.streams import scaled_words


@pytest.fixture(scope="module")
def oracle():
    pytest.importorskip("vowpalwabbit", reason="Vowpal Wabbit's wheel is not installed")
    from tests.benchmarks import oracle

    return oracle


@pytest.mark.skipif(not kernels.JIT, reason="too slow in plain Python")
@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "poisson"])  # whose slope is half of ours there
def test_the_progressive_loss_is_vowpal_wabbits(oracle, loss):
    """To 1e-4 of it; where the definitions are the same, at its defaults."""
    rows = [row for row in oracle.compare("generated", list(oracle.generated(loss, 3000)), loss) if oracle.agrees(row)]
    assert len(rows) == len(oracle.PEERS) - (loss in ("squared", "hinge")) * 2  # squared: two diverge at a rate of 10
    for row in rows:
        assert abs(row["difference"]) < 1e-4, row


@pytest.mark.skipif(not kernels.JIT, reason="too slow in plain Python")
def test_on_labels_0_and_1_the_progressive_loss_is_vowpal_wabbits(oracle):
    """Which clips scores to the labels; the model's own figure differs by the clipping of the first examples alone."""
    alike = {"--sgd -l 0.02 --power_t 0", "--adaptive -l 0.5", "--ftrl", "--ftrl --ftrl_alpha 0.1 --l1 0.5 --l2 0.1"}
    rows = list(oracle.compare("0 and 1", oracle.zeros_and_ones(3000), "squared", clip=True))
    for row in rows:
        assert abs(row["difference"]) < (1e-5 if row["vw"] in alike else 0.02), row


def as_vowpal_wabbit(base):
    """Rescale after predicting, and count only examples with a loss in t / N."""

    class Other(base):
        counted = 0.0

        def learn(self, x, y, importance):
            score = dot(self.w, x)
            self.t += importance
            if LOSSES[self.loss].value(score, y) > 0:
                self.counted += importance
                self.rescale(x)
                self.observe(x, importance)
                n, self.N = self.N, self.N * self.t / self.counted  # so that t / N is counted / N
                self.update(x, slope_of(self.loss, score, y), importance)
                self.N = n
            return score

    return Other


@pytest.mark.skipif(not kernels.JIT, reason="too slow in plain Python")
@pytest.mark.parametrize(("base", "arguments"), [(Ng, "--normalized"), (Nag, "--adaptive --normalized")])
@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_what_differs_from_vowpal_wabbits_normalized_is_what_is_said(oracle, base, arguments, loss):
    """On growing values: with two deviations the paper's algorithm is Vowpal Wabbit's, without them it is not."""
    examples = [(y, x) for x, y, _ in scaled_words(loss, 2000)]
    theirs = oracle.vw_loss(examples, loss, arguments)
    losses = defaultdict(float)
    for name, algorithm in (("paper", base(loss)), ("deviating", as_vowpal_wabbit(base)(loss))):
        for y, x in examples:
            losses[name] += LOSSES[loss].value(algorithm.learn({**x, CONSTANT: 1.0}, y, 1.0), y) / len(examples)
    assert losses["deviating"] == pytest.approx(theirs, rel=1e-4)
    assert losses["paper"] != pytest.approx(theirs, rel=1e-4)
