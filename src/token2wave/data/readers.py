"""Read texts and labels from one file: CSV, TSV, JSON lines, Parquet, fastText or plain text."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from token2wave.data.data_options import DataOptions
from token2wave.data.lines import (
    LONGEST_LINE,
    decoded_lines,
    filled_lines,
    short_lines,
    text_lines,
    without_gaps,
)
from token2wave.data.parquet import MAX_COLUMNS, parquet_columns
from token2wave.data.texts import TextSplit
from token2wave.data.values import (
    Origin,
    checked_label_sets,
    checked_labels,
    checked_texts,
    checked_weights,
    has_label_sets,
    join_names,
    require_separator,
    shown,
)
from token2wave.errors import DataError, place

_T = TypeVar("_T")
_SPACE = " \\t\\v\\f\\r\\0"  # what fastText splits on, inside a line
_LABEL = re.compile(rf"(?:^|(?<=[{_SPACE}]))__label__([^{_SPACE}]*)(?:[{_SPACE}]|$)")
MAX_VALUES = 4_000_000  # of a line of JSON; each may take a hundred bytes in Python
_FIELD_LIMIT_LOCK = threading.Lock()  # csv's limit belongs to the process, so two reads must not interleave


class _Columns(NamedTuple):
    """The columns that were asked for, each of length ``N``, and the line of each row where it differs."""

    values: list[list[object]]
    lines: list[int] | None


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
            begins so is a label, wherever it stands), any of these with .gz, or .parquet.
        options: the columns, and how labels are written; the defaults of :class:`DataOptions`, if None.
        label_names: the names of the classes, length ``C``. A number in the file is then an index into
            them, and every other label has to be one of them. Without them a number is its own name.

    Returns:
        All rows of the file in their order, length ``N >= 1``.

    Raises:
        DataError: the file cannot be read, is not of its format, lacks a column, has no rows, or a text
            or label in it cannot be used; names the file and the row.
        MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    path, options = Path(path), options or DataOptions()
    kind = _kind(path)
    source = os.fspath(path)
    weight_column = options.weight_column
    if kind not in _LINE_KINDS:
        names = [options.text_column, options.label_column, *([weight_column] if weight_column else [])]
        columns = _TABLE_KINDS[kind](path, names)
        origins = [Origin(source, name, columns.lines) for name in names]
    elif weight_column is None:
        columns = _label_lines(path, options.multi_label)
        origins = [Origin(source)] * 2
        options = replace(options, label_separator=None)
    else:
        raise DataError("lines of fastText have no weights", location=source, hint="write them as CSV")
    values, labels, *weights = columns.values
    texts = checked_texts(values, origins[0])
    if kind in (".csv", ".tsv"):
        require_separator(options, source)
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
        text_column: the column of the texts; plays no part in files without columns.

    Returns:
        The texts in the order of the file, length ``N >= 1``.

    Raises:
        DataError: the file cannot be read, is not of its format, lacks the column, has no rows, or a text
            in it is not a string; names the file and the row.
        MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    kind = _kind(path)
    if kind in _LINE_KINDS:
        with closing(text_lines(path)) as lines:
            texts = [split_labels(_without_line_end(line))[1] for line in lines]
        return _not_empty(path, texts)
    columns = _TABLE_KINDS[kind](path, [text_column])
    return checked_texts(columns.values[0], Origin(os.fspath(path), text_column, columns.lines))


def read_stream(lines: Iterable[bytes], source: str) -> list[str]:
    """Read texts from a stream, one a line; a blank line is an empty text.

    Args:
        lines: of UTF-8, with or without their ends.
        source: what to call the stream in an error.

    Raises:
        DataError: a line is not UTF-8, or is longer than 64 MiB in a binary stream; names the line.
    """
    path = Path(source)
    bounded = short_lines(path, lines) if isinstance(lines, io.BufferedIOBase) else lines
    return [_without_line_end(line) for line in decoded_lines(bounded, path)]


def stem(path: Path) -> str | None:
    """The name of a file without the suffix of its format; None if no reader knows the suffix."""
    root, kind = _split_name(path)
    return None if kind is None else root


def suffixes() -> str:
    """The suffixes that the readers know, for error messages."""
    return f"{' '.join((*_TABLE_KINDS, *_LINE_KINDS))} (all but .parquet also with .gz)"


def _split_name(path: Path) -> tuple[str, str | None]:
    """Split the name of a file from its format: a suffix in lower case, without .gz; None if not known."""
    root, suffix = os.path.splitext(path.name)
    is_gzip = suffix.lower() == ".gz"
    if is_gzip:
        root, suffix = os.path.splitext(root)
    kind = suffix.lower()
    is_known = kind in _LINE_KINDS or (kind in _TABLE_KINDS and not (is_gzip and kind == ".parquet"))
    return root, kind if is_known else None


def _kind(path: Path) -> str:
    kind = _split_name(path)[1]
    if kind is None:
        raise DataError(
            f"the format of {path.name[-60:]!r} is not known",
            location=os.fspath(path),
            hint=f"use a file with one of the suffixes {suffixes()}",
        )
    return kind


def _without_line_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _not_empty(path: Path, rows: list[_T], problem: str = "the file is empty") -> list[_T]:
    if not rows:
        raise DataError(problem, location=os.fspath(path), hint="expected at least one row")
    return rows


def split_labels(line: str) -> tuple[list[str], str]:
    """Split the labels of a line of fastText from its text."""
    return _LABEL.findall(line), _LABEL.sub("", line)


def _label_lines(path: Path, multi_label: bool | None) -> _Columns:
    """fastText: ``__label__name text``, one row a line; lists of labels where some line has several."""
    texts: list[object] = []
    labels: list[list[str]] = []
    with closing(text_lines(path)) as lines:
        for row, line in filled_lines(path, lines):
            names, text = split_labels(_without_line_end(line))
            if not names and not multi_label:
                raise DataError(
                    f"expected a line with a label, '__label__name', got {shown(text)}",
                    location=place(path, row=row),
                    hint="write each line as '__label__name text', delete those without a label, or use a "
                    "CSV file with a header; where a text may have no label, ask for --multi-label",
                )
            texts.append(text)
            labels.append(names)
    _not_empty(path, texts)
    several = multi_label or any(len(names) > 1 for names in labels)
    return _Columns([texts, [names if several else names[0] for names in labels]], None)


@contextmanager
def field_limit(n_characters: int) -> Iterator[None]:
    """Let csv read fields of so many characters, and put its limit back afterwards."""
    with _FIELD_LIMIT_LOCK:
        before = csv.field_size_limit(n_characters)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _separated(path: Path, names: list[str], *, delimiter: str) -> _Columns:
    """CSV and TSV as in RFC 4180: a header, and quotes around fields that hold quotes or line breaks."""
    with field_limit(LONGEST_LINE), closing(text_lines(path)) as lines:
        rows = _parsed(path, csv.reader(lines, delimiter=delimiter, strict=True))
        header = next(rows, (1, None))[1]
        if header is None:
            raise DataError(
                "the first line is blank" if any(fields for _, fields in rows) else "the file is empty",
                location=os.fspath(path),
                hint="expected a header with the names of the columns, then at least one row",
            )
        _require_few_names(place(path, line=1), len(header))
        positions = [position_of(path, header, name) for name in names]
        if len(header) == 1:
            rows = ((line, fields or [""]) for line, fields in rows)
        columns = _Columns([[] for _ in names], [])
        for row, (line, fields) in enumerate(without_gaps(path, rows), start=1):
            if len(fields) != len(header):
                raise DataError(
                    f"expected {len(header)} fields as in the header, found {len(fields)}",
                    location=place(path, row=row, line=line),
                    hint="put double quotes around a field that holds a delimiter or a line break",
                )
            for column, position in zip(columns.values, positions, strict=True):
                column.append(fields[position])
            columns.lines.append(line)  # type: ignore[union-attr]
    _not_empty(path, columns.values[0], "there is a header and no row below it")
    return columns


def _parsed(path: Path, reader: Any) -> Iterator[tuple[int, list[str] | None]]:
    """The rows of a csv.reader, the header included, each with the line it starts on; None if blank."""
    row = 0
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"not valid CSV ({error})",
                location=place(path, row=row, line=line) if row else place(path, line=line),
                hint='put double quotes around a field that holds a quote, and write the quote in it as ""',
            ) from error
        yield line, fields or None
        row += 1


def _require_few_names(where: str, n_names: int) -> None:
    if n_names > MAX_COLUMNS:
        raise DataError(
            f"expected at most {MAX_COLUMNS:,} columns, found {n_names:,}",
            location=where,
            hint="keep the columns of the texts and the labels alone",
        )


def position_of(path: Path, header: Sequence[str], name: str, row: int | None = None) -> int:
    """The index of a column.

    Args:
        path: the file.
        header: the names of its columns, or of a row's.
        name: of the column.
        row: number of the row, where rows have names of their own.

    Raises:
        DataError: it is not there once.
    """
    if (count := header.count(name)) == 1:
        return header.index(name)
    problem = f"there is no column {name!r}" if count == 0 else f"there are {count} columns {name!r}"
    raise DataError(
        f"{problem}; the columns are {join_names(header)}",
        location=place(path, row=row),
        hint="name one of them with --text-column or --label-column, or correct the name of the column",
    )


def _json_lines(path: Path, names: list[str]) -> _Columns:
    """One JSON object a line; keys that were not asked for are ignored."""
    columns: list[list[object]] = [[] for _ in names]
    with closing(text_lines(path)) as lines:
        for row, line in filled_lines(path, lines):
            if len(line) > MAX_VALUES:  # a shorter one cannot have so many
                _require_few_values(place(path, row=row), line)
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"not valid JSON ({str(error)[:100]})",
                    location=place(path, row=row),
                    hint='write one object a line, such as {"text": "...", "label": "..."}',
                ) from error
            if not isinstance(record, dict):
                raise DataError(
                    f"expected a JSON object, got {shown(record)}",
                    location=place(path, row=row),
                    hint='write one object a line, such as {"text": "...", "label": "..."}',
                )
            _require_few_names(place(path, row=row), len(record))
            for column, name in zip(columns, names, strict=True):
                if name not in record:
                    position_of(path, list(record), name, row)
                column.append(record[name])
    _not_empty(path, columns[0])
    return _Columns(columns, None)


def _require_few_values(where: str, line: str) -> None:
    """Refuse JSON before it is decoded, by what stands between and around values."""
    n_values = sum(map(line.count, ",[{"))
    if n_values > MAX_VALUES:
        raise DataError(
            f"expected at most {MAX_VALUES:,} commas and brackets in a line of JSON, found {n_values:,}",
            location=where,
            hint="keep the text and the label of each row alone",
        )


def _parquet(path: Path, names: list[str]) -> _Columns:
    """The columns of a Parquet file, of a type that can hold texts or labels."""

    def choose(there: Sequence[str]) -> list[str]:
        for name in names:
            position_of(path, there, name)
        return names

    columns = parquet_columns(path, choose)
    _not_empty(path, columns[names[0]], "the file has no rows")
    return _Columns([columns[name] for name in names], None)


_TABLE_KINDS: dict[str, Callable[[Path, list[str]], _Columns]] = {
    ".csv": partial(_separated, delimiter=","),
    ".tsv": partial(_separated, delimiter="\t"),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}
_LINE_KINDS = (".txt", ".fasttext", ".ft")
