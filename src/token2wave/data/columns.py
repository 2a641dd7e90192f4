"""Finds the columns of texts and labels of a file or a frame, where their names are not the usual ones."""

from __future__ import annotations

import difflib
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from token2wave.data.dialects import COLUMNS, describe_dialect, inspect_beginning
from token2wave.data.file_segments import whole_file
from token2wave.data.parquet import parquet_sample
from token2wave.data.rows import WORKBOOKS, Segment
from token2wave.data.values import join_names, split_names
from token2wave.errors import DataError
from token2wave.options import TextOptions

NOTES = logging.getLogger("token2wave.notes")
MAX_NOTES = 3  # about other files of a stream
NAME_BOTH = "name both: --text-column first,second"
MAX_NAME_WORDS = 4  # of a column
_TEXTS_AND_LABELS = {"text_column": "text", "label_column": "label"}
Options = TypeVar("Options", bound=TextOptions)


def log_notes(notes: Sequence[str]) -> None:
    """Log notes about files that no summary shows."""
    for note in notes:
        NOTES.info("Note: %s", note)


def inspect_file(path: Path, options: Options) -> tuple[Segment, Options, list[str]]:
    """Look at the beginning of a file.

    Returns:
        The file as one segment, in its dialect; the options with the names of its columns; and notes about
        what one does not expect.

    Raises:
        DataError: the file cannot be read, or lacks a column.
        MissingExtraError: a package for the format or the compression is not installed.
    """
    segment = whole_file(path, options)
    if segment.format == ".parquet":
        read = cache(lambda: parquet_sample(path))
        names = parquet_sample(path, 0)
        return segment, *guess_columns(names, lambda name: read()[name], options, segment.path)
    dialect, sample = inspect_beginning(segment, options)
    segment = replace(segment, dialect=dialect)
    notes = describe_dialect(segment, options)
    if sample:
        try:
            options, more = guess_columns(sample, sample.__getitem__, options, segment.path)
        except DataError as error:
            details = "".join(f"; note that {note.removeprefix(f'{path.name}: ')}" for note in notes)
            raise DataError(error.problem, location=error.location, hint=f"{error.hint}{details}") from None
        notes += more
    return segment, options, notes


def guess_stream_columns(segments: Sequence[Segment], options: Options) -> tuple[Options, list[str]]:
    """Find the columns of a stream by its first file, and describe the dialects of all files.

    Raises:
        DataError: the file cannot be read, or lacks a column.
        MissingExtraError: a package for the format or the compression is not installed.
    """
    if not segments:
        return options, []
    _, columns, notes = inspect_file(Path(segments[0].path), options)
    files = {segment.path: segment for segment in segments if segment.path != segments[0].path}
    others = list(itertools.chain.from_iterable(describe_dialect(file, options) for file in files.values()))
    notes += others[:MAX_NOTES]
    if len(others) > MAX_NOTES:
        notes.append(f"{len(others) - MAX_NOTES:,} more files are not written as usual, either")
    return columns, notes


def guess_columns(
    names: Iterable[str], values: Callable[[str], Sequence[Any]], options: Options, source: str
) -> tuple[Options, list[str]]:
    """Find the columns that the options name, without regard to case and blanks.

    Where they leave the names of texts and labels open, and there are only two columns, the one whose values
    repeat has the labels. A single column has the texts, if no labels are needed.

    Args:
        names: of the columns.
        values: gives values of a column, of the same rows for all columns. Only called if a name is missing.
        options: :class:`token2wave.DataOptions`, or :class:`token2wave.options.TextOptions` for texts alone.
        source: the file or the argument, for errors.

    Returns:
        The options with the names that there are, and a note if they were guessed.

    Raises:
        DataError: a column is not there; names the likely one.
    """
    names = list(names)
    changes: dict[str, Any] = {}
    missing: dict[str, str] = {}
    taken: set[str] = set()
    for field in COLUMNS:
        value = getattr(options, field, None)
        if field == "text_column":
            columns = list(dict.fromkeys(split_names(options.text_column, names)))
            if options.pair and len(columns) != 2:
                raise DataError(
                    f"expected two columns of texts for pairs, found {join_names(columns)}",
                    location=source,
                    hint=NAME_BOTH,
                )
        elif isinstance(value, str):
            columns = [value]
        else:
            continue
        for i, column in enumerate(columns):
            same = [name for name in names if name.strip().lower() == column.strip().lower()]
            if column not in names and len(same) == 1:
                columns[i] = same[0]
            elif column not in names:
                missing.setdefault(field, column)
        if field not in missing:
            taken.update(columns)
            changes[field] = columns[0] if len(columns) == 1 else columns
    if not missing:
        return replace(options, **changes), []
    text, label = _likely_columns({name: values(name) for name in names if not _is_index(name)})
    needs_label = hasattr(options, "label_column")
    guesses = dict(zip(_TEXTS_AND_LABELS, (text, label), strict=True))
    n_columns = sum(not _is_index(name) for name in names)
    is_open = all(getattr(options, field) == _TEXTS_AND_LABELS.get(field) for field in missing)
    is_clear = label is not None and n_columns == 2 and text is not None
    if not needs_label and n_columns == 1 and text is not None:
        is_clear = len(text.split()) <= MAX_NAME_WORDS
    if is_open and is_clear and taken.isdisjoint(guesses[field] for field in missing):
        changes |= {field: guesses[field] or "" for field in missing}
        note = f"texts are read from {changes['text_column']!r}"
        note += f", labels from {changes['label_column']!r}" if needs_label else ""
        return replace(options, **changes), [f"{Path(source).name}: {note}"]
    if "text_column" in changes:
        guesses["text_column"] = ",".join(replace(options, **changes).text_columns)
    if label in taken:
        guesses["label_column"] = None
    field, column = next(iter(missing.items()))
    error = _no_column(names, source, field, column, guesses if needs_label else {"text_column": text})
    if options.pair and field == "text_column":
        error = DataError(error.problem, location=source, hint=NAME_BOTH)  # a guess is one column
    raise error


def _no_column(
    names: Sequence[str], source: str, field: str, column: str, guesses: Mapping[str, str | None]
) -> DataError:
    hint = "name one of them with --text-column or --label-column"
    if any(len(name.split()) > 1 for name in names):
        hint += ", or use --no-header (header=False) if the first row is no header"
    close = difflib.get_close_matches(column, names, 1, 0.7) if column != _TEXTS_AND_LABELS.get(field) else []
    delimiter = next((character for character in ";\t|,^ " if character in names[0]), None)
    if close:
        hint = f"did you mean {close[0]!r}?"
    elif len(names) == 1 and len(names[0].split()) > MAX_NAME_WORDS and field == "text_column":
        hint = "if this is a row and not a header, use --no-header (header=False)"
    elif len(names) == 1 and delimiter is not None and Path(source).suffix.lower() not in WORKBOOKS:
        hint = f"if the columns are separated by {delimiter!r}, use --delimiter {delimiter!r}"
        hint = hint.replace("'\\t'", "tab")
    elif all(guesses.values()):
        command = " ".join(f"--{name.replace('_', '-')} {_shell(guess)}" for name, guess in guesses.items())
        arguments = ", ".join(f"{name.partition('_')[0]}={guess!r}" for name, guess in guesses.items())
        hint = f"for example: {command} ({arguments})"
    problem = f"there is no column {column!r}; the columns are {join_names(names)}"
    return DataError(problem, location=source, hint=hint)


def _shell(name: str | None) -> str:
    return name if name is not None and name.isidentifier() else repr(name)


def _is_index(name: str) -> bool:
    """Whether a column holds the names of rows, as pandas and R write them."""
    return not name.strip() or name.startswith("Unnamed: ")


def _likely_columns(sample: Mapping[str, Sequence[Any]]) -> tuple[str | None, str | None]:
    """The columns that look most like texts and like labels; None if there is none."""
    columns = {name: list(map(str, values)) for name, values in sample.items()}
    n_distinct = {name: len(set(values)) for name, values in columns.items()}
    text = max(columns, key=lambda name: (sum(map(len, columns[name])), n_distinct[name]), default=None)
    repeating = [
        name
        for name, values in columns.items()
        if name != text and 1 < n_distinct[name] <= min(len(values) / 2, n_distinct[text or name])
    ]
    return text, min(repeating, key=n_distinct.__getitem__, default=None)
