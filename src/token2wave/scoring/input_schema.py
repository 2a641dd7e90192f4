"""Infers the columns of the input and the types of the output, once, before a job begins.

Parquet files state their types. Where they differ, the wider type counts, and a column that a file lacks is
null there. For JSON lines the first rows decide: the type of most values of a column. A row with a value of
another type is rejected. CSV holds text alone.
"""

from __future__ import annotations

import base64
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from token2wave.data.parquet import parquet_file
from token2wave.data.reader import read_segment
from token2wave.data.rows import LINE_FORMATS, Segment
from token2wave.data.values import join_names
from token2wave.errors import DataError
from token2wave.scoring.filters import value_type

MAX_SAMPLED_FILES = 4096
MAX_SAMPLED_ROWS = 4096  # of all files together, and
MAX_ROWS_OF_A_FILE = 1024
MAX_COLUMNS = 10_000

Records = list[dict[str, Any]]


class InputSchema(NamedTuple):
    """The columns of the input.

    Attributes:
        kinds: of the values of each column, as filters call them.
        is_open: whether further columns may turn up, as in JSON lines.
        types: the ``pyarrow`` type of each column; empty if types are not needed.
    """

    kinds: dict[str, str]
    is_open: bool
    types: dict[str, Any]


def infer_schema(segments: Sequence[Segment], text_column: str, with_types: bool) -> InputSchema:
    """Infer the columns from the metadata and the first rows of files.

    Args:
        segments: of the whole input.
        text_column: the column of the texts.
        with_types: whether types of ``pyarrow`` are needed.

    Raises:
        DataError: a file cannot be read, or files do not fit each other.
    """
    first_of_files = [next(group) for _, group in itertools.groupby(segments, lambda segment: segment.path)]
    parquet = [segment for segment in first_of_files if segment.format == ".parquet"]
    others = [segment for segment in first_of_files if segment.format != ".parquet"][:MAX_SAMPLED_FILES]
    kinds: dict[str, str] = {}
    types: dict[str, Any] = {}
    if parquet:
        for field in _unify_schemas(parquet):
            kinds[field.name], types[field.name] = _arrow_value_type(field.type), field.type
    values = _sample_columns(others, text_column)
    if not kinds and not values:
        raise _no_usable_rows(others[0], text_column)
    for name, column in values.items():
        seen = {value_type(value) for value in column if value is not None}
        seen |= {kinds[name]} if name in kinds else set()
        kinds[name] = seen.pop() if len(seen) == 1 else "unknown"
        if with_types and name not in types:
            types[name] = _most_common_type(column)
    if len(kinds) > MAX_COLUMNS:
        raise DataError(
            f"expected at most {MAX_COLUMNS:,} columns, found {len(kinds):,}",
            location="input",
            hint="name those to keep with --columns",
        )
    if kinds.get(text_column, "text") not in ("text", "unknown") or (parquet and text_column not in kinds):
        columns = join_names([name for name, kind in kinds.items() if kind == "text"])
        raise DataError(
            f"expected strings in column {text_column!r}; columns of strings are {columns}",
            location="input",
            hint="name the column of the texts with --text-column",
        )
    is_open = any(segment.format in LINE_FORMATS for segment in others)
    return InputSchema(kinds, is_open, types if with_types else {})


def _no_usable_rows(segment: Segment, text_column: str) -> DataError:
    """The error for an input whose first rows are all unusable, as with the wrong name of a column."""
    with closing(read_segment(segment, text_column)) as blocks:  # type: ignore[type-var]
        first = next((reject for rows in blocks for reject in rows.rejected), None)
    where = segment.path if first is None else segment.location(first.at)
    return DataError(
        f"none of the first rows can be used: {'there is none' if first is None else first.reason}",
        location=where,
        hint="mend the file, or name the column of the texts with --text-column",
    )


def _unify_schemas(segments: Sequence[Segment]) -> Any:
    """The schema that holds the rows of all files."""
    import pyarrow

    united: Any = None
    for segment in segments:
        with parquet_file(Path(segment.path)) as file:
            schema = file.schema_arrow.remove_metadata()
        try:
            both = [schema] if united is None else [united, schema]
            united = pyarrow.unify_schemas(both, promote_options="permissive")
        except (pyarrow.ArrowException, ValueError) as error:
            raise DataError(
                f"the columns do not fit those of the files before it ({str(error)[:200]})",
                location=segment.path,
                hint="score it apart, or name columns that fit with --columns",
            ) from error
    return united


def _sample_columns(segments: Sequence[Segment], text_column: str) -> dict[str, list[Any]]:
    """Values of each column in the first rows of files, in the order in which columns turn up."""
    columns: dict[str, list[Any]] = {}
    n_rows = max(min(MAX_SAMPLED_ROWS // max(len(segments), 1), MAX_ROWS_OF_A_FILE), 1)
    for segment in segments:
        for record in _first_records(segment, text_column, n_rows):
            for name, value in record.items():
                columns.setdefault(name, []).append(value)
            if len(columns) > MAX_COLUMNS:
                return columns
    return columns


def _first_records(segment: Segment, text_column: str, n_rows: int) -> Iterator[dict[str, Any]]:
    blocks = read_segment(segment, text_column, n_rows=n_rows)
    with closing(blocks):  # type: ignore[type-var]
        for rows in itertools.islice(blocks, 4):  # a block may hold rejects alone
            if rows.records:
                yield from rows.records
                return


def _arrow_value_type(kind: Any) -> str:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_boolean(kind):
        return "bool"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_temporal(kind):
        return "text"
    return "list" if types.is_list(kind) or types.is_large_list(kind) else "unknown"


def _most_common_type(column: Sequence[Any]) -> Any:
    """A type that holds the values; or, where there is none, most of them. Text, where all are null."""
    import pyarrow

    values = [value for value in column if value is not None]
    if not values:
        return pyarrow.string()
    try:
        dtype = pyarrow.array(values).type
    except _arrow_errors():
        most = Counter(map(type, values)).most_common(1)[0][0]
        alike = [value for value in values if type(value) is most]
        try:
            dtype = pyarrow.array(alike).type
        except _arrow_errors():
            dtype = pyarrow.array([alike[0]]).type if most is not int else pyarrow.float64()
    return pyarrow.string() if pyarrow.types.is_null(dtype) else dtype


# ---- the schema, as the record of a job keeps it ----


def serialize_schema(fields: Sequence[Any]) -> str:
    """Fields of ``pyarrow`` as text."""
    import pyarrow

    return base64.b64encode(pyarrow.schema(list(fields)).serialize().to_pybytes()).decode("ascii")


def parse_schema(text: str) -> Any:
    """The schema that :func:`serialize_schema` wrote."""
    import pyarrow

    return pyarrow.ipc.read_schema(pyarrow.py_buffer(base64.b64decode(text)))


# ---- rows of given types ----


class SchemaMismatch(NamedTuple):
    """A row that is not of the job's types, by its number among those given, and why."""

    row: int
    reason: str


def table_from_records(records: Records, schema: Any) -> tuple[Any, list[SchemaMismatch]]:
    """Records as a table of the schema, without those that do not fit.

    Args:
        records: rows by column; what a row lacks is null.
        schema: names and types.
    """
    import pyarrow

    mismatches: dict[int, str] = {}
    names = set(schema.names)
    for row, record in enumerate(records):
        if not names.issuperset(record):
            odd = [name for name in record if name not in names and record[name] is not None]
            if odd:
                mismatches[row] = f"the first rows have no column {odd[0][:60]!r}"
    arrays = []
    for field in schema:
        values = [record.get(field.name) for record in records]
        arrays.append(_array(values, field, mismatches))
    table = pyarrow.Table.from_arrays(arrays, schema=schema)
    return _drop_rows(table, mismatches)


def _array(values: list[Any], field: Any, mismatches: dict[int, str]) -> Any:
    """Values as an array; one that does not fit is null there, and its row a misfit."""
    import pyarrow

    array = None
    with suppress(*_arrow_errors()):
        array = pyarrow.array(values, field.type)
    if array is not None and _holds_values(values, array):
        return array
    for row, value in enumerate(values):
        if not _fits(value, field.type):
            mismatches.setdefault(row, _mismatch(field, value))
            values[row] = None
    return pyarrow.array(values, field.type)


def _holds_values(values: list[Any], array: Any) -> bool:
    """Whether an array holds the values as they are: ``pyarrow`` makes 1 of 1.5, and drops unknown keys."""
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) > 1 or kinds & {dict, list, bytes}:
        return False  # to be looked at one by one
    from pyarrow import types

    same_kind = kinds <= {str} if types.is_string(array.type) else not kinds & {str}
    return same_kind and (bool not in kinds or types.is_boolean(array.type)) and array.to_pylist() == values


def _fits(value: Any, kind: Any) -> bool:
    import pyarrow

    try:
        (back,) = pyarrow.array([value], kind).to_pylist()
    except _arrow_errors():
        return False
    return _equals(value, back)


def _equals(value: Any, back: Any) -> bool:
    """Whether a value came back as it was; what an object lacks is null."""
    if isinstance(value, dict) and isinstance(back, dict):
        return all(_equals(value.get(key), back.get(key)) for key in {*value, *back})
    if isinstance(value, list) and isinstance(back, list):
        return len(value) == len(back) and all(map(_equals, value, back))
    if isinstance(value, bool) or isinstance(back, bool):
        return value is back
    return bool(value == back) or (value != value and back != back)  # NaN


def _arrow_errors() -> tuple[type[Exception], ...]:
    """What ``pyarrow`` raises where a value is not of a type."""
    import pyarrow

    return (pyarrow.ArrowException, OverflowError, TypeError, ValueError, RecursionError)


def _mismatch(field: Any, value: Any) -> str:
    return f"column {field.name[:60]!r}: expected {str(field.type)[:60]}, found {str(value)[:60]!r}"


def cast_table(table: Any, schema: Any) -> tuple[Any, list[SchemaMismatch]]:
    """A table in the schema: columns in its order and of its types, without the rows that do not fit."""
    import pyarrow

    if table.schema.equals(schema):
        return table, []
    mismatches: dict[int, str] = {}
    arrays = []
    for field in schema:
        place = table.schema.get_field_index(field.name)
        if place < 0:
            arrays.append(pyarrow.nulls(len(table), field.type))
            continue
        column = table.column(place)
        try:
            arrays.append(column if column.type == field.type else column.cast(field.type))
        except pyarrow.ArrowException:
            arrays.append(_array(column.to_pylist(), field, mismatches))
    return _drop_rows(pyarrow.Table.from_arrays(arrays, schema=schema), mismatches)


def _drop_rows(table: Any, mismatches: Mapping[int, str]) -> tuple[Any, list[SchemaMismatch]]:
    import pyarrow

    if not mismatches:
        return table, []
    kept = [row not in mismatches for row in range(len(table))]
    return table.filter(pyarrow.array(kept)), [
        SchemaMismatch(row, mismatches[row]) for row in sorted(mismatches)
    ]


def require_columns(schema: InputSchema, names: Sequence[str], added: Sequence[str]) -> None:
    """Refuse columns that are missing, or that predictions would add a second time.

    Args:
        schema: the columns of the input.
        names: the columns to keep; all, if empty.
        added: the columns that predictions add.

    Raises:
        DataError: a column is missing, or predictions add a column of its name.
    """
    for name in names:
        if name not in schema.kinds and not schema.is_open:
            raise DataError(
                f"there is no column {name!r}; the columns are {join_names(list(schema.kinds))}",
                location="--columns",
                hint="name others",
            )
    for name in names or schema.kinds:
        if name in added:
            raise DataError(
                f"the input has a column {name!r}, which predictions add, too",
                location="input",
                hint="rename those of the predictions with --prefix, or keep other columns with --columns",
            )
