"""The command line: one thin function a command, each where its kind is. Nothing heavy is imported early."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Annotated, Any, NoReturn

import typer

from token2wave.cli import export_commands, model_commands, score_command, serve_command, training_commands
from token2wave.errors import Interruption, MissingExtraError, RemoteError, Token2WaveError
from token2wave.reporting import terminal
from token2wave.versions import __version__

app = typer.Typer(
    name="token2wave",
    help="Train, evaluate and use tiny text classifiers built on the Wave Network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        print(f"token2wave {__version__}")
        raise typer.Exit


for commands in (training_commands, model_commands, score_command, export_commands, serve_command):
    commands.register(app)


def _interrupt(*_: Any) -> None:
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun passes the signal on, while the first is still handled
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
    raise Interruption("interrupted; nothing was written")


def _leave(status: int) -> NoReturn:
    """End after an error; together with other processes at once, since none may wait for the rest."""
    if "RANK" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def main() -> None:
    """Run the command line; an error of ours is one line on standard error and exit status 2."""
    run_app(app)


def run_app(app: typer.Typer) -> None:
    """Run a command line, and turn the errors of this package into one line and an exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun ends all processes so when one has failed
        signal.signal(signal.SIGTERM, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what the locale cannot show
    try:
        app()
    except RemoteError:  # said where it happened
        _leave(2)
    except Token2WaveError as error:
        terminal.print_error(error)
        _leave(2)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        terminal.print_error(MissingExtraError("torch", "train", purpose="this command"))
        _leave(2)
    except Interruption as error:
        terminal.print_error(Token2WaveError(str(error)))
        _leave(130)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        terminal.print_error(Token2WaveError(f"{error.filename or 'output'}: {error.strerror or error}"))
        _leave(2)


if __name__ == "__main__":
    main()
