"""``learner plot``: pictures of a computation graph, and of how a model learns, what it has learned and what it would say.

Gathers what is to be seen; `learner.commands.pictures` draws it. A model is looked at as last committed, its worker isn't asked.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from learner.commands import json_option, redis_option, to_json
from learner.errors import ExampleError, LearnerError, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from learner.commands.pictures import Progress, Span, Surface
    from learner.graph import Node
    from learner.model import Model

ENDINGS = (".png", ".svg")
MOST_POINTS = 200  # of a curve: of more commits, several make one
MOST_BARS = 100
MOST_CELLS = 250  # a side of a map, to be drawn cell by cell
MOST_UNITS, MOST_LAYERS = 4, 3  # of a network whose graph is drawn
CELL = re.compile(r"lat in \[(.+?),(.+?)\] lon in \[(.+?),(.+?)\]$")

out_option = click.option(
    "--out", metavar="FILE", help="The picture's file, .png or .svg. By default named after MODEL."
)


@click.group()
def plot() -> None:
    """Draw pictures, as PNG or SVG (with the extra: pip install 'learner[plot]').

    Each prints the name of the file that it has written; with --json, for programs.
    """


def _out(out: str | None, name: str) -> str:
    """Return the picture's file, once it is sure that one can be drawn.

    Raises
    ------
    LearnerError
        When the file's ending is another, or matplotlib isn't installed.
    """
    out = f"{name}.png" if out is None else out
    if Path(out).suffix.lower() not in ENDINGS:
        raise LearnerError(f"--out must end in {' or '.join(ENDINGS)} (got {show(out)})")
    if find_spec("matplotlib") is None:
        raise LearnerError("pictures need matplotlib, which is not installed: pip install 'learner[plot]'")
    return out


def _save(figure: "Figure", out: str, as_json: bool) -> None:
    from learner.commands.pictures import save

    width, height = save(figure, out)
    found = {"file": out, "width": width, "height": height}
    click.echo(to_json(found) if as_json else f"wrote {out} ({width} x {height} pixels)")


def _committed(name: str, redis_url: str | None) -> "Model":
    """Return a model as last committed.

    Raises
    ------
    LearnerError
        When it has learned nothing yet.
    """
    from learner.client import Client

    model: Model = Client(name, redis_url).committed()
    if not model.n_examples:
        raise LearnerError(f"model {name!r} must have committed examples (got none): is its worker running?")
    return model


# ---- graph -------------------------------------------------------------------------------------------------------------
@plot.command()
@click.argument("model", required=False)
@click.option("--record", help="With MODEL: the example's record, in JSON.")
@click.option("--target", help="With MODEL: the example's outcome. Without one the graph ends at the score.")
@click.option("--loss", help="One of learner.losses; by default MODEL's, else squared.")
@click.option("--neural", metavar="UNITS", help="Without MODEL: a network of so many hidden units, such as 2 or 3,2.")
@click.option("--format", "text_format", type=click.Choice(["text", "mermaid", "dot"]), help="Print text instead.")
@out_option
@redis_option
@json_option
def graph(
    model: str | None,
    record: str | None,
    target: str | None,
    loss: str | None,
    neural: str | None,
    text_format: str | None,
    out: str | None,
    redis_url: str | None,
    as_json: bool,
) -> None:
    """Draw the computation graph of one example, with the forward and the backward value of every node.

    Without MODEL, the example of linear regression or, for another loss, of classification. With MODEL, its score of RECORD:
    the strongest features one by one, the others together.
    """
    if model is None and (record is not None or target is not None):
        raise LearnerError("--record and --target must come with a MODEL (got none)")
    if model is not None and record is None:
        raise LearnerError("a MODEL must come with a --record (got none)")
    if model is not None and neural is not None:
        raise LearnerError(f"--neural must come without a MODEL (got {show(model)})")
    file = None if text_format else _out(out, "graph" if model is None else f"{model}-graph")

    from learner.graph import backward

    if model is None:
        root, title = _example(loss or "squared", _layer_sizes(neural))
        notes: list[str] = []
    else:
        found = _committed(model, redis_url)
        root, notes = _score_graph(found, _record(record or ""))
        title = f"{model}: one example"
        if target is not None:
            root = _loss_node(root, loss or found.spec.loss, _target(found, target), found.spec.level)
    backward(root)
    if text_format:
        from learner.graph import text as graph_text

        text = getattr(graph_text, f"to_{text_format}")(root)
        _write_text("\n".join([text, *notes]) if text_format == "text" else text, out)
    elif file:
        from learner.commands import pictures

        _save(pictures.graph(root, title, notes), file, as_json)


def _write_text(text: str, out: str | None) -> None:
    if out is None:
        click.echo(text)
        return
    try:
        Path(out).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise LearnerError(f"--out must be a file that can be written (got {out!r}: {error.strerror})") from error


def _layer_sizes(neural: str | None) -> list[int]:
    if neural is None:
        return []
    sizes = [int(size) if size.strip().isdecimal() else 0 for size in neural.split(",")]
    if len(sizes) > MOST_LAYERS or not all(1 <= size <= MOST_UNITS for size in sizes):
        rule = f"1 to {MOST_LAYERS} layers of 1 to {MOST_UNITS} hidden units, to be legible"
        raise LearnerError(f"--neural must be {rule} (got {show(neural)})")
    return sizes


def _example(loss: str, sizes: Sequence[int]) -> tuple["Node", str]:
    """Return the loss of a worked example: the lecture's regression, a classification, or the two cars in a network."""
    import numpy as np

    from learner.graph import Constant, Parameter, dot, logistic, matmul
    from learner.losses import LOSSES

    regression = loss in LOSSES and LOSSES[loss].task != "binary"
    if not sizes:
        w, phi = Parameter([3.0, 1.0] if regression else [1.0, -1.0], "w"), Constant([1.0, 2.0], "phi")
        return _loss_node(dot(w, phi), loss, 2.0 if regression else 1.0), f"linear predictor, {loss} loss"
    random = np.random.default_rng(0)
    h: Node = Constant([1.0, 0.0, 2.0], "phi")  # the constant 1, and where two cars are
    for i, size in enumerate(sizes, 1):
        V = random.uniform(-1.0, 1.0, (size, h.f.size)).round(1)
        if i == 1 and size == 2:
            V = np.array(
                [[-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]
            )  # is one far to the right of the other, and the reverse
        name = str(i) if len(sizes) > 1 else ""
        h = logistic(matmul(Parameter(V, f"V{name}"), h).named(f"z{name}")).named(f"h{name}")
    w = Parameter(np.ones(sizes[-1]), "w")
    return _loss_node(dot(w, h), loss, 1.0), f"{len(sizes) + 1}-layer network, {loss} loss"


def _loss_node(score: "Node", loss: str, y: float, level: float = 0.5) -> "Node":
    """Return the loss of a score, with the lecture's names for what is between."""
    from learner.graph import Constant, loss_of, order, quantile_loss
    from learner.losses import LOSSES

    if loss not in LOSSES:
        raise LearnerError(f"--loss must be one of {', '.join(LOSSES)} (got {show(loss)})")
    score, target = score.named("score"), Constant(y, "y")
    root = (quantile_loss(score, target, level) if loss == "quantile" else loss_of(loss)(score, target)).named("loss")
    for node in order(root):
        if node.op and score in node.operands and not node.name:
            node.named({"subtract": "residual", "multiply": "margin"}.get(node.op.name, ""))
    return root


def _score_graph(model: "Model", record: Any) -> tuple["Node", list[str]]:
    """Return the graph of a model's linear score of a record, what else is in the score as one term, and the names."""
    from learner.graph import Constant, Parameter, dot
    from learner.graph.text import MAX_SHOWN
    from learner.learners.mixture import NETWORK_NAME

    parts = [part for part in model.explain_one(record) if part.name != NETWORK_NAME]
    shown = parts[:MAX_SHOWN]
    w = Parameter([part.weight for part in shown], "w")
    phi = Constant([part.value - part.mean for part in shown], "phi")
    notes = ["the elements of w and phi (less the mean, where one is given):"]
    notes += [f"{i}  {p.name}" + f" - {p.mean:.4g}" * bool(p.mean) for i, p in enumerate(shown, 1)]
    score, whole, n_others = dot(w, phi), model.score_one(record), len(parts) - len(shown)
    rest = whole - float(score.f)
    if n_others or abs(rest) > 1e-5 * max(1.0, abs(whole)):  # less is the rounding of float32
        score = score.named("strongest") + Constant(rest, "rest")
        others = ["the neural head"] * bool(model.spec.network) + [f"the other {n_others} features"] * bool(n_others)
        notes.append(f"rest, added to the score: {' and '.join(others) or 'rounding'}")
    return score.named("score"), notes


def _target(model: "Model", text: str) -> float:
    """Return a target given as text as the number that losses take."""
    from learner.service.wire import decode_target
    from learner.tasks import TASKS

    value = decode_target(text.encode())
    if TASKS[model.task].predicts_numbers:
        if isinstance(value, str):
            raise LearnerError(f"--target must be a number (got {show(text)})")
        return float(value)
    signs: dict[Any, float] = {**dict(zip(model.classes, (-1.0, 1.0), strict=True)), -1: -1.0, 0: -1.0, 1: 1.0}
    if value not in signs:
        raise LearnerError(f"--target must be -1, 0, 1, true, false or one of the model's labels (got {show(text)})")
    return signs[value]


def _record(text: str) -> Any:
    from learner.service.wire import decode_value

    return decode_value(text.encode(), "record")


# ---- progress ----------------------------------------------------------------------------------------------------------
@plot.command()
@click.argument("model")
@click.option("--over", type=click.Choice(["examples", "time"]), default="examples", show_default=True)
@out_option
@redis_option
@json_option
def progress(model: str, over: str, out: str | None, redis_url: str | None, as_json: bool) -> None:
    """Draw MODEL's progressive loss, commit by commit, beside the best constant's."""
    from learner.losses import LOSSES
    from learner.service.store import Store, connection, embedded

    file = _out(out, f"{model}-progress")
    store = Store(connection.client(embedded.find_or_start(redis_url)), model)
    loss = LOSSES[store.spec()["loss"]]
    points = _points(store.progress())
    if points is None:
        raise LearnerError(f"model {model!r} must have progress (got none yet): is its worker running?")

    from learner.commands import pictures

    title = f"{model}: progressive loss, {points.examples[-1]:,.0f} examples"
    unit = f"{loss.measure} ({loss.unit})"
    _save(pictures.progress(points, title, unit, over == "time"), file, as_json)


def _points(entries: Iterable[Mapping[bytes, bytes]], most: int = MOST_POINTS) -> "Progress | None":
    """Return a curve of what commits say of themselves, None without any example.

    A commit tells the mean loss of all examples so far; that of the examples since another one is what the sums differ by,
    which is exact where every example's importance is 1.

    >>> shown = _points({b"time": b"0", b"examples": n, b"loss": loss, b"constant_loss": b"1"} for n, loss in
    ...                 [(b"10", b"0.9"), (b"20", b"0.8"), (b"20", b"0.8"), (b"40", b"0.5")])
    >>> shown.examples, shown.loss, shown.recent.round(3)
    (array([10., 20., 40.]), array([0.9, 0.8, 0.5]), array([0.9, 0.7, 0.2]))
    """
    import numpy as np

    from learner.commands.pictures import Progress

    fields = (b"examples", b"time", b"loss", b"constant_loss")
    rows: list[list[float]] = []
    for entry in entries:
        row = [float(entry[field]) for field in fields]
        while (
            rows and rows[-1][0] >= row[0]
        ):  # nothing learned since; or the server went back, and it was learned again
            rows.pop()
        if row[0]:
            rows.append(row)
    if not rows:
        return None
    n_commits = -(-len(rows) // most)
    examples, times, loss, constant = np.array(rows[::-1][::n_commits][::-1]).T  # the last one is always there
    recent = np.diff(loss * examples, prepend=0.0) / np.diff(examples, prepend=0.0)
    return Progress(examples, times, loss, recent, constant, n_commits)


# ---- weights -----------------------------------------------------------------------------------------------------------
@plot.command()
@click.argument("model")
@click.option("-n", "--top", default=20, type=click.IntRange(1, MOST_BARS), show_default=True, help="How many.")
@click.option("--prefix", default="", help="Only features whose name starts with it.")
@out_option
@redis_option
@json_option
def weights(model: str, top: int, prefix: str, out: str | None, redis_url: str | None, as_json: bool) -> None:
    """Draw MODEL's committed weights by name, the largest first, as bars."""
    file = _out(out, f"{model}-weights")
    found = _committed(model, redis_url)
    shown = found.weights.top(top, prefix)
    if not shown:
        raise LearnerError(f"--prefix must start a feature's name (got {show(prefix)}, which starts none)")

    from learner.commands import pictures

    title = f"{model}: the {len(shown)} strongest of {found.n_features:,} weights, {found.n_examples:,} examples"
    _save(pictures.weights(shown, title, found.learner.loss.score_unit), file, as_json)


# ---- boundary ----------------------------------------------------------------------------------------------------------
@plot.command()
@click.argument("model")
@click.option("--x", "x_field", metavar="FIELD", help="The number across. By default found in MODEL's featurizer.")
@click.option("--y", "y_field", metavar="FIELD", help="The number upwards.")
@click.option("--range", "ranges", metavar="LOW,HIGH", multiple=True, help="Of x, then of y. By default those learned.")
@click.option("--record", default="{}", help="The record's other fields, in JSON.")
@out_option
@redis_option
@json_option
def boundary(
    model: str,
    x_field: str | None,
    y_field: str | None,
    ranges: tuple[str, ...],
    record: str,
    out: str | None,
    redis_url: str | None,
    as_json: bool,
) -> None:
    """Draw what MODEL predicts over two numbers: the decision boundary, or the surface of a regression.

    For a model of places, over a map. Pale are records with a feature that MODEL never learned.
    """
    file = _out(out, f"{model}-boundary")
    others = _record(record)
    if not isinstance(others, dict):
        raise LearnerError(f"--record must be a map of fields (got {show(others)})")
    spans = [_span(text) for text in ranges]
    if len(spans) not in (0, 2):
        raise LearnerError(f"--range must be given twice, for x and for y (got it {len(spans)} times)")
    if (x_field is None) != (y_field is None):
        raise LearnerError(f"--x and --y must be given together (got only {'--y' if x_field is None else '--x'})")
    found = _committed(model, redis_url)
    x, y = (x_field, y_field) if x_field and y_field else _two_fields(found, model)
    is_map = (x, y) in _maps(found)

    from learner.commands import pictures

    if ranges:
        across, upwards = pictures.Span(x, *spans[0]), pictures.Span(y, *spans[1])
    else:
        across, upwards = (is_map and _map_spans(found, x, y)) or (_learned_span(found, x), _learned_span(found, y))
    surface = _surface(found, model, others, across, upwards)

    binary = found.task == "binary"
    what = f"probability of {found.classes[1]:+d}" if binary and not found.labels else "prediction (the target's units)"
    what = f"probability of {found.classes[1]}" if found.labels else what
    title = f"{model}: {'decision boundary' if binary else 'predictions'}, {found.n_examples:,} examples"
    _save(pictures.boundary(surface, title, what, binary, is_map), file, as_json)


def _span(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
        if float("-inf") < low < high < float("inf"):
            return low, high
    except ValueError:
        pass
    raise LearnerError(f"--range must be LOW,HIGH, two numbers with LOW < HIGH (got {show(text)})")


def _templates(model: "Model") -> list[Any]:
    """Return the templates of a model's featurizer, and those inside its crosses."""
    from featurizers import Cross

    if model.featurizer is None:
        return []
    templates: list[Any] = list(model.featurizer.templates)
    return templates + [one for template in templates if isinstance(template, Cross) for one in template.templates]


def _maps(model: "Model") -> list[tuple[str, str]]:
    """Return the (longitude, latitude) fields of the templates of places."""
    from featurizers import Cells
    from featurizers.template import join

    cells = [template for template in _templates(model) if isinstance(template, Cells)]
    return [(join(template.field, template.lon), join(template.field, template.lat)) for template in cells]


def _two_fields(model: "Model", name: str) -> tuple[str, str]:
    """Return the two numbers that a model's featurizer takes: longitude and latitude, or the only two.

    Raises
    ------
    LearnerError
        When it takes more or fewer.
    """
    from featurizers import Fields, SumOfSquares
    from featurizers.numbers import NumberTemplate
    from featurizers.template import join

    if maps := _maps(model):
        return maps[0]
    templates = _templates(model)
    fields: list[str] = []
    for template in templates:
        if isinstance(template, SumOfSquares):
            fields += [join(template.field, one) for one in template.of]
        elif isinstance(template, NumberTemplate) and template.field:
            fields.append(template.field)
    if not templates or any(isinstance(template, Fields) for template in templates):
        fields += [feature for feature in model.feature_names if "=" not in feature and not feature.startswith("(")]
    fields = list(dict.fromkeys(fields))
    if len(fields) != 2:
        came = f"{len(fields)}: {', '.join(fields[:5])}" + ", ..." * (len(fields) > 5) if fields else "none"
        raise LearnerError(f"featurizer of {name!r} must take two numbers, or --x and --y say which (got {came})")
    return fields[0], fields[1]


def _map_spans(model: "Model", lon: str, lat: str) -> "tuple[Span, Span] | None":
    """Return the longitudes and latitudes around the finest cells that a model has learned, in steps of cells."""
    import numpy as np

    from learner.commands.pictures import Span

    found = [match.groups() for name in model.feature_names if (match := CELL.search(name))]
    cells = np.array([[float(edge) for edge in edges] for edges in found]).reshape(-1, 2, 2)  # (lat, lon), (from, to)
    sizes = cells[:, 0, 1] - cells[:, 0, 0]
    size = sizes.min(initial=np.inf)
    cells = cells[(sizes < 1.5 * size) & (cells[:, 1, 1] - cells[:, 1, 0] < 360.0)]  # a pole's has every longitude
    if not len(cells):
        return None
    low, high = (
        np.maximum(cells[:, :, 0].min(0) - size, [-90, -180]),
        np.minimum(cells[:, :, 1].max(0) + size, [90, 180]),
    )
    n_cells = np.rint((high - low) / size).astype(int)
    n_steps = [n * -(-MOST_CELLS // (2 * n)) if n <= MOST_CELLS else MOST_CELLS for n in n_cells.tolist()]
    return Span(lon, float(low[1]), float(high[1]), n_steps[1]), Span(lat, float(low[0]), float(high[0]), n_steps[0])


def _learned_span(model: "Model", field: str) -> "Span":
    """Return the values of a number that a model has learned: its mean, and as far from it as it saw, up to 2 deviations.

    Raises
    ------
    LearnerError
        When the number itself is no feature, so that nothing is known of its values.
    """
    from learner import layout
    from learner.commands.pictures import Span

    for name in [field, *(template.prefix + field for template in _templates(model))]:
        slot = model.learner.weight_dict.slot(name)
        if slot is not None:
            row = model.learner.weight_dict.matrix[slot]
            mean, seen = float(row[layout.MEAN]), min(float(row[layout.SCALE]), 2.0 * float(row[layout.DEVIATION]))
            if seen > 0.0:
                return Span(field, mean - seen, mean + seen)
    raise LearnerError(f"--range must be given where the values of {field!r} are not known (got no such feature)")


def _surface(model: "Model", name: str, others: Mapping[str, Any], x: "Span", y: "Span") -> "Surface":
    """Return a model's scores and predictions over two numbers of a record.

    Raises
    ------
    LearnerError
        When the featurizer can't take them, or nothing depends on them.
    """
    import numpy as np

    from learner.commands.pictures import Surface

    scores, predictions = np.zeros((y.n, x.n)), np.zeros((y.n, x.n))
    known = np.zeros((y.n, x.n), bool)
    learned: dict[str, bool] = {}
    nested = model.featurizer is not None
    try:
        for i, b in enumerate(y.middles.tolist()):
            for j, a in enumerate(x.middles.tolist()):
                record = _with(_with(others, x.name, a, nested), y.name, b, nested)
                score = scores[i, j] = model.score_one(record)
                predictions[i, j] = model.learner.prediction(score)
                for feature in (features := model.features(record)):
                    if feature not in learned:
                        learned[feature] = feature in model.weights
                known[i, j] = all(map(learned.__getitem__, features))
    except ExampleError as error:
        raise LearnerError(
            f"featurizer of {name!r} must take the numbers {x.name!r} and {y.name!r}: {error}"
        ) from error
    if np.ptp(scores) == 0.0:
        raise LearnerError(
            f"prediction of {name!r} must depend on {x.name!r} or {y.name!r} (got the same for all values)"
        )
    return Surface(x, y, scores, predictions, known)


def _with(record: Mapping[str, Any], field: str, value: float, nested: bool) -> dict[str, Any]:
    """Return a record with one more field; a dotted path is a field of a map inside.

    >>> _with({"a": {"c": 2}}, "a.b", 1.0, nested=True), _with({}, "a.b", 1.0, nested=False)
    ({'a': {'c': 2, 'b': 1.0}}, {'a.b': 1.0})
    """
    head, dot, rest = field.partition(".")
    if not nested or not dot:
        return {**record, field: value}
    inside = record.get(head, {})
    return {**record, head: _with(inside if isinstance(inside, Mapping) else {}, rest, value, nested)}
