"""Pictures: text inside of them and legible, boxes that don't touch, nothing global touched."""

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from learner.commands import pictures
from learner.graph import Constant, Node, Parameter, backward, dot, matmul, order, square, tanh
from learner.service.curves import Curve
from tests.plotting import check_text, contour, drawn


@drawn
def test_nothing_global_is_touched(tmp_path):
    code = """
import sys, matplotlib
before = dict(dict.items(matplotlib.rcParams))  # as they stand: reading the backend would choose one
from learner.commands import pictures
from learner.graph import Parameter, square
pictures.save(pictures.graph(square(Parameter(3.0, "w")), "a square"), sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
assert dict(dict.items(matplotlib.rcParams)) == before
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], check=True)


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


@drawn
def test_one_commit_and_a_loss_that_is_not_a_number_are_drawn():
    for loss in (0.5, math.nan):
        shown = Curve([5.0], [1e9], [loss], [loss], [loss], [None], [None], 1)
        check_text(pictures.progress(shown, "m" * 64, "log loss", over_time=False))
        check_text(pictures.progress(shown, "m" * 64, "log loss", over_time=True))


@drawn
@pytest.mark.parametrize(("n", "weight"), [(40, 1.0), (40, -1e12), (1, 1.0), (1, -1.0), (1, 0.0), (1, 1e-12)])
def test_weights_of_strange_names_and_sizes_are_legible(n, weight):
    names = ["a" * 256, "$a$b", "\x1b[2J", "市区=東京", "é", "(constant)", "\U0001f600"]
    shown = [(names[i % len(names)], 3.0 * weight, weight * (-1) ** (i % 3)) for i in range(n)]
    check_text(pictures.weights(shown, "a model's name of the longest sort: " + "m" * 64, "log-odds"))


@drawn
def test_a_surface_of_one_sign_says_that_there_is_no_boundary():
    x, y, scores = pictures.Span("a", 0.0, 1.0, 3), pictures.Span("b", 0.0, 1.0, 2), np.array([[1.0, 2, 3], [4, 5, 6]])
    shown = pictures.Surface(x, y, scores, 1 - 1 / scores, scores > 0)
    figure = pictures.boundary(shown, "m", "probability of +1", binary=True, is_map=False)
    check_text(figure)
    assert contour(figure) is None
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["no decision boundary in this range"]
