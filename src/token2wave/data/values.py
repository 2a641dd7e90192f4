"""Checks values from any source and converts them to texts, labels and weights."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

from token2wave.data.bad_rows import BadRows
from token2wave.data.labels import canonical_label, is_written_list, label_key
from token2wave.errors import DataError, locate
from token2wave.features.pairs import join_pair
from token2wave.options import DataOptions

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_LABEL_HINT = "give every row one label: a string or an integer"
_SURROGATE = (
    "holds half of a surrogate pair (\\ud800 to \\udfff), which is not a character",
    "remove it, or write the whole pair",
)


@dataclass(frozen=True)
class Column:
    """The values of a column, and where they come from, so that errors can name the row.

    Attributes:
        values: one for each row, length ``N``.
        source: the file or data set.
        name: of the column; None in formats without columns.
        lines: the line on which each row starts, length ``N``; None if rows are lines.
        rows: the number of each row, length ``N``; None if no row was left out.
        bad_rows: takes the faults of values; None: the first is an error.
    """

    values: Sequence[object]
    source: str = ""
    name: str | None = None
    lines: Sequence[int] | None = None
    rows: Sequence[int] | None = None
    bad_rows: BadRows | None = None

    def location(self, index: int) -> str:
        """Where the value with this index is, e.g. ``a.csv, row 1 (line 2), column 'text'``."""
        return locate(self.source, row=self.row(index), line=self.line(index), column=self.name)

    def row(self, index: int) -> int:
        """The number of the row with this index, from 1."""
        return index + 1 if self.rows is None else self.rows[index]

    def line(self, index: int) -> int | None:
        """The line on which the row with this index starts, if lines are not rows."""
        return None if self.lines is None else self.lines[index]

    def fail(self, index: int, problem: str, hint: str, category: str) -> None:
        """Raise the fault of a value as a DataError, or note that its row is bad."""
        error = DataError(problem, location=self.location(index), hint=hint)
        if self.bad_rows is None:
            raise error
        self.bad_rows.add(error, category, self.row(index), self.line(index))


def split_names(text_column: str | Sequence[str], names: Iterable[object]) -> list[str]:
    """The columns of the texts: commas separate several, unless a column has that very name."""
    if not isinstance(text_column, str):
        return list(text_column)
    if "," not in text_column or text_column.strip().lower() in (str(name).strip().lower() for name in names):
        return [text_column]
    return [name.strip() for name in text_column.split(",") if name.strip()] or [text_column]


def join_cells(cells: Iterable[object], pair: bool = False) -> object:
    """The text of a row's cells, one a line without the empty ones; None if all are missing.

    With ``pair`` the two cells are a pair of texts (:mod:`token2wave.features.pairs`), None if one is
    missing.
    A cell that is no text is returned as it is, for :func:`parse_texts` to refuse.
    """
    if pair:
        cells = first, second = tuple(cells)
        if isinstance(first, str) and isinstance(second, str):
            return join_pair(first, second)
        return next((cell for cell in cells if not is_missing(cell) and not isinstance(cell, str)), None)
    present = [cell for cell in cells if not is_missing(cell)]
    texts = [cell for cell in present if isinstance(cell, str)]
    if len(texts) < len(present):
        return next(cell for cell in present if not isinstance(cell, str))
    return "\n".join(filter(None, texts)) if texts else None


def join_columns(columns: Sequence[Sequence[object]], pair: bool = False) -> Sequence[object]:
    """The texts of one column, or of several together (:func:`join_cells`)."""
    if len(columns) == 1 and not pair:
        return columns[0]
    return [join_cells(cells, pair) for cells in zip(*columns, strict=True)]


def parse_texts(column: Column) -> list[str]:
    """Check that the values are texts, else raise a DataError; an empty string is a text."""
    texts: list[str] = []
    for index, value in enumerate(column.values):
        if isinstance(value, str) and is_unicode(value):
            texts.append(value)
            continue
        if is_missing(value):
            problem, hint = "the text is missing", "fill it in (an empty string is allowed) or delete the row"
        elif isinstance(value, str):
            problem, hint = _SURROGATE
        else:
            problem = f"expected a text, found {quote(value)}"
            hint = "make it a string, or name the column that holds the texts"
            hint = "decode it: text.decode()" if isinstance(value, bytes) else hint
        column.fail(index, problem, hint, "without a text" if is_missing(value) else "with an unusable text")
        texts.append("")
    return texts


def parse_labels(
    column: Column, label_names: Sequence[str] | None = None, normalise: bool = False
) -> list[str]:
    """Convert the values to names of labels, one for each row.

    Blanks around a string do not count; numbers and strings ``1`` and ``1.0`` are ``"1"``, and booleans and
    strings ``True`` are ``"true"``, so that every format gives the same names. With ``normalise``, case,
    blanks and Unicode form do not count, either (:func:`token2wave.data.labels.label_key`).

    With ``label_names``, a label must be one of them, and a number or a string of digits is an index into
    them, unless a name is itself a number.

    Raises:
        DataError: a label is missing, blank, not a scalar, out of range or not one of ``label_names``.
    """
    name_of = _label_namer(column, label_names, normalise)
    return [name_of(index, value) or "" for index, value in enumerate(column.values)]


def parse_label_sets(
    column: Column,
    label_names: Sequence[str] | None = None,
    separator: str | None = None,
    normalise: bool = False,
) -> list[tuple[str, ...]]:
    """Convert lists of labels, or single labels, to the names of each row, each once.

    Args:
        column: the values, length ``N``.
        label_names: as for :func:`parse_labels`; so are the errors.
        separator: separates the labels of a string; a blank string has none. If None, a string is one label.
        normalise: as for :func:`parse_labels`.
    """
    name_of = _label_namer(column, label_names, normalise)
    sets: list[tuple[str, ...]] = []
    for index, value in enumerate(column.values):
        labels: Sequence[object] = value if isinstance(value, list | tuple) else [value]
        if isinstance(value, str) and separator is not None:
            labels = [label.strip() for label in value.split(separator)] if value.strip() else []
        sets.append(tuple(dict.fromkeys(name_of(index, label) or "" for label in labels)))
    return sets


def parse_weights(column: Column) -> list[float]:
    """Convert numbers, or strings of numbers, to weights; DataError if one is negative or not finite."""
    weights: list[float] = []
    for index, value in enumerate(column.values):
        try:
            weight = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            weight = math.nan
        if not 0 <= weight < math.inf:
            problem = f"expected a weight, found {quote(value)}"
            hint = "give every row a number of at least zero, or name the column that holds the weights"
            column.fail(index, problem, hint, "without a weight")
        weights.append(weight)
    return weights


def parse_groups(column: Column) -> list[str | None]:
    """Convert the values to names of groups; None where the value is missing or blank."""
    names = (None if is_missing(value) else canonical_label(str(value)) for value in column.values)
    return [name or None for name in names]


def has_label_sets(labels: Sequence[object], source: str, options: DataOptions) -> bool:
    """Whether texts may have several labels; DataError if they do, but the options ask for one label each."""
    has_several = options.label_separator is not None or any(isinstance(label, list) for label in labels)
    if has_several and options.multi_label is False:
        raise DataError(
            "expected one label for each text, found several",
            location=source,
            hint="keep one label of each text, or train a multi-label model with --multi-label",
        )
    return has_several or bool(options.multi_label)


def require_separator(options: DataOptions, source: str) -> None:
    """Refuse a multi-label CSV file without a label separator."""
    if options.multi_label and options.label_separator is None:
        raise DataError(
            "expected a separator of the labels of a text, found none",
            location=source,
            hint="name it, e.g. --label-separator '|'",
        )


def column_index(path: str | Path, header: Sequence[str], name: str, row: int | None = None) -> int:
    """Return the index of the column of a file, or of a row; DataError if there is none, or several."""
    if (n_columns := header.count(name)) == 1:
        return header.index(name)
    problem = f"there is no column {name!r}" if n_columns == 0 else f"there are {n_columns} columns {name!r}"
    raise DataError(
        f"{problem}; the columns are {join_names(header)}",
        location=locate(path, row=row),
        hint="name one of them with --text-column or --label-column, or correct the name of the column",
    )


def quote(value: object) -> str:
    """A value for an error message: shortened, and for containers the type alone."""
    if isinstance(value, str | int | float):
        text = repr(value)
        text = text if len(text) <= 60 else f"{text[:57]}..."
        return text if isinstance(value, str) else f"the {type(value).__name__} {text}"
    return f"a value of type {type(value).__name__}"


def join_names(names: Iterable[str], limit: int = 12) -> str:
    """Names for an error message: quoted, separated by commas, and cut after ``limit``."""
    quoted = [quote(name) for name in names]
    if len(quoted) > limit:
        quoted[limit:] = [f"... ({len(quoted)} in all)"]
    return ", ".join(quoted) if quoted else "none"


def is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8. JSON escapes can spell strings that cannot."""
    try:
        return text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def is_missing(value: object) -> bool:
    """Whether a value stands for a missing one: None, NaN, ``pandas.NA`` or ``NaT``."""
    is_nan = isinstance(value, float) and math.isnan(value)
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")


def _label_namer(
    column: Column, label_names: Sequence[str] | None, normalise: bool
) -> Callable[[int, object], str | None]:
    """Return a function of index and value that gives the name of a label; None if it is bad."""
    to_form = label_key if normalise else canonical_label

    def plain_name(index: int, value: object) -> str | None:
        name = _plain_name(value, column, index)
        return to_form(name) if isinstance(value, str) and name is not None else name

    if label_names is None:
        return _remember(plain_name)
    known = {to_form(name): name for name in label_names}
    exact = frozenset(label_names)
    digits_are_indices = not any(_NUMBER.fullmatch(name) for name in known)

    def name_of(index: int, value: object) -> str | None:
        if isinstance(value, str) and value.strip() in exact:
            return value.strip()
        name = plain_name(index, value)
        if name is None or name in known:
            return None if name is None else known[name]
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        is_whole = _INTEGER.fullmatch(name) is not None
        is_index = digits_are_indices and (is_number or is_whole)
        if is_index and is_whole and 0 <= int(name) < len(label_names):
            return label_names[int(name)]
        problem = f"the label {quote(name)} is not one of the label names {join_names(label_names)}"
        hint = "correct the label, or add its name to the label names"
        if is_index:
            number = name if len(name) <= 60 else f"{name[:57]}..."
            problem = (
                f"expected a label from 0 to {len(label_names) - 1} (there are {len(label_names)} "
                f"label names), found {number}"
            )
            hint = "correct the label, or list the names of all labels"
        column.fail(index, problem, hint, "with an unknown label")
        return None

    return _remember(name_of)


def _remember(name_of: Callable[[int, object], str | None]) -> Callable[[int, object], str | None]:
    """The same function, which names equal strings, and equal integers, only once."""
    names: dict[type, dict[object, str]] = {str: {}, int: {}}

    def remembered(index: int, value: object) -> str | None:
        names_of_type = names.get(type(value))
        if names_of_type is None:
            return name_of(index, value)
        name = names_of_type.get(value)
        if name is None and (name := name_of(index, value)) is not None:
            names_of_type[value] = name
        return name

    return remembered


def _plain_name(value: object, column: Column, index: int) -> str | None:
    """The name of a label, without regard to the names of the classes; None if it is bad."""
    if isinstance(value, str) and value.strip() and is_unicode(value):
        if is_written_list(value.strip()):
            problem = f"expected a label, found a list written as a string: {quote(value)}"
            hint = "write a list of JSON or Parquet, or join the labels by a separator and name it with "
            column.fail(index, problem, f"{hint}--label-separator", "with an unusable label")
            return None
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real) and math.isfinite(value):
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    problem, hint = f"expected a label, found {quote(value)}", _LABEL_HINT
    if isinstance(value, str):
        problem, hint = _SURROGATE if value.strip() else ("the label is empty", _LABEL_HINT)
    elif isinstance(value, Real):
        problem = f"the label is {float(value)}"
    elif is_missing(value):
        problem = "the label is missing"
    is_empty = is_missing(value) or (isinstance(value, str) and not value.strip())
    column.fail(index, problem, hint, "without a label" if is_empty else "with an unusable label")
    return None
