"""``learner plot`` of a model: each command draws what was committed, or says in one line why it can't."""

import json
import math
import random
from pathlib import Path

import msgpack
import numpy as np
import pytest

from learner.client import Client
from learner.commands import pictures
from learner.model import Model
from learner.service.curves import curve
from learner.service.wire import Keys
from tests.plotting import CELLS, CIRCLE, contour, disc, drawn, places, plot, plot_failing, size

pytestmark = pytest.mark.usefixtures("picture_folder", "on_server")


@pytest.fixture
def on_server(redis_url, monkeypatch):
    """Let the commands find the session's server."""
    monkeypatch.setenv("REDIS_URL", redis_url)


@pytest.fixture
def learn(redis_url, create, drain):
    """Have a model learn examples, in as many commits as there are lists of them."""

    def learned(name, *batches, **options):
        create(name, **options)
        client = Client(name, redis_url)
        for batch in batches:
            client.push_many(batch)
            drain(name)

    return learned


@drawn
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_every_command_writes_a_picture_of_the_size_it_says(learn, figures, ending):
    learn("circle", disc(300), disc(300, 1))
    for command in (["graph"], ["progress", "circle"], ["weights", "circle"], ["boundary", "circle"]):
        arguments = ["--range", "-1,3", "--range", "-1,3"] * (command[0] == "boundary")
        file = f"{command[0]}.{ending}"
        shown = json.loads(plot(*command, *arguments, "--out", file, "--json"))
        assert shown["file"] == file
        assert np.abs(np.subtract(size(file), (shown["width"], shown["height"]))).max() <= 1
        assert min(shown["width"], shown["height"]) > 300
        assert Path(file).stat().st_size > 5000
    assert len(figures) == 4


@drawn
def test_a_picture_is_named_after_the_model_and_its_size_is_told(learn):
    learn("circle", disc(50))
    assert plot("progress", "circle") == "wrote circle-progress.png (1200 x 750 pixels)\n"
    assert size("circle-progress.png") == (1200, 750)
    assert plot("graph").startswith("wrote graph.png (")


@drawn
@pytest.mark.parametrize("command", ["progress", "weights", "boundary"])
def test_a_model_that_is_not_there_or_knows_nothing_is_refused(create, command):
    assert plot_failing(command, "m") == "model 'm' does not exist: make it with 'learner create m'"
    create("m")
    what = "progress (got none yet)" if command == "progress" else "committed examples (got none)"
    assert plot_failing(command, "m") == f"model 'm' must have {what}: is its worker running?"


def test_the_graph_of_a_models_score_adds_up(learn, committed):
    learn("m", [(y, {"address": f"abc{'@' if y > 0 else '.'}gmail.com"}) for y in (1, -1)] * 20, featurizer="email")
    record = {"address": "xyz@gmail.com"}
    text = plot("graph", "m", "--record", json.dumps(record), "--target", "1", "--format", "text")
    model = committed("m")
    score = model.score_one(record)
    assert f"score = add f {score:.4g} g" in " ".join(text.split())
    assert f"f {math.log1p(math.exp(-score)):.4g}" in text
    strongest = [part.name for part in model.explain_one(record)[:6]]
    assert [line.split(maxsplit=1)[1] for line in text.splitlines() if line[:1].isdigit()] == strongest
    assert f"rest, added to the score: the other {len(model.explain_one(record)) - 6} features" in text


def test_the_graph_of_a_model_with_a_neural_head_has_it_in_the_rest(learn, committed):
    learn("m", disc(500), featurizer=CIRCLE, neural=[5, 4])
    x = {"x1": 0.0, "x2": 1.5}
    lines = plot("graph", "m", "--record", json.dumps(x), "--format", "text").splitlines()
    assert lines[0].split()[:5] == ["score", "=", "add", "f", f"{committed('m').score_one(x):.4g}"]
    assert lines[-1].startswith("rest, added to the score: the neural head")
    assert not any("(network)" in line for line in lines)


def test_the_graph_of_a_models_score_without_a_target_ends_at_the_score(learn, committed):
    learn("circle", disc(200), featurizer=CIRCLE, rates=[1.0])
    text = plot("graph", "circle", "--record", '{"x1": 0.5, "x2": 1.5}', "--format", "text")
    score = committed("circle").score_one({"x1": 0.5, "x2": 1.5})
    assert text.splitlines()[0].split() == ["score", "=", "dot", "f", f"{score:.4g}", "g", "1"]


@drawn
def test_the_graph_of_a_models_score_is_drawn_with_the_names_of_its_features(learn, figures):
    learn("m", [(1, {"a$b$c": 1.5, "市": 1, "long " * 40: 1, "x\x1b[2J": 2}), (-1, {"a$b$c": -1})] * 20)
    plot("graph", "m", "--record", json.dumps({"a$b$c": 1.0, "市": 1, "long " * 40: 1}), "--target", "true")
    texts = " ".join(t.get_text() for t in figures[0].axes[0].texts)
    assert r"a\$b\$c" in texts
    assert "\\u5e02" in texts


@pytest.mark.parametrize(
    ("target", "labels", "told"),
    [
        ("blue", None, "--target must be -1, 0, 1, true, false or one of the model's labels (got 'blue')"),
        ("2", ["ham", "spam"], "--target must be -1, 0, 1, true, false or one of the model's labels (got '2')"),
        ("0", ["1", "2"], "--target must be -1, 0, 1, true, false or one of the model's labels (got '0')"),
    ],
)
def test_a_wrong_target_is_refused(learn, target, labels, told):
    learn("m", [(1, {"a": 1}), (0, {"a": 2})], labels=labels)
    assert plot_failing("graph", "m", "--record", '{"a": 1}', "--target", target, "--format", "text") == told


def test_a_target_may_be_a_label(learn):
    learn("m", [("spam", {"a": 1}), ("ham", {"a": 2})], labels=["ham", "spam"])
    texts = [plot("graph", "m", "--record", '{"a": 1}', "--target", t, "--format", "dot") for t in ("ham", "0", "-1")]
    assert texts[0] == texts[1] == texts[2]
    assert r"y (constant)\nf -1" in texts[0]


def test_the_loss_since_the_last_commit_is_that_of_its_examples(learn, client, committed):
    batches = [disc(100, seed) for seed in range(4)]
    learn("m", *batches, featurizer=CIRCLE)
    points = curve(fields for _, fields in client.xrange(Keys("m").progress))
    model = Model.from_spec(committed("m").to_spec())
    expected = []
    for batch in batches:
        scores = model.learn_packed(b"".join(msgpack.packb([y, model.features(x)]) for y, x in batch)).scores
        expected.append(np.mean(np.log1p(np.exp(-scores * [y for y, _ in batch]))))
    assert points.examples == [100, 200, 300, 400]
    np.testing.assert_allclose(points.recent, expected, rtol=1e-6)
    np.testing.assert_allclose(points.loss, np.cumsum(expected) / [1, 2, 3, 4], rtol=1e-6)


@drawn
@pytest.mark.parametrize("over", ["examples", "time"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_progress_is_drawn_over_examples_and_over_time(learn, figures, over, task):
    learn("m", *(disc(30, seed) for seed in range(5)), task=task)
    plot("progress", "m", "--over", over)
    axes = figures[0].axes[0]
    assert axes.get_xlabel() == {"examples": "examples learned", "time": "time (UTC)"}[over]
    unit = {"binary": "log loss (nats an example)", "regression": "squared error (the target's units, squared)"}[task]
    assert axes.get_ylabel() == unit
    assert len(axes.lines) == 3


@drawn
@pytest.mark.parametrize("over", ["examples", "time"])
def test_rises_of_the_loss_are_lines_with_one_entry_in_the_legend(learn, figures, client, over):
    learn("m", *(disc(30, seed) for seed in range(5)))
    figures_of_commit = client.xrevrange(Keys("m").progress, count=1)[0][1]
    for n in (60, 90):
        rise = {"drift_examples": n, "drift_before": 0.2, "drift_after": 0.4}
        client.xadd(Keys("m").progress, figures_of_commit | rise)
    plot("progress", "m", "--over", over)
    assert len(figures[0].axes[0].lines) == 3 + 2
    words = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert len(words) == 4
    assert words.count("the loss rose (drift)") == 1


@drawn
def test_weights_are_drawn_by_name_and_by_sign(learn, figures, committed):
    from matplotlib.colors import to_hex

    learn("m", [(1, {"good": 1, "x": 2}), (-1, {"bad": 1, "x": 3})] * 30)
    plot("weights", "m", "-n", "3")
    axes = figures[0].axes[0]
    strongest = committed("m").weights.strongest(3)
    assert [label.get_text() for label in axes.get_yticklabels()] == [name for name, _, _ in strongest]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [effect for _, _, effect in strongest])
    assert [text.get_text() for text in axes.texts] == [f"{weight:+.3g}" for _, weight, _ in strongest]
    colours = {round(math.copysign(1, bar.get_width())): to_hex(bar.get_facecolor()) for bar in axes.patches}
    assert colours == {1: pictures.BLUE, -1: pictures.VERMILION}


@drawn
def test_a_prefix_that_no_feature_has_is_refused(learn):
    learn("m", [(1, {"a": 1})] * 9)
    assert (
        plot_failing("weights", "m", "--prefix", "b")
        == "--prefix must start a feature's name (got 'b', which starts none)"
    )


@drawn
def test_the_boundary_of_the_circle_is_the_circle(learn, figures):
    """The lecture's circle: on [x1, x2, x1^2 + x2^2] a linear predictor has a boundary of radius sqrt 2 around (1, 1)."""
    learn("circle", disc(4000), featurizer=CIRCLE)
    plot("boundary", "circle")
    axes = figures[0].axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x1", "x2")
    radii = np.hypot(*(contour(figures[0]) - 1).T)
    assert abs(radii - math.sqrt(2)).max() < 0.15
    low, high = axes.get_xlim()
    assert -1.6 < low < -0.7
    assert 2.7 < high < 3.6


@drawn
def test_the_surface_over_a_map_has_a_cell_a_step_and_degrees(learn, figures):
    learn("m", places(3000), task="regression", featurizer=CELLS)
    plot("boundary", "m")
    axes = figures[0].axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lon (degrees)", "lat (degrees)")
    assert axes.get_xlim() == (-124, -117)
    assert axes.get_ylim() == (35, 41)
    predictions, veil = (image.get_array() for image in axes.images)
    n = predictions.shape[1] // 7
    assert predictions.shape[1] == 7 * n
    cells = predictions[:, n // 2 :: n][predictions.shape[0] // 2]
    assert (np.diff(cells[1:-1]) < 0).all()  # the further east, the cheaper
    assert (np.ptp(predictions.reshape(len(predictions), 7, n), axis=2) == 0).all()
    assert (veil[0, :, 3] > 0).all()  # south of every cell learned
    assert veil[len(veil) // 2, veil.shape[1] // 2, 3] == 0
    assert axes.get_aspect() == pytest.approx(1 / math.cos(math.radians(38)))


@drawn
def test_fields_ranges_and_the_rest_of_the_record_can_be_given(learn, figures):
    r = random.Random(0)
    rows = [(r.choice([1, -1]), r.gauss(0, 1)) for _ in range(2000)]
    learn(
        "m",
        [(y, {"at": {"a": y + z, "b": z}, "c": "even"}) for y, z in rows],
        featurizer="fields",
        labels=["ham", "spam"],
    )
    options = ["--range", "-2,2", "--range", "-3,3", "--record", '{"c": "odd", "at": {"d": 1}}']
    plot("boundary", "m", "--x", "at.a", "--y", "at.b", *options)
    assert (*figures[0].axes[0].get_xlim(), *figures[0].axes[0].get_ylim()) == (-2, 2, -3, 3)
    assert figures[0].axes[1].get_ylabel() == "probability of spam"
    a, b = contour(figures[0]).T
    assert abs(a - b).max() < 0.5
    assert (figures[0].axes[0].images[1].get_array()[..., 3] > 0).all()  # c=odd and at.d were never learned


@drawn
def test_other_numbers_are_at_their_means_and_a_range_is_that_of_most_values(learn, figures, committed):
    """At 0, far from all that was learned, the third number would decide everything; one wild value must not set a range."""
    r = random.Random(0)
    rows = [{"a": r.uniform(10, 20), "b": r.uniform(0, 1), "year": r.gauss(2000, 3)} for _ in range(2000)]
    rows[50]["a"] = 1e6
    columns = {"columns": dict.fromkeys(("a", "b", "year"), "number"), "template": "fields"}
    examples = [(int(x["a"] / 10 + x["b"] + (x["year"] - 2000) / 3 > 2), x) for x in rows]
    learn("m", examples, featurizer={"templates": [columns]})
    plot("boundary", "m", "--x", "a", "--y", "b")
    low, high = figures[0].axes[0].get_xlim()
    assert 9 < low < 12
    assert 18 < high < 21
    a, b = contour(figures[0]).T
    assert abs(a / 10 + b - 2).mean() < 0.15
    assert not figures[0].axes[0].images[1].get_array()[..., 3].any()  # it lacks no feature, nothing is pale


@drawn
def test_two_features_without_a_featurizer_are_found_in_the_model(learn, figures):
    learn("m", [(y, {"a.x": x["x1"], "b": x["x2"]}) for y, x in disc(300)])
    plot("boundary", "m")
    assert (figures[0].axes[0].get_xlabel(), figures[0].axes[0].get_ylabel()) == ("a.x", "b")


@drawn
def test_a_featurizer_that_cannot_take_two_numbers_is_refused(learn):
    learn("m", [(1, {"address": "a@b.c"}), (0, {"address": "abc"})] * 5, featurizer="email")
    assert (
        plot_failing("boundary", "m") == "featurizer of 'm' must take two numbers, or --x and --y say which (got none)"
    )
    ranges = ["--range", "0,1", "--range", "0,1"]
    told = "featurizer of 'm' must take the numbers 'x' and 'y': field 'address' is required (got None)"
    assert plot_failing("boundary", "m", "--x", "x", "--y", "y", *ranges) == told
    learn("three", [(i % 2, {"a": i, "b": -i, "c": i * i}) for i in range(20)])
    told = "featurizer of 'three' must take two numbers, or --x and --y say which (got 3: a, b, c)"
    assert plot_failing("boundary", "three") == told
    told = "prediction of 'three' must depend on 'd' or 'e' (got the same for all values)"
    assert plot_failing("boundary", "three", "--x", "d", "--y", "e", *ranges) == told
    told = "--range must be given where the values of 'd' are not known (got no such feature)"
    assert plot_failing("boundary", "three", "--x", "a", "--y", "d") == told


@drawn
def test_a_range_off_the_map_is_refused(learn):
    learn("m", places(100), task="regression", featurizer=CELLS)
    told = "featurizer of 'm' must take the numbers 'lon' and 'lat': field 'lat' must be within [-90, 90] (got -99.5)"
    assert plot_failing("boundary", "m", "--range", "-100,100", "--range", "-100,100") == told
