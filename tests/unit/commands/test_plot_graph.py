"""``learner plot graph`` without a model: the lecture's examples, as text and drawn."""

import sys
from pathlib import Path

import pytest

from learner.losses import LOSSES
from tests.plotting import drawn, plot, plot_failing

pytestmark = pytest.mark.usefixtures("picture_folder")


def test_the_graph_of_the_lectures_example_is_text_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    dot_text = plot("graph", "--format", "dot")
    assert dot_text.startswith("digraph {\n")
    assert r'label="w (parameter)\nf [3 1]\ng [6 12]"' in dot_text
    mermaid = plot("graph", "--format", "mermaid")
    assert mermaid.startswith("flowchart BT\n")
    assert "residual = subtract<br>f 3<br>g 6" in mermaid
    assert plot("graph", "--format", "text").split()[:7] == ["loss", "=", "square", "f", "9", "g", "1"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--loss", "hinge"], ["margin = multiply<br>f -1<br>g -1", "w (parameter)<br>f [1 -1]<br>g [-1 -2]"]),
        (["--loss", "logistic"], ["loss = softplus<br>f 1.313<br>g 1"]),
        (["--neural", "2"], ["z = matmul<br>f [-3 1]", "h = logistic<br>f [0.04743 0.7311]"]),
        (["--neural", "3,2", "--loss", "logistic"], ["V1 (parameter)", "h2 = logistic", "V2 (parameter)<br>f [["]),
    ],
)
def test_the_graph_of_another_example(options, found):
    text = plot("graph", "--format", "mermaid", *options).replace("#45;", "-")
    for piece in found:
        assert piece in text


@pytest.mark.parametrize(("loss", "neural"), [*((loss, []) for loss in LOSSES), ("squared", ["--neural", "4,4,4"])])
@drawn
def test_every_loss_is_drawn(figures, loss, neural):
    plot("graph", "--loss", loss, *neural)
    assert len(figures) == 1


def test_a_text_can_go_to_a_file():
    assert plot("graph", "--format", "mermaid", "--out", "g.mmd") == ""
    assert Path("g.mmd").read_text() == plot("graph", "--format", "mermaid")


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
def test_wrong_options_of_graph_are_refused(arguments, told):
    assert plot_failing("graph", *arguments, "--format", "text").startswith(told.partition(" squared")[0])


@pytest.mark.parametrize("command", ["graph", "progress", "weights", "boundary"])
def test_without_matplotlib_a_picture_says_what_to_install(monkeypatch, command):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    expected = "pictures need matplotlib, which is not installed: pip install '.[plot]' in a clone"
    assert plot_failing(command, *["m"] * (command != "graph")) == expected


@pytest.mark.parametrize("command", ["graph", "progress", "weights", "boundary"])
def test_another_ending_is_refused(command):
    model = ["m"] * (command != "graph")
    assert plot_failing(command, *model, "--out", "a.pdf") == "--out must end in .png or .svg (got 'a.pdf')"


@drawn
def test_a_file_that_cannot_be_written_is_refused():
    rule = "--out must be a file that can be written (got 'no/a.png': No such file or directory)"
    assert plot_failing("graph", "--out", "no/a.png") == rule
    assert plot_failing("graph", "--format", "dot", "--out", "no/a.dot") == rule.replace("png", "dot")


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
def test_wrong_options_of_boundary_are_refused(options, told):
    assert plot_failing("boundary", "m", *options) == told
