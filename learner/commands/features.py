"""Commands about features: every template with an example, and what a record becomes."""

import json
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from itertools import islice
from typing import Any, Union, get_args, get_origin

import click
import msgpack

from featurizers import REGISTRY, Featurizer, Template, get
from learner.commands.columns import reading_for, target_of
from learner.commands.options import (
    SOME_LEFT_OUT,
    format_option,
    json_option,
    read_model_file,
    reading_options,
    target_option,
    to_json,
)
from learner.commands.records import are_records, is_json, parsed
from learner.commands.show import printable
from learner.errors import FormatError, LearnerError, SpecError, show
from learner.files import Reading, read
from learner.messages import one_line
from learner.spec import Spec

__all__ = ["featurize", "templates"]

ADDRESS = {"address": "abc@gmail.com"}
EXAMPLES: dict[str, tuple[dict[str, Any], Any]] = {  # template -> an example's parameters, and its record
    "bins": ({"field": "age", "edges": [0, 18, 65], "above": True}, {"age": 30}),
    "category": ({"field": "carrier"}, {"carrier": "UA"}),
    "cells": ({"size": [10, 0.1]}, {"lat": 37.41, "lon": -122.17}),
    "character_ngrams": ({"field": "word", "low": 2, "high": 3}, {"word": "cat"}),
    "contains": ({"field": "address", "text": ["@", ".."]}, ADDRESS),
    "cross": (
        {"templates": [{"template": "category", "field": "origin"}, {"template": "category", "field": "dest"}]},
        {"origin": "EWR", "dest": "IAH"},
    ),
    "email_parts": ({"field": "address"}, ADDRESS),
    "ends_with": ({"field": "address", "n": [3, 4]}, ADDRESS),
    "fields": ({}, {"price": 9.5, "brand": "acme", "new": True, "tags": ["red", "big"], "shop": {"city": "Rome"}}),
    "fraction": ({"field": "address", "of": ["alphanumeric", "punctuation"]}, ADDRESS),
    "length": ({"field": "address"}, ADDRESS),
    "length_greater": ({"field": "address", "than": [5, 10, 20]}, ADDRESS),
    "number": ({"field": "distance"}, {"distance": 1400}),
    "periodic": ({"field": "hour", "period": 24}, {"hour": 3}),
    "pixels": ({"field": "image"}, {"image": [[0.8, 0], [0.5, 0.25]]}),
    "powers": ({"field": "x", "degrees": [0, 1, 2]}, {"x": 3}),
    "shape": ({"field": "address"}, {"address": "Jane.Doe42@gmail.com"}),
    "signed_log": ({"field": "income"}, {"income": -99}),
    "starts_with": ({"field": "address", "n": [1, 3]}, ADDRESS),
    "sum_of_squares": ({"of": ["x1", "x2"]}, {"x1": 3, "x2": 4}),
    "time_cycles": ({"field": "at", "of": "day"}, {"at": "2026-11-22T09:30:00"}),
    "time_parts": ({"field": "at", "of": ["hour", "weekday", "weekend"]}, {"at": "2026-11-22T09:30:00"}),
    "words": ({"field": "text", "n": 2}, {"text": "Win a prize!"}),
}
WORDS = {str: "text", int: "whole number", float: "number", Template: "template"}


@click.command()
@click.argument("names", nargs=-1, metavar="[TEMPLATE]...")
@json_option
def templates(names: tuple[str, ...], as_json: bool) -> None:
    """List the feature templates: parameters, and one example record with its features."""
    for name in names:
        if name not in EXAMPLES:
            raise LearnerError(f"template must be one of {', '.join(EXAMPLES)} (got {show(name)})")
    described = [_described(name) for name in names or EXAMPLES]
    common = [_parameter(each) for each in fields(Template)]
    if as_json:
        click.echo(to_json({"common_parameters": common, "templates": described}))
        return
    for template in described:
        _print_template(template)
    click.echo("Every template also has:")
    _print_parameters(common)


def _described(name: str) -> dict[str, Any]:
    """Return a template's description as data; the features of its example are computed."""
    kind = REGISTRY[name]
    common = {each.name for each in fields(Template)}
    options, record = EXAMPLES[name]
    return {
        "template": name,
        "summary": (kind.__doc__ or "").partition("\n")[0],
        "parameters": [_parameter(each) for each in fields(kind) if each.name not in common],
        "example": {
            "spec": {"template": name, **options},
            "record": record,
            "features": Featurizer.from_spec({"templates": [{"template": name, **options}]})(record),
        },
    }


def _parameter(parameter: Any) -> dict[str, Any]:
    """Return a parameter's name and kind, and its default if it has one."""
    default = {} if parameter.default is MISSING else {"default": parameter.default}
    return {"name": parameter.name, "kind": _kind(parameter.type), **default}


def _kind(annotation: Any) -> str:
    """Return a parameter's type in words.

    >>> _kind(str | Sequence[str]), _kind(float | None), _kind(bool)
    ('a text or a list of texts', 'a number', 'true or false')
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(each) for each in arguments if each is not type(None) and get_origin(each) != Mapping)
    if origin is Sequence:
        return f"a list of {_kind(arguments[0]).removeprefix('a ')}s"
    return "true or false" if annotation is bool else f"a {WORDS.get(annotation, 'map')}"


def _print_template(template: dict[str, Any]) -> None:
    name, example = template["template"], template["example"]
    click.echo(f"{name}  {template['summary']}")
    _print_parameters(template["parameters"])
    options = ", ".join(f"{key} = {json.dumps(value)}" for key, value in example["spec"].items() if key != "template")
    click.echo(f"  {json.dumps(example['record'])}{f' with {options}' if options else ''}:")
    _print_features(example["features"], "    ")
    click.echo()


def _print_parameters(parameters: Sequence[dict[str, Any]]) -> None:
    width = max((len(each["name"]) for each in parameters), default=0)
    for each in parameters:
        default = f"by default {to_json(each['default'])}" if "default" in each else "required"
        click.echo(f"  {each['name']:{width}}  {each['kind']}, {default}".replace("by default null", "by default none"))


def _print_features(features: Mapping[str, float], margin: str = "") -> None:
    names = [printable(name) for name in features]
    width = max(map(len, names), default=0)
    for name, value in zip(names, features.values(), strict=True):
        click.echo(f"{margin}{name:{width}}  {value:.6g}")


@click.command()
@click.argument("featurizer")
@click.argument("record")
@click.option(
    "--limit", default=10, show_default=True, type=click.IntRange(min=1), help="Show at most so many records."
)
@format_option
@target_option
@reading_options
@json_option
def featurize(
    featurizer: str,
    record: str,
    limit: int,
    file_format: str | None,
    target: str | None,
    how: Reading,
    as_json: bool,
) -> None:
    """Show what RECORD (one or a list in JSON, a file of records, or - for the standard input) becomes.

    FEATURIZER is a ready one's name, such as fields, text or text:FIELD, or a TOML or JSON file: a featurizer's or a model's.
    """
    phi, spec = _featurizer(featurizer)
    records = _given(record) if is_json(record) else _records(record, file_format, spec, target, how)
    n_shown = n_bad = 0
    for where, value in islice(records, limit):
        try:
            features = phi(value)
        except ValueError as error:
            n_bad += 1
            if as_json:
                click.echo(to_json({"error": f"{where}{error}"}))
            else:
                click.echo(f"Error: {one_line(f'{where}{error}')}", err=True)
            continue
        if as_json:
            click.echo(to_json({"features": features}))
        else:
            if n_shown:
                click.echo()
            _print_features(features)
        n_shown += 1
    if not n_shown and not n_bad:
        raise LearnerError(f"{record}: must hold at least one record (it holds none)")
    if n_bad:
        sys.exit(SOME_LEFT_OUT if n_shown else 2)


def _featurizer(source: str) -> tuple[Featurizer, Spec | None]:
    """Return a featurizer by its name or of its file, or that of a model file with the model's spec."""
    data = read_model_file(source) if source.endswith((".toml", ".json")) else {"templates": ()}
    if "templates" not in data:
        spec = Spec.from_data({"featurizer": "fields"} | data)
        return spec.featurizer or get("fields"), spec
    try:
        return get(source), None
    except ValueError as error:
        raise SpecError(str(error)) from error


def _given(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the place and the record of each record in JSON."""
    value = parsed(text)
    return ((f"line {n}: ", each) for n, each in enumerate(value, 1)) if are_records(value) else iter([("", value)])


def _records(
    file: str, file_format: str | None, spec: Spec | None, target: str | None, how: Reading
) -> Iterator[tuple[str, Any]]:
    """Yield the place, as a message begins, and the record of each example of a file.

    Raises
    ------
    FormatError
        When an example can't be read, or holds features rather than a record.
    """
    how = replace(how, needs_target=False)
    how = how if spec is None else reading_for([spec], how)
    for example in read(file, file_format, target=target_of(target, spec), how=how):
        if example.kind == "features":
            raise FormatError(f"{example.where}: file must hold records (it holds features: no featurizer is used)")
        yield f"{example.where}: ", msgpack.unpackb(example.data, strict_map_key=False)[1]
