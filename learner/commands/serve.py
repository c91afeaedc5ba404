"""The command ``learner serve``: the models over HTTP."""

import click

from learner.commands.options import durability_option, log_format_option, redis_option, replicas_option
from learner.errors import LearnerError

__all__ = ["serve"]

DEFAULT_ADDRESS = "127.0.0.1:8080"


@click.command()
@click.option("--listen", default=DEFAULT_ADDRESS, show_default=True, metavar="[HOST:]PORT", help="Where to listen.")
@click.option(
    "--tokens", metavar="FILE", help="Who may do what (TOML). Without it only addresses of the loopback are allowed."
)
@durability_option
@replicas_option
@log_format_option
@redis_option
def serve(
    listen: str, tokens: str | None, durability: str | None, replicas: int, log_format: str, redis_url: str | None
) -> None:
    """Serve the server's models over HTTP: predictions, examples, outcomes, states, metrics, until SIGTERM.

    /docs says how, /openapi.json the same for programs. Put a proxy with TLS in front of it where others can reach it.
    """
    from learner.service import log
    from learner.service.address import host_and_port
    from learner.service.store import embedded
    from learner.service.store.durability import Durability
    from learner.service.store.url import checked

    log.choose_format(log_format)
    host, port = host_and_port("--listen", listen)
    try:
        from learner.http.running import run
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        rule = "must have starlette and uvicorn: pip install 'streaming-learner[serve]'"
        raise LearnerError(f"serve {rule} (got {error})") from error
    url = checked(embedded.find_or_start(redis_url))
    run(host, port, tokens, url, Durability(durability or "crash", replicas))
