"""Commands about this machine: its compiled loops, and its embedded server."""

import sys
import time
from typing import Any

import click

from learner.commands.options import activation_option, json_option, numbers, to_json

__all__ = ["server", "warm"]


@click.command()
@click.option("--neural", help="Also for a neural head with so many hidden units, as 16, or a layer each, as 32,16.")
@activation_option
@json_option
def warm(neural: str | None, activation: str | None, as_json: bool) -> None:
    """Compile the loops and keep them on disk, so that the first worker starts at once."""
    from learner.drift import Drift
    from learner.kernels.jit import cache_folder
    from learner.model import Model

    kinds: list[dict[str, Any]] = [{}, {"rates": [0.5]}, {"task": "multiclass"}, {"optimizer": "adagrad"}]
    kinds.append({"featurizer": "fields"})  # one interpreter does the programs of all featurizers
    kinds.append({"max_features": 100})  # task and loss are values that the loops take: they need no loops of their own
    if neural:
        head = {"hidden": numbers("--neural", neural, int), "activation": activation or "tanh"}
        kinds += [{"neural": head}, {"neural": head | {"alone": True}}]
    started = time.perf_counter()
    for kind in kinds:
        model = Model(**kind)
        model.warm()
        model.losses_packed(b"")  # for the late loss, which workers measure
    Drift()
    seconds = time.perf_counter() - started
    if as_json:
        click.echo(to_json({"folder": str(cache_folder()), "seconds": round(seconds, 3)}))
    else:
        click.echo(f"ready in {seconds:.1f} s: the loops are in {cache_folder()}")


@click.command()
@click.option("--url", "print_url", is_flag=True, help="Start it in the background if need be, and print its URL.")
@click.option("--stop", is_flag=True, help="Stop it, with everything on disk.")
def server(print_url: bool, stop: bool) -> None:
    """Run the embedded server in the foreground, or print its URL, or stop it."""
    from learner.service.store.embedded import Embedded

    embedded = Embedded()
    if print_url:
        click.echo(embedded.start())
    elif stop:
        click.echo("stopped" if embedded.stop() else "no server was running")
    else:
        sys.exit(embedded.run())
