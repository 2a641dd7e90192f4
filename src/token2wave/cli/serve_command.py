"""The command ``serve``: a model over HTTP."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated, Any

import typer

from token2wave.cli.arguments import ModelPath, takes_options
from token2wave.reporting.terminal import verbosity
from token2wave.serving.limits import ServiceLimits

FIXED_LIMITS = (
    *("queue_characters", "held_bytes", "body_seconds", "head_bytes", "head_seconds", "unread_seconds"),
    "idle_seconds",
)


@takes_options(ServiceLimits, leave_out=FIXED_LIMITS)
def serve(
    model: ModelPath,
    options: dict[str, Any],
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with the model in its memory.")] = 1,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Let web pages of this origin call; * lets all. Repeatable.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Answer requests to this host name, too; * answers all. Repeatable."),
    ] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Write a line of JSON for each request to standard error.")
    ] = False,
) -> None:
    """Serve a model over HTTP: predictions, explanations, metrics, and a page to try it."""
    from token2wave.serving.requests import is_loopback
    from token2wave.serving.server import ServerOptions
    from token2wave.serving.server import serve as run

    limits = ServiceLimits(
        **options,
        queue_characters=max(ServiceLimits.queue_characters, options["body_bytes"]),
        held_bytes=max(ServiceLimits.held_bytes, options["body_bytes"]),
    )

    def print_address(address: str) -> None:
        if verbosity.is_quiet:
            return
        with suppress(OSError):  # a full disk must not stop the service
            print(f"serving {model} at {address}", file=sys.stderr)
            if not is_loopback(host):
                print("other machines can reach it: there is no password and no encryption", file=sys.stderr)

    allowed = tuple(allow_origin or ()), tuple(allow_host or ())
    run(ServerOptions(model, host, port, workers, limits, *allowed, access_log), print_address)
