"""The feature template over other templates: features of several templates together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as parameter
from typing import Any

from featurizers import parameters
from featurizers.errors import FeaturizeError
from featurizers.names import MAX_FEATURES, SAFE_CHARACTERS, fit
from featurizers.numbers import finite
from featurizers.operations import Operation
from featurizers.template import Adder, Template, join

MIN_TEMPLATES, MAX_TEMPLATES = 2, 8


@dataclass(frozen=True)
class Cross(Template):
    """Every feature of one template together with every feature of the others, such as an origin with a destination.

    Names are joined by ``&``, and values are multiplied. If one of the templates gives no feature for a record, the cross
    gives none. More than 10,000 features of one cross are an error.

    Parameters
    ----------
    templates
        From 2 to 8 templates, none of them a cross.
    field
        The map that holds the fields of the templates (None: the record).

    Examples
    --------
    >>> from featurizers import Category, Featurizer, Number
    >>> f = Featurizer([Cross([Category("origin"), Category("dest")]), Cross([Category("origin"), Number("distance")])])
    >>> f({"origin": "EWR", "dest": "IAH", "distance": 1400})
    {'origin=EWR&dest=IAH': 1.0, 'origin=EWR&distance': 1400.0}
    """

    template = "cross"

    field: str | None = parameter(default=None, kw_only=True)  # so that the templates come first
    templates: Sequence[Template | Mapping[str, Any]]

    def check(self) -> dict[str, Any]:
        """Check the templates, each of which is a template or a description of one."""
        if not isinstance(self.templates, list | tuple):
            parameters.refuse(self.template, "templates", "a list of templates", self.templates)
        templates = tuple(
            crossed if isinstance(crossed, Template) else Template.from_spec(crossed) for crossed in self.templates
        )
        if not MIN_TEMPLATES <= len(templates) <= MAX_TEMPLATES:
            parameters.refuse(self.template, "templates", f"from {MIN_TEMPLATES} to {MAX_TEMPLATES}", len(templates))
        if any(isinstance(crossed, Cross) for crossed in templates):
            parameters.refuse(self.template, "templates", "other than crosses", [each.template for each in templates])
        return {"templates": templates}

    def naming(self) -> dict[str, Any]:
        """Return what the names depend on, of the cross and of its templates."""
        return super().naming() | {"templates": [crossed.naming() for crossed in self._crossed()]}

    def adder(self) -> Adder:
        """Add ``NAME&NAME`` for every combination of the templates' features."""
        read, prefix = self.reader(), self.prefix
        first, *middle, last = (crossed.adder() for crossed in self._crossed())

        def add(record: Any, out: dict[str, float]) -> None:
            value = read(record)
            if value is None:
                return
            lefts: dict[str, float] = {}
            first(value, lefts)
            for adder in middle:
                lefts = _product(lefts, adder, value)
            rights: dict[str, float] = {}
            last(value, rights)
            _bound(len(lefts) * len(rights))
            for left, x in lefts.items():
                for right, y in rights.items():
                    if product := x * y:  # it underflows to 0 for tiny values
                        name = f"{prefix}{left}&{right}"
                        if len(name) > SAFE_CHARACTERS:
                            name = fit(name)
                        out[name] = product if product - product == 0.0 else finite(product, name)

        return add

    def operation(self) -> Operation | None:
        """Give the prefix, and the templates' own operations."""
        found = [crossed.operation() if "operation" in vars(type(crossed)) else None for crossed in self._crossed()]
        parts = tuple(
            part._replace(fields=tuple(self.field if path is None else join(self.field, path) for path in part.fields))
            for part in found
            if part
        )
        whole = len(parts) == len(found) and not any(part.parts for part in parts)
        return Operation("cross", (self.field,), self.optional, (self.prefix,), (), parts) if whole else None

    def _crossed(self) -> tuple[Template, ...]:
        return tuple(crossed for crossed in self.templates if isinstance(crossed, Template))  # all are, after `check`


def _product(lefts: dict[str, float], adder: Adder, value: Any) -> dict[str, float]:
    rights: dict[str, float] = {}
    adder(value, rights)
    _bound(len(lefts) * len(rights))
    return {f"{left}&{right}": x * y for left, x in lefts.items() for right, y in rights.items()}


def _bound(n: int) -> None:
    if n > MAX_FEATURES:
        raise FeaturizeError(f"cross must give at most {MAX_FEATURES} features (got {n})")
