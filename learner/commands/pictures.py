"""The pictures of ``learner plot``: each function draws its data and returns a figure, which `save` writes.

Only this module imports matplotlib, and only when it draws. It makes figures without pyplot, so it changes neither the backend
nor any setting of the program that calls it. Almost all colour-blind readers can tell blue from vermilion (Okabe and Ito, 2008,
"Color universal design").
"""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learner.commands.show import printable
from learner.errors import LearnerError
from learner.graph import Array, Constant, Node, Parameter, order
from learner.graph.text import title_of, values_of
from learner.service.curves import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Span", "Surface", "boundary", "graph", "progress", "save", "weights"]

DPI = 150  # pixels an inch, in a PNG
WIDTH, HEIGHT = 8.0, 5.0  # inches, of figures with axes
MOST_RATIO = 50.0  # of the last to the first number of examples, on an axis that isn't logarithmic
BLUE, VERMILION, GREY = "#0072b2", "#d55e00", "#666666"
FONT, MONO = "DejaVu Sans", "DejaVu Sans Mono"  # they come with matplotlib, so pictures are the same everywhere
LONGEST_NAME, LONGEST_TITLE = 44, 90  # characters
VEIL = 0.65  # the opacity of the white over parts of a surface that the model knows little about


# ---- figures and text ------------------------------------------------------------------------------------------------
def _figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def _axes(figure: "Figure", title: str) -> "Axes":
    axes = figure.add_subplot()
    figure.suptitle(_text(title, LONGEST_TITLE), x=0.01, ha="left", fontfamily=MONO, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def save(figure: "Figure", path: str) -> tuple[int, int]:
    """Write a figure to a file, PNG or SVG by its ending; return its width and height in pixels.

    Raises
    ------
    LearnerError
        When the file can't be written.
    """
    try:
        figure.savefig(path, dpi=DPI, format=Path(path).suffix[1:].lower())
    except OSError as error:
        raise LearnerError(f"--out must be a file that can be written (got {path!r}: {error.strerror})") from error
    width, height = figure.get_size_inches()
    return round(width * DPI), round(height * DPI)


def _text(text: str, most: int = 200) -> str:
    """Return text for matplotlib: with escapes for characters that the font lacks, no formulas, and at most `most` long."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(family=MONO))).get_charmap()
    text = "".join(c if ord(c) in known else c.encode("unicode_escape").decode() for c in printable(text))
    if len(text) > most:
        text = text[: most // 2 - 1] + "…" + text[-(most - most // 2) :]
    return text.replace("$", r"\$")


# ---- progress ----------------------------------------------------------------------------------------------------------
def progress(curve: Curve, title: str, unit: str, over_time: bool) -> "Figure":
    """Draw the progressive loss, over examples or over time."""
    from matplotlib import dates as untyped
    from matplotlib.ticker import StrMethodFormatter

    figure = _figure(WIDTH, HEIGHT)
    axes = _axes(figure, title)
    since = "the commit before" if curve.n_commits == 1 else f"{curve.n_commits} commits before"
    dates: Any = untyped

    def across(examples: list[float], times: list[float]) -> Any:
        return dates.date2num((1e6 * np.array(times)).astype("datetime64[us]")) if over_time else examples

    x = across(curve.examples, curve.times)
    style: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(x) < 30 else {}
    axes.plot(x, curve.recent, color="#56b4e9", linewidth=1, label=f"since {since}", **style)
    axes.plot(
        x, curve.loss, color=BLUE, linewidth=2, label=f"all examples so far, at last {curve.loss[-1]:.4g}", **style
    )
    label = f"best constant's, at last {curve.constant[-1]:.4g}"
    axes.plot(x, curve.constant, color=GREY, linewidth=1.5, linestyle="--", label=label, **style)
    rises = across([each.examples for each in curve.drifts], [each.time for each in curve.drifts])
    for i, rise in enumerate(rises):
        label = "_" if i else "the loss rose (drift)"  # one entry of the legend is for all
        axes.axvline(rise, color=VERMILION, linewidth=1, linestyle=":", label=label)
    axes.set_ylabel(unit)
    axes.set_ylim(*_span(curve))
    axes.grid(axis="y", color="#e5e5e5")
    if over_time:
        locator = dates.AutoDateLocator(maxticks=8, tz="UTC")
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz="UTC"))
        axes.set_xlabel("time (UTC)")
    else:
        if curve.examples[-1] > MOST_RATIO * curve.examples[0]:
            axes.set_xscale("log")
        else:
            axes.set_xlim(left=0.0)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_xlabel("examples learned")
    handles, labels = axes.get_legend_handles_labels()
    n_columns = 3 if len(handles) == 3 else 2
    figure.legend(handles, labels, loc="outside lower center", ncols=n_columns, frameon=False, fontsize=9)
    return figure


def _span(curve: Curve) -> tuple[float, float]:
    """Return the lowest and the highest loss to draw, without the first twentieth of the points, which may be far higher."""
    settled = slice(len(curve.loss) // 20, None)
    every = np.concatenate([values[settled] for values in (curve.loss, curve.recent, curve.constant)])
    every = every[np.isfinite(every)]
    if not len(every):
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


# ---- weights -----------------------------------------------------------------------------------------------------------
def weights(strongest: Sequence[tuple[str, float, float]], title: str, unit: str) -> "Figure":
    """Draw (name, weight, effect) as bars of the effects, the first at the top, with the weights as numbers."""
    from matplotlib.patches import Patch

    figure = _figure(WIDTH, 1.6 + 0.26 * len(strongest))
    axes = _axes(figure, title)
    effects = [effect for _, _, effect in strongest]
    places = range(len(strongest))
    axes.barh(places, effects, color=[BLUE if effect >= 0.0 else VERMILION for effect in effects], height=0.7)
    axes.set_yticks(places, [_text(name, LONGEST_NAME) for name, _, _ in strongest], fontfamily=MONO, fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(strongest) - 0.4, -0.6)
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.spines["left"].set_visible(False)
    low, high = min(0.0, *effects), max(0.0, *effects)
    room = 0.2 * (high - low) or 1.0  # for the numbers at the bars' ends
    axes.set_xlim(low - room * (low < 0.0 or high == 0.0), high + room * (high > 0.0))
    for place, (_, weight, effect) in enumerate(strongest):
        side = "left" if effect >= 0.0 else "right"
        away = (3 if effect >= 0.0 else -3, 0)
        number = f"{weight:+,.0f}" if 1000.0 <= abs(weight) < 1e6 else f"{weight:+.3g}"
        axes.annotate(number, (effect, place), away, textcoords="offset points", ha=side, va="center", fontsize=8)
    axes.set_xlabel(f"spread of its part of the score ({unit})")
    keys = [Patch(color=BLUE, label="raises the score"), Patch(color=VERMILION, label="lowers the score")]
    keys.append(Patch(facecolor="none", edgecolor="none", label="numbers: weights"))
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


# ---- boundary ----------------------------------------------------------------------------------------------------------
class Span(NamedTuple):
    """An axis: a record's field with a number, drawn in n equal steps from low to high."""

    name: str
    low: float
    high: float
    n: int = 200

    @property
    def middles(self) -> Array:
        """The middles of the steps.

        >>> Span("x1", -1.0, 1.0, 4).middles
        array([-0.75, -0.25,  0.25,  0.75])
        """
        return np.asarray(self.low + (np.arange(self.n) + 0.5) * ((self.high - self.low) / self.n), np.float64)


@dataclass
class Surface:
    """A model's predictions over two numbers of a record: arrays of shape (steps of y, steps of x).

    Attributes
    ----------
    x, y : Span
        The two numbers: x across, y upwards.
    scores, predictions : array
        The scores, and the predictions made from them.
    known : array of bool
        Whether the model has learned every feature of the record.
    """

    x: Span
    y: Span
    scores: Array
    predictions: Array
    known: NDArray[np.bool_]


def boundary(surface: Surface, title: str, what: str, binary: bool, is_map: bool) -> "Figure":
    """Draw predictions as colours over two numbers and, for a binary task, the line where the score is 0."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    x, y = surface.x, surface.y
    aspect = _aspect(x, y, is_map)
    height = HEIGHT if aspect is None else 0.7 * WIDTH * aspect * (y.high - y.low) / (x.high - x.low)
    figure = _figure(WIDTH, min(max(height, 2.0), 1.1 * HEIGHT) + 1.4)
    axes = _axes(figure, title)
    flat: dict[str, Any] = {"origin": "lower", "interpolation": "nearest", "extent": (x.low, x.high, y.low, y.high)}
    if binary:
        colours = LinearSegmentedColormap.from_list("signs", [VERMILION, "white", BLUE])
        image = axes.imshow(surface.predictions, cmap=colours, vmin=0.0, vmax=1.0, **flat)
    else:
        image = axes.imshow(surface.predictions, cmap="viridis", **flat)
    veil = np.ones((*surface.known.shape, 4))
    veil[..., 3] = VEIL * ~surface.known
    axes.imshow(veil, **flat)
    axes.set_aspect("auto" if aspect is None else aspect)
    keys: list[Any] = []
    if binary:
        if surface.scores.min() < 0.0 < surface.scores.max():
            axes.contour(x.middles, y.middles, surface.scores, [0.0], colors="black", linewidths=2)
            keys.append(Line2D([], [], color="black", linewidth=2, label="decision boundary: score 0"))
        else:
            keys.append(Patch(facecolor="none", edgecolor="none", label="no decision boundary in this range"))
    if not surface.known.all():
        keys.append(Patch(facecolor="#eeeeee", edgecolor=GREY, label="pale: has a feature never learned"))
    degrees = " (degrees)" if is_map else ""
    axes.set_xlabel(_text(x.name, LONGEST_NAME) + degrees)
    axes.set_ylabel(_text(y.name, LONGEST_NAME) + degrees)
    axes.ticklabel_format(useOffset=False)
    figure.colorbar(image, ax=axes, label=_text(what), shrink=0.9)
    if keys:
        figure.legend(handles=keys, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _aspect(x: Span, y: Span, is_map: bool) -> float | None:
    """Return how long a unit of y is drawn, relative to a unit of x; None if the units have nothing in common."""
    if is_map:  # a degree of longitude is shorter than a degree of latitude, by the cosine of the latitude
        return 1.0 / max(math.cos(math.radians((y.low + y.high) / 2)), 0.1)
    return 1.0 if 0.5 <= (x.high - x.low) / (y.high - y.low) <= 2.0 else None


# ---- graph -------------------------------------------------------------------------------------------------------------
POINTS = 10.0  # the size of a graph's text
LINE = 1.4 * POINTS
LETTER = math.ceil(0.602 * POINTS * DPI / 72) * 72 / DPI  # the width of a letter, rounded up to whole pixels
COLUMNS = 34  # the most letters of values in a line of a box
PADDING, APART, ABOVE = 8.0, 24.0, 40.0  # around a box's text, between boxes, and between layers, in points
FILLS = {Parameter: "#fff4d6", Constant: "#eeeeee"}


class _Box(NamedTuple):
    title: str
    lines: tuple[str, ...]  # the values
    width: float
    height: float


def graph(root: Node, title: str, notes: Sequence[str] = ()) -> "Figure":
    """Draw a computation graph, root at the top, with a box for each node and its current forward and backward values.

    Parameters
    ----------
    root : Node
        The root of a small graph.
    title, notes : str, sequence of str
        The text above, and the lines below, such as the names of the features.
    """
    layers = _layers(root)
    boxes = {node: _box(node) for layer in layers for node in layer if isinstance(node, Node)}
    places = _places(
        layers, {part: boxes[part].width if isinstance(part, Node) else 0.0 for layer in layers for part in layer}
    )
    lowest = min(places[part] - box.width / 2 for part, box in boxes.items())
    highest = max(places[part] + box.width / 2 for part, box in boxes.items())
    key = ["f: forward value", f"g: backward value, the gradient of {root.label} by the node"]
    width = max(highest - lowest, *(LETTER * len(line) for line in [title, *key])) + 2 * APART
    below = [
        line
        for note in notes
        for line in textwrap.wrap(note, int((width - 2 * APART) / LETTER), subsequent_indent="  ")
    ]
    heights = [max(boxes[part].height for part in layer if isinstance(part, Node)) for layer in layers]
    height = sum(heights) + ABOVE * (len(layers) - 1) + LINE * (len(below) + 4.5) + APART * (3 if below else 2)

    figure = _figure(width / 72, height / 72)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0.0, width)
    axes.set_ylim(0.0, height)
    pen: dict[str, Any] = {"fontfamily": MONO, "fontsize": POINTS, "va": "top"}
    top = height - APART
    for line, colour, weight in [(title, "black", "bold"), (key[0], BLUE, "normal"), (key[1], VERMILION, "normal")]:
        axes.text(APART, top, _text(line), color=colour, fontweight=weight, **pen)
        top -= LINE
    top -= 1.5 * LINE
    shift = (width - highest - lowest) / 2
    centres: dict[Any, tuple[float, float]] = {}
    for layer, tall in zip(layers, heights, strict=True):
        centres |= {part: (places[part] + shift, top - tall / 2) for part in layer}
        top -= tall + ABOVE
    for start, *between, (consumer, port) in _edges(layers):
        x, y = centres[start]
        way = [(x, y + boxes[start].height / 2)]
        for bend in between:  # straight up through this layer, between its boxes
            x, y = centres[bend]
            way += [(x, y - heights[bend.depth] / 2), (x, y + heights[bend.depth] / 2)]
        x, y = centres[consumer]
        step = boxes[consumer].width / (len(consumer.operands) + 1)
        way.append((x - boxes[consumer].width / 2 + step * (port + 1), y - boxes[consumer].height / 2))
        _draw_edge(axes, way)
    for part, box in boxes.items():
        _draw_box(axes, part, box, *centres[part])
    for i, line in enumerate(below):
        axes.text(APART, APART + LINE * (len(below) - i), _text(line), color=GREY, **pen)
    return figure


def _box(node: Node) -> _Box:
    """Return a node's box: its text, in which each row of a matrix begins a line, and its size in points."""
    lines = []
    for letter, values in (("f", node.f), ("g", node.g)):
        rows = values_of(values).replace("] [", "]\n [").split("\n")
        wrapped = [line for row in rows for line in textwrap.wrap(row, COLUMNS, subsequent_indent=" ")]
        lines += [f"{letter}  {wrapped[0]}", *(f"   {line}" for line in wrapped[1:])]
    title = title_of(node)
    columns = max(map(len, [title, *lines]))
    return _Box(title, tuple(lines), columns * LETTER + 2 * PADDING, (len(lines) + 1) * LINE + PADDING)


class _Bend(NamedTuple):
    """The place where the edges of an operand pass through a layer between it and its consumers: a box without width."""

    operand: Node
    depth: int


def _layers(root: Node) -> list[list[Any]]:
    """Return the layers of the drawing: each node in the layer of its longest path from the root, and the bends of long edges.

    >>> from learner.graph import square
    >>> a = Parameter(3.0, "a")
    >>> [[part.label for part in layer] for layer in _layers(square(a.named("a")) + 1.0)]
    [['add'], ['square', 'constant'], ['a']]
    """
    depths = {root: 0}
    nodes = order(root)
    for node in reversed(nodes):
        for operand in node.operands:
            depths[operand] = max(depths.get(operand, 0), depths[node] + 1)
    highest: dict[Node, int] = {}  # the smallest depth of a node's consumers
    for node in nodes:
        for operand in node.operands:
            highest[operand] = min(depths[node], highest.get(operand, depths[node]))
    layers: list[list[Any]] = [[] for _ in range(1 + max(depths.values()))]
    for node, depth in depths.items():
        layers[depth].append(node)
        for between in range(highest.get(node, depth) + 1, depth):
            layers[between].append(_Bend(node, between))
    for depth in range(1, len(layers)):  # sorted by the places of their consumers, fewer edges cross
        above: dict[Any, list[float]] = {part: [] for part in layers[depth]}
        for i, part in enumerate(layers[depth - 1]):
            operands = part.operands if isinstance(part, Node) else (part.operand,)
            for port, operand in enumerate(operands, 1):
                below = operand if depths[operand] == depth else _Bend(operand, depth)
                above[below].append(i + port / (len(operands) + 1))
        layers[depth] = sorted(above, key={part: np.mean(places) for part, places in above.items()}.__getitem__)
    return layers


def _edges(layers: Sequence[Sequence[Any]]) -> Iterator[list[Any]]:
    """Yield each edge as a list: the operand, the bends on the way up, and (consumer, the operand's index in it)."""
    depths = {part: depth for depth, layer in enumerate(layers) for part in layer}
    for layer in layers:
        for node in layer:
            if isinstance(node, Node):
                for port, operand in enumerate(node.operands):
                    bends = [_Bend(operand, depth) for depth in range(depths[operand] - 1, depths[node], -1)]
                    yield [operand, *bends, (node, port)]


def _places(layers: Sequence[Sequence[Any]], widths: Mapping[Any, float]) -> dict[Any, float]:
    """Return the horizontal middle of each node or bend: near the mean of its neighbours, without overlaps in its layer."""
    neighbours: dict[Any, list[Any]] = {part: [] for part in widths}
    for *parts, (consumer, _) in _edges(layers):
        for part, next_part in zip(parts, [*parts[1:], consumer], strict=True):
            neighbours[part].append(next_part)
            neighbours[next_part].append(part)
    places = dict.fromkeys(widths, 0.0)
    for _ in range(30):
        for layer in [*layers, *reversed(layers)]:
            wanted = [np.mean([places[near] for near in neighbours[part]] or [0.0]) for part in layer]
            places |= zip(
                layer, _spread([float(w) for w in wanted], [widths[part] for part in layer], APART), strict=True
            )
    return places


def _spread(wanted: Sequence[float], widths: Sequence[float], gap: float) -> list[float]:
    """Return the places of boxes in a row that are at least `gap` apart and nearest, in least squares, to the wanted places.

    Once widths and gaps are subtracted, the places only must not decrease: this is isotonic regression, solved by pooling
    adjacent violators (Ayer and others, 1955, "An empirical distribution function for sampling with incomplete information").

    >>> _spread([0.0, 0.0], [10.0, 20.0], 5.0), _spread([0.0, 100.0], [10.0, 20.0], 5.0)
    ([-10.0, 10.0], [0.0, 100.0])
    """
    offsets = [0.0]
    for width, next_width in pairwise(widths):
        offsets.append(offsets[-1] + width / 2 + gap + next_width / 2)
    pools: list[tuple[float, int]] = []  # mean, size
    for place, offset in zip(wanted, offsets, strict=True):
        mean, size = place - offset, 1
        while pools and pools[-1][0] > mean:
            before, n = pools.pop()
            mean, size = (before * n + mean * size) / (n + size), n + size
        pools.append((mean, size))
    starts = [mean for mean, size in pools for _ in range(size)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]


def _draw_box(axes: "Axes", node: Node, box: _Box, x: float, y: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    style = "square,pad=0" if not node.operands else "round,pad=0,rounding_size=8"
    corner = (x - box.width / 2, y - box.height / 2)
    fill = FILLS.get(type(node), "white")
    axes.add_patch(FancyBboxPatch(corner, box.width, box.height, style, facecolor=fill, edgecolor="black", zorder=2))
    top = y + box.height / 2 - 0.6 * PADDING
    pen: dict[str, Any] = {"fontfamily": MONO, "fontsize": POINTS, "va": "top", "zorder": 3}
    axes.text(x, top, _text(box.title), ha="center", fontweight="bold", **pen)
    colour = BLUE
    for line in box.lines:
        top -= LINE
        colour = VERMILION if line.startswith("g") else colour
        axes.text(corner[0] + PADDING, top, _text(line), color=colour, **pen)


def _draw_edge(axes: "Axes", way: Sequence[tuple[float, float]]) -> None:
    axes.plot(*zip(*way[:-1], strict=True), color=GREY, linewidth=1.2, zorder=1)
    arrow = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", way[-1], way[-2], arrowprops=arrow, zorder=1)
