"""``learner replay``: learns a file in one pass without a server, with one model, or with several to compare them."""

import sys
from typing import Any, TextIO

import click

from learner.commands.columns import decide, other_values, reading_for, target_of
from learner.commands.options import (
    FILE_SEED,
    SOME_LEFT_OUT,
    decides_columns,
    format_option,
    json_option,
    make_spec,
    model_options,
    reading_options,
    target_option,
    to_json,
)
from learner.errors import LearnerError
from learner.files import Reading
from learner.late import BLOCK_EXAMPLES

__all__ = ["replay"]


@click.command()
@click.argument("file")
@format_option
@target_option
@reading_options
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
    "--save",
    "saved",
    metavar="FILE",
    help="Save the model to FILE (NAME.learner) at the end. It then has a seed of its own, which is a secret and is in FILE.",
)
@click.option("--from", "start", metavar="FILE", help="Go on from a saved model (NAME.learner).")
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
    target: str | None,
    how: Reading,
    others: tuple[str, ...],
    late: int,
    saved: str | None,
    start: str | None,
    predictions: TextIO | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn FILE (- is the standard input) in one pass without a server: predict each example, then learn it.

    FILE may be a pattern, such as 'data/*.csv'. Examples that can't be learned are named, counted and left out; the exit code
    is then 3. The kinds of a table's columns are decided on its first rows, unless the model says them.
    """
    from learner.commands.saved import require_plain, require_target

    if saved:
        require_target(saved)
    if others and (saved or start or predictions):
        raise LearnerError("--save, --from and --predictions must be with one model, without --compare (got both)")
    if not start and decides_columns(options):
        described = make_spec(options, FILE_SEED)  # first, as its faults come before the file's
        options["target"] = target_of(target, described)
        options["decided"] = decide(file, file_format, options["target"], how, options)
    if others:
        from learner.commands.compare import compare, make_specs

        specs = make_specs(others, options, click.get_current_context().command.params)
        first, how = next(iter(specs.values())), reading_for(specs.values(), how)
        result = compare(specs, file, file_format, target_of(target, first), how, quiet=as_json, late=late)
    else:
        from learner.commands.progressive import learn_file
        from learner.model import Model

        if start:
            require_plain("--from")
            model = Model.load(start)
        else:
            model = Model.from_spec(make_spec(options, None if saved else FILE_SEED))
        how = reading_for([model.spec], how)
        result = learn_file(
            model,
            file,
            file_format,
            target_of(target, model.spec),
            how,
            quiet=as_json,
            late=late,
            predictions=predictions,
        )
        if saved:
            model.save(saved)
            result |= {"saved": saved}
    result |= other_values(how)
    if as_json:
        click.echo(to_json(result))
    elif saved:
        click.echo(f"saved             {saved}")
    if result["rejected"]:
        sys.exit(SOME_LEFT_OUT)
