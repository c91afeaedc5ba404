"""``learner init``: looks at a file, says what it holds, proposes a model, tries it, and writes it as a model file."""

import contextlib
import dataclasses
import itertools
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgpack
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import track

from featurizers.formats import toml_key, toml_value
from learner.commands.options import FILE_SEED, format_option, joined, json_option, reading_options, to_json
from learner.errors import ExampleError, LearnerError
from learner.files import Reading, expand, read
from learner.files.profile import SAMPLE_ROWS, Profile
from learner.late import BLOCK_EXAMPLES, LateLoss
from learner.messages import one_line
from learner.packing import pack_example
from learner.proposal import Proposal, propose

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["init"]

MIN_TRIAL_ROWS = 1000  # a trial on fewer says too little
MAX_TRIAL_ROWS = 20_000
SHOWN_NAME, SHOWN_TEXT = 40, 28  # a terminal's cells of a name, and of an example


class Sample(NamedTuple):
    """The first rows of a file, and whether these are all."""

    rows: list[dict[str, Any]]
    is_whole: bool

    @property
    def first(self) -> str:
        """What comes before their number, in words."""
        return "" if self.is_whole else "the first "


@click.command()
@click.argument("file")
@click.option("--target", required=True, help="The column or field that holds the outcome.")
@click.option("--out", help="The model file to write; by default FILE with .toml in place of its ending.")
@click.option("--force", is_flag=True, help="Write over a model file that exists.")
@format_option
@reading_options
@json_option
def init(
    file: str, target: str, out: str | None, force: bool, file_format: str | None, how: Reading, as_json: bool
) -> None:
    """Look at FILE and propose a model for it: the kind of each column, the task, the labels; write a model file.

    Where the file is long enough, the proposal is tried beside a model that takes every value by its type.
    """
    files = expand(file)
    if not out and (file == "-" or files != [file]):
        raise LearnerError(
            "--out must name the model file, for the standard input and for several files (it is missing)"
        )
    path = Path(out) if out else Path(file.removesuffix(".gz")).with_suffix(".toml")
    if path.exists() and not force:
        raise LearnerError(f"{path} exists already: choose another name with --out, or write over it with --force")
    bad: list[str] = []
    sample = read_rows(files, file_format, target, how, bad)
    proposal = propose(sample.rows[:SAMPLE_ROWS], target)
    if bad:
        proposal.warnings.insert(0, f"{len(bad)} rows can't be read and are left out, the first: {bad[0]}")
    if not as_json:
        show(proposal, sample, file)
    trial = try_out(sample, proposal) if len(sample.rows) >= MIN_TRIAL_ROWS else None
    text = model_file(proposal, file, trial)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LearnerError(f"{path} can't be written ({error.strerror})") from error
    if as_json:
        click.echo(to_json(summary(proposal, sample, trial) | {"file": str(path)}))
        return
    if trial:
        for line in trial_lines(trial):
            click.echo(line)
    words = shlex.join([file, *reading_words(file_format, how)])
    model = shlex.quote(str(path))
    click.echo(f"wrote {path}; now: learner replay {words} --spec {model}")
    click.echo(f"      or: learner create MODEL --spec {model} && learner push MODEL {words} && learner worker MODEL")


def reading_words(file_format: str | None, how: Reading) -> Iterator[str]:
    """Yield the options that say how the file is read, for the next command."""
    if file_format:
        yield from ("--format", file_format)
    if how.encoding:
        yield from ("--encoding", how.encoding)
    if how.columns:
        yield from ("--columns", joined(how.columns))
    elif how.columns is not None:
        yield "--no-header"


# ---- a proposal for people, and for programs -----------------------------------------------------------------------------
def show(proposal: Proposal, sample: Sample, file: str) -> None:
    """Print what was seen and what is proposed."""
    rows = f"{sample.first}{len(sample.rows)} rows"
    click.echo(f"{file}: {rows}, {len(proposal.profiles)} columns beside {proposal.spec['target']!r}")
    if len(sample.rows) > SAMPLE_ROWS:
        click.echo(f"what is said of the columns is of the first {SAMPLE_ROWS} rows")
    click.echo()
    names = {name: one_line(name) for name in proposal.profiles}
    width = min(max(map(cell_len, ["column", *names.values()])), SHOWN_NAME)
    click.echo(
        f"{'column':<{width}}  {'kind':<10}  {'missing':>7}  {'distinct':>8}  {'example':<{SHOWN_TEXT}}  because"
    )
    for name, column in proposal.profiles.items():
        kind = proposal.spec["columns"].get(name, {}).get("kind", column.kind)
        missing = f"{100.0 * column.n_missing / max(column.n, 1):.0f}%"
        example, reason = aligned(one_line(column.example), SHOWN_TEXT), one_line(reason_of(kind, column))
        click.echo(
            f"{aligned(names[name], width)}  {kind:<10}  {missing:>7}  {column.n_distinct:>8}  {example}  {reason}"
        )
    click.echo()
    for what, reason in proposal.reasons.items():
        value = proposal.spec[what]
        click.echo(one_line(f"{what}: {value if isinstance(value, str) else ', '.join(value)} ({reason})"))
    for warning in proposal.warnings:
        click.echo(f"warning: {one_line(warning)}")


def aligned(text: str, width: int) -> str:
    """Return a text that fills a number of a terminal's cells; of a longer one the beginning.

    >>> aligned("名前", 6), aligned("a long name", 6)
    ('名前  ', 'a lon…')
    """
    return set_cell_size(text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…", width)


def reason_of(kind: str, column: Profile) -> str:
    """Return why a column has a kind."""
    return "a latitude beside its longitude" if kind == "place" else column.reason


def summary(proposal: Proposal, sample: Sample, trial: dict[str, Any] | None) -> dict[str, Any]:
    """Return what was seen and what is proposed, for programs: ``rows`` were read, the file's first ones if it has more.

    The columns, the reasons and most warnings are of the first ``profiled_rows``.
    """
    n = len(sample.rows)
    seen = {"rows": n, "whole_file": sample.is_whole, "profiled_rows": min(n, SAMPLE_ROWS)}
    columns = {
        name: column._asdict() | {"column": proposal.spec["columns"].get(name, {})}
        for name, column in proposal.profiles.items()
    }
    rest = {"spec": proposal.spec, "reasons": proposal.reasons, "warnings": proposal.warnings, "trial": trial}
    return {**seen, "columns": columns, **rest}


# ---- trying it -----------------------------------------------------------------------------------------------------------
def try_out(sample: Sample, proposal: Proposal) -> dict[str, Any]:
    """Return the losses of the proposal, and of a model that takes every value by its type."""
    from learner.model import Model

    target = proposal.spec["target"]
    plain = {key: value for key, value in proposal.spec.items() if key != "columns"} | {"featurizer": "fields"}
    rows = sample.rows
    losses: dict[str, Any] = {"rows": len(rows), "whole_file": sample.is_whole}
    for name, spec in (("proposal", proposal.spec), ("fields", plain)):
        model = Model.from_spec({"seed": FILE_SEED.hex(), **spec})
        late = LateLoss()
        n_blocks = math.ceil(len(rows) / BLOCK_EXAMPLES)
        console = Console(stderr=True)
        blocks = track(
            blocks_of(rows, target, model), f"trying {name}", n_blocks, console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        for block in blocks:
            if model.n_examples:
                late.add(*model.losses_packed(block))
            model.learn_packed(block)
        losses[name] = model.summary() | late.summary()
    return losses


def blocks_of(rows: Sequence[Mapping[str, Any]], target: str, model: "Model") -> Iterator[bytes]:
    """Yield packed examples, a block for the late loss at a time; what can't be featurized is left out."""
    for first in range(0, len(rows), BLOCK_EXAMPLES):
        some = rows[first : first + BLOCK_EXAMPLES]
        records = [{name: value for name, value in row.items() if name != target} for row in some]
        packed = []
        for row, features in zip(some, model.pack_each(records), strict=True):
            with contextlib.suppress(ExampleError):
                if isinstance(features, bytes):
                    packed.append(pack_example(row.get(target), features))
        yield b"".join(packed)


def trial_lines(trial: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about a trial."""
    names = {"proposal": "the proposal", "fields": "every value by its type"}
    yield ""
    yield f"tried on {_rows_of(trial)}: loss on the next row, and the late loss, as requests are answered"
    for key, name in names.items():
        figures = trial[key]
        yield f"  {name:<24} {figures['progressive_loss']:.6g}  {figures['late_loss']:.6g}"
    yield f"  {'the best constant':<24} {trial['proposal']['constant_loss']:.6g}"


def _rows_of(trial: Mapping[str, Any]) -> str:
    return f"{'' if trial['whole_file'] else 'the first '}{trial['rows']} rows"


# ---- the file ------------------------------------------------------------------------------------------------------------
def read_rows(files: Sequence[str], file_format: str | None, target: str, how: Reading, bad: list[str]) -> Sample:
    """Return the rows of files with their outcomes, values as they stand there; of long files the first `MAX_TRIAL_ROWS`.

    What is wrong with rows that can't be read is added to `bad`.

    Raises
    ------
    LearnerError
        When the file can't be read, holds no records, or has no such target.
    """
    how = dataclasses.replace(how, kinds={}, others=None)

    def on_error(where: str, message: str, raw: bytes) -> None:
        bad.append(f"{where}: {message}")

    each = (read(file, file_format, target=target, how=how, on_error=on_error) for file in files)
    examples = itertools.chain.from_iterable(each)
    rows = []
    for example in itertools.islice(examples, MAX_TRIAL_ROWS):
        if example.kind != "record":
            raise LearnerError(
                f"{files[0]}: init is for files of records, not of features: try learner replay {files[0]}"
            )
        y, record, *_ = msgpack.unpackb(example.data, strict_map_key=False)
        rows.append(record | {target: y})
    if not rows:
        first = f"; {bad[0]}" if bad else ""
        raise LearnerError(f"{files[0]} must hold at least one record (it holds none{first})")
    return Sample(rows, next(examples, None) is None)


def model_file(proposal: Proposal, file: str, trial: Mapping[str, Any] | None) -> str:
    """Return a model file in TOML, with the reasons as comments."""
    spec = proposal.spec
    lines = [f"# A model for {one_line(file)}, proposed by learner init. Everything may be changed."]
    if trial:
        losses = (f"{trial[name]['late_loss']:.6g}" for name in ("proposal", "fields"))
        lines.append("# Late loss on {}: {}; with every value by its type: {}.".format(_rows_of(trial), *losses))
    lines += [f"# Warning: {one_line(warning)}" for warning in proposal.warnings]
    lines.append("")
    for name in ("target", "task", "labels"):
        if name in spec:
            reason = f"  # {one_line(proposal.reasons[name])}" if name in proposal.reasons else ""
            lines.append(f"{name} = {toml_value(spec[name])}{reason}")
    lines += ["", "[columns]"]
    for name, column in spec["columns"].items():
        line = f"{toml_key(name)} = {toml_value(column if len(column) > 1 else column['kind'])}"
        if seen := proposal.profiles.get(name):  # the target, whose cells are read as that, has none
            missing = f", {seen.n_missing} of {seen.n} missing" if seen.n_missing else ""
            line += f"  # {one_line(reason_of(column['kind'], seen))}{missing}"
        lines.append(line)
    return "\n".join(lines) + "\n"
