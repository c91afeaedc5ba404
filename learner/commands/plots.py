"""``learner plot``: pictures of a computation graph, and of a model's progress, weights and predictions.

`graphs`, `surfaces` and `learner.service.curves` gather the data of a picture, and `pictures` draws it. The pictures show
the model as last committed; the worker is not involved.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from learner.commands.options import json_option, open_store, redis_option, to_json
from learner.errors import LearnerError, show
from learner.stored import require_readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from learner.model import Model

__all__ = ["plot"]

ENDINGS = (".png", ".svg")
MOST_BARS = 100

out_option = click.option(
    "--out", metavar="FILE", help="The picture's file, .png or .svg. By default named after MODEL."
)


@click.group(short_help="Draw a graph, or MODEL's progress, weights or decision boundary, as PNG or SVG")
def plot() -> None:
    """Draw pictures, as PNG or SVG (with the extra: pip install '.[plot]' in a clone).

    Each prints the name of the file that it has written; with --json, for programs.
    """


def _out(out: str | None, name: str) -> str:
    """Return the picture's file, by default one named `name`; make sure that a picture can be drawn.

    Raises
    ------
    LearnerError
        When the file's ending is neither .png nor .svg, or matplotlib isn't installed.
    """
    out = f"{name}.png" if out is None else out
    if Path(out).suffix.lower() not in ENDINGS:
        raise LearnerError(f"--out must end in {' or '.join(ENDINGS)} (got {show(out)})")
    if find_spec("matplotlib") is None:
        raise LearnerError("pictures need matplotlib, which is not installed: pip install '.[plot]' in a clone")
    return out


def _save(figure: "Figure", out: str, as_json: bool) -> None:
    """Write a picture, and print its file and size."""
    from learner.commands.pictures import save

    width, height = save(figure, out)
    size = {"file": out, "width": width, "height": height}
    click.echo(to_json(size) if as_json else f"wrote {out} ({width} x {height} pixels)")


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

    from learner.commands import graphs
    from learner.graph import backward

    if model is None:
        root, title = graphs.example_graph(loss or "squared", graphs.layer_sizes(neural))
        notes: list[str] = []
    else:
        learned = _committed(model, redis_url)
        root, notes = graphs.score_graph(learned, _record(record or ""))
        title = f"{model}: one example"
        if target is not None:
            y = graphs.target_of(learned, target)
            root = graphs.loss_graph(root, loss or learned.spec.loss, y, learned.spec.level)
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


def _record(text: str) -> Any:
    """Return the record of a JSON text."""
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
    from learner.spec import Spec

    file = _out(out, f"{model.replace('/', '-')}-progress")
    store = open_store(model, redis_url, may_be_candidate=True)
    loss = LOSSES[Spec.from_data(store.spec()).loss]

    from learner.commands import pictures
    from learner.service.curves import curve

    with require_readable(f"progress of {model!r}", f"delete {store.keys.progress}"):
        losses = curve(store.progress())
    if losses is None:
        raise LearnerError(f"model {model!r} must have progress (got none yet): is its worker running?")
    title = f"{model}: progressive loss, {losses.examples[-1]:,.0f} examples"
    unit = f"{loss.measure} ({loss.unit})"
    _save(pictures.progress(losses, title, unit, over == "time"), file, as_json)


# ---- weights -----------------------------------------------------------------------------------------------------------
@plot.command()
@click.argument("model")
@click.option("-n", "--top", default=20, type=click.IntRange(1, MOST_BARS), show_default=True, help="How many.")
@click.option("--prefix", default="", help="Only features whose name starts with it.")
@out_option
@redis_option
@json_option
def weights(model: str, top: int, prefix: str, out: str | None, redis_url: str | None, as_json: bool) -> None:
    """Draw MODEL's committed weights that change its scores the most, as bars.

    A bar is as long as the standard deviation of what the feature adds to the score: its weight, by how much its value differs
    from example to example. So a large weight of a rare feature is no long bar.
    """
    file = _out(out, f"{model}-weights")
    learned = _committed(model, redis_url)
    strongest = learned.weights.strongest(top, prefix)
    if not strongest:
        raise LearnerError(f"--prefix must start a feature's name (got {show(prefix)}, which starts none)")

    from learner.commands import pictures

    title = (
        f"{model}: the {len(strongest)} strongest of {learned.n_features:,} weights, {learned.n_examples:,} examples"
    )
    _save(pictures.weights(strongest, title, learned.learner.loss.score_unit), file, as_json)


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

    For a model of places, over a map. Other numbers, unless --record has them, are at their means. Pale are records with a
    feature that MODEL never learned.
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
    learned = _committed(model, redis_url)

    from learner.commands import pictures, surfaces

    x, y = (x_field, y_field) if x_field and y_field else surfaces.two_fields(learned, model)
    if spans:
        across, upwards = pictures.Span(x, *spans[0]), pictures.Span(y, *spans[1])
    else:
        across, upwards = surfaces.learned_spans(learned, x, y)
    surface = surfaces.surface(learned, model, others, across, upwards)

    binary = learned.task == "binary"
    if learned.labels:
        what = f"probability of {learned.classes[1]}"
    else:
        what = f"probability of {learned.classes[1]:+d}" if binary else "prediction (the target's units)"
    title = f"{model}: {'decision boundary' if binary else 'predictions'}, {learned.n_examples:,} examples"
    _save(pictures.boundary(surface, title, what, binary, surfaces.is_map(learned, x, y)), file, as_json)


def _span(text: str) -> tuple[float, float]:
    """Return the two numbers of a ``--range``."""
    try:
        low, high = map(float, text.split(","))
        if float("-inf") < low < high < float("inf"):
            return low, high
    except ValueError:
        pass
    raise LearnerError(f"--range must be LOW,HIGH, two numbers with LOW < HIGH (got {show(text)})")
