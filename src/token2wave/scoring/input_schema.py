"""Infers the columns of the input and the types of the output, once, before a job begins.

Parquet files declare their types. Where they differ, the wider type is used. A column that a file lacks is
null. For JSON lines the first rows decide: a column gets the type of most of its values, and a row with a
value of another type is rejected. CSV holds only text.
"""

from __future__ import annotations

import base64
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from token2wave.data.parquet import parquet_file
from token2wave.data.reader import read_segment
from token2wave.data.rows import LINE_FORMATS, Segment
from token2wave.data.values import join_names
from token2wave.errors import DataError
from token2wave.scoring.filters import value_type

MAX_SAMPLED_FILES = 4096
MAX_SAMPLED_ROWS = 4096  # of all files together
MAX_ROWS_PER_FILE = 1024
MAX_COLUMNS = 10_000

Mismatches: TypeAlias = dict[int, str]
"""Why rows do not fit a schema, by their index."""


class InputSchema(NamedTuple):
    """The columns of the input.

    Attributes:
        value_types: the type of each column's values, as filters name it.
        is_open: whether later rows may have further columns, as in JSON lines.
        arrow_types: the ``pyarrow`` type of each column; empty if types are not needed.
    """

    value_types: dict[str, str]
    is_open: bool
    arrow_types: dict[str, Any]

    def output_types(self, names: Sequence[str] | None) -> dict[str, Any]:
        """The ``pyarrow`` types of the named columns, or of all; unknown columns are texts."""
        import pyarrow

        names = list(self.arrow_types) if names is None else names
        return {name: self.arrow_types.get(name, pyarrow.string()) for name in names}


def infer_schema(segments: Sequence[Segment], text_columns: Sequence[str], with_types: bool) -> InputSchema:
    """Infer the columns from the metadata and the first rows of the files of an input.

    Raises:
        DataError: a file cannot be read, or the columns of two files cannot be combined.
    """
    first_segments = [next(group) for _, group in itertools.groupby(segments, lambda segment: segment.path)]
    parquet = [segment for segment in first_segments if segment.format == ".parquet"]
    sampled = [segment for segment in first_segments if segment.format != ".parquet"][:MAX_SAMPLED_FILES]
    value_types: dict[str, str] = {}
    arrow_types: dict[str, Any] = {}
    for field in _unify_schemas(parquet) if parquet else ():
        value_types[field.name], arrow_types[field.name] = _arrow_value_type(field.type), field.type
    samples = _sample_columns(sampled, text_columns)
    if not value_types and not samples:
        raise _no_usable_rows(sampled[0], text_columns)
    for name, values in samples.items():
        types = {value_type(value) for value in values if value is not None}
        types |= {value_types[name]} if name in value_types else set()
        value_types[name] = types.pop() if len(types) == 1 else "unknown"
        if with_types and name not in arrow_types:
            arrow_types[name] = _most_common_type(values)
    if len(value_types) > MAX_COLUMNS:
        raise DataError(
            f"expected at most {MAX_COLUMNS:,} columns, found {len(value_types):,}",
            location="input",
            hint="choose columns with --columns",
        )
    for text_column in text_columns:
        is_missing = bool(parquet) and text_column not in value_types
        if is_missing or value_types.get(text_column, "text") not in ("text", "unknown"):
            columns = join_names([name for name, column_type in value_types.items() if column_type == "text"])
            raise DataError(
                f"expected strings in column {text_column!r}; columns of strings are {columns}",
                location="input",
                hint="name the column of the texts with --text-column",
            )
    is_open = any(segment.format in LINE_FORMATS for segment in sampled)
    return InputSchema(value_types, is_open, arrow_types if with_types else {})


def require_columns(schema: InputSchema, names: Sequence[str], added: Sequence[str]) -> None:
    """Refuse input columns to keep (all if ``names`` is empty) that are missing or that predictions add.

    Raises:
        DataError: as above.
    """
    for name in names:
        if name not in schema.value_types and not schema.is_open:
            raise DataError(
                f"there is no column {name!r}; the columns are {join_names(list(schema.value_types))}",
                location="--columns",
                hint="name columns of the input",
            )
    for name in names or schema.value_types:
        if name in added:
            raise DataError(
                f"the input has a column {name!r}, which predictions add",
                location="input",
                hint="rename the added columns with --prefix, or choose other columns with --columns",
            )


def _no_usable_rows(segment: Segment, text_columns: Sequence[str]) -> DataError:
    """The error for an input whose first rows cannot be used, e.g. because the column has another name."""
    with closing(read_segment(segment, text_columns)) as blocks:  # type: ignore[type-var]
        reject = next((reject for rows in blocks for reject in rows.rejected), None)
    return DataError(
        f"none of the first rows can be used: {'there is none' if reject is None else reject.reason}",
        location=segment.path if reject is None else segment.location(reject.at),
        hint="correct the file, or name the column of the texts with --text-column",
    )


def _unify_schemas(segments: Sequence[Segment]) -> Any:
    """The schema that can hold the rows of all Parquet files."""
    import pyarrow

    unified = pyarrow.schema([])
    for segment in segments:
        with parquet_file(Path(segment.path)) as file:
            schema = file.schema_arrow.remove_metadata()
        try:
            unified = pyarrow.unify_schemas([unified, schema], promote_options="permissive")
        except (pyarrow.ArrowException, ValueError) as error:
            raise DataError(
                f"the columns do not fit those of the previous files ({str(error)[:200]})",
                location=segment.path,
                hint="score it in a job of its own, or choose columns that fit with --columns",
            ) from error
    return unified


def _sample_columns(segments: Sequence[Segment], text_columns: Sequence[str]) -> dict[str, list[Any]]:
    """The values of each column in the first rows of the files."""
    columns: dict[str, list[Any]] = {}
    n_rows = max(min(MAX_SAMPLED_ROWS // max(len(segments), 1), MAX_ROWS_PER_FILE), 1)
    for segment in segments:
        with closing(read_segment(segment, text_columns, n_rows=n_rows)) as blocks:  # type: ignore[type-var]
            first_blocks = itertools.islice(blocks, 4)  # a block may hold only rejects
            records = next((rows.records for rows in first_blocks if rows.records), [])
        for record in records:
            if len(text_columns) > 1:
                record.pop(",".join(text_columns), None)  # of the joined texts
            for name, value in record.items():
                columns.setdefault(name, []).append(value)
            if len(columns) > MAX_COLUMNS:
                return columns
    return columns


def _arrow_value_type(dtype: Any) -> str:
    from pyarrow import types

    if types.is_dictionary(dtype):
        dtype = dtype.value_type
    if types.is_boolean(dtype):
        return "bool"
    if types.is_integer(dtype) or types.is_floating(dtype) or types.is_decimal(dtype):
        return "number"
    if types.is_string(dtype) or types.is_large_string(dtype) or types.is_temporal(dtype):
        return "text"
    return "list" if types.is_list(dtype) or types.is_large_list(dtype) else "unknown"


def _most_common_type(values: Sequence[Any]) -> Any:
    """The type of all values, or else of most of them; text if all are null."""
    import pyarrow

    values = [value for value in values if value is not None]
    if not values:
        return pyarrow.string()
    common = Counter(map(type, values)).most_common(1)[0][0]
    typical = [value for value in values if type(value) is common]
    dtype = pyarrow.float64()  # of whole numbers of more than 64 bits
    for sample in (values, typical, typical[:1]):
        with suppress(*_arrow_errors()):
            dtype = pyarrow.array(sample).type
            break
    return pyarrow.string() if pyarrow.types.is_null(dtype) else dtype


def serialize_schema(types: dict[str, Any]) -> str:
    """Serialize a schema of ``pyarrow`` types by column to text."""
    import pyarrow

    return base64.b64encode(pyarrow.schema(types).serialize().to_pybytes()).decode("ascii")


def parse_schema(text: str) -> Any:
    """Parse the output of :func:`serialize_schema`."""
    import pyarrow

    return pyarrow.ipc.read_schema(pyarrow.py_buffer(base64.b64decode(text)))


# ---- rows in the output schema ----


def table_from_records(
    records: list[dict[str, Any]], schema: Any, columns: Mapping[str, Any]
) -> tuple[Any, Mismatches]:
    """Convert records to a table of the schema, without the rows that do not fit; missing values are null.

    Args:
        records: the rows, length ``N``.
        schema: the columns of the table.
        columns: those of them that are arrays already, length ``N`` each.
    """
    import pyarrow

    mismatches: Mismatches = {}
    names = set(schema.names)
    for index, record in enumerate(records):
        if not names.issuperset(record):
            unknown = [name for name in record if name not in names and record[name] is not None]
            if unknown:
                mismatches[index] = f"the first rows have no column {unknown[0][:60]!r}"
    arrays = [
        columns[field.name]
        if field.name in columns
        else _to_array([record.get(field.name) for record in records], field, mismatches)
        for field in schema
    ]
    return _drop_rows(pyarrow.Table.from_arrays(arrays, schema=schema), mismatches)


def cast_table(table: Any, schema: Any) -> tuple[Any, Mismatches]:
    """Convert a table to the schema, without the rows that do not fit; missing columns are null."""
    import pyarrow

    if table.schema.equals(schema):
        return table, {}
    mismatches: Mismatches = {}
    arrays = []
    for field in schema:
        index = table.schema.get_field_index(field.name)
        if index < 0:
            arrays.append(pyarrow.nulls(len(table), field.type))
            continue
        column = table.column(index)
        try:
            arrays.append(column if column.type == field.type else column.cast(field.type))
        except pyarrow.ArrowException:
            arrays.append(_to_array(column.to_pylist(), field, mismatches))
    return _drop_rows(pyarrow.Table.from_arrays(arrays, schema=schema), mismatches)


def _drop_rows(table: Any, mismatches: Mismatches) -> tuple[Any, Mismatches]:
    import pyarrow

    if mismatches:
        table = table.filter(pyarrow.array([index not in mismatches for index in range(len(table))]))
    return table, mismatches


def _to_array(values: list[Any], field: Any, mismatches: Mismatches) -> Any:
    """Convert values to an array; a value that does not fit becomes null and is added to ``mismatches``."""
    import pyarrow

    with suppress(*_arrow_errors()):
        array = pyarrow.array(values, field.type)
        if _is_own_type(values, array.type) or all(map(_is_equal, values, array.to_pylist())):
            return array
    for index, value in enumerate(values):
        if not _fits(value, field.type):
            expected, text = str(field.type)[:60], str(value)[:60]
            mismatches.setdefault(index, f"column {field.name[:60]!r}: expected {expected}, found {text!r}")
            values[index] = None
    return pyarrow.array(values, field.type)


def _is_own_type(values: list[Any], dtype: Any) -> bool:
    """Whether all values are of the Python type of a ``pyarrow`` type, which then holds them unchanged.

    Others have to be compared: ``pyarrow`` turns 1.5 into 1.
    """
    from pyarrow import types

    is_type = {str: types.is_string, int: types.is_integer, float: types.is_float64, bool: types.is_boolean}
    python_types = set(map(type, values)) - {type(None)}
    return (
        len(python_types) == 1
        and (python_type := python_types.pop()) in is_type
        and is_type[python_type](dtype)
    )


def _fits(value: Any, dtype: Any) -> bool:
    import pyarrow

    try:
        return _is_equal(value, pyarrow.array([value], dtype)[0].as_py())
    except _arrow_errors():
        return False


def _is_equal(value: Any, converted: Any) -> bool:
    """Whether a value is unchanged; keys that an object lacks are null."""
    if isinstance(value, dict) and isinstance(converted, dict):
        return all(_is_equal(value.get(key), converted.get(key)) for key in {*value, *converted})
    if isinstance(value, list) and isinstance(converted, list):
        return len(value) == len(converted) and all(map(_is_equal, value, converted))
    if isinstance(value, bool) or isinstance(converted, bool):
        return value is converted
    return bool(value == converted) or (value != value and converted != converted)  # NaN


def _arrow_errors() -> tuple[type[Exception], ...]:
    """What ``pyarrow`` raises for a value of another type."""
    import pyarrow

    return (pyarrow.ArrowException, OverflowError, TypeError, ValueError, RecursionError)
