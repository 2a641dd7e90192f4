"""The commands that teach: ``train`` and ``update``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from token2wave.cli.arguments import (
    DATA_HELP,
    Json,
    LabelColumn,
    LabelSeparator,
    Model,
    TextColumn,
    Tracker,
    finish,
    trackers_named,
)
from token2wave.errors import ConfigError, Interruption
from token2wave.reporting import terminal
from token2wave.storage.atomic import check_writable
from token2wave.training.distributed import require_one_process


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(train)
    app.command()(update)


@contextmanager
def _resumable(checkpoint: Path | None) -> Iterator[None]:
    """Say with Ctrl-C how to go on, where that can be done."""
    try:
        yield
    except Interruption:
        if checkpoint is None or not checkpoint.exists():
            raise
        raise Interruption(f"interrupted; go on with the same command and --resume ({checkpoint})") from None


def train(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    out: Annotated[Path | None, typer.Option(help="Where the model file goes.")] = None,
    test: Annotated[str | None, typer.Option(metavar="DATA", help="Data to evaluate on at the end.")] = None,
    preset: Annotated[str, typer.Option(help="small, fast or paper.")] = "small",
    operation: Annotated[str | None, typer.Option(help="interference or modulation.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training texts.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Texts in a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same model.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    weight_column: Annotated[
        str | None, typer.Option(help="Column that says how much each training text counts.")
    ] = None,
    class_weights: Annotated[
        str | None,
        typer.Option(metavar="WEIGHTS", help='balanced, or the weight of labels, e.g. {"spam": 5}.'),
    ] = None,
    multi_label: Annotated[
        bool | None,
        typer.Option(
            "--multi-label/--no-multi-label",
            help="Whether a text may have several labels, or none; by default, if the data has lists.",
        ),
    ] = None,
    label_separator: LabelSeparator = None,
    vocabulary: Annotated[Path | None, typer.Option(help="WordPiece vocab.txt, for preset paper.")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_PATH",
            help="Encoder (all-MiniLM-L6-v2, folder, hub name) or file of probabilities to learn from.",
        ),
    ] = None,
    unlabelled: Annotated[
        str | None, typer.Option(metavar="FILE", help="Text without labels, which the teacher labels.")
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(metavar="NAME_OR_PATH", help="Encoder whose outputs the words' rows begin with."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. network.width=256."),
    ] = None,
    baseline: Annotated[bool, typer.Option("--baseline", help="Also train TF-IDF + LinearSVC.")] = False,
    report: Annotated[Path | None, typer.Option(help="Folder for the JSON and HTML report.")] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Search for better settings, in all for so long: e.g. 60s, 5min or 2h."
        ),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(help="Search for better settings, trying so many at most.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Most bytes of the model file, e.g. 1MB.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Written after every epoch, to go on from.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint, if it is there.")
    ] = False,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream", help="Read the data anew for each pass, not into memory; DATA may be a pattern."
        ),
    ] = False,
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="About what training on a stream may take, e.g. 500MB.")
    ] = "1GB",
    max_rejected: Annotated[
        float, typer.Option(min=0, max=1, help="Share of a stream's rows that may be unreadable.")
    ] = 0.01,
    tracker: Tracker = None,
    as_json: Json = False,
) -> None:
    """Train a classifier, and evaluate it where there is a test set."""
    if out is None and report is None and not as_json:
        raise ConfigError(
            "nothing would be kept of the run",
            location="--out",
            hint="name a file, e.g. --out model.safetensors",
        )
    from token2wave.pipeline import train as run
    from token2wave.reporting.summary import lines
    from token2wave.training.distributed import process
    from token2wave.training.presets import parse_setting, parse_value

    leads = process() == 0
    trackers = trackers_named(tracker) if leads else []
    with terminal.progress() as callback, _resumable(checkpoint):
        summary = run(
            data,
            out=out,
            test=test,
            preset=preset,
            operation=operation,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            seed=seed,
            device=device,
            text_column=text_column,
            label_column=label_column,
            weight_column=weight_column,
            class_weights=None if class_weights is None else parse_value(class_weights),
            multi_label=multi_label,
            label_separator=label_separator,
            vocabulary=vocabulary,
            teacher=teacher,
            unlabelled=unlabelled,
            init_from=init_from,
            settings=dict(map(parse_setting, setting or [])),
            baseline=baseline,
            report=report,
            time_budget=time_budget,
            candidates=candidates,
            max_size=max_size,
            checkpoint=checkpoint,
            resume=resume,
            stream=stream,
            memory=memory,
            max_rejected=max_rejected,
            callbacks=[callback, *trackers],
            command=shlex.join(["token2wave", *sys.argv[1:]]),
        ).summary
    if not leads:
        return
    for line in lines(summary):
        print(line)
    if out is not None:
        print(f"model: {out}")
    if report is not None:
        print(f"report: {report / 'report.html'}")
    finish(summary.to_dict(), as_json)


def update(
    model: Model,
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP)],
    out: Annotated[Path, typer.Option(help="Where the model file goes; it may be MODEL itself.")],
    parts: Annotated[
        str, typer.Option(help="all; rows (the words' own numbers alone), or network (all but these).")
    ] = "all",
    epochs: Annotated[int | None, typer.Option(help="Passes over the rows.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same model.")] = 0,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    weight_column: Annotated[
        str | None, typer.Option(help="Column that says how much each row counts.")
    ] = None,
    class_weights: Annotated[
        str | None,
        typer.Option(metavar="WEIGHTS", help='balanced, or the weight of labels, e.g. {"spam": 5}.'),
    ] = None,
    label_separator: LabelSeparator = None,
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
            text_column=text_column,
            label_column=label_column,
            weight_column=weight_column,
            label_separator=label_separator,
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
