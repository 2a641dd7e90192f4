"""The rows of a labelled file that are most like a text, for ``explain --nearest``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from token2wave.classifier import Classifier
from token2wave.data.text_files import read_labelled
from token2wave.data.values import join_names
from token2wave.errors import ConfigError
from token2wave.formatting import NOTHING, shorten
from token2wave.options import DataOptions

LABEL_COLUMNS, TEXT_COLUMNS = 32, 60

Entry = dict[str, Any]


def nearest_rows(
    classifier: Classifier,
    texts: Sequence[str],
    path: Path,
    options: Mapping[str, Any],
    id_column: str | None = None,
    k: int = 5,
) -> list[list[Entry]]:
    """Find the rows of a labelled file that are nearest to each text.

    Args:
        classifier: that encodes texts and rows.
        texts: ``N`` strings.
        path: of the rows.
        options: fields of :class:`DataOptions`, which say how to read them.
        id_column: a column whose value names a row.
        k: number of rows for each text.

    Returns:
        For each text the rows, the nearest first, as plain data.

    Raises:
        DataError: the file cannot be read.
        ConfigError: it has no such column of ids, or the network does not compile.
    """
    classifier.compiled()  # refuse before the work of reading
    separator = classifier.training.get("label_separator") if classifier.multi_label else None
    multi_label = classifier.multi_label or None
    rows = read_labelled(
        path,
        DataOptions(multi_label=multi_label, label_separator=separator, **options),
        with_table=id_column is not None,
    )
    ids: Sequence[object] | None = None
    if id_column is not None:
        columns = {} if rows.table is None else rows.table.columns
        if id_column not in columns:
            problem = f"expected one of the columns {join_names(columns)}, found {id_column!r}"
            raise ConfigError(problem, location="--id-column")
        ids = columns[id_column]
    neighbours = classifier.nearest(texts, list(rows.texts), k)

    def describe(row: int, similarity: float) -> Entry:
        label = rows.labels[row]
        return {
            "row": rows.row(row),
            **({} if ids is None else {"id": None if ids[row] is None else str(ids[row])}),
            "label": label if isinstance(label, str) else list(label),
            "similarity": round(similarity, 4),
            "text": rows.texts[row],
        }

    pairs = zip(neighbours.rows.tolist(), neighbours.similarity.tolist(), strict=True)
    return [[describe(*pair) for pair in zip(*columns, strict=True)] for columns in pairs]


def print_nearest(entries: Sequence[Entry]) -> None:
    """Print the nearest rows of one text as a table."""
    console = Console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    names = [name for name in entries[0] if name != "text"]
    for name in names:
        table.add_column(Text(name), justify="left" if name in ("id", "label") else "right")
    table.add_column(Text("nearest rows"))
    for entry in entries:
        label = entry["label"] if isinstance(entry["label"], str) else ", ".join(entry["label"])
        cells = {**entry, "label": label, "similarity": f"{entry['similarity']:.3f}"}
        printed = [shorten(str(cells[name]), LABEL_COLUMNS) or NOTHING for name in names]
        table.add_row(*map(Text, [*printed, shorten(entry["text"], TEXT_COLUMNS) or NOTHING]))
    console.print()
    console.print(table, soft_wrap=not console.is_terminal, highlight=False)
