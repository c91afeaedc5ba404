"""Candidates: models that learn beside another one, and the command that has one take its place."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from learner.commands.options import json_option, make_spec, open_store, redis_option, settings_said, to_json
from learner.errors import LearnerError
from learner.messages import one_line

if TYPE_CHECKING:
    from learner.spec import Spec

__all__ = ["create_beside", "lines_of_comparison", "promote"]

OF_TASK = (
    "loss",
    "level",
    "labels",
    "target_range",
    "max_labels",
)  # inherited unless another task is said, which is refused
INHERITED = ("task", "target", "outcomes")
DESCRIBED = ("featurizer", "columns")  # inherited unless a model file or an option says one of them
HISTORY = "'learner set {old} history=1h' gives a candidate an hour to read an entry; else it must do so before {old}'s commit"


# ---- create ----
def create_beside(name: str, old: str, from_history: bool, options: Mapping[str, Any], redis_url: str | None) -> "Spec":
    """Make a candidate of a model, with its settings and what it says of targets, where nothing else is said; return its spec.

    Raises
    ------
    LearnerError
        When the name is taken, or the two can't be compared.
    """
    from learner.service.store import candidates

    store = open_store(old, redis_url)
    spec = make_spec(options, inherited=_inherited(store.spec(), options))
    settings = {key: text for key, text in (store.setting_texts() | settings_said(options)).items() if text}
    if not candidates.create(store, name, spec.to_data(), settings, from_history):
        raise LearnerError(f"model {f'{old}/{name}'!r} exists already: choose another name")
    if not store.settings()["history"]:
        click.echo(f"Note: {HISTORY.format(old=old)}", err=True)
    return spec


def _inherited(spec: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    file: Mapping[str, Any] = options["model_file"].data if options["model_file"] else {}
    kinds = ("as_number", "as_category", "as_text", "as_ignore", "only", "featurizer")
    is_described = any(options[name] for name in kinds) or any(name in file for name in DESCRIBED)
    task = options["task"] or file.get("task") or spec["task"]
    names = (*INHERITED, *(() if is_described else DESCRIBED), *(OF_TASK if task == spec["task"] else ()))
    return {name: spec[name] for name in names if name in spec}


# ---- promote ----
@click.command()
@click.argument("old")
@click.argument("new")
@click.option(
    "--wait",
    "seconds",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="For how many seconds to wait until NEW has caught up.",
)
@redis_option
@json_option
def promote(old: str, new: str, seconds: float, redis_url: str | None, as_json: bool) -> None:
    """Have the candidate NEW take the place of OLD, in one transaction; OLD's model is the candidate NEW then.

    The same command swaps them back. Workers that run take up what is there, without a restart.
    """
    from learner.service.store import candidates

    store = open_store(old, redis_url)
    history = store.settings()["history"]
    found = candidates.promote(store, new, seconds)
    if as_json:
        click.echo(to_json({"model": old, "candidate": f"{old}/{new}", **found}))
        return
    click.echo(f"{old} and {old}/{new} have changed places: {old} goes on from {found['cursor']}")
    for name, texts in found["settings"].items():
        before, after = (text or "its default" for text in texts)
        click.echo(one_line(f"setting {name} of {old} is {after} now (before: {before})"))
    if not history:
        click.echo(f"Note: {HISTORY.format(old=old)}", err=True)


# ---- status ----
def lines_of_comparison(figures: Mapping[str, float], old: str) -> Iterator[str]:
    r"""Yield the lines of ``learner status`` that compare a candidate with the model beside it.

    >>> figures = {"examples": 3000.0, "late_loss": 0.4, "old_late_loss": 0.5, "difference": -0.1, "low": -0.15, "high": -0.05}
    >>> print(*lines_of_comparison({f"beside_{name}": value for name, value in figures.items()}, "spam"), sep="\n")
    compared          with spam on 3000 examples: late loss 0.400000, spam's 0.500000
    difference        -0.100000, at any time within [-0.150000, -0.050000] (95%): better
    """
    if left_out := figures.get("beside_left_out"):
        yield f"left out          {left_out:.0f} outcomes: the answers that they name are kept for {old} alone"
    n = figures.get("beside_examples", 0)
    if not n:
        yield f"compared          with {old} on no example yet"
        return
    late, of_old, difference, low, high = (
        figures[f"beside_{name}"] for name in ("late_loss", "old_late_loss", "difference", "low", "high")
    )
    yield f"compared          with {old} on {n:.0f} examples: late loss {late:.6f}, {old}'s {of_old:.6f}"
    within = f"{difference:+.6f}, at any time within [{low:+.6f}, {high:+.6f}] (95%)"
    yield f"difference        {within}: {verdict(difference, low, high)}"


def verdict(difference: float, low: float, high: float) -> str:
    """Return in words what an interval of the difference of losses says of the candidate.

    >>> verdict(-0.1, -0.2, 0.1)
    'not decided'
    """
    from learner.confidence import Interval

    word = Interval(difference, low, high).verdict
    return "not decided" if word == "undecided" else word
