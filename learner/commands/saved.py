"""Saved models on the command line: ``learner save``, and a file in place of a model on a server."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import click
from click.core import ParameterSource

from learner.client import Client
from learner.client.answers import request_of
from learner.commands.options import SUFFIX, is_saved, json_option, model_options, open_store, redis_option, to_json
from learner.errors import ExampleError, LearnerError

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["asked", "require_plain", "require_target", "save", "spec_of"]


def require_target(path: str) -> None:
    """Make sure that a saved model can be written to a path, and that commands will know it by its name."""
    from learner.saving import require_writable

    if not is_saved(path):
        raise LearnerError(f"saved model must have a name that ends with {SUFFIX} (got {path!r})")
    require_writable(path)


def require_plain(option: str) -> None:
    """Refuse, beside an option that names a model, the options that describe one."""
    context = click.get_current_context()
    described = {parameter.name for parameter in cast("Any", model_options(lambda: None)).__click_params__}
    sources = {name: context.get_parameter_source(name) for name in described if name}
    if wrong := sorted(name for name, source in sources.items() if source is ParameterSource.COMMANDLINE):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise LearnerError(f"{option} must stand without options that describe a model: the file does (got {names})")


def asked(model: str, redis_url: str | None) -> Client:
    """Return who answers for a command's MODEL: its worker on the server, or the model in a file.

    A candidate, MODEL/CANDIDATE, answers nobody: its last commit does, in this process.
    """
    if "/" in model and not is_saved(model):
        from learner.service.creating import committed_model

        return SavedClient(committed_model(open_store(model, redis_url, may_be_candidate=True)))
    if not is_saved(model):
        return Client(model, redis_url)
    from learner.model import Model

    return SavedClient(Model.load(model))


def spec_of(client: Client) -> dict[str, Any]:
    """Return the spec's data of the model that a client asks; {} if its user may not read it."""
    if isinstance(client, SavedClient):
        return client.committed().to_spec()
    from learner.service.store import Store

    return Store(client.redis, client.keys.model).known_spec() or {}


class SavedClient(Client):
    """Answers as a worker would, from a model in this process, without a server."""

    def __init__(self, model: "Model") -> None:
        from learner.service.answering import Answering

        self._model = model
        self._answering = Answering(cast("Any", None), model, cast("Any", None))  # replies need no store

    def ask(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the reply to one request."""
        from learner.service.wire import encode_reply

        if "outcome_id" in fields:
            raise LearnerError("outcome_id must be asked of a model on a server (a saved model keeps nothing)")
        request = {
            name.encode(): value if isinstance(value, bytes) else str(value).encode() for name, value in fields.items()
        }
        reply = cast("dict[str, Any]", json.loads(encode_reply(self._answering.reply(request))))
        if "error" in reply:
            raise LearnerError(reply["error"])
        return reply

    def ask_many(
        self, records: Iterable[Any], *, features: bool = False, probabilities: bool = False
    ) -> list[dict[str, Any] | ExampleError]:
        """Return an answer or an error for each record, in order."""
        found: list[dict[str, Any] | ExampleError] = []
        for record in records:
            try:
                found.append(self.ask(request_of(*((None, record) if features else (record, None)))))
            except LearnerError as error:
                found.append(ExampleError(str(error)))
        return found

    def committed(self) -> "Model":
        """Return the model."""
        return self._model


@click.command()
@click.argument("model")
@click.argument("file")
@redis_option
@json_option
def save(model: str, file: str, redis_url: str | None, as_json: bool) -> None:
    """Save MODEL, as last committed, to FILE (NAME.learner), with its secret seed.

    'learner predict', 'explain' and 'weights' take the file in place of a model; 'learner create' and 'learner replay' go on
    from it with --from.
    """
    require_target(file)
    committed = asked(model, redis_url).committed()
    committed.save(file)
    if as_json:
        click.echo(to_json({"model": model, "file": file, "examples": committed.n_examples}))
    else:
        click.echo(f"saved {model} ({committed.n_examples} examples) to {file}")
