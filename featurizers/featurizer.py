"""A featurizer: a list of feature templates, as one pure function from a record to its features."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from featurizers.errors import FeaturizeError, FeaturizerSpecError, shown, what
from featurizers.names import MAX_FEATURES
from featurizers.template import Template

FORMAT = 2  # part of every fingerprint; raise it whenever the same spec gives other features


class Featurizer:
    """A pure function from a raw record to ``{feature name: value}``, made of feature templates.

    The same record always gives the same features, in the order of the templates, and is never changed. Features whose value is
    zero are left out. Where two templates give the same name, the later template's value stands.

    Parameters
    ----------
    templates
        At least one template. Two templates that would surely give the same names (the same template with the same
        parameters and prefix, but over another field) are refused: give one of them a ``prefix``.

    Examples
    --------
    >>> from featurizers import Contains, EndsWith, Fraction, LengthGreater
    >>> f = Featurizer([LengthGreater(than=10), Fraction(of="alphanumeric"), Contains(text="@"), EndsWith(n=4)])
    >>> f("abc@gmail.com")
    {'length>10': 1.0, 'fracOfAlpha': 0.846..., 'contains_@': 1.0, 'endsWith_.com': 1.0}
    """

    def __init__(self, templates: Sequence[Template]) -> None:
        self.templates = tuple(templates)
        if not self.templates:
            raise FeaturizerSpecError("templates must not be empty (got none)")
        seen: dict[str, Template] = {}
        for template in self.templates:
            if not isinstance(template, Template):
                raise FeaturizerSpecError(f"templates must be templates (got {shown(template)})")
            known = seen.setdefault(_canonical(template.naming()), template)
            if known is not template:
                raise FeaturizerSpecError(
                    f"templates must give different names, set a prefix (got '{template.template}' twice with the same "
                    f"parameters, for {what(known.field)} and {what(template.field)})"
                )
        self._adders = [template.adder() for template in self.templates]

    def __call__(self, record: Any) -> dict[str, float]:
        """Return the features of a record.

        Raises
        ------
        FeaturizeError
            If the record lacks a required field, holds a wrong type, or gives more than 10,000 features.
        """
        out: dict[str, float] = {}
        for add in self._adders:
            add(record, out)
        if len(out) > MAX_FEATURES:
            raise FeaturizeError(f"record must give at most {MAX_FEATURES} features (got {len(out)})")
        return out

    def to_spec(self) -> dict[str, Any]:
        """Return the featurizer as plain data, which TOML and JSON can hold.

        Examples
        --------
        >>> from featurizers import EndsWith
        >>> Featurizer([EndsWith("address", n=3)]).to_spec()
        {'templates': [{'template': 'ends_with', 'field': 'address', 'n': [3]}]}
        """
        return {"templates": [template.to_spec() for template in self.templates]}

    @classmethod
    def from_spec(cls, data: Any) -> "Featurizer":
        """Return the featurizer of a description.

        Raises
        ------
        FeaturizerSpecError
            If the description is not ``{"templates": [...]}``, names an unknown template or a wrong parameter.
        """
        if (
            not isinstance(data, Mapping)
            or set(data) != {"templates"}
            or not isinstance(data["templates"], list | tuple)
        ):
            raise FeaturizerSpecError(f"a featurizer must be a map with a list under 'templates' (got {shown(data)})")
        return cls([Template.from_spec(spec) for spec in data["templates"]])

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256, in hexadecimal, of everything that the features depend on.

        A default counts as if it were written out, and the order of keys does not matter.
        """
        full = [template.to_spec(full=True) for template in self.templates]
        return hashlib.sha256(_canonical({"format": FORMAT, "templates": full}).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Featurizer) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"Featurizer({list(self.templates)!r})"


def _canonical(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))
