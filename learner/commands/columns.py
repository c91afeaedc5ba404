"""What the columns of a file hold, for commands that read one: said by the model, or decided on the file's first rows."""

import dataclasses
import io
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from featurizers.columns import NUMBER_PARSERS
from learner.commands.options import overruled
from learner.files import Reading, Source, expand, guess, read

if TYPE_CHECKING:
    from learner.client import Client
    from learner.files.profile import Profile
    from learner.spec import Spec

__all__ = ["TARGET", "decide", "of_model", "other_values", "reading_for", "target_of"]

TABLES = ("csv", "tsv")
TARGET = "target"  # the outcome's field, where neither an option nor the model says another
AHEAD_BYTES = 1 << 22  # of a file, on which its columns are decided
SHOWN_COLUMNS = 12  # of a kind, in a note
OTHERWISE = {"money": "amount", "yes_no": "yes or no"}  # kinds in words


def target_of(option: str | None, spec: "Spec | None") -> str:
    """Return the field of the outcome: as the option says, or the model, or `TARGET`."""
    return option or (spec.target if spec else None) or TARGET


def reading_for(specs: Iterable["Spec"], how: Reading) -> Reading:
    """Return how a file is read for some models: if all say what their columns hold, cells stay as they are."""
    columns = [spec.columns for spec in specs]
    return how if None in columns else dataclasses.replace(how, kinds=columns[0])


def of_model(client: "Client", option: str | None, how: Reading) -> tuple[str, Reading]:
    """Return the field of the outcome and how a file is read for a client's model."""
    from learner.commands.saved import spec_of

    spec = spec_of(client)
    target = option or spec.get("target") or TARGET
    if (columns := spec.get("columns")) is not None:
        return target, dataclasses.replace(how, kinds=columns)

    def note(found: "Mapping[str, Profile]") -> None:
        note_columns({name: each.column for name, each in found.items()}, target, how.on_note)

    return target, dataclasses.replace(how, on_kinds=note)


def decide(
    file: str, file_format: str | None, target: str, how: Reading, options: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """Return the kinds of a table's columns, decided on its first rows, and say which; {} for a file of another format.

    The command's options overrule them. That of the target is among them if it is a number.

    What was read of the standard input is there to be read again.

    Raises
    ------
    FormatError
        When the file can't be read, or has no such target.
    """
    found: dict[str, Profile] = {}
    with Source(expand(file)[0]) as source:
        form = file_format or guess(source.name)
        if form in TABLES:
            sample = Source(io.BytesIO(source.ahead(AHEAD_BYTES))) if source.path is None else source
            sample.name = source.name
            reading = dataclasses.replace(how, on_kinds=found.update, others=None, on_note=lambda note: None)
            next(read(sample, form, target=target, how=reading, on_error=lambda where, message, raw: None), None)
    if not found:
        return {}
    kinds = overruled(options, {name: column.column for name, column in found.items() if name != target})
    of_target = {target: found[target].column} if target in found else {}
    note_columns(kinds | of_target, target, how.on_note)
    return kinds | {name: column for name, column in of_target.items() if column["kind"] in NUMBER_PARSERS}


def note_columns(kinds: Mapping[str, Mapping[str, str]], target: str, on_note: Callable[[str], None]) -> None:
    """Say what columns were taken for, and what words of a target mean."""
    if others := {name: column for name, column in kinds.items() if name != target}:
        on_note(f"columns: {described(others)}")
    if kinds.get(target) == {"kind": "yes_no"}:
        on_note(f"{target}: a word for yes is 1, a word for no is 0")


def other_values(how: Reading) -> dict[str, Any]:
    """Say in one note how many values of each column were not of its kind; return it for programs, {} if all were."""
    if not how.others:
        return {}
    columns = [
        f"{name}: {n} {'value is' if n == 1 else 'values are'} no {OTHERWISE.get(kind, kind)}"
        for (name, kind), n in how.others.most_common()
    ]
    more = f"; and {len(columns) - SHOWN_COLUMNS} more columns" if len(columns) > SHOWN_COLUMNS else ""
    how.on_note(f"taken as categories: {'; '.join(columns[:SHOWN_COLUMNS])}{more}")
    return {"other_values": {name: n for (name, _), n in how.others.items()}}


def described(kinds: Mapping[str, Mapping[str, str]]) -> str:
    """Return the kinds of columns in words.

    >>> described({"a": {"kind": "number"}, "b": {"kind": "number"}})
    'number a, b'
    """
    by_kind: dict[str, list[str]] = {}
    for name, column in kinds.items():
        by_kind.setdefault(column["kind"], []).append(name)
    return "; ".join(
        f"{kind} {', '.join(names[:SHOWN_COLUMNS])}"
        + (f" and {more} more" if (more := len(names) - SHOWN_COLUMNS) > 0 else "")
        for kind, names in by_kind.items()
    )
