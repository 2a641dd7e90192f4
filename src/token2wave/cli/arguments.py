"""Options and output that commands have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from token2wave.training.callbacks import Callback

Json = Annotated[
    bool, typer.Option("--json", help="Make the last line of standard output one JSON document.")
]
TextColumn = Annotated[str, typer.Option(help="Column of the texts, in files with columns.")]
LabelColumn = Annotated[str, typer.Option(help="Column of the labels, in files with columns.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Model file (.safetensors).")]
Tracker = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHERE", help="Track the run: tensorboard:FOLDER, mlflow or mlflow:URI; repeatable."
    ),
]
DATA_HELP = (
    "File (.csv, .tsv, .jsonl, .parquet, fastText .txt), folder with train and test files, built-in corpus "
    "(debian-sections), name of a folder in $TOKEN2WAVE_DATA, or owner/name on the Hugging Face hub."
)


def trackers_named(targets: list[str] | None) -> list[Callback]:
    """Make the trackers that were asked for; nothing of them is imported otherwise."""
    if not targets:
        return []
    from token2wave.integrations.trackers import make_tracker

    return [make_tracker(target) for target in targets]


def finish(document: Any, as_json: bool) -> None:
    """End with the JSON document, where it was asked for."""
    if as_json:
        print(json.dumps(document, allow_nan=False))
