"""The command ``encode``: vectors of the texts of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from token2wave.cli.arguments import Json, ModelPath, Overwrite, print_json, takes_options
from token2wave.options import TextOptions
from token2wave.reporting import terminal
from token2wave.storage.atomic import private_files


@takes_options(TextOptions)
def encode(
    model: ModelPath,
    options: dict[str, Any],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="File with a text a line, or with columns; it must fit in memory."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            help="File to write: .npy, the vectors alone; or .parquet, the columns of INPUT and the vectors."
        ),
    ],
    skip_bad_rows: Annotated[
        bool,
        typer.Option("--skip-bad-rows", help="Leave out rows of INPUT that cannot be read, and count them."),
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write the vectors of texts, to search, group and compare them.

    Each has length one. A text of which the model knows no word and no n-gram has a vector of zeros.
    """
    from token2wave.classifier import load
    from token2wave.data.text_files import read_table
    from token2wave.storage.outputs import Outputs
    from token2wave.storage.vector_files import require_vector_name, write_vectors

    outputs = Outputs([model, file], overwrite=overwrite)
    outputs.check_file(output, "file of vectors")
    require_vector_name(output)
    classifier = load(model)
    is_array = output.suffix.lower() == ".npy"
    table = read_table(file, TextOptions(**options), text_alone=is_array, skip_bad_rows=skip_bad_rows)
    with terminal.progress() as callback:
        callback.on_stage("vectors", len(table.texts))
        vectors = classifier.encode(table.texts, callback.on_advance)
    with private_files(outputs.is_private):
        write_vectors(output, vectors, table.columns)
    n_rows, width = vectors.shape
    n_zero = n_rows - int(vectors.any(axis=1).sum())
    if as_json:
        print_json({"output": str(output), "rows": n_rows, "width": width, "zero_rows": n_zero})
    elif not terminal.verbosity.is_quiet:
        unknown = f"; {n_zero:,} are zero, because the model knows nothing of the text" if n_zero else ""
        print(f"vectors: {output}, {n_rows:,} rows of {width:,} numbers{unknown}")
