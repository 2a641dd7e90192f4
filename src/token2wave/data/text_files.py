"""Reads texts and labels from a file, or texts from standard input, into memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from token2wave.data.bad_rows import BadRows
from token2wave.data.columns import inspect_file, log_notes
from token2wave.data.dialects import describe_dialect, encoding_of_file
from token2wave.data.lines import EncodingError, Fault, decode_row, read_lines
from token2wave.data.reader import read_columns
from token2wave.data.rows import IN_MEMORY, SEPARATORS, TEXT_FORMATS, Dialect, Segment
from token2wave.data.texts import SourceTable, TextSplit
from token2wave.data.values import Column, parse_texts, quote, require_separator
from token2wave.errors import DataError, locate
from token2wave.options import DataOptions, TextOptions


def read_labelled(
    path: str | os.PathLike[str],
    options: DataOptions | None = None,
    *,
    label_names: Sequence[str] | None = None,
    with_table: bool = False,
) -> TextSplit:
    """Read the texts of a file and their labels.

    Args:
        path: a file whose name ends in .csv, .tsv, .jsonl, .ndjson (UTF-8, a header in the first two),
            .txt, .fasttext, .ft (lines of ``__label__name text``; as in fastText, every word of a line that
            begins so is a label, wherever it stands), any of these with .gz, .bz2, .xz or .zst, or .parquet.
        options: the columns, and how labels are written; the defaults of :class:`DataOptions`, if None.
        label_names: the names of the classes, length ``C``. A number in the file is then an index into
            them, and every other label must be one of them. Without them a number is its own name.
        with_table: whether to keep all columns of the file, in :attr:`TextSplit.table`.

    Returns:
        All rows of the file in their order, length ``N >= 1``.

    Raises:
        DataError: the file cannot be read, is not of its format, lacks a column, has no rows, or a text
            or label in it cannot be used; names the file and the row.
        MissingExtraError: the file is Parquet or .zst, and pyarrow is not installed.
    """
    segment, options, notes = inspect_file(Path(path), options or DataOptions())
    has_columns = segment.format not in TEXT_FORMATS
    if not has_columns:
        if options.weight_column is not None or options.group_column is not None:
            problem = "lines of fastText have no columns of weights or groups"
            raise DataError(problem, location=segment.path, hint="write them as CSV")
        options = replace(options, text_column="text", label_column="label", label_separator=None)
    elif segment.format in SEPARATORS:
        require_separator(options, segment.path)
    optional = options.weight_column, options.group_column
    names = [options.label_column, *(name for name in optional if name is not None)]
    bad_rows = BadRows(segment.path, options.skip_bad_rows, options.bad_rows)
    columns: dict[str, list[Any]] | None = {} if with_table else None
    texts, labels, *others = _read_columns(segment, names, options, notes, bad_rows=bad_rows, table=columns)
    table = None
    if columns is not None:
        table = SourceTable(columns, options.text_columns, options.label_column, segment)
    weights, groups = (None if name is None else others.pop(0) for name in optional)
    if not has_columns and not options.multi_label:
        labels = _unwrap_single_labels(texts, labels)
    split = TextSplit.from_columns(texts, labels, weights, options, label_names, groups, table)
    return replace(split, notes=(*notes, *split.notes)) if notes else split


def read_texts(path: str | os.PathLike[str], options: TextOptions | None = None) -> list[str]:
    """Read the texts of a file, to predict their labels.

    Args:
        path: a file of one of the formats of `read_labelled`; no labels are needed. In .txt, .fasttext and
            .ft every line is a text, a blank line is an empty text, and labels (``__label__name``) are not
            part of the text, as in fastText.
        options: the column, and how the file is written; the defaults, if None.

    Returns:
        The texts in the order of the file, length ``N >= 1``.

    Raises:
        DataError: the file cannot be read, is not of its format, lacks the column, has no rows, or a text
            in it is not a string; names the file and the row.
        MissingExtraError: the file is Parquet or .zst, and pyarrow is not installed.
    """
    return read_table(path, options, text_alone=True).texts


class TextTable(NamedTuple):
    """Texts to classify, and the table that holds them.

    Attributes:
        texts: length ``N >= 1``.
        columns: all columns of a table by name, each of length ``N``, or the texts alone.
        delimiter: of CSV and TSV.
    """

    texts: list[str]
    columns: dict[str, list[object]]
    delimiter: str


def read_table(
    path: str | os.PathLike[str],
    options: TextOptions | None = None,
    *,
    text_alone: bool = False,
    skip_bad_rows: bool | None = None,
) -> TextTable:
    """Read the texts of a file as :func:`read_texts` does, and the other columns of a table.

    Args:
        path: the file.
        options: see there.
        text_alone: whether to leave out the other columns.
        skip_bad_rows: whether to leave out rows that cannot be read, with a note that counts them. None: as
            False, where it is no option.

    Raises:
        DataError: as :func:`read_texts`.
        MissingExtraError: the file is Parquet, .zst or .xlsx, and a package is not installed.
    """
    segment, options, notes = inspect_file(Path(path), (options or TextOptions()).for_texts())
    table: dict[str, list[Any]] | None = None if text_alone or segment.format in TEXT_FORMATS else {}
    bad_rows = BadRows(segment.path, skip_bad_rows)
    (column,) = _read_columns(segment, [], options, notes, blank_is_text=True, bad_rows=bad_rows, table=table)
    texts = parse_texts(column)
    row_numbers = list(map(column.row, range(len(texts))))
    bad_numbers = bad_rows.numbers()
    n_rows = len(bad_numbers.union(row_numbers))
    bad_rows.require_few(n_rows)
    log_notes([*notes, *bad_rows.note(n_rows)])
    good = [index for index, number in enumerate(row_numbers) if number not in bad_numbers]
    texts = [texts[index] for index in good]
    columns: dict[str, list[object]] = {
        name: [values[index] for index in good] for name, values in (table or {}).items()
    }
    return TextTable(texts, columns or {"text": list(texts)}, segment.dialect.delimiter)


def read_stream(stream: BinaryIO, source: str, encoding: str | None = None) -> list[str]:
    """Read texts from a binary stream, one a line; a blank line is an empty text.

    Args:
        stream: the lines.
        source: what to call the stream in an error.
        encoding: of the stream; UTF-8, if None.

    Raises:
        DataError: a line is not in this encoding, or is longer than 64 MiB; names the line.
    """
    texts = []
    dialect = Dialect(encoding=encoding or "utf-8")
    lines = read_lines(Segment(source, ".txt", dialect=dialect), stream, IN_MEMORY.line_bytes)
    for number, (_, line) in enumerate(lines, start=1):
        text = line if isinstance(line, Fault) else decode_row(line, number == 1, dialect.encoding)
        if isinstance(text, Fault):
            raise DataError(text.problem, location=locate(source, line=number), hint=text.hint)
        texts.append(text.removesuffix("\n").removesuffix("\r"))
    return texts


def _read_columns(
    segment: Segment, names: Sequence[str], options: TextOptions, notes: list[str], **how: Any
) -> list[Column]:
    """Read texts and columns; if the beginning was ASCII, and the rest is not UTF-8, in its encoding."""
    try:
        return read_columns(segment, options.text_columns, names, **how)
    except EncodingError:
        encoding = segment.dialect.encoding
        if options.encoding is None and encoding == "utf-8":
            encoding = encoding_of_file(segment)
    if encoding != segment.dialect.encoding:
        notes += describe_dialect(replace(segment, dialect=Dialect(encoding=encoding)), options)
        segment = replace(segment, dialect=replace(segment.dialect, encoding=encoding))
    if (bad_rows := how.get("bad_rows")) is not None:
        bad_rows.clear()
    if (table := how.get("table")) is not None:
        table.clear()
    return read_columns(segment, options.text_columns, names, encoding_is_sure=True, **how)


def _unwrap_single_labels(texts: Column, labels: Column) -> Column:
    """Return names instead of lists of names, if each line of fastText has one label."""
    sets: Sequence[list[str]] = labels.values  # type: ignore[assignment]
    for index, names in enumerate(sets):
        if not names:
            problem = f"expected a line with a label, '__label__name', found {quote(texts.values[index])}"
            hint = "write each line as '__label__name text', delete those without a label, or name the "
            hint += "delimiter of a table, such as --delimiter tab; where a text may have no label, "
            hint += "ask for --multi-label"
            texts.fail(index, problem, hint, "without a label")
    is_single = all(len(names) <= 1 for names in sets)
    return replace(labels, values=["".join(names) for names in sets]) if is_single else labels
