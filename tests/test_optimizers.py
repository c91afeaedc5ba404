"""The named algorithms: equal to slow references, to Vowpal Wabbit, and as durable as the mixture."""

import json
import math
import random
from collections import defaultdict

import msgpack
import numpy as np
import pytest
from click.testing import CliRunner

from learner import Model, kernels, layout
from learner.commands import main
from learner.errors import SpecError
from learner.kernels.optimizer import N_OPTIONS
from learner.losses import LOSSES
from learner.optimizers import OPTIMIZERS
from tests.conftest import state_bytes
from tests.reference_optimizers import REFERENCES, Nag, Ng, dot, slope_of

SEED = b"sixteen bytes it"
CONSTANT = layout.CONSTANT_NAME
N_EXAMPLES = 600 if kernels.JIT else 60

OPTIONS = [
    {"name": "sgd", "rate": 0.05, "power": 0.0},
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


def stream(loss, n, seed=1):
    """Yield (features, target, importance) of words, some of them new, and numbers whose scale grows."""
    r = random.Random(seed)
    for i in range(n):
        x = {f"w{int(r.paretovariate(0.7)) % 500}": r.choice([1.0, 1.0, 0.5, -2.0]) for _ in range(5)}
        x |= {"a": r.gauss(0.0, 1.0), "b": r.gauss(1.0, 0.5) * (1.0 + i / n)}
        s = sum((sum(name.encode()) % 7 - 3) * math.atan(value) for name, value in x.items()) + r.gauss(0.0, 1.0)
        number = float(s > 0) if loss == "poisson" else s
        y = number if LOSSES[loss].task != "binary" else 1.0 if s > 0 else -1.0
        yield x, y, r.choice([1.0, 1.0, 1.0, 0.5, 3.0, 0.0])


def pack(examples):
    return b"".join(msgpack.packb([y, x, importance]) for x, y, importance in examples)


# ---- the references --------------------------------------------------------------------------------------------------
def test_every_algorithm_has_a_reference_and_a_place():
    """One that is new and not compared with anything fails here."""
    assert OPTIMIZERS.keys() == REFERENCES.keys() == {options["name"] for options in OPTIONS}
    assert sorted(optimizer.code for optimizer in OPTIMIZERS.values()) == list(range(len(OPTIMIZERS)))
    for name, optimizer in OPTIMIZERS.items():
        assert optimizer.update.__name__ == optimizer.name == name
        assert len(optimizer.options) <= N_OPTIONS
        defaults = {option: default for option, (default, _, _) in optimizer.options.items()}
        REFERENCES[name]("logistic", **defaults)  # which knows all of them
        assert all(least <= default <= most for default, least, most in optimizer.options.values())


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIONS, ids=str)
def test_an_algorithm_learns_what_its_reference_learns(optimizer, loss):
    """Scores and weights to 1e-5 of their size, in float32, against float64 from the paper."""
    model, slow = new(optimizer, loss), reference(optimizer, loss)
    examples = list(stream(loss, N_EXAMPLES))
    scores = model.learn_packed(pack(examples)).scores
    wanted = [slow.learn({**x, CONSTANT: 1.0}, y, importance) for x, y, importance in examples]
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    weights = dict(model.weights)
    size = max(map(abs, weights.values()))
    assert size > 0.01
    for name in slow.w.keys() | weights.keys():
        assert weights.get(name, 0.0) == pytest.approx(slow.w[name], rel=1e-5, abs=1e-5 * size), name


@pytest.mark.parametrize("optimizer", OPTIONS, ids=str)
def test_a_question_is_answered_as_the_next_example_would_be_predicted(optimizer):
    """With values beyond all seen, which rescale the weights of the normalised ones, and unseen names; nothing changes."""
    model, slow = new(optimizer), reference(optimizer)
    examples = list(stream("logistic", 100))
    model.learn_packed(pack(examples))
    for x, y, importance in examples:
        slow.learn({**x, CONSTANT: 1.0}, y, importance)
    before = state_bytes(model)
    for x in ({"a": 50.0, "w1": -3.0, "unseen": 2.0}, {"b": 0.1}, {}):
        assert model.score_one(x) == pytest.approx(slow.predict({**x, CONSTANT: 1.0}), rel=1e-4, abs=1e-5)
        explained = {c.name: c for c in model.explain_one(x)}
        assert explained.keys() == x.keys() | {CONSTANT}
        assert sum(c.contribution for c in explained.values()) == pytest.approx(model.score_one(x), rel=1e-12)
        assert all(c.contribution == c.weight * c.value and c.mean == 0.0 for c in explained.values())
        if not model.learner.optimizer.normalised:
            assert all(c.weight == model.weights.get(name, 0.0) for name, c in explained.items())
    assert state_bytes(model) == before


def test_adam_on_dense_examples_is_the_papers_algorithm_on_vectors():
    """Where every example has every feature, there is nothing sparse to differ in."""
    r = np.random.default_rng(1)
    X = r.normal(size=(N_EXAMPLES, 4))
    y = np.sign(X @ [1.0, -2.0, 0.0, 0.5] + r.normal(size=len(X)))
    theta, m, v = np.zeros(5), np.zeros(5), np.zeros(5)
    for t, (x, target) in enumerate(zip(np.hstack([X, np.ones((len(X), 1))]), y, strict=True), 1):
        g = -target / (1 + np.exp(target * (theta @ x))) * x
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        theta -= 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    model = new({"name": "adam", "rate": 0.01})
    for x, target in zip(X, y, strict=True):
        model.learn_one(x, target)
    assert [model.weights[name] for name in "0123"] == pytest.approx(theta[:4].tolist(), rel=1e-4, abs=1e-5)
    assert model.weights[CONSTANT] == pytest.approx(theta[4], rel=1e-4, abs=1e-5)


def test_a_slope_too_small_for_float32_is_none():
    """A margin of 17 leaves a new feature alone, though AdaGrad's first step does not depend on the gradient's size."""
    model = new({"name": "adagrad", "rate": 9.0})
    model.learn_one({"a": 1.0}, 1)
    model.learn_one({"a": 1.0, "new": 1.0}, 1)
    assert "new" not in model.weights
    model.learn_one({"b": 1.0}, 1)
    assert model.weights["b"] == pytest.approx(9.0)


# ---- L1 --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "ftrl", "alpha": 0.5, "l1": 3.0},
        {"name": "adagrad", "rate": 0.5, "l1": 0.9},
        {"name": "sgd", "rate": 0.2, "l1": 0.9},
    ],
    ids=str,
)
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_that_l1_takes_are_truly_zero(optimizer, loss):
    """And for FTRL, exactly those whose |z| is within l1."""
    model = new(optimizer, loss)
    model.learn_packed(pack(stream(loss, N_EXAMPLES)))
    weights = model.weights.array()
    assert 0 < np.count_nonzero(weights) < 0.95 * len(weights)
    assert not np.signbit(weights[weights == 0.0]).any()
    if optimizer["name"] == "ftrl":
        z = model.learner.weight_dict.matrix[:, layout.HEADER + 1]
        np.testing.assert_array_equal(weights == 0.0, np.abs(z) <= optimizer["l1"])


# ---- bounds ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_whatever_comes_nothing_becomes_infinite(name, loss):
    model, r = new({"name": name}, loss), random.Random(1)
    sizes = [1e30, 1e-30, 1.0, 1e10, 1e-10]
    for _ in range(200):
        x = {f"w{r.randint(0, 5)}": r.choice([-1, 1]) * r.choice(sizes) for _ in range(3)}
        y = r.choice([0 if loss == "poisson" else -1, 1]) * (1 if LOSSES[loss].task == "binary" else r.choice(sizes))
        model.learn_one(x, y, r.choice([1e6, 1.0, 1e-6, 0.0]))
        assert math.isfinite(model.score_one(x))
    assert np.isfinite(model.weights.array()).all()
    assert all(np.isfinite(model.learner.weight_dict.matrix[:, layout.HEADER :]).ravel())
    assert math.isfinite(model.score_one({f"w{i}": 1e30 for i in range(6)}))


def test_a_regression_predicts_within_the_targets_seen():
    model = new({"name": "sgd", "rate": 0.1}, "squared")
    for y in (3.0, 5.0, 4.0):
        model.learn_one({"a": 1.0}, y)
    assert model.predict_one({"a": 1000.0}) == 5.0
    assert model.predict_one({"a": -1000.0}) == 3.0
    assert model.score_one({"a": 1000.0}) > 100.0


# ---- durable ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_importance_of_zero_is_counted_and_not_learned(name):
    model, other = new({"name": name}), new({"name": name})
    for x, y, _ in stream("logistic", 30):
        model.learn_one(x, y)
        other.learn_one(x, y)
        other.learn_one({**x, "b": 1e6, "never": 1.0}, -y, 0.0)
    assert dict(model.weights) == dict(other.weights)
    assert other.n_examples == 60


@pytest.mark.skipif(not kernels.JIT, reason="needs a server, and no second try in plain Python")
def test_a_worker_commits_and_resumes_a_named_algorithm(create, drain, committed, redis_url):
    """Two workers one after the other, with a commit between, learn what one learns in memory; bit for bit."""
    from learner.client import Client

    plain = create(optimizer={"name": "ftrl", "alpha": 0.1, "l1": 0.5})
    examples = list(stream("logistic", 400))
    for part in (examples[:150], examples[150:]):
        list(Client("m", redis_url).push_packed([pack([example]) for example in part], features=True))
        plain.learn_packed(pack(part))
        drain()
    assert state_bytes(committed()) == state_bytes(plain)


# ---- the description -------------------------------------------------------------------------------------------------
def test_a_spec_gives_the_model_back_and_each_option_is_in_the_fingerprint():
    specs = [*OPTIONS, {"name": "nag", "rate": 0.25}, "nag", "ftrl"]
    models = [new(spec) for spec in specs] + [Model(seed=SEED), Model(seed=SEED, rates=[0.5])]
    for model in models:
        again = Model.from_spec(json.loads(json.dumps(model.to_spec())))
        assert again.to_spec() == model.to_spec()
        assert again.fingerprint == model.fingerprint
    assert len({model.fingerprint for model in models}) == len(models) - 1  # "nag" is {"name": "nag"}


BAD = [
    ("nesterov", "optimizer must be one of sgd, adagrad, adam, ftrl, ng, nag (got 'nesterov')"),
    ({"alpha": 1}, "optimizer must be one of sgd, adagrad, adam, ftrl, ng, nag (got None)"),
    ({"name": "ftrl", "rate": 1}, "options of ftrl must be among alpha, beta, l1, l2 (got rate)"),
    ({"name": "ftrl", "l1": -1}, "l1 of ftrl must be a number within [0, 1e+06] (got -1)"),
    ({"name": "ftrl", "beta": 0}, "beta of ftrl must be a number within [1e-09, 1e+06] (got 0)"),
    ({"name": "sgd", "rate": math.nan}, "rate of sgd must be a number within [1e-09, 1e+06] (got nan)"),
    ({"name": "sgd", "rate": True}, "rate of sgd must be a number within [1e-09, 1e+06] (got True)"),
    ({"name": "sgd", "rate": "1"}, "rate of sgd must be a number within [1e-09, 1e+06] (got '1')"),
    (5, "optimizer must be one of sgd, adagrad, adam, ftrl, ng, nag (got 5)"),
]


@pytest.mark.parametrize(("optimizer", "message"), BAD)
def test_a_wrong_optimizer_is_refused_in_words(optimizer, message):
    with pytest.raises(SpecError) as caught:
        new(optimizer)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "other", [{"rates": [0.5]}, {"decays": [0.5] * 2}, {"neural": [4]}, {"parts": []}, {"l1": 0.1}, {"l2": 0.1}]
)
def test_an_optimizer_stands_alone(other):
    with pytest.raises(SpecError) as caught:
        Model(optimizer="ftrl", **other)
    name = next(iter(other))
    assert str(caught.value) == f"optimizer must stand alone, without rates, decays, parts, neural, l1, l2 (got {name})"


def test_replay_takes_an_optimizer_and_its_options(tmp_path):
    file = tmp_path / "examples.msgpack"
    examples = list(stream("logistic", 100))
    file.write_bytes(pack(examples))
    run = CliRunner().invoke(main, ["replay", str(file), "--optimizer", "ftrl:alpha=0.1,l1=1", "--json"])
    assert run.exit_code == 0, run.output
    model = new({"name": "ftrl", "alpha": 0.1, "l1": 1.0})
    model.learn_packed(pack(examples))
    assert json.loads(run.stdout)["progressive_loss"] == pytest.approx(model.progressive_loss, rel=1e-12)
    run = CliRunner().invoke(main, ["replay", str(file), "--compare", "optimizer=ftrl:alpha=0.1,l1=1", "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["specs"][1]["loss"] == pytest.approx(model.progressive_loss, rel=1e-12)
    for text, message in (
        ("ftrl:alpha", "--optimizer must be NAME or NAME:OPTION=NUMBER,... (got 'ftrl:alpha')"),
        ("ftrl:l1=1,l1=2", "--optimizer must be NAME or NAME:OPTION=NUMBER,... (got 'ftrl:l1=1,l1=2')"),
        ("ftrl:name=1", "--optimizer must be NAME or NAME:OPTION=NUMBER,... (got 'ftrl:name=1')"),
        ("ftrl:l1=a", "--optimizer must be numbers with commas (got 'a')"),
        ("momentum", "optimizer must be one of sgd, adagrad, adam, ftrl, ng, nag (got 'momentum')"),
    ):
        run = CliRunner().invoke(main, ["replay", str(file), "--optimizer", text])
        assert run.exit_code == 2
        assert message in run.output


# ---- the oracle ------------------------------------------------------------------------------------------------------
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
    examples = [(y, x) for x, y, _ in stream(loss, 2000)]
    theirs = oracle.vw_loss(examples, loss, arguments)
    losses = defaultdict(float)
    for name, algorithm in (("paper", base(loss)), ("deviating", as_vowpal_wabbit(base)(loss))):
        for y, x in examples:
            losses[name] += LOSSES[loss].value(algorithm.learn({**x, CONSTANT: 1.0}, y, 1.0), y) / len(examples)
    assert losses["deviating"] == pytest.approx(theirs, rel=1e-4)
    assert losses["paper"] != pytest.approx(theirs, rel=1e-4)
