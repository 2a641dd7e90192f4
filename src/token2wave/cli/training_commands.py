"""The commands ``train`` and ``update``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from token2wave.cli.arguments import Data, Json, ModelPath, OptionalData, Overwrite, print_json, takes_options
from token2wave.cli.config_file import render_toml
from token2wave.errors import ConfigError, Interruption
from token2wave.options import DIALECT_OPTIONS, DataOptions, TrainOptions
from token2wave.reporting import terminal
from token2wave.training.distributed import rank, require_one_process


@contextmanager
def _resumable(checkpoint: str | None) -> Iterator[None]:
    """Let the message of an interruption say how to resume, if there is a checkpoint."""
    try:
        yield
    except Interruption:
        if checkpoint is None or not Path(checkpoint).exists():
            raise
        raise Interruption(f"interrupted; resume with the same command and --resume ({checkpoint})") from None


@takes_options(TrainOptions, DataOptions)
def train(
    options: dict[str, Any],
    data: OptionalData = None,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Track the run: tensorboard:FOLDER, mlflow, mlflow:URI. Repeatable."
        ),
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Print the seconds of each stage.")] = False,
    as_json: Json = False,
) -> None:
    """Train a classifier, and evaluate it if there is a test set."""
    if data is None and options["label_descriptions"] is None:
        raise typer.BadParameter(
            "Missing argument 'DATA': the labelled rows, unless you give --label-descriptions."
        )
    out, report, checkpoint = options["out"], options["report"], options["checkpoint"]
    if out is None and report is None and not as_json:
        hint = f"name a file, e.g. token2wave train {shlex.quote(data or 'DATA')} --out model.safetensors"
        raise ConfigError("expected a file for the model, found none", location="--out", hint=hint)
    from token2wave.pipeline import train as run
    from token2wave.reporting.summary import render_stages, render_summary
    from token2wave.training.callbacks import StageTimes

    times = StageTimes()
    trackers = []
    if tracker and rank() == 0:
        from token2wave.integrations.trackers import make_tracker

        trackers = [make_tracker(target) for target in tracker]
    with terminal.progress() as callback, _resumable(checkpoint):
        summary = run(
            data,
            **options,
            callbacks=[callback, times, *trackers],
            command=shlex.join(["token2wave", *sys.argv[1:]]),
        ).summary
    if rank():
        return
    if as_json:
        for caveat in summary.caveats:
            terminal.print_note(caveat)
        print_json({**summary.to_dict(), **({"stages": times.to_dict()} if profile else {})})
    elif not terminal.verbosity.is_quiet:
        for line in render_summary(summary):
            print(line)
        if profile:
            print("\n" + "\n".join(render_stages(times)) + "\n")
        if out is not None:
            print(f"model: {out}")
        if report is not None:
            print(f"report: {Path(report) / 'report.html'}")
        print("\nTo repeat this run, save these lines as run.toml, then: token2wave train --config run.toml")
        print(render_toml(_repeat({"data": data, **options, "tracker": tracker})))


def _repeat(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what has its default, but for the data and the seed."""
    defaults = {field.name: field.default for cls in (TrainOptions, DataOptions) for field in fields(cls)}
    always = ("data", "seed")
    return {name: value for name, value in values.items() if name in always or value != defaults.get(name)}


@takes_options(DataOptions, leave_out=("multi_label", "group_column"))
def update(
    model: ModelPath,
    data: Data,
    options: dict[str, Any],
    out: Annotated[Path, typer.Option(help="Model file to write; with --overwrite it may be MODEL.")],
    parts: Annotated[
        str, typer.Option(help="What to train: all, rows (of the embedding) or network (all else).")
    ] = "all",
    epochs: Annotated[int | None, typer.Option(help="Passes over the rows.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same model.")] = 0,
    class_weights: Annotated[
        str | None,
        typer.Option(metavar="WEIGHTS", help='balanced, or the weight of labels, e.g. {"spam": 5}.'),
    ] = None,
    only_if_better: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Labelled data: write the model only if it is better on these rows."
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a model on more rows. New labels become classes."""
    require_one_process("token2wave update")
    from token2wave.classifier import load
    from token2wave.data.datasets import possible_paths
    from token2wave.formatting import printable
    from token2wave.model_comparison import compare
    from token2wave.storage.atomic import private_files
    from token2wave.storage.outputs import Outputs
    from token2wave.training.incremental import EPOCHS
    from token2wave.training.incremental import update as run
    from token2wave.training.presets import parse_value

    outputs = Outputs([model, *possible_paths(data, only_if_better)], overwrite=overwrite)
    outputs.check_file(out, "model file", replaceable=model)
    if options["bad_rows"] is not None:
        outputs.check_file(options["bad_rows"], "list of bad rows")
    previous = load(model)
    with terminal.progress() as callback:
        updated = run(
            previous,
            data,
            **options,
            class_weights=None if class_weights is None else parse_value(class_weights),
            parts=parts,
            epochs=EPOCHS if epochs is None else epochs,
            seed=seed,
            callbacks=[callback],
        )
    comparison = None
    if only_if_better is not None:
        names = ("text_column", "label_column", "label_separator", "normalise_labels", *DIALECT_OPTIONS)
        with terminal.progress() as callback:
            comparison = compare(
                previous, updated, only_if_better, **{k: options[k] for k in names}, callbacks=[callback]
            )
        for caveat in comparison.figures["caveats"]:
            terminal.print_note(caveat)
    is_written = comparison is None or comparison.b_is_better
    model_bytes = None
    if is_written:
        with private_files(outputs.is_private):
            model_bytes = updated.save(out, overwrite=overwrite)
    record = updated.training["updates"][-1]
    n_rows = updated.network.config.n_rows - previous.network.config.n_rows
    if as_json:
        document = {**record, "new_features": n_rows, "model_bytes": model_bytes, "written": is_written}
        print_json(document | ({"comparison": comparison.figures} if comparison else {}))
    elif not terminal.verbosity.is_quiet:
        print(f"learnt from {record['rows']:,} rows")
        print(f"new words and n-grams: {n_rows:,}")
        if record["new_labels"]:
            print(f"new classes: {', '.join(map(printable, record['new_labels']))}")
        if comparison is not None:
            print(f"A is the model before the update, B after it. {comparison.sentence}")
        print(f"model: {out}" if is_written else f"{out} is not written: the update is not better")
