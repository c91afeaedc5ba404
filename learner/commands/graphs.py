"""Computation graphs for ``learner plot graph``: of a worked example, or of a model's score of a record."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from learner.errors import LearnerError, show
from learner.graph import Constant, Node, Parameter, dot, logistic, loss_of, matmul, order, quantile_loss
from learner.graph.text import MAX_SHOWN
from learner.losses import LOSSES

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["example_graph", "layer_sizes", "loss_graph", "score_graph", "target_of"]

MOST_UNITS, MOST_LAYERS = 4, 3  # units in a layer, and hidden layers, of a network that is drawn


def layer_sizes(neural: str | None) -> list[int]:
    """Return how many units each hidden layer has, from a text such as ``3,2``.

    Raises
    ------
    LearnerError
        When the network would be too large to draw.
    """
    if neural is None:
        return []
    sizes = [int(size) if size.strip().isdecimal() else 0 for size in neural.split(",")]
    if len(sizes) > MOST_LAYERS or not all(1 <= size <= MOST_UNITS for size in sizes):
        rule = f"1 to {MOST_LAYERS} layers of 1 to {MOST_UNITS} hidden units, to be legible"
        raise LearnerError(f"--neural must be {rule} (got {show(neural)})")
    return sizes


def example_graph(loss: str, sizes: Sequence[int]) -> tuple[Node, str]:
    """Return the loss of a worked example, and its title: linear regression, classification, or a small network."""
    regression = loss in LOSSES and LOSSES[loss].task != "binary"
    if not sizes:
        w, phi = Parameter([3.0, 1.0] if regression else [1.0, -1.0], "w"), Constant([1.0, 2.0], "phi")
        return loss_graph(dot(w, phi), loss, 2.0 if regression else 1.0), f"linear predictor, {loss} loss"
    random = np.random.default_rng(0)
    h: Node = Constant([1.0, 0.0, 2.0], "phi")  # the constant 1, and the positions of two cars
    for i, size in enumerate(sizes, 1):
        V = random.uniform(-1.0, 1.0, (size, h.f.size)).round(1)
        if i == 1 and size == 2:
            # each unit tells whether one of the cars is far to the right of the other
            V = np.array([[-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
        name = str(i) if len(sizes) > 1 else ""
        h = logistic(matmul(Parameter(V, f"V{name}"), h).named(f"z{name}")).named(f"h{name}")
    w = Parameter(np.ones(sizes[-1]), "w")
    return loss_graph(dot(w, h), loss, 1.0), f"{len(sizes) + 1}-layer network, {loss} loss"


def loss_graph(score: Node, loss: str, y: float, level: float = 0.5) -> Node:
    """Return the loss of a score; the nodes in between are named ``residual`` or ``margin``."""
    if loss not in LOSSES:
        raise LearnerError(f"--loss must be one of {', '.join(LOSSES)} (got {show(loss)})")
    score, target = score.named("score"), Constant(y, "y")
    root = (quantile_loss(score, target, level) if loss == "quantile" else loss_of(loss)(score, target)).named("loss")
    for node in order(root):
        if node.op and score in node.operands and not node.name:
            node.named({"subtract": "residual", "multiply": "margin"}.get(node.op.name, ""))
    return root


def score_graph(model: "Model", record: Any) -> tuple[Node, list[str]]:
    """Return the graph of a model's score of a record, and notes that name its elements.

    The strongest features are the elements of one dot product; the rest of the score is one term that is added.
    """
    from learner.learners.mixture import NETWORK_NAME

    parts = [part for part in model.explain_one(record) if part.name != NETWORK_NAME]
    strongest = parts[:MAX_SHOWN]
    w = Parameter([part.weight for part in strongest], "w")
    phi = Constant([part.value - part.mean for part in strongest], "phi")
    notes = ["the elements of w and phi (less the mean, where one is given):"]
    notes += [f"{i}  {p.name}" + f" - {p.mean:.4g}" * bool(p.mean) for i, p in enumerate(strongest, 1)]
    score, whole, n_others = dot(w, phi), model.score_one(record), len(parts) - len(strongest)
    rest = whole - float(score.f)
    if n_others or abs(rest) > 1e-5 * max(1.0, abs(whole)):  # a smaller rest is the rounding of float32
        score = score.named("strongest") + Constant(rest, "rest")
        others = ["the neural head"] * bool(model.spec.network) + [f"the other {n_others} features"] * bool(n_others)
        notes.append(f"rest, added to the score: {' and '.join(others) or 'rounding'}")
    return score.named("score"), notes


def target_of(model: "Model", text: str) -> float:
    """Return the number that a target's text stands for, in the form that losses take.

    Raises
    ------
    LearnerError
        When the text is not a target of the model's task.
    """
    from learner.service.wire import decode_target
    from learner.spec import label_numbers
    from learner.tasks import TASKS

    if model.labels and text in model.labels:  # which may look like numbers
        return 1.0 if text == model.labels[1] else -1.0
    value = decode_target(text.encode())
    if TASKS[model.task].predicts_numbers:
        if isinstance(value, str):
            raise LearnerError(f"--target must be a number (got {show(text)})")
        return float(value)
    signs = {-1.0: -1.0, 0.0: -1.0, 1.0: 1.0}
    if model.labels and not all(map(math.isnan, numbers := label_numbers(*model.labels))):
        signs = dict(zip(numbers, (-1.0, 1.0), strict=True))
    if value not in signs:
        raise LearnerError(f"--target must be -1, 0, 1, true, false or one of the model's labels (got {show(text)})")
    return signs[value]
