"""The commands ``train`` and ``update``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from token2wave.cli.arguments import (
    DATA_HELP,
    Json,
    Model,
    Tracker,
    finish,
    trackers_named,
)
from token2wave.cli.option_parameters import takes_options
from token2wave.errors import ConfigError, Interruption
from token2wave.options import DataOptions, TrainOptions
from token2wave.reporting import terminal
from token2wave.storage.atomic import check_writable
from token2wave.training.distributed import rank, require_one_process


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(train)
    app.command()(update)


@contextmanager
def _resumable(checkpoint: str | None) -> Iterator[None]:
    """Add to the message of Ctrl-C how to resume, if there is a checkpoint."""
    try:
        yield
    except Interruption:
        if checkpoint is None or not Path(checkpoint).exists():
            raise
        raise Interruption(f"interrupted; resume with the same command and --resume ({checkpoint})") from None


@takes_options(TrainOptions, DataOptions)
def train(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    options: dict[str, Any],
    tracker: Tracker = None,
    as_json: Json = False,
) -> None:
    """Train a classifier, and evaluate it where there is a test set."""
    out, report, checkpoint = options["out"], options["report"], options["checkpoint"]
    if out is None and report is None and not as_json:
        raise ConfigError(
            "nothing would be kept of the run",
            location="--out",
            hint="name a file, e.g. --out model.safetensors",
        )
    from token2wave.pipeline import train as run
    from token2wave.reporting.summary import lines

    trackers = [] if rank() else trackers_named(tracker)
    with terminal.progress() as callback, _resumable(checkpoint):
        summary = run(
            data,
            **options,
            callbacks=[callback, *trackers],
            command=shlex.join(["token2wave", *sys.argv[1:]]),
        ).summary
    if rank():
        return
    for line in lines(summary):
        print(line)
    if out is not None:
        print(f"model: {out}")
    if report is not None:
        print(f"report: {Path(report) / 'report.html'}")
    finish(summary.to_dict(), as_json)


@takes_options(DataOptions, leave_out=("multi_label",))
def update(
    model: Model,
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    options: dict[str, Any],
    out: Annotated[Path, typer.Option(help="Where the model file goes; it may be MODEL itself.")],
    parts: Annotated[
        str, typer.Option(help="all; rows (the words' own numbers alone), or network (all but these).")
    ] = "all",
    epochs: Annotated[int | None, typer.Option(help="Passes over the rows.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same model.")] = 0,
    class_weights: Annotated[
        str | None,
        typer.Option(metavar="WEIGHTS", help='balanced, or the weight of labels, e.g. {"spam": 5}.'),
    ] = None,
    as_json: Json = False,
) -> None:
    """Let a model learn from more rows; labels that it does not know become classes."""
    require_one_process("token2wave update")
    from token2wave.classifier import load
    from token2wave.formatting import printable
    from token2wave.training.incremental import EPOCHS
    from token2wave.training.incremental import update as run
    from token2wave.training.presets import parse_value

    check_writable(out)
    before = load(model)
    with terminal.progress() as callback:
        after = run(
            before,
            data,
            **options,
            class_weights=None if class_weights is None else parse_value(class_weights),
            parts=parts,
            epochs=EPOCHS if epochs is None else epochs,
            seed=seed,
            callbacks=[callback],
        )
    model_bytes = after.save(out)
    done = after.training["updates"][-1]
    n_rows = after.network.config.n_rows - before.network.config.n_rows
    print(f"learnt from {done['rows']:,} rows")
    print(f"new words and n-grams: {n_rows:,}")
    if done["new_labels"]:
        print(f"new classes: {', '.join(map(printable, done['new_labels']))}")
    print(f"model: {out}")
    finish({**done, "new_features": n_rows, "model_bytes": model_bytes}, as_json)
