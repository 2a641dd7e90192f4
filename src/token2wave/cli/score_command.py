"""The command ``score``: predictions for files of any size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from token2wave.cli.arguments import Json, ModelPath, print_json, takes_options
from token2wave.options import TextOptions
from token2wave.reporting import terminal

if TYPE_CHECKING:
    from token2wave.scoring.job import ScoringSummary


@takes_options(TextOptions)
def score(
    model: ModelPath,
    options: dict[str, Any],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Files, folders or patterns: Parquet, JSON lines, CSV, fastText or text, also compressed.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder of the output: new, empty, or of the same job.")],
    engine: Annotated[
        str, typer.Option(help="local: the cores of this machine; ray: Ray Data, on many machines.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; by default one for each core.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Columns to keep; all, by default.")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="FILTER", help="Rows to keep, e.g. \"label == 'good' and confidence > 0.9\"."),
    ] = None,
    format: Annotated[str, typer.Option(help="parquet or jsonl.")] = "parquet",
    top_k: Annotated[int, typer.Option(min=1, help="Add this many of the most probable classes.")] = 1,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Add the probability of every class.")
    ] = False,
    novelty: Annotated[
        bool, typer.Option("--novelty", help="Add how unlike the training texts each text is.")
    ] = False,
    prefix: Annotated[str, typer.Option(help="Prefix of the names of the added columns.")] = "",
    part_size: Annotated[
        str, typer.Option(help="Approximate size of a part of the output in memory.")
    ] = "32MB",
    as_json: Json = False,
) -> None:
    """Predict every row of files of any size. The same command resumes an interrupted job."""
    from token2wave.scoring.score import score as run

    with terminal.explain_interruption(output), terminal.progress() as callback:
        summary = run(
            model,
            inputs,
            output,
            engine=engine,
            workers=workers,
            columns=None if columns is None else [name for name in columns.split(",") if name],
            keep=keep,
            format=format,
            top_k=top_k,
            probabilities=probabilities,
            novelty=novelty,
            prefix=prefix,
            part_size=part_size,
            callbacks=[callback],
            **options,
        )
    if as_json:
        print_json(summary.to_dict())
    elif not terminal.verbosity.is_quiet:
        _show(summary)


def _show(summary: ScoringSummary) -> None:
    rate = summary.texts_per_second
    rows = [
        ("rows read", summary.n_read, "" if rate is None else f"{rate:,.0f} a second"),
        ("  written", summary.n_written, f"{summary.n_bytes:,} bytes in {summary.output}/parts"),
        ("  left out", summary.n_filtered, "by --keep"),
        ("  rejected", summary.n_rejected, f"why is in {summary.output}/rejected"),
    ]
    for name, count, note in rows:
        print(f"{name:12}{count:16,}  {note if count else ''}".rstrip())
    if summary.n_quarantined:
        print(f"{summary.n_quarantined:,} parts were rejected as a whole, because they crashed a process")
