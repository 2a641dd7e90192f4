"""The command line. Its commands import what they need when they run, so that ``--help`` is quick."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer
import typer.core

from token2wave.cli.arguments import Command, Quiet, TextCommand, Verbose, with_common_options
from token2wave.cli.audit_command import audit
from token2wave.cli.compare_command import compare
from token2wave.cli.doctor_command import doctor
from token2wave.cli.drift_command import drift
from token2wave.cli.encode_command import encode
from token2wave.cli.export_command import export
from token2wave.cli.labelling_commands import label_plan, select
from token2wave.cli.model_commands import compress, evaluate, explain, info, predict
from token2wave.cli.score_command import score
from token2wave.cli.serve_command import serve
from token2wave.cli.training_commands import train, update
from token2wave.errors import Interruption, MissingExtraError, RemoteError, Token2WaveError
from token2wave.reporting import terminal
from token2wave.versions import __version__

FASTTEXT_COMMANDS = {
    "supervised": "train",
    "test": "evaluate",
    "test-label": "evaluate",
    "predict-prob": "predict",
    "quantize": "compress",
}


class _Commands(typer.core.TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; name ours for one of fastText's."""
        if args and args[0] in FASTTEXT_COMMANDS:
            ctx.fail(f"No such command {args[0]!r}. Here it is: token2wave {FASTTEXT_COMMANDS[args[0]]}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands,
    name="token2wave",
    help="Train, evaluate and use tiny text classifiers built on the Wave Network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", "-V", help="Show the version and exit.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    terminal.set_verbosity(quiet, verbose)
    if version:
        print(f"token2wave {__version__}")
        raise typer.Exit


for command in (
    train,
    audit,
    update,
    evaluate,
    compare,
    predict,
    compress,
    info,
    explain,
    score,
    encode,
    drift,
    select,
    label_plan,
    export,
    serve,
    doctor,
):
    app.command(cls=TextCommand if command in (predict, explain) else Command)(with_common_options(command))


def _interrupt(*_: Any) -> None:
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun sends a second signal while this one is handled
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    raise Interruption("interrupted; nothing was written")


def _exit(status: int) -> NoReturn:
    """Exit after an error. A process of several exits at once, so that none waits for the others."""
    if "RANK" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def main() -> None:
    """Run the command line. ``token2wave help COMMAND`` is ``token2wave COMMAND --help``."""
    if sys.argv[1:2] == ["help"]:
        sys.argv[1:] = [*sys.argv[2:], "--help"]
    run_app(app)


def run_app(app: typer.Typer) -> None:
    """Run a command line; an error prints one line on standard error and exits with status 2."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun ends the other processes like this when one has failed
        signal.signal(signal.SIGTERM, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for characters that the locale lacks
    terminal.set_verbosity(False, False)
    try:
        app()
    except RemoteError:  # the other process printed it
        _exit(2)
    except Token2WaveError as error:
        if terminal.verbosity.is_verbose:
            traceback.print_exc()
        terminal.print_error(error)
        _exit(2)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        terminal.print_error(MissingExtraError("torch", "torch", purpose="this command"))
        _exit(2)
    except Interruption as error:
        terminal.print_error(Token2WaveError(str(error)))
        _exit(130)
    except BrokenPipeError:  # the reader of the output has exited, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        terminal.print_error(Token2WaveError(f"{error.filename or 'output'}: {error.strerror or error}"))
        _exit(2)


if __name__ == "__main__":
    main()
