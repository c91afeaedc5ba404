"""Pictures: each command writes one, of the size it says, with all text inside; text without matplotlib; errors in one line."""

import importlib.util
import json
import math
import random
import struct
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import msgpack
import numpy as np
import pytest
from click.testing import CliRunner

from learner.client import Client
from learner.commands import main, pictures
from learner.commands import plots as plot
from learner.graph import Constant, Node, Parameter, backward, dot, matmul, order, square, tanh
from learner.losses import LOSSES
from learner.model import Model
from learner.service.wire import Keys

if importlib.util.find_spec("matplotlib") is None:
    drawn = pytest.mark.skip(reason="matplotlib is not installed (the extra: plot)")
else:
    drawn = pytest.mark.filterwarnings("error")  # such as a glyph that the font lacks

CIRCLE = {
    "templates": [
        {"template": "number", "field": "x1"},
        {"template": "number", "field": "x2"},
        {"template": "sum_of_squares", "of": ["x1", "x2"]},
    ]
}
CELLS = {"templates": [{"template": "cells", "size": [2, 1]}]}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where the pictures go."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(redis_url, monkeypatch):
    """Run ``learner plot`` in this process, on the session's server; returns what it prints."""
    monkeypatch.setenv("REDIS_URL", redis_url)

    def ran(*arguments, code=0):
        result = CliRunner().invoke(main, ["plot", *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.stdout if code == 0 else result.stderr

    return ran


@pytest.fixture
def fails(run):
    """Run ``learner plot``, which must fail with one line and write nothing; returns the line."""

    def failed(*arguments):
        line = run(*arguments, code=2)
        assert line.startswith("Error: ")
        assert line.count("\n") == 1
        assert list(Path().iterdir()) == []
        return line.removeprefix("Error: ").rstrip("\n")

    return failed


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


def disc(n, seed=0):
    """Points inside and outside of the circle around (1, 1) through the origin."""
    r = random.Random(seed)
    points = [(r.uniform(-1, 3), r.uniform(-1, 3)) for _ in range(n)]
    return [(1 if (a - 1) ** 2 + (b - 1) ** 2 < 2 else -1, {"x1": a, "x2": b}) for a, b in points]


def places(n, seed=0):
    """Prices that rise to the west, in five cells by four."""
    r = random.Random(seed)
    spots = [(r.uniform(36, 40), r.uniform(-123, -118)) for _ in range(n)]
    return [(-lon - 118 + r.gauss(0, 0.1), {"lat": lat, "lon": lon}) for lat, lon in spots]


def size(path):
    """The width and height of a picture, in pixels; an SVG's of its points."""
    if Path(path).suffix == ".png":
        data = Path(path).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        return struct.unpack(">II", data[16:24])
    root = ET.parse(path).getroot()  # noqa: S314  (our own file)
    return tuple(round(float(root.get(side).removesuffix("pt")) / 72 * pictures.DPI) for side in ("width", "height"))


def check_text(figure):
    """All text must be inside of the figure, and no two texts on one another."""
    from matplotlib.text import Text

    texts, draw = {}, Text.draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda text, renderer: (texts.setdefault(text), draw(text, renderer))[1])
        figure.draw_without_rendering()
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text().strip()]
    for text, box in boxes:
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= figure.bbox.width + 1, text
        assert box.y1 <= figure.bbox.height + 1, text
    for (one, a), (other, b) in combinations(boxes, 2):
        across, upwards = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, upwards) <= 2, (one, other)


@pytest.fixture
def figures(monkeypatch):
    """The figures that commands save; their text is checked."""
    saved = []
    save = pictures.save

    def checked(figure, path):
        found = save(figure, path)
        check_text(figure)
        saved.append(figure)
        return found

    monkeypatch.setattr(pictures, "save", checked)
    return saved


# ---- every command -----------------------------------------------------------------------------------------------------
@drawn
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_every_command_writes_a_picture_of_the_size_it_says(run, learn, figures, ending):
    learn("circle", disc(300), disc(300, 1))
    for command in (["graph"], ["progress", "circle"], ["weights", "circle"], ["boundary", "circle"]):
        arguments = ["--range", "-1,3", "--range", "-1,3"] * (command[0] == "boundary")
        file = f"{command[0]}.{ending}"
        shown = json.loads(run(*command, *arguments, "--out", file, "--json"))
        assert shown["file"] == file
        assert np.abs(np.subtract(size(file), (shown["width"], shown["height"]))).max() <= 1
        assert min(shown["width"], shown["height"]) > 300
        assert Path(file).stat().st_size > 5000
    assert len(figures) == 4


@drawn
def test_a_picture_is_named_after_the_model_and_its_size_is_told(run, learn):
    learn("circle", disc(50))
    assert run("progress", "circle") == "wrote circle-progress.png (1200 x 750 pixels)\n"
    assert size("circle-progress.png") == (1200, 750)
    assert run("graph").startswith("wrote graph.png (")


@drawn
def test_nothing_global_is_touched():
    code = """
import sys, matplotlib
before = dict(dict.items(matplotlib.rcParams))  # as they stand: reading the backend would choose one
from learner.commands import pictures
from learner.graph import Parameter, square
pictures.save(pictures.graph(square(Parameter(3.0, "w")), "a square"), sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
assert dict(dict.items(matplotlib.rcParams)) == before
"""
    subprocess.run([sys.executable, "-c", code, "a.png"], check=True)


@pytest.mark.parametrize("command", ["graph", "progress", "weights", "boundary"])
def test_without_matplotlib_a_picture_says_what_to_install(fails, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    expected = "pictures need matplotlib, which is not installed: pip install 'learner[plot]'"
    assert fails(command, *["m"] * (command != "graph")) == expected


@pytest.mark.parametrize("command", ["graph", "progress", "weights", "boundary"])
def test_another_ending_is_refused(fails, command):
    model = ["m"] * (command != "graph")
    assert fails(command, *model, "--out", "a.pdf") == "--out must end in .png or .svg (got 'a.pdf')"


@drawn
def test_a_file_that_cannot_be_written_is_refused(fails):
    rule = "--out must be a file that can be written (got 'no/a.png': No such file or directory)"
    assert fails("graph", "--out", "no/a.png") == rule
    assert fails("graph", "--format", "dot", "--out", "no/a.dot") == rule.replace("png", "dot")


@drawn
@pytest.mark.parametrize("command", ["progress", "weights", "boundary"])
def test_a_model_that_is_not_there_or_knows_nothing_is_refused(fails, create, command):
    assert fails(command, "m") == "model 'm' does not exist: make it with 'learner create m'"
    create("m")
    what = "progress (got none yet)" if command == "progress" else "committed examples (got none)"
    assert fails(command, "m") == f"model 'm' must have {what}: is its worker running?"


# ---- graph -------------------------------------------------------------------------------------------------------------
def test_the_graph_of_the_lectures_example_is_text_without_matplotlib(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    dot_text = run("graph", "--format", "dot")
    assert dot_text.startswith("digraph {\n")
    assert r'label="w (parameter)\nf [3 1]\ng [6 12]"' in dot_text
    mermaid = run("graph", "--format", "mermaid")
    assert mermaid.startswith("flowchart BT\n")
    assert "residual = subtract<br>f 3<br>g 6" in mermaid
    assert run("graph", "--format", "text").split()[:7] == ["loss", "=", "square", "f", "9", "g", "1"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--loss", "hinge"], ["margin = multiply<br>f -1<br>g -1", "w (parameter)<br>f [1 -1]<br>g [-1 -2]"]),
        (["--loss", "logistic"], ["loss = softplus<br>f 1.313<br>g 1"]),
        (["--neural", "2"], ["z = matmul<br>f [-3 1]", "h = logistic<br>f [0.04743 0.7311]"]),
        (["--neural", "3,2", "--loss", "logistic"], ["V1 (parameter)", "h2 = logistic", "V2 (parameter)<br>f [["]),
    ],
)
def test_the_graph_of_another_example(run, options, found):
    text = run("graph", "--format", "mermaid", *options).replace("#45;", "-")
    for piece in found:
        assert piece in text


@pytest.mark.parametrize(("loss", "neural"), [*((loss, []) for loss in LOSSES), ("squared", ["--neural", "4,4,4"])])
@drawn
def test_every_loss_is_drawn(run, figures, loss, neural):
    run("graph", "--loss", loss, *neural)
    assert len(figures) == 1


def test_a_text_can_go_to_a_file(run):
    assert run("graph", "--format", "mermaid", "--out", "g.mmd") == ""
    assert Path("g.mmd").read_text() == run("graph", "--format", "mermaid")


def test_the_graph_of_a_models_score_adds_up(run, learn, committed):
    learn("m", [(y, {"address": f"abc{'@' if y > 0 else '.'}gmail.com"}) for y in (1, -1)] * 20, featurizer="email")
    record = {"address": "xyz@gmail.com"}
    text = run("graph", "m", "--record", json.dumps(record), "--target", "1", "--format", "text")
    model = committed("m")
    score = model.score_one(record)
    assert f"score = add f {score:.4g} g" in " ".join(text.split())
    assert f"f {math.log1p(math.exp(-score)):.4g}" in text
    strongest = [part.name for part in model.explain_one(record)[:6]]
    assert [line.split(maxsplit=1)[1] for line in text.splitlines() if line[:1].isdigit()] == strongest
    assert f"rest, added to the score: the other {len(model.explain_one(record)) - 6} features" in text


def test_the_graph_of_a_model_with_a_neural_head_has_it_in_the_rest(run, learn, committed):
    learn("m", disc(500), featurizer=CIRCLE, neural=[5, 4])
    x = {"x1": 0.0, "x2": 1.5}
    lines = run("graph", "m", "--record", json.dumps(x), "--format", "text").splitlines()
    assert lines[0].split()[:5] == ["score", "=", "add", "f", f"{committed('m').score_one(x):.4g}"]
    assert lines[-1].startswith("rest, added to the score: the neural head")
    assert not any("(network)" in line for line in lines)


def test_the_graph_of_a_models_score_without_a_target_ends_at_the_score(run, learn, committed):
    learn("circle", disc(200), featurizer=CIRCLE, rates=[1.0])
    text = run("graph", "circle", "--record", '{"x1": 0.5, "x2": 1.5}', "--format", "text")
    score = committed("circle").score_one({"x1": 0.5, "x2": 1.5})
    assert text.splitlines()[0].split() == ["score", "=", "dot", "f", f"{score:.4g}", "g", "1"]


@drawn
def test_the_graph_of_a_models_score_is_drawn_with_the_names_of_its_features(run, learn, figures):
    learn("m", [(1, {"a$b$c": 1.5, "市": 1, "long " * 40: 1, "x\x1b[2J": 2}), (-1, {"a$b$c": -1})] * 20)
    run("graph", "m", "--record", json.dumps({"a$b$c": 1.0, "市": 1, "long " * 40: 1}), "--target", "true")
    texts = " ".join(t.get_text() for t in figures[0].axes[0].texts)
    assert r"a\$b\$c" in texts
    assert "\\u5e02" in texts


@pytest.mark.parametrize(
    ("target", "labels", "told"),
    [
        ("blue", None, "--target must be -1, 0, 1, true, false or one of the model's labels (got 'blue')"),
        ("2", ["ham", "spam"], "--target must be -1, 0, 1, true, false or one of the model's labels (got '2')"),
    ],
)
def test_a_wrong_target_is_refused(fails, learn, target, labels, told):
    learn("m", [(1, {"a": 1}), (0, {"a": 2})], labels=labels)
    assert fails("graph", "m", "--record", '{"a": 1}', "--target", target, "--format", "text") == told


def test_a_target_may_be_a_label(run, learn):
    learn("m", [("spam", {"a": 1}), ("ham", {"a": 2})], labels=["ham", "spam"])
    texts = [run("graph", "m", "--record", '{"a": 1}', "--target", t, "--format", "dot") for t in ("ham", "0", "-1")]
    assert texts[0] == texts[1] == texts[2]
    assert r"y (constant)\nf -1" in texts[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--loss", "cubic"], "--loss must be one of squared, logistic, hinge (got 'cubic')"),
        (["--neural", "9"], "--neural must be 1 to 3 layers of 1 to 4 hidden units, to be legible (got '9')"),
        (["--neural", "2,x"], "--neural must be 1 to 3 layers of 1 to 4 hidden units, to be legible (got '2,x')"),
        (["--target", "1"], "--record and --target must come with a MODEL (got none)"),
        (["m"], "a MODEL must come with a --record (got none)"),
        (["m", "--record", "{}", "--neural", "2"], "--neural must come without a MODEL (got 'm')"),
    ],
)
def test_wrong_options_of_graph_are_refused(fails, arguments, told):
    assert fails("graph", *arguments, "--format", "text").startswith(told.partition(" squared")[0])


def shared():
    """A graph with shared nodes and edges over several layers."""
    a = Parameter(3.0, "a")
    b = square(a).named("b")
    root = ((b * b + tanh(-a * 0.1)) * a + b).named("root")
    backward(root)
    return root


def chain(n):
    root = Parameter(1.0, "a")
    for _ in range(n):
        root = root + 1.0
    return root


@pytest.mark.parametrize(
    "root",
    [
        shared(),
        chain(30),
        Parameter(1.0, "alone"),
        square(dot(matmul(Parameter(np.eye(2, 3), "V"), Constant([1.0, 2.0, 3.0])), [1e-10, -1e10])),
    ],
    ids=["shared", "chain", "leaf", "matrix"],
)
def test_the_boxes_of_a_graph_do_not_touch_and_edges_pass_beside_them(root):
    layers = pictures._layers(root)
    assert layers[0] == [root]
    parts = [part for layer in layers for part in layer]
    assert len(parts) == len(set(parts))
    assert {part for part in parts if isinstance(part, Node)} == set(order(root))
    widths = {part: pictures._box(part).width if isinstance(part, Node) else 0.0 for part in parts}
    found = pictures._places(layers, widths)
    for layer in layers:
        for one, other in pairwise(layer):
            assert found[other] - found[one] >= (widths[one] + widths[other]) / 2 + pictures.APART - 1e-6
    depths = {part: depth for depth, layer in enumerate(layers) for part in layer}
    for *way, (consumer, _) in pictures._edges(layers):
        assert [depths[part] for part in way] == list(range(depths[way[0]], depths[consumer], -1))


@drawn
@pytest.mark.parametrize("root", [shared(), Parameter(1.0, "alone")], ids=["shared", "leaf"])
def test_any_small_graph_is_drawn(root):
    check_text(pictures.graph(root, "a graph", ["a note"] * 3))


# ---- progress ----------------------------------------------------------------------------------------------------------
def test_the_loss_since_the_last_commit_is_that_of_its_examples(learn, client, committed):
    batches = [disc(100, seed) for seed in range(4)]
    learn("m", *batches, featurizer=CIRCLE)
    points = plot._points(fields for _, fields in client.xrange(Keys("m").progress))
    model = Model.from_spec(committed("m").to_spec())
    expected = []
    for batch in batches:
        scores = model.learn_packed(b"".join(msgpack.packb([y, model.features(x)]) for y, x in batch)).scores
        expected.append(np.mean(np.log1p(np.exp(-scores * [y for y, _ in batch]))))
    assert points.examples.tolist() == [100, 200, 300, 400]
    np.testing.assert_allclose(points.recent, expected, rtol=1e-6)
    np.testing.assert_allclose(points.loss, np.cumsum(expected) / [1, 2, 3, 4], rtol=1e-6)


def entries(examples):
    return [
        {b"time": b"%d" % i, b"examples": b"%d" % n, b"loss": b"0.5", b"constant_loss": b"1"}
        for i, n in enumerate(examples)
    ]


def test_of_many_commits_several_are_one_point_and_the_last_is_there():
    points = plot._points(entries(range(10, 10_010, 10)), most=300)
    assert points.n_commits == 4
    assert len(points.examples) == 250
    assert (points.examples[0], points.examples[-1]) == (40, 10_000)
    np.testing.assert_allclose(points.recent, 0.5)


def test_what_a_server_that_went_back_learned_twice_is_there_once():
    assert plot._points(entries([0, 10, 20, 30, 15, 25])).examples.tolist() == [10, 15, 25]
    assert plot._points(entries([0, 0])) is None


@drawn
@pytest.mark.parametrize("over", ["examples", "time"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_progress_is_drawn_over_examples_and_over_time(run, learn, figures, over, task):
    learn("m", *(disc(30, seed) for seed in range(5)), task=task)
    run("progress", "m", "--over", over)
    axes = figures[0].axes[0]
    assert axes.get_xlabel() == {"examples": "examples learned", "time": "time (UTC)"}[over]
    unit = {"binary": "log loss (nats an example)", "regression": "squared error (the target's units, squared)"}[task]
    assert axes.get_ylabel() == unit
    assert len(axes.lines) == 3


@drawn
def test_one_commit_and_a_loss_that_is_not_a_number_are_drawn():
    for loss in (0.5, math.nan):
        values = np.array([loss])
        shown = pictures.Progress(np.array([5.0]), np.array([1e9]), values, values, values, 1)
        check_text(pictures.progress(shown, "m" * 64, "log loss", over_time=False))
        check_text(pictures.progress(shown, "m" * 64, "log loss", over_time=True))


# ---- weights -----------------------------------------------------------------------------------------------------------
@drawn
def test_weights_are_drawn_by_name_and_by_sign(run, learn, figures, committed):
    from matplotlib.colors import to_hex

    learn("m", [(1, {"good": 1, "x": 2}), (-1, {"bad": 1, "x": 3})] * 30)
    run("weights", "m", "-n", "3")
    axes = figures[0].axes[0]
    top = committed("m").weights.top(3)
    assert [label.get_text() for label in axes.get_yticklabels()] == [name for name, _ in top]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [weight for _, weight in top])
    colours = {round(math.copysign(1, bar.get_width())): to_hex(bar.get_facecolor()) for bar in axes.patches}
    assert colours == {1: pictures.BLUE, -1: pictures.VERMILION}


@drawn
@pytest.mark.parametrize(("n", "weight"), [(40, 1.0), (40, -1e12), (1, 1.0), (1, -1.0), (1, 0.0), (1, 1e-12)])
def test_weights_of_strange_names_and_sizes_are_legible(n, weight):
    names = ["a" * 256, "$a$b", "\x1b[2J", "市区=東京", "é", "(constant)", "\U0001f600"]
    shown = [(names[i % len(names)], weight * (-1) ** (i % 3)) for i in range(n)]
    check_text(pictures.weights(shown, "a model's name of the longest sort: " + "m" * 64, "log-odds"))


@drawn
def test_a_prefix_that_no_feature_has_is_refused(fails, learn):
    learn("m", [(1, {"a": 1})] * 9)
    assert fails("weights", "m", "--prefix", "b") == "--prefix must start a feature's name (got 'b', which starts none)"


# ---- boundary ----------------------------------------------------------------------------------------------------------
def line(figure):
    """The points of the decision boundary that a figure shows."""
    contours = [c for c in figure.axes[0].collections if hasattr(c, "levels")]
    return np.vstack([path.vertices for contour in contours for path in contour.get_paths()]) if contours else None


@drawn
def test_the_boundary_of_the_circle_is_the_circle(run, learn, figures):
    """The lecture's circle: on [x1, x2, x1^2 + x2^2] a linear predictor has a boundary of radius sqrt 2 around (1, 1)."""
    learn("circle", disc(4000), featurizer=CIRCLE)
    run("boundary", "circle")
    axes = figures[0].axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x1", "x2")
    radii = np.hypot(*(line(figures[0]) - 1).T)
    assert abs(radii - math.sqrt(2)).max() < 0.15
    low, high = axes.get_xlim()
    assert -1.5 < low < -0.9
    assert 2.9 < high < 3.5


@drawn
def test_the_surface_over_a_map_has_a_cell_a_step_and_degrees(run, learn, figures):
    learn("m", places(3000), task="regression", featurizer=CELLS)
    run("boundary", "m")
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
def test_fields_ranges_and_the_rest_of_the_record_can_be_given(run, learn, figures):
    r = random.Random(0)
    rows = [(r.choice([1, -1]), r.gauss(0, 1)) for _ in range(2000)]
    learn(
        "m",
        [(y, {"at": {"a": y + z, "b": z}, "c": "even"}) for y, z in rows],
        featurizer="fields",
        labels=["ham", "spam"],
    )
    options = ["--range", "-2,2", "--range", "-3,3", "--record", '{"c": "odd", "at": {"d": 1}}']
    run("boundary", "m", "--x", "at.a", "--y", "at.b", *options)
    assert (*figures[0].axes[0].get_xlim(), *figures[0].axes[0].get_ylim()) == (-2, 2, -3, 3)
    assert figures[0].axes[1].get_ylabel() == "probability of spam"
    a, b = line(figures[0]).T
    assert abs(a - b).max() < 0.5
    assert (figures[0].axes[0].images[1].get_array()[..., 3] > 0).all()  # c=odd and at.d were never learned


@drawn
def test_a_surface_of_one_sign_says_that_there_is_no_boundary():
    x, y, scores = pictures.Span("a", 0.0, 1.0, 3), pictures.Span("b", 0.0, 1.0, 2), np.array([[1.0, 2, 3], [4, 5, 6]])
    shown = pictures.Surface(x, y, scores, 1 - 1 / scores, scores > 0)
    figure = pictures.boundary(shown, "m", "probability of +1", binary=True, is_map=False)
    check_text(figure)
    assert line(figure) is None
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["no decision boundary in this range"]


@drawn
def test_two_features_without_a_featurizer_are_found_in_the_model(run, learn, figures):
    learn("m", [(y, {"a.x": x["x1"], "b": x["x2"]}) for y, x in disc(300)])
    run("boundary", "m")
    assert (figures[0].axes[0].get_xlabel(), figures[0].axes[0].get_ylabel()) == ("a.x", "b")


@drawn
def test_a_featurizer_that_cannot_take_two_numbers_is_refused(fails, learn):
    learn("m", [(1, {"address": "a@b.c"}), (0, {"address": "abc"})] * 5, featurizer="email")
    assert fails("boundary", "m") == "featurizer of 'm' must take two numbers, or --x and --y say which (got none)"
    ranges = ["--range", "0,1", "--range", "0,1"]
    told = "featurizer of 'm' must take the numbers 'x' and 'y': field 'address' is required (got None)"
    assert fails("boundary", "m", "--x", "x", "--y", "y", *ranges) == told
    learn("three", [(i % 2, {"a": i, "b": -i, "c": i * i}) for i in range(20)])
    told = "featurizer of 'three' must take two numbers, or --x and --y say which (got 3: a, b, c)"
    assert fails("boundary", "three") == told
    told = "prediction of 'three' must depend on 'd' or 'e' (got the same for all values)"
    assert fails("boundary", "three", "--x", "d", "--y", "e", *ranges) == told
    told = "--range must be given where the values of 'd' are not known (got no such feature)"
    assert fails("boundary", "three", "--x", "a", "--y", "d") == told


@drawn
def test_a_range_off_the_map_is_refused(fails, learn):
    learn("m", places(100), task="regression", featurizer=CELLS)
    told = "featurizer of 'm' must take the numbers 'lon' and 'lat': field 'lat' must be within [-90, 90] (got -99.5)"
    assert fails("boundary", "m", "--range", "-100,100", "--range", "-100,100") == told


@drawn
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--range", "0,1"], "--range must be given twice, for x and for y (got it 1 times)"),
        (["--range", "1,0"], "--range must be LOW,HIGH, two numbers with LOW < HIGH (got '1,0')"),
        (["--range", "nan,1"], "--range must be LOW,HIGH, two numbers with LOW < HIGH (got 'nan,1')"),
        (["--range", "a"], "--range must be LOW,HIGH, two numbers with LOW < HIGH (got 'a')"),
        (["--x", "a"], "--x and --y must be given together (got only --x)"),
        (["--record", "[1]"], "--record must be a map of fields (got [1])"),
    ],
)
def test_wrong_options_of_boundary_are_refused(fails, options, told):
    assert fails("boundary", "m", *options) == told
