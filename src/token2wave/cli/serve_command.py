"""The command ``serve``: a model over HTTP."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from token2wave.cli.arguments import takes_options
from token2wave.reporting.terminal import verbosity
from token2wave.serving.limits import ServiceLimits

FIXED_LIMITS = (
    *("queue_characters", "held_bytes", "body_seconds", "head_bytes", "head_seconds", "unread_seconds"),
    "idle_seconds",
)


@takes_options(ServiceLimits, leave_out=FIXED_LIMITS)
def serve(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...", help="Model files, and folders of them; the first is the default."
        ),
    ],
    options: dict[str, Any],
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    uds: Annotated[
        Path | None, typer.Option(help="Listen at a unix socket of this path instead of a port.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with the models in its memory.")] = 1,
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="Let web pages of this origin call; * lets all. Repeatable.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Answer requests to this host name, too; * answers all. Repeatable."),
    ] = None,
    root_path: Annotated[
        str, typer.Option(help="Path below which a proxy publishes the service, e.g. /classify.")
    ] = "",
    forwarded_allow_ips: Annotated[
        str,
        typer.Option(help="Addresses of proxies whose X-Forwarded-For is believed, with commas; * for all."),
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="File with a token that requests must send as Authorization: Bearer.")
    ] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Write a line of JSON for each request to standard error.")
    ] = False,
) -> None:
    """Serve models over HTTP: predictions, explanations, metrics, and a page to try them."""
    from token2wave.serving import server  # first: it names the extra that is missing
    from token2wave.serving.request_checks import is_loopback

    limits = ServiceLimits(
        **options,
        queue_characters=max(ServiceLimits.queue_characters, options["body_bytes"]),
        held_bytes=max(ServiceLimits.held_bytes, options["body_bytes"]),
    )

    def print_address(address: str) -> None:
        if verbosity.is_quiet:
            return
        with suppress(OSError):  # a full disk must not stop the service
            print(f"serving {', '.join(map(str, models))} at {address}{root_path}", file=sys.stderr)
            if uds is None and not is_loopback(host):
                lacks = "no encryption" if token_file else "no password and no encryption"
                print(f"other machines can reach it: there is {lacks}", file=sys.stderr)

    settings = server.ServerOptions(
        tuple(models),
        host,
        port,
        uds,
        workers,
        limits,
        cors_origins=tuple(cors_origin or ()),
        allow_hosts=tuple(allow_host or ()),
        root_path=root_path.rstrip("/"),
        forwarded_allow_ips=forwarded_allow_ips,
        token_file=token_file,
        log_access=access_log,
    )
    server.serve(settings, print_address)
