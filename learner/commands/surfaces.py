"""Surfaces for ``learner plot boundary``: what a model predicts over two numbers of a record."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from featurizers import Cells, Cross, Fields, SumOfSquares
from featurizers.numbers import NumberTemplate
from featurizers.template import join
from learner import layout
from learner.commands.pictures import Span, Surface
from learner.errors import ExampleError, LearnerError
from learner.packing import pack

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["is_map", "learned_spans", "surface", "two_fields"]

SHOWN_SHARE = 0.98  # of a number's values lie below the highest one shown, and above the lowest
MOST_CELLS = 250  # on a side of a map that is drawn cell by cell
CELL = re.compile(r"lat in \[(.+?),(.+?)\] lon in \[(.+?),(.+?)\]$")


def _templates(model: "Model") -> list[Any]:
    """Return the templates of a model's featurizer, and those inside its crosses."""
    if model.featurizer is None:
        return []
    templates: list[Any] = list(model.featurizer.templates)
    return templates + [part for cross in templates if isinstance(cross, Cross) for part in cross.templates]


def _maps(model: "Model") -> list[tuple[str, str]]:
    """Return the fields (longitude, latitude) of each template of places."""
    cells = [template for template in _templates(model) if isinstance(template, Cells)]
    return [(join(template.field, template.lon), join(template.field, template.lat)) for template in cells]


def two_fields(model: "Model", name: str) -> tuple[str, str]:
    """Return the fields of the two numbers that a featurizer takes: longitude and latitude, or the only two numbers.

    Raises
    ------
    LearnerError
        When it takes more or fewer numbers.
    """
    if maps := _maps(model):
        return maps[0]
    templates = _templates(model)
    fields: list[str] = []
    for template in templates:
        if isinstance(template, SumOfSquares):
            fields += [join(template.field, field) for field in template.of]
        elif isinstance(template, NumberTemplate) and template.field:
            fields.append(template.field)
    if not templates or any(isinstance(template, Fields) for template in templates):
        fields += [feature for feature in model.feature_names if "=" not in feature and not feature.startswith("(")]
    fields = list(dict.fromkeys(fields))
    if len(fields) != 2:
        numbers = f"{len(fields)}: {', '.join(fields[:5])}" + ", ..." * (len(fields) > 5) if fields else "none"
        raise LearnerError(f"featurizer of {name!r} must take two numbers, or --x and --y say which (got {numbers})")
    return fields[0], fields[1]


def is_map(model: "Model", x: str, y: str) -> bool:
    """Tell whether two fields are the longitude and the latitude of a template of places."""
    return (x, y) in _maps(model)


def learned_spans(model: "Model", x: str, y: str) -> tuple[Span, Span]:
    """Return the ranges of two numbers in the examples that a model has learned.

    Raises
    ------
    LearnerError
        When the numbers are not coordinates, and one of them is not a feature: then its range is not known.
    """
    spans = _map_spans(model, x, y) if is_map(model, x, y) else None
    return spans or (_learned_span(model, x), _learned_span(model, y))


def _map_spans(model: "Model", lon: str, lat: str) -> tuple[Span, Span] | None:
    """Return the ranges of longitude and latitude around the finest cells that a model has learned; None if there are none."""
    edges = [match.groups() for name in model.feature_names if (match := CELL.search(name))]
    cells = np.array(edges, float).reshape(-1, 2, 2)  # (lat, lon), (from, to)
    sizes = cells[:, 0, 1] - cells[:, 0, 0]
    size = sizes.min(initial=np.inf)
    cells = cells[(sizes < 1.5 * size) & (cells[:, 1, 1] - cells[:, 1, 0] < 360.0)]  # at a pole: all longitudes
    if not len(cells):
        return None
    low = np.maximum(cells[:, :, 0].min(0) - size, [-90, -180])
    high = np.minimum(cells[:, :, 1].max(0) + size, [90, 180])
    n_cells = np.rint((high - low) / size).astype(int)
    n_steps = [n * -(-MOST_CELLS // (2 * n)) if n <= MOST_CELLS else MOST_CELLS for n in n_cells.tolist()]
    return Span(lon, float(low[1]), float(high[1]), n_steps[1]), Span(lat, float(low[0]), float(high[0]), n_steps[0])


def _learned_span(model: "Model", field: str) -> Span:
    """Return a number's range in the examples learned: nearly all of its first values, or else two deviations around the mean.

    Raises
    ------
    LearnerError
        When the number itself is not a feature: then its range is not known.
    """
    weight_dict = model.learner.weight_dict
    for name in [field, *(template.prefix + field for template in _templates(model))]:
        slot = weight_dict.slot(name)
        if slot is not None:
            row = weight_dict.matrix[slot]
            mean, reach = float(row[layout.MEAN]), min(float(row[layout.SCALE]), 2.0 * float(row[layout.DEVIATION]))
            place = int(row.view(np.uint32)[layout.DENSE]) & layout.PLACE_MASK
            sample = weight_dict.samples[0, place - 1, 2:] if 0 < place <= layout.MAX_BINNED else np.zeros(1)
            low, high = np.quantile(sample, (1.0 - SHOWN_SHARE, SHOWN_SHARE)).tolist()
            if low < mean < high:
                return Span(field, low, high)
            if reach > 0.0:
                return Span(field, mean - reach, mean + reach)
    raise LearnerError(f"--range must be given where the values of {field!r} are not known (got no such feature)")


def _means(model: "Model") -> dict[str, float]:
    """Return the means of the numbers that nearly all examples have, by name."""
    weight_dict, words = model.learner.weight_dict, model.learner.weight_dict.matrix.view(np.uint32)
    dense = np.flatnonzero((words[:, layout.DENSE] & layout.PLACE_MASK > 0) & ~weight_dict.derived)
    return {weight_dict.name(slot): float(weight_dict.matrix[slot, layout.MEAN]) for slot in dense.tolist()}


def surface(model: "Model", name: str, others: Mapping[str, Any], x: Span, y: Span) -> Surface:
    """Return the scores and predictions of a model over two numbers of a record; numbers that it lacks have their means.

    Parameters
    ----------
    name : str
        The model's name, for messages.
    others : mapping
        The record's other fields.
    x, y : Span
        The two numbers.

    Raises
    ------
    LearnerError
        When the featurizer rejects the record, or the score depends on neither number.
    """
    scores, predictions = np.zeros((y.n, x.n)), np.zeros((y.n, x.n))
    known = np.zeros((y.n, x.n), bool)
    learned: dict[str, bool] = {}
    means = _means(model)
    nested = model.featurizer is not None
    try:
        for i, b in enumerate(y.middles.tolist()):
            for j, a in enumerate(x.middles.tolist()):
                record = _with(_with(others, x.name, a, nested), y.name, b, nested)
                every = model.features(record)
                features = {name: x for name, x in every.items() if not name.endswith(layout.MISSING_SUFFIX)}
                score = scores[i, j] = model.learner.score_packed(pack(means | features))
                predictions[i, j] = model.learner.prediction(score)
                for feature in features:
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
    """Return a record with one more field; if `nested`, a dotted path names a field of a map inside.

    >>> _with({"a": {"c": 2}}, "a.b", 1.0, nested=True), _with({}, "a.b", 1.0, nested=False)
    ({'a': {'c': 2, 'b': 1.0}}, {'a.b': 1.0})
    """
    head, dot, rest = field.partition(".")
    if not nested or not dot:
        return {**record, field: value}
    inside = record.get(head, {})
    return {**record, head: _with(inside if isinstance(inside, Mapping) else {}, rest, value, nested)}
