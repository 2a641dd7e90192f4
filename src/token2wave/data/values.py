"""The one definition of which values count as a text and as a label, whatever format they came in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

from token2wave.errors import DataError, place
from token2wave.options import DataOptions

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class Origin:
    """Where a column of values came from, so that an error can name the row.

    Attributes:
        source: the file or data set.
        column: the column; None in formats without columns.
        lines: the line on which each row starts, length ``N``; None where that is the number of the row.
    """

    source: str
    column: str | None = None
    lines: Sequence[int] | None = None

    def at(self, index: int) -> str:
        """The place of the value with this index, e.g. ``a.csv, row 1 (line 2), column 'text'``."""
        line = None if self.lines is None else self.lines[index]
        return place(self.source, row=index + 1, line=line, column=self.column)


def checked_texts(values: Iterable[object], origin: Origin) -> list[str]:
    """Return the values as texts; an empty string is a text.

    Args:
        values: one value for each row, length ``N``.
        origin: where they came from.

    Returns:
        The same strings, length ``N``.

    Raises:
        DataError: a value is missing, is not a string, or cannot be written as UTF-8; names the row.
    """
    texts: list[str] = []
    for index, value in enumerate(values):
        if isinstance(value, str) and is_unicode(value):
            texts.append(value)
            continue
        if value is None:
            problem, hint = "the text is missing", "fill it in (an empty string is allowed) or delete the row"
        elif isinstance(value, str):
            problem, hint = _HALF_PAIR
        else:
            problem = f"expected a text, got {shown(value)}"
            hint = "make it a string, or name the column that holds the texts"
        raise DataError(problem, location=origin.at(index), hint=hint)
    return texts


def checked_labels(
    values: Iterable[object], origin: Origin, label_names: Sequence[str] | None = None
) -> list[str]:
    """Return the values as names of labels.

    With ``label_names``, a number is an index into them, and a string has to be one of them; a string of
    digits counts as an index too, as CSV has no numbers, unless a name is itself a number. Without them,
    a string stands for itself, ``1`` and ``1.0`` become ``"1"``, and ``True`` becomes ``"true"``.

    Args:
        values: one value for each row, length ``N``.
        origin: where they came from.
        label_names: the names of the classes, length ``C``, where they are known.

    Returns:
        The names, length ``N``, none of them blank.

    Raises:
        DataError: a label is missing, blank, not a scalar, out of range or not one of ``label_names``;
            names the row.
    """
    name_of = _namer(origin, label_names)
    return [name_of(index, value) for index, value in enumerate(values)]


def checked_label_sets(
    values: Iterable[object],
    origin: Origin,
    label_names: Sequence[str] | None = None,
    separator: str | None = None,
) -> list[tuple[str, ...]]:
    """Return the values as the labels of texts that may have several of them, or none.

    Args:
        values: one value for each row, length ``N``: a list of labels, or one label.
        origin: where they came from.
        label_names: as for :func:`checked_labels`.
        separator: what stands between the labels of a string; a blank string has none. If None, a string is
            one label.

    Returns:
        The names of each row, length ``N``, each once.

    Raises:
        DataError: as :func:`checked_labels`, for each label of a row.
    """
    name_of = _namer(origin, label_names)
    sets: list[tuple[str, ...]] = []
    for index, value in enumerate(values):
        parts: Sequence[object]
        if isinstance(value, list | tuple):
            parts = value
        elif isinstance(value, str) and separator is not None:
            parts = [part.strip() for part in value.split(separator)] if value.strip() else []
        else:
            parts = [value]
        sets.append(tuple(dict.fromkeys(name_of(index, part) for part in parts)))
    return sets


def has_label_sets(labels: Sequence[object], source: str, options: DataOptions) -> bool:
    """Whether texts may have several labels, by the options and by the values that are there.

    Raises:
        DataError: there are lists of labels, or a separator, and the options ask for one label each.
    """
    has_several = options.label_separator is not None or any(isinstance(label, list) for label in labels)
    if has_several and options.multi_label is False:
        raise DataError(
            "expected one label for each text, found several",
            location=source,
            hint="keep one label of each text, or train a model of several with --multi-label",
        )
    return has_several or bool(options.multi_label)


def require_separator(options: DataOptions, source: str) -> None:
    """Refuse CSV with several labels in a string, where nothing says what separates them.

    Raises:
        DataError: the separator is missing.
    """
    if options.multi_label and options.label_separator is None:
        raise DataError(
            "expected to know what separates the labels of a text",
            location=source,
            hint="name it, e.g. --label-separator '|'",
        )


def _namer(origin: Origin, label_names: Sequence[str] | None) -> Callable[[int, object], str]:
    """What gives the name of a label, from the number of its row and its value."""
    known = None if label_names is None else frozenset(label_names)
    digits_are_indices = known is not None and not any(_INTEGER.fullmatch(name) for name in known)

    def name_of(index: int, value: object) -> str:
        name = _plain_name(value, origin, index)
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if label_names is None or known is None or (name in known and not is_number):
            return name
        if is_number or (digits_are_indices and _INTEGER.fullmatch(name)):
            return _name_of_index(name, label_names, origin, index)
        raise DataError(
            f"the label {shown(name)} is not one of the label names {join_names(label_names)}",
            location=origin.at(index),
            hint="correct the label, or add its name to the label names",
        )

    return name_of


def checked_weights(values: Iterable[object], origin: Origin) -> list[float]:
    """Return the values as weights: numbers, or strings of numbers as CSV has them.

    Args:
        values: one value for each row, length ``N``.
        origin: where they came from.

    Raises:
        DataError: a value is no finite number of at least zero; names the row.
    """
    weights: list[float] = []
    for index, value in enumerate(values):
        try:
            weight = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            weight = math.nan
        if not 0 <= weight < math.inf:
            raise DataError(
                f"expected a weight, got {shown(value)}",
                location=origin.at(index),
                hint="give every row a number of at least zero, or name the column that holds the weights",
            )
        weights.append(weight)
    return weights


def column_index(path: Path, header: Sequence[str], name: str, row: int | None = None) -> int:
    """Return the index of a column.

    Args:
        path: the file.
        header: the names of its columns, or of a row's.
        name: of the column.
        row: number of the row, where rows have names of their own.

    Raises:
        DataError: no column has this name, or several have.
    """
    if (n_columns := header.count(name)) == 1:
        return header.index(name)
    problem = f"there is no column {name!r}" if n_columns == 0 else f"there are {n_columns} columns {name!r}"
    raise DataError(
        f"{problem}; the columns are {join_names(header)}",
        location=place(path, row=row),
        hint="name one of them with --text-column or --label-column, or correct the name of the column",
    )


def shown(value: object) -> str:
    """A value as error messages show it: short, and for containers the type alone."""
    if isinstance(value, str | int | float):
        text = repr(value)
        text = text if len(text) <= 60 else f"{text[:57]}..."
        return text if isinstance(value, str) else f"the {type(value).__name__} {text}"
    return f"a value of type {type(value).__name__}"


def join_names(names: Iterable[str], at_most: int = 12) -> str:
    """Names as error messages list them: quoted, and cut after ``at_most``."""
    quoted = [shown(name) for name in names]
    if len(quoted) > at_most:
        quoted[at_most:] = [f"... ({len(quoted)} in all)"]
    return ", ".join(quoted) if quoted else "none"


_HALF_PAIR = (
    "holds half of a surrogate pair (\\ud800 to \\udfff), which is not a character",
    "remove it, or write the whole pair",
)


def is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8. JSON escapes can spell strings that cannot."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _plain_name(value: object, origin: Origin, index: int) -> str:
    """A label before the names of the classes are looked at."""
    hint = "give every row one label: a string or an integer"
    if isinstance(value, str):
        if not value.strip():
            raise DataError("the label is empty", location=origin.at(index), hint=hint)
        if not is_unicode(value):
            raise DataError(_HALF_PAIR[0], location=origin.at(index), hint=_HALF_PAIR[1])
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real) and math.isfinite(value):
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    if value is None or isinstance(value, Real):  # NaN is how pandas writes a missing value
        what = "missing" if value is None else f"{float(value)}"
        raise DataError(f"the label is {what}", location=origin.at(index), hint=hint)
    raise DataError(f"expected a label, got {shown(value)}", location=origin.at(index), hint=hint)


def _name_of_index(number: str, label_names: Sequence[str], origin: Origin, index: int) -> str:
    if _INTEGER.fullmatch(number) and 0 <= int(number) < len(label_names):
        return label_names[int(number)]
    raise DataError(
        f"expected a label from 0 to {len(label_names) - 1} (there are {len(label_names)} label names), "
        f"got {number if len(number) <= 60 else f'{number[:57]}...'}",
        location=origin.at(index),
        hint="correct the label, or list the names of all labels",
    )
