"""Pictures, for tests: data with a known picture, the size of a picture, and that its text is legible."""

import importlib.util
import random
import struct
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from learner.commands import pictures
from tests.command_line import invoke

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


def plot(*arguments):
    """Run ``learner plot``; returns what it prints."""
    return invoke("plot", *arguments).stdout


def plot_failing(*arguments):
    """Run ``learner plot``, which must fail with one line and write nothing; returns the line."""
    line = invoke("plot", *arguments, code=2).stderr
    assert line.startswith("Error: ")
    assert line.count("\n") == 1
    assert list(Path().iterdir()) == []
    return line.removeprefix("Error: ").rstrip("\n")


@pytest.fixture
def picture_folder(tmp_path, monkeypatch):
    """The working folder, empty, where pictures go."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


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


def contour(figure):
    """The points of the decision boundary that a figure shows."""
    drawn_contours = [c for c in figure.axes[0].collections if hasattr(c, "levels")]
    return np.vstack([path.vertices for one in drawn_contours for path in one.get_paths()]) if drawn_contours else None
