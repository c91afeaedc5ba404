"""A featurizer as a program: what each template does, as data for an interpreter that reads records in msgpack.

The templates themselves are the reference: a program gives the same features, in name, value and order. A template that no
operation describes, such as one of your own, has none; its whole featurizer then runs as it is.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from featurizers.featurizer import Featurizer

__all__ = ["OPERATIONS", "Operation", "operations"]

OPERATIONS = (
    "length", "length_greater", "contains", "starts_with", "ends_with", "fraction", "shape", "character_ngrams", "words",
    "email_parts", "number", "signed_log", "powers", "periodic", "bins", "cells", "sum_of_squares", "time_parts", "time_cycles",
    "pixels", "category", "fields", "cross", "columns", "column_number", "column_category", "column_yes_no", "column_date",
    "column_text", "column_cells", "column_silent",
)  # fmt: skip


class Operation(NamedTuple):
    """What one template does.

    Parameters
    ----------
    name : str
        One of `OPERATIONS`.
    fields : tuple of str or None
        The paths of the values that it reads (None: the record itself).
    optional : bool
        Whether a value may be missing.
    texts : tuple of str
        Feature names and parts of them, and texts to look for.
    numbers : tuple of float
        Its numeric parameters.
    parts : tuple of Operation
        Those that a cross combines, whose paths start at the record; the numbers of a sum; or a map's columns.
    parses : bool
        Whether strings are read as numbers.
    """

    name: str
    fields: tuple[str | None, ...]
    optional: bool
    texts: tuple[str, ...]
    numbers: tuple[float, ...] = ()
    parts: "tuple[Operation, ...]" = ()
    parses: bool = False


def operations(featurizer: "Featurizer") -> Sequence[Operation] | None:
    """Return the operations of a featurizer's templates, or None if they don't describe all that it does.

    Only a class's own description counts: a subclass of a template or of `Featurizer` may do something else.
    """
    from featurizers.featurizer import Featurizer

    if type(featurizer) is not Featurizer:
        return None
    found = [template.operation() if "operation" in vars(type(template)) else None for template in featurizer.templates]
    return [operation for operation in found if operation] if all(found) else None
