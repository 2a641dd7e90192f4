"""Turns what users hold in Python (lists, arrays, columns of frames) into texts and labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from typing import Any

from token2wave.data.values import (
    Column,
    join_cells,
    join_columns,
    join_names,
    parse_label_sets,
    parse_labels,
    parse_texts,
    quote,
    split_names,
)
from token2wave.errors import InputError, input_errors, type_name
from token2wave.features.pairs import SEPARATOR, join_pair
from token2wave.options import PAIR_COLUMNS

_NUMBER = re.compile(r"\s*-?[0-9]+(\.0*)?\s*")


@dataclass(frozen=True)
class Argument(Column):
    """The elements of an argument; errors name the element, e.g. ``texts[3]``."""

    def location(self, index: int) -> str:
        """Where the element with this index is."""
        return f"{self.source}[{index}]"


def to_list(values: Any, name: str, column: str | Sequence[str] | None = None) -> list[Any]:
    """Return the elements of a container as Python objects.

    No package is imported. A list is returned as it is.

    Args:
        values: a list, tuple, generator or other iterable; an array of numpy, ``(N,)`` or ``(N, 1)``; an
            array of pyarrow; a Series of pandas or polars; or a frame or table of one column.
        name: name of the argument, for errors.
        column: the column to take of a table of several, of a dictionary of columns or of dictionaries; or
            several of texts, to join.

    Raises:
        InputError: ``values`` is one string, a mapping, a set, a table of several columns, or no container.
    """
    if isinstance(values, list):
        return values
    hint = f"give one column of the table as {name}"
    if isinstance(values, str | bytes | bytearray):
        problem = f"expected a list, found one {'string' if isinstance(values, str) else 'sequence of bytes'}"
        raise InputError(problem, location=name, hint=f"put it into a list: {name}=[...]")
    if isinstance(values, Mapping):
        if column is not None and set(names := split_names(column, values)) <= set(values):
            return list(join_columns([to_list(values[each], name) for each in names]))
        hint = "give its values, or one of its columns"
        raise InputError(f"expected a list, found {type_name(values)}", location=name, hint=hint)
    if isinstance(values, set | frozenset):
        hint = "a set has no order: make it a list first"
        raise InputError(f"expected a list, found {type_name(values)}", location=name, hint=hint)
    if hasattr(values, "toarray"):  # scipy's
        raise InputError("expected a list, found a sparse matrix of numbers", location=name, hint=hint)
    columns = getattr(values, "column_names", getattr(values, "columns", None))
    if columns is not None:
        names = [] if column is None else split_names(column, list(map(str, columns)))
        if names and all(list(columns).count(each) == 1 for each in names):
            return list(join_columns([to_list(values[each], name) for each in names]))
        if len(columns) != 1:
            problem = f"expected one column, found a table of the columns {join_names(map(str, columns))}"
            raise InputError(problem, location=name, hint=hint)
        return to_list(values[columns[0]], name)
    for method in ("to_pylist", "to_list"):  # pyarrow; pandas and polars
        if hasattr(values, method):
            try:
                return list(getattr(values, method)())
            except UnicodeDecodeError as error:
                raise InputError("expected strings of UTF-8, found other bytes", location=name) from error
    shape = getattr(values, "shape", None)
    if isinstance(shape, tuple) and hasattr(values, "reshape"):
        if len(shape) != 1 and (len(shape) != 2 or shape[1] != 1):
            problem = f"expected one element a row, of shape (n,) or (n, 1), found shape {shape}"
            raise InputError(problem, location=name, hint=hint)
        return list(values.reshape(-1).tolist())
    if isinstance(values, Iterable):
        return list(values)
    if hasattr(values, "__array__"):
        return to_list(values.__array__(), name)
    raise InputError(
        f"expected a list, found {type_name(values)}",
        location=name,
        hint="a list, an array, or a column of a frame will do",
    )


def to_texts(
    values: Any,
    name: str = "texts",
    *,
    for_training: bool = False,
    column: str | Sequence[str] | None = None,
) -> list[str]:
    """Return texts as a list of strings.

    Args:
        values: as for :func:`to_list`.
        name: name of the argument, for errors.
        column: as for :func:`to_list`.
        for_training: refuse half surrogates, as files of data do. Prediction takes any string.

    Raises:
        InputError: as :func:`to_list`; or an element is not a string.
    """
    texts = to_list(values, name, column)
    if column is not None and any(isinstance(text, Mapping) for text in texts):
        texts = [_text_of(text, column) if isinstance(text, Mapping) else text for text in texts]
    if not for_training:
        if all(isinstance(text, str) for text in texts):
            return texts
        texts = ["" if isinstance(text, str) else text for text in texts]  # the error is about the others
    with input_errors():
        return parse_texts(Argument(texts, name))


def to_pairs(values: Any, name: str = "texts", columns: Sequence[str] = PAIR_COLUMNS) -> list[str]:
    """Return pairs of texts, each as one string (:mod:`token2wave.features.pairs`).

    Args:
        values: ``N`` pairs: tuples or lists of two strings, dictionaries of the two columns, or an array
            ``(N, 2)``; or a frame or dictionary of the two columns, or of any two.
        name: name of the argument, for errors.
        columns: names of the two columns.

    Raises:
        InputError: an element is not a pair of strings, or as :func:`to_list`.
    """
    names = list(values) if isinstance(values, Mapping) else None
    if names is None and not isinstance(values, list):
        names = getattr(values, "column_names", getattr(values, "columns", None))
    if len(columns) == 1:
        columns = split_names(columns[0], names or ())
    if names is not None:
        chosen = list(columns) if set(columns) <= set(names) else list(names)
        if len(chosen) != 2:
            problem = f"expected two columns of texts, found {join_names(map(str, chosen))}"
            raise InputError(problem, location=name, hint="give the two columns of the pairs")
        cells = [to_list(values[each], name) for each in chosen]
        if len(cells[0]) != len(cells[1]):
            problem = (
                f"expected two columns of one length, found {len(cells[0]):,} and {len(cells[1]):,} texts"
            )
            raise InputError(problem, location=name, hint="give a text of each column for every pair")
        rows: Iterable[Any] = zip(*cells, strict=True)
    elif isinstance(shape := getattr(values, "shape", None), tuple) and len(shape) == 2:
        rows = values.tolist()
    else:
        rows = to_list(values, name)
    return [_to_pair(row, f"{name}[{index}]", columns) for index, row in enumerate(rows)]


def _to_pair(row: Any, location: str, columns: Sequence[str]) -> str:
    """Return a pair as one string; a string that is a pair stays as it is."""
    if isinstance(row, str) and SEPARATOR in row:
        return row
    cells = [row.get(name) for name in columns] if isinstance(row, Mapping) else row
    if not isinstance(cells, list | tuple) or len(cells) != 2 or not all(isinstance(c, str) for c in cells):
        raise InputError(
            f"expected a pair of texts, found {quote(row)}",
            location=location,
            hint='give each pair as two strings: ("a text", "another")',
        )
    return join_pair(*cells)


def _text_of(record: Mapping[str, Any], column: str | Sequence[str]) -> Any:
    names = split_names(column, record)
    return record.get(names[0]) if len(names) == 1 else join_cells(map(record.get, names))


def to_labels(
    values: Any,
    name: str = "labels",
    label_names: Sequence[str] | None = None,
    normalise: bool = False,
) -> list[str] | list[tuple[str, ...]]:
    """Return the name of each row's label, or a tuple of names for each row if some row has a list of them.

    Args:
        values: as for :func:`to_list`: strings, integers, booleans, or lists of these.
        name: name of the argument, for errors.
        label_names: names of the classes; numbers, but not strings of digits, are indices into these.
        normalise: as for :func:`token2wave.data.values.parse_labels`.

    Raises:
        InputError: as :func:`to_list`; or a label is missing, no scalar, or not an index.
    """
    labels = [python_value(label) for label in to_list(values, name)]
    has_sets = any(isinstance(label, list) for label in labels)
    if label_names is not None and has_digits(labels):
        label_names = None  # a string is a name, not an index as in a file; encoding checks names
    with input_errors():
        if not has_sets:
            return parse_labels(Argument(labels, name), label_names, normalise)
        return parse_label_sets(Argument(labels, name), label_names, normalise=normalise)


def has_digits(labels: Iterable[Any]) -> bool:
    """Whether some label, or one of a list of labels, is a string of digits."""
    each = chain(*(label if isinstance(label, list) else [label] for label in labels))
    return any(isinstance(label, str) and _NUMBER.fullmatch(label) for label in each)


def python_value(label: Any) -> Any:
    """A scalar of numpy as Python's, and any container of several labels as a list."""
    if isinstance(label, str):
        return label
    if isinstance(label, tuple | Set):
        return sorted(label, key=repr) if isinstance(label, Set) else list(label)
    return label.tolist() if hasattr(label, "tolist") else label  # numpy's scalars and arrays
