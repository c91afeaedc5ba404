"""``learner replay``: learns a file in one pass without a server, with one model, or with several to compare them."""

from typing import Any, TextIO

import click

from learner.commands.options import (
    FILE_SEED,
    format_option,
    json_option,
    make_spec,
    model_options,
    target_option,
    to_json,
)
from learner.errors import LearnerError
from learner.late import BLOCK_EXAMPLES

__all__ = ["replay"]


@click.command()
@click.argument("file")
@format_option
@target_option
@model_options
@click.option(
    "--compare",
    "others",
    multiple=True,
    metavar="SPEC",
    help="Another model beside it, in the same pass: options as NAME=VALUE, such as 'rates=0.5 loss=hinge', in place of "
    "those given; or a .toml or .json file. May be given many times.",
)
@click.option(
    "--late",
    default=BLOCK_EXAMPLES,
    show_default=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="Also score N examples at a time before any of them is learned, for the late loss; 0: don't.",
)
@click.option(
    "--predictions",
    type=click.File("w", encoding="utf-8", lazy=True),
    metavar="FILE",
    help="Write each example's prediction, made before learning it, as a JSON object a line; takes more time.",
)
@json_option
def replay(
    file: str,
    file_format: str | None,
    target: str,
    others: tuple[str, ...],
    late: int,
    predictions: TextIO | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn FILE (- is the standard input) in one pass without a server: predict each example, then learn it."""
    if others and predictions:
        raise LearnerError("--predictions must be of one model (--compare has more)")
    if others:
        from learner.commands.compare import compare, make_specs

        specs = make_specs(others, options, click.get_current_context().command.params)
        result = compare(specs, file, file_format, target, quiet=as_json, late=late)
    else:
        from learner.commands.progressive import learn_file
        from learner.model import Model

        model = Model.from_spec(make_spec(options, FILE_SEED))
        result = learn_file(model, file, file_format, target, quiet=as_json, late=late, predictions=predictions)
    if as_json:
        click.echo(to_json(result))
