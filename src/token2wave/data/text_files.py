"""Reads texts and labels from one file, or texts from standard input, into memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from token2wave.data.file_segments import whole_file
from token2wave.data.lines import Fault, decode, read_lines
from token2wave.data.reader import read_columns
from token2wave.data.rows import IN_MEMORY, SEPARATORS, TEXT_KINDS, Segment
from token2wave.data.texts import TextSplit
from token2wave.data.values import (
    Origin,
    checked_label_sets,
    checked_labels,
    checked_texts,
    checked_weights,
    has_label_sets,
    require_separator,
    shown,
)
from token2wave.errors import DataError, place
from token2wave.options import DataOptions


def read_labelled(
    path: str | os.PathLike[str],
    options: DataOptions | None = None,
    *,
    label_names: Sequence[str] | None = None,
) -> TextSplit:
    """Read the texts of a file and their labels.

    Args:
        path: a file whose name ends in .csv, .tsv, .jsonl, .ndjson (UTF-8, a header in the first two),
            .txt, .fasttext, .ft (lines of ``__label__name text``; as in fastText, every word of a line that
            begins so is a label, wherever it stands), any of these with .gz, .bz2, .xz or .zst, or .parquet.
        options: the columns, and how labels are written; the defaults of :class:`DataOptions`, if None.
        label_names: the names of the classes, length ``C``. A number in the file is then an index into
            them, and every other label has to be one of them. Without them a number is its own name.

    Returns:
        All rows of the file in their order, length ``N >= 1``.

    Raises:
        DataError: the file cannot be read, is not of its format, lacks a column, has no rows, or a text
            or label in it cannot be used; names the file and the row.
        MissingExtraError: the file is Parquet or .zst, and pyarrow is not installed.
    """
    options, segment = options or DataOptions(), whole_file(Path(path))
    source, is_text = segment.path, segment.kind in TEXT_KINDS
    if is_text:
        if options.weight_column is not None:
            raise DataError("lines of fastText have no weights", location=source, hint="write them as CSV")
        options = replace(options, text_column="text", label_column="label", label_separator=None)
    elif segment.kind in SEPARATORS:
        require_separator(options, source)
    names = [options.text_column, options.label_column]
    names += [] if options.weight_column is None else [options.weight_column]
    columns = read_columns(segment, names)
    origins = [Origin(source, None if is_text else name, columns.lines) for name in names]
    values, labels, *weights = columns.values
    texts = checked_texts(values, origins[0])
    if is_text and not options.multi_label:
        labels = _one_label_each(source, texts, labels)
    if has_label_sets(labels, source, options):
        checked: Sequence[str] | Sequence[tuple[str, ...]]
        checked = checked_label_sets(labels, origins[1], label_names, options.label_separator)
    else:
        checked = checked_labels(labels, origins[1], label_names)
    return TextSplit(texts, checked, source, checked_weights(weights[0], origins[2]) if weights else None)


def read_texts(path: str | os.PathLike[str], *, text_column: str = "text") -> list[str]:
    """Read the texts of a file, to predict their labels.

    Args:
        path: a file of one of the formats of `read_labelled`; no labels are needed. In .txt, .fasttext and
            .ft every line is a text, a blank line is an empty text, and labels (``__label__name``) are not
            part of the text, as in fastText.
        text_column: the column of the texts; files without columns ignore it.

    Returns:
        The texts in the order of the file, length ``N >= 1``.

    Raises:
        DataError: the file cannot be read, is not of its format, lacks the column, has no rows, or a text
            in it is not a string; names the file and the row.
        MissingExtraError: the file is Parquet or .zst, and pyarrow is not installed.
    """
    segment = whole_file(Path(path))
    columns = read_columns(segment, [text_column], blank_is_text=True)
    return checked_texts(columns.values[0], Origin(segment.path, text_column, columns.lines))


def read_stream(stream: BinaryIO, source: str) -> list[str]:
    """Read texts from a binary stream, one a line; a blank line is an empty text.

    Args:
        stream: of UTF-8.
        source: what to call the stream in an error.

    Raises:
        DataError: a line is not UTF-8, or is longer than 64 MiB; names the line.
    """
    texts = []
    lines = read_lines(Segment(source, ".txt"), stream, IN_MEMORY.line_bytes)
    for number, (_, line) in enumerate(lines, start=1):
        text = line if isinstance(line, Fault) else decode(line)
        if isinstance(text, Fault):
            raise DataError(text.problem, location=place(source, line=number), hint=text.hint)
        texts.append(text.removesuffix("\n").removesuffix("\r"))
    return texts


def _one_label_each(source: str, texts: list[str], labels: list[list[str]]) -> list[list[str]] | list[str]:
    """Names instead of lists of labels, where each line of fastText has one."""
    for row, names in enumerate(labels, start=1):
        if not names:
            raise DataError(
                f"expected a line with a label, '__label__name', got {shown(texts[row - 1])}",
                location=place(source, row=row),
                hint="write each line as '__label__name text', delete those without a label, or use a "
                "CSV file with a header; where a text may have no label, ask for --multi-label",
            )
    return labels if any(len(names) > 1 for names in labels) else [names[0] for names in labels]
