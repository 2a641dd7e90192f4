"""Turns data in memory (frames, tables, lists, generators) into a data set with splits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from token2wave.data.columns import guess_columns
from token2wave.data.file_segments import stem
from token2wave.data.objects import Argument, has_digits, python_value, to_list, to_pairs
from token2wave.data.texts import SPLIT_STEMS, SourceTable, TextDataset, TextSplit
from token2wave.data.values import Column, column_index, join_columns
from token2wave.errors import DataError, InputError, input_errors, locate, type_name
from token2wave.options import DataOptions

ROWS_HINT = "give a file, a frame, texts and labels, or a list of pairs (text, label) or of dictionaries"
SAMPLE_ROWS = 1000  # to guess columns by
Columns = tuple[Column, Column, Column | None, Column | None]


@dataclass(frozen=True)
class Table:
    """Rows in memory whose columns have names.

    Attributes:
        source: what to call the rows in an error.
        names: of the columns.
        values: gives the values of a column.
        features: the types of columns that Hugging Face's data sets have.
        records: the rows, if they are dictionaries.
    """

    source: str
    names: Sequence[str]
    values: Callable[[str], Sequence[Any]]
    features: Mapping[str, Any] = field(default_factory=dict)
    records: Sequence[Mapping[Any, Any]] | None = None

    def find_columns(self, options: DataOptions) -> tuple[DataOptions, list[str]]:
        """The options with the names of columns here, and a note if they were guessed."""
        return guess_columns(self.names, lambda name: self.values(name)[:SAMPLE_ROWS], options, self.source)

    def select(self, options: DataOptions) -> Columns:
        """The columns of texts, labels, weights and groups; indices of classes become names."""
        labels, names = self.column(options.label_column), self.class_names(options.label_column)
        labels = replace(labels, values=[_decode(value, names) for value in labels.values])
        optional = options.weight_column, options.group_column
        weights, groups = (None if name is None else self.column(name) for name in optional)
        texts = join_columns([self.column(name).values for name in options.text_columns], options.pair)
        return Column(texts, self.source, ",".join(options.text_columns)), labels, weights, groups

    def all_columns(self) -> dict[str, Sequence[object]]:
        """All columns whose names occur once; of dictionaries, None where a row lacks one."""
        if self.records is None:
            return {name: self.values(name) for name in self.names if self.names.count(name) == 1}
        keys = dict.fromkeys(key for record in self.records for key in record)
        return {str(key): [record.get(key) for record in self.records] for key in keys}

    def column(self, name: str) -> Column:
        """The column of this name; DataError if there is none, or several."""
        column_index(self.source, self.names, name)
        return Column(self.values(name), self.source, name)

    def class_names(self, label_column: str) -> tuple[str, ...] | None:
        """The names of the classes, if the column of labels is a ``ClassLabel``."""
        feature = self.features.get(label_column)
        names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        return tuple(names) if names else None


Rows = Table | Columns


@dataclass(frozen=True)
class MemoryDataset:
    """A data set in memory; it is read as one on disk is.

    Attributes:
        name: of the data set.
        splits: the rows of each split.
        label_names: the names of the classes in their official order, if the data states them.
        caveats: sentences to print beside every figure.
        is_single_file: whether it has no splits, and so is any that you ask for.
    """

    name: str
    splits: Mapping[str, Rows]
    label_names: tuple[str, ...] | None = None
    caveats: tuple[str, ...] = ()
    is_single_file: bool = False
    incomplete: ClassVar[frozenset[str]] = frozenset()  # nobody tells

    def read(
        self,
        split: str,
        options: DataOptions,
        label_names: Sequence[str] | None = None,
        *,
        with_table: bool = False,
    ) -> TextSplit:
        """Read a split; see :func:`token2wave.data.read_labelled`.

        Raises:
            InputError: there is no such column, or a value cannot be used; names the row or element.
        """
        table = None
        rows, label_names, notes = self.splits[split], self.label_names or label_names, list[str]()
        with input_errors():
            if isinstance(rows, Table):
                options, notes = rows.find_columns(options)
                if with_table:
                    table = SourceTable(rows.all_columns(), options.text_columns, options.label_column)
                rows = rows.select(options)
            elif options.weight_column is not None or options.group_column is not None:
                problem = "lists of texts and labels have no columns of weights or groups"
                raise DataError(problem, location=rows[0].source, hint="give a frame or dictionaries")
            elif options.pair:
                rows = replace(rows[0], values=to_pairs(list(rows[0].values), rows[0].source)), *rows[1:]
            texts, labels, weights, groups = rows
            if with_table and table is None:
                table = SourceTable({"text": texts.values, "label": labels.values}, ("text",), "label")
            labels = replace(labels, values=[python_value(label) for label in labels.values])
            if label_names is not None and has_digits(labels.values):
                label_names = None  # a string is a name, not an index as in a file; encoding checks names
            result = TextSplit.from_columns(texts, labels, weights, options, label_names, groups, table)
            return replace(result, notes=(*notes, *result.notes))


def is_name(data: object) -> bool:
    """Whether data is the path of a file or folder, or the name of a data set."""
    return isinstance(data, str | os.PathLike)


def names_files(data: object) -> bool:
    """Whether data is a list of paths or patterns, and not of texts."""
    return (
        isinstance(data, list | tuple)
        and all(map(is_name, data))
        and any(not isinstance(name, str) or stem(Path(name)) or os.path.exists(name) for name in data)
    )


def memory_dataset(
    data: Any,
    labels: Any = None,
    options: DataOptions | None = None,
    *,
    weights: Any = None,
    argument: str = "data",
    name: str | None = None,
) -> MemoryDataset:
    """Make a data set of what a program holds. No package is imported, and a generator is read once.

    Args:
        data: texts, with ``labels``; a tuple of texts and labels; a frame of pandas or polars, a table of
            pyarrow, a data set of Hugging Face, or a dictionary of columns; pairs of text and label, or
            dictionaries, in any iterable; a database's cursor; a :class:`TextDataset` or
            :class:`TextSplit`; or a dictionary of splits, such as ``{"train": frame, "test": frame}`` or a
            ``DatasetDict``.
        labels: the label, or the list of labels, of each text.
        options: the columns.
        weights: how much each text counts, beside ``labels``.
        argument: name of the argument, for errors.
        name: of the data set.

    Raises:
        InputError: it is something else.
    """
    options = options or DataOptions()
    if isinstance(data, MemoryDataset):
        return data
    if isinstance(data, TextDataset):
        splits = {split: rows for split in SPLIT_STEMS if (rows := getattr(data, split)) is not None}
        columns = {split: _columns_of(rows) for split, rows in splits.items()}
        return MemoryDataset(data.name, columns, data.label_names, data.caveats)
    name = name or f"{type(data).__name__} in memory"
    if labels is not None or weights is not None:
        prefix = "" if argument == "data" else f"{argument}, "
        texts = to_pairs(data, f"{prefix}texts", options.text_columns) if options.pair else data
        rows = _pair(texts, labels, weights, prefix, options.text_column)
        return MemoryDataset(name, {"train": rows}, is_single_file=True)
    if isinstance(data, Mapping) and {*options.text_columns, options.label_column}.isdisjoint(data):
        tables = {split: data[s] for split, stems in SPLIT_STEMS.items() for s in stems if s in data}
        if tables:
            return _dataset_of_splits(tables, options, name)
    rows = _rows_of(data, argument)
    return MemoryDataset(name, {"train": rows}, _class_names(rows, options), is_single_file=True)


def _dataset_of_splits(tables: Mapping[str, Any], options: DataOptions, name: str) -> MemoryDataset:
    """Make a data set of splits. A test split whose labels are all -1, as hubs hide them, is left out."""
    splits = {split: _rows_of(rows, f"{name} ({split})") for split, rows in tables.items()}
    names, test = _class_names(next(iter(splits.values())), options), splits.get("test")
    caveats: tuple[str, ...] = ()
    if (
        names
        and isinstance(test, Table)
        and all(label == -1 for label in test.select(test.find_columns(options)[0])[1].values)
    ):
        del splits["test"]
        caveats = (f"{name}: the labels of its test split are not public, so it has no test split here",)
    return MemoryDataset(name, splits, names, caveats)


def _class_names(rows: Rows, options: DataOptions) -> tuple[str, ...] | None:
    if not isinstance(rows, Table) or not rows.features:
        return None
    return rows.class_names(rows.find_columns(options)[0].label_column)


def _rows_of(data: Any, source: str) -> Rows:
    """Take rows apart into columns.

    Raises:
        InputError: they are not rows of texts and labels.
    """
    if isinstance(data, TextSplit):
        return _columns_of(data)
    if isinstance(data, tuple) and len(data) == 2 and all(map(_is_list, data)):
        return _pair(*data, None, "" if source == "data" else f"{source}, ")
    if hasattr(data, "collect") and hasattr(data, "collect_schema"):  # a lazy frame of polars
        data = data.collect()
    if hasattr(data, "read_all"):  # a reader of pyarrow
        data = data.read_all()
    features = getattr(data, "features", None)
    features = features if isinstance(features, Mapping) else {}
    names = list(data) if isinstance(data, Mapping) else _column_names(data)
    if names is not None and hasattr(data, "__getitem__"):
        keys = {str(name): name for name in names}
        return Table(source, list(map(str, names)), lambda name: to_list(data[keys[name]], name), features)
    if isinstance(data, str | bytes | set | frozenset) or not isinstance(data, Iterable):
        problem = f"expected texts with labels, found {type_name(data)}"
        raise InputError(problem, location=source, hint=ROWS_HINT)
    rows: list[Any] = data.tolist() if hasattr(data, "tolist") else list(data)
    if not rows:
        raise InputError("there are no rows", location=source, hint="expected at least one row")
    columns = (getattr(data, "description", None) or ()) if hasattr(data, "fetchall") else ()
    rows = [_with_names(row, [column[0] for column in columns]) for row in rows]
    if isinstance(rows[0], Mapping):
        values = partial(_values_of_records, rows, source)
        return Table(source, list(map(str, rows[0])), values, features, rows)
    if all(isinstance(row, str) for row in rows):
        hint = "give these too: train(texts, labels), or pairs (text, label), or a frame"
        raise InputError("expected labels beside the texts, found none", location=source, hint=hint)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Sequence) or isinstance(row, str | bytes) or len(row) != 2:
            n_values = f" of {len(row)} values" if isinstance(row, list | tuple) else ""
            problem = f"expected a pair (text, label), found {type_name(row)}{n_values}"
            raise InputError(problem, location=locate(source, row=number), hint=ROWS_HINT)
    texts, labels = (Column([row[place] for row in rows], source) for place in (0, 1))
    return texts, labels, None, None


def _with_names(row: Any, names: Sequence[str]) -> Any:
    """Make a dictionary of a named tuple or a database's row; ``names`` are those of a cursor."""
    if isinstance(row, Mapping):
        return row
    if hasattr(row, "_asdict"):
        return row._asdict()
    names = row.keys() if hasattr(row, "keys") else names
    return dict(zip(names, row, strict=True)) if names else row


def _column_names(data: Any) -> Sequence[Any] | None:
    """The names of the columns of a frame, a table, or an array of records."""
    names = getattr(getattr(data, "dtype", None), "names", None)
    if names is None:
        names = getattr(data, "column_names", None)
    names = getattr(data, "columns", None) if names is None else names
    return None if names is None else list(names)


def _values_of_records(rows: Sequence[Any], source: str, name: str) -> list[Any]:
    values = []
    for number, record in enumerate(rows, start=1):
        if not isinstance(record, Mapping):
            problem = f"expected a dictionary, found {type_name(record)}"
            raise InputError(problem, location=locate(source, row=number), hint=ROWS_HINT)
        if name not in record:
            column_index(source, list(map(str, record)), name, number)
        values.append(record[name])
    return values


def _pair(
    texts: Any, labels: Any, weights: Any, source: str, text_column: str | Sequence[str] | None = None
) -> Columns:
    """The columns of texts and labels; ``source`` is in front of their names in an error."""
    if isinstance(labels, str):
        hint = f"name the column of the labels: label={labels!r}"
        raise InputError("expected labels, found one string", location=f"{source}labels", hint=hint)
    texts = to_list(texts, f"{source}texts", text_column)
    weights = None if weights is None else to_list(weights, f"{source}weights")
    labels = to_list(labels, f"{source}labels")
    return _columns_of(TextSplit(texts, labels, f"{source}labels", weights), source)


def _columns_of(split: TextSplit, source: str | None = None) -> Columns:
    source = f"{split.source}, " if source is None else source
    weights, groups = (
        None if values is None else Argument(values, f"{source}{name}")
        for values, name in ((split.weights, "weights"), (split.groups, "groups"))
    )
    return Argument(split.texts, f"{source}texts"), Argument(split.labels, f"{source}labels"), weights, groups


def _is_list(values: object) -> bool:
    return isinstance(values, Iterable) and not isinstance(values, str | bytes | os.PathLike | Mapping)


def _decode(value: Any, names: Sequence[str] | None) -> Any:
    """Replace indices of classes by their names."""
    if names is None:
        return value
    if isinstance(value, list):
        return [_decode(each, names) for each in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
