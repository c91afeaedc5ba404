"""A feature template: "a group of features all computed in a similar way", as one frozen dataclass.

The parameters of a template are plain data, so a template can be written to a file and read back. A file names a
template by the name under which its class is registered; nothing is imported or evaluated because a file says so.
Subclassing registers the class:

>>> from dataclasses import dataclass
>>> from featurizers import Featurizer
>>> @dataclass(frozen=True, kw_only=True)
... class Vowels(Template):
...     template = "vowels"
...
...     def adder(self):
...         read = self.reader()
...         def add(record, out):
...             if n := sum(read(record).count(vowel) for vowel in "aeiou"):
...                 out["vowels"] = float(n)
...         return add
>>> Featurizer.from_spec({"templates": [{"template": "vowels", "field": "word"}]})({"word": "banana"})
{'vowels': 3.0}
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, MISSING, dataclass, fields
from typing import Any, ClassVar

from featurizers import parameters
from featurizers.errors import FeaturizeError, FeaturizerSpecError, shown, what
from featurizers.operations import Operation

Adder = Callable[[Any, dict[str, float]], None]
Reader = Callable[[Any], Any]

MAX_FIELD_BYTES = 128
MAX_PREFIX_BYTES = 64

REGISTRY: dict[str, type["Template"]] = {}


@dataclass(frozen=True)
class Template(ABC):
    """A group of features all computed in a similar way.

    Parameters
    ----------
    field
        The field of the record that holds the value. A dotted path, ``a.b``, reads from a map inside the record. None:
        the record itself is the value, such as a plain string.
    optional
        Whether a field that is missing or None gives no feature, rather than an error.
    prefix
        Put before every feature name, to tell apart the features of two fields under one template. At most 64 bytes.
    """

    template: ClassVar[str]
    names_carry_field: ClassVar[bool] = False  # whether another field always gives other names

    field: str | None = None
    _: KW_ONLY
    optional: bool = False
    prefix: str = ""

    def __init_subclass__(cls) -> None:
        """Register the subclass under the name that it declares."""
        name = cls.__dict__.get("template")
        if name is None:
            return  # a base class, not a template
        known = REGISTRY.setdefault(name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise FeaturizerSpecError(f"template '{name}' must be declared once (got it in {known} and {cls})")
        REGISTRY[name] = cls

    def __post_init__(self) -> None:
        """Check the parameters; subclasses check their own in `check`."""
        if self.field is not None:
            parameters.text(self.template, "field", self.field, MAX_FIELD_BYTES)
            if not all(self.field.split(".")):
                parameters.refuse(self.template, "field", "a name or a dotted path of names", self.field)
        parameters.flag(self.template, "optional", self.optional)
        parameters.text(self.template, "prefix", self.prefix, MAX_PREFIX_BYTES)
        for name, value in self.check().items():
            object.__setattr__(self, name, value)  # the one place where the frozen dataclass is written to

    def check(self) -> dict[str, Any]:
        """Check the template's own parameters, and return those that change in their canonical form."""
        return {}

    @abstractmethod
    def adder(self) -> Adder:
        """Return the function that adds this template's features of a record to a dict.

        What is the same for every record (readers, the fixed parts of names) is computed here, once. The function adds
        only finite values other than zero, and never changes the record.
        """

    def operation(self) -> Operation | None:
        """Return what `adder`'s function does, as data: see `featurizers.operations`. None: no operation does the same."""
        return None

    def reader(self) -> Reader:
        """Return the function that reads this template's value from a record (None: it is optional and missing)."""
        return reader(self.field, self.optional)

    def naming(self) -> dict[str, Any]:
        """Return what the feature names depend on: two templates with the same naming give the same names."""
        spec = self.to_spec(full=True)
        del spec["optional"]
        if not self.names_carry_field:
            del spec["field"]
        return spec

    def to_spec(self, full: bool = False) -> dict[str, Any]:
        """Return the template as plain data, with (full) or without the parameters that have their default."""
        spec: dict[str, Any] = {"template": self.template}
        for parameter in fields(self):
            value = getattr(self, parameter.name)
            if full or value != parameter.default:
                spec[parameter.name] = _data(value, full)
        return spec

    @staticmethod
    def from_spec(spec: Any) -> "Template":
        """Return the template of a description.

        Examples
        --------
        >>> Template.from_spec({"template": "ends_with", "field": "address", "n": 3})
        EndsWith(field='address', optional=False, prefix='', n=(3,))
        >>> Template.from_spec({"template": "ends_with", "m": 3})
        Traceback (most recent call last):
        featurizers.errors.FeaturizerSpecError: template 'ends_with': unknown parameter 'm' (has field, n, ...)
        """
        if not isinstance(spec, Mapping) or not isinstance(spec.get("template"), str):
            raise FeaturizerSpecError(f"a template must be a map with its name under 'template' (got {shown(spec)})")
        name = spec["template"]
        if name not in REGISTRY:
            raise FeaturizerSpecError(f"template must be one of {', '.join(sorted(REGISTRY))} (got {shown(name)})")
        known = {parameter.name: parameter for parameter in fields(REGISTRY[name])}
        arguments = {key: value for key, value in spec.items() if key != "template"}
        for key in arguments:
            if key not in known:
                raise FeaturizerSpecError(
                    f"template '{name}': unknown parameter {shown(key)} (has {', '.join(sorted(known))})"
                )
        for key, parameter in known.items():
            if parameter.default is MISSING and key not in arguments:
                raise FeaturizerSpecError(f"template '{name}': parameter '{key}' is required (got {shown(dict(spec))})")
        return REGISTRY[name](**arguments)


def reader(path: str | None, optional: bool) -> Reader:
    """Return the function that reads a path from a record.

    Examples
    --------
    >>> reader("place.lat", optional=False)({"place": {"lat": 37.4}})
    37.4
    >>> reader("place.lat", optional=False)({"place": {}})
    Traceback (most recent call last):
    featurizers.errors.FeaturizeError: field 'place.lat' is required (got None)
    """
    if path is None:

        def read_itself(record: Any) -> Any:
            if record is None and not optional:
                raise FeaturizeError("record is required (got None)")
            return record

        return read_itself

    def read(record: Any) -> Any:
        try:  # not `[]`, which would add keys to a defaultdict
            value = record.get(path)
        except AttributeError:
            raise FeaturizeError(f"record must be a map of fields (got {shown(record)})") from None
        if value is None and not optional:
            raise FeaturizeError(f"field '{path}' is required (got None)")
        return value

    if "." not in path:
        return read

    *heads, last = path.split(".")
    so_far = [".".join(heads[:n]) or None for n in range(len(heads) + 1)]

    def read_path(record: Any) -> Any:
        value = record
        for at, key in zip(so_far, (*heads, last), strict=True):
            if value is None and at is not None:
                break
            try:
                value = value.get(key)
            except AttributeError:
                raise FeaturizeError(f"{what(at)} must be a map of fields (got {shown(value)})") from None
        if value is None and not optional:
            raise FeaturizeError(f"field '{path}' is required (got None)")
        return value

    return read_path


def join(path: str | None, name: str) -> str:
    """Return the path of a name inside the map at a path."""
    return name if path is None else f"{path}.{name}"


def _data(value: Any, full: bool) -> Any:
    """Return a parameter's value as plain data, which TOML and JSON can hold."""
    if isinstance(value, Template):
        return value.to_spec(full)
    if isinstance(value, Mapping):
        return {key: _data(content, full) for key, content in value.items()}
    return [_data(item, full) for item in value] if isinstance(value, tuple) else value
