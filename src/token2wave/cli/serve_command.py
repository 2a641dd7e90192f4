"""The command that serves a model over HTTP: ``serve``."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated

import typer

from token2wave.cli.arguments import Model


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(serve)


def serve(
    model: Model,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with the model in its memory.")] = 1,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Let web pages of this origin ask; * lets all. May be repeated.")
    ] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Write a line of JSON for each request to standard error.")
    ] = False,
    body_bytes: Annotated[int, typer.Option(min=1, help="Most bytes of a request.")] = 1 << 20,
    texts: Annotated[int, typer.Option(min=1, help="Most texts of a request.")] = 1_000,
    text_characters: Annotated[int, typer.Option(min=1, help="Most characters of a text.")] = 100_000,
    explain_characters: Annotated[
        int, typer.Option(min=1, help="Most characters of a text to explain.")
    ] = 10_000,
    connections: Annotated[int, typer.Option(min=1, help="Most connections of a process.")] = 512,
    shutdown_seconds: Annotated[
        int, typer.Option(min=1, help="How long what was begun may take at the end.")
    ] = 10,
) -> None:
    """Serve a model over HTTP: predictions, explanations, metrics, and a page to try it."""
    from token2wave.serving.limits import ServiceLimits
    from token2wave.serving.server import ServerOptions, is_loopback
    from token2wave.serving.server import serve as run

    limits = ServiceLimits(
        body_bytes=body_bytes,
        texts=texts,
        text_characters=text_characters,
        explain_characters=explain_characters,
        queue_characters=max(ServiceLimits.queue_characters, body_bytes),
        held_bytes=max(ServiceLimits.held_bytes, body_bytes),
        connections=connections,
        shutdown_seconds=shutdown_seconds,
    )

    def print_address(address: str) -> None:
        with suppress(OSError):  # a disk that is full is no reason not to serve
            print(f"serving {model} at {address}", file=sys.stderr)
            if not is_loopback(host):
                print("other machines can reach it: there is no password and no encryption", file=sys.stderr)

    run(
        ServerOptions(model, host, port, workers, limits, tuple(allow_origin or ()), access_log),
        print_address,
    )
