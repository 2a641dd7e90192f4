"""The two formats of the output."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

ROWS_OF_A_GROUP = 1 << 16
BYTES_OF_A_GROUP = 32 << 20
COMPRESSION = "snappy"


class Writer(Protocol):
    """Writes rows to one file."""

    def write(self, rows: Any) -> None:
        """Write some: a table, or lines of JSON."""

    def close(self) -> None:
        """Write what is left."""

    def drop(self) -> None:
        """Close the file, whatever becomes of it."""


def open_writer(format: str, path: Path, schema: Any, text_column: str) -> Writer:
    """Begin a file.

    Raises:
        OutputError: it cannot be written.
    """
    return ParquetRows(path, schema, text_column) if format == "parquet" else JsonRows(path)


class ParquetRows:
    """Parquet. The texts get no dictionary and no statistics, which would cost much and say nothing."""

    def __init__(self, path: Path, schema: Any, text_column: str) -> None:
        from pyarrow import parquet

        others = [name for name in schema.names if name != text_column]
        predicted = [name for name in others if name.endswith("label")]
        self.path = path
        self.writer = parquet.ParquetWriter(
            path,
            schema,
            compression=COMPRESSION,
            use_dictionary=predicted or False,
            write_statistics=others or False,
        )
        self.waiting: list[Any] = []
        self.n_rows = self.n_bytes = 0

    def write(self, rows: Any) -> None:
        """Write a table, together with those before it."""
        self.waiting.append(rows)
        self.n_rows += len(rows)
        self.n_bytes += rows.nbytes
        if self.n_rows >= ROWS_OF_A_GROUP or self.n_bytes >= BYTES_OF_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        if self.waiting:
            self.writer.write_table(pyarrow.concat_tables(self.waiting), row_group_size=ROWS_OF_A_GROUP * 2)
        self.waiting, self.n_rows, self.n_bytes = [], 0, 0

    def close(self) -> None:
        """Write what is left, and the description of the file."""
        self._flush()
        self.writer.close()

    def drop(self) -> None:
        """Close the file, whatever becomes of it."""
        with suppress(Exception):
            self.writer.close()


class JsonRows:
    """JSON lines in UTF-8."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")

    def write(self, rows: Any) -> None:
        """Write lines, or the rows of a table."""
        lines = rows if isinstance(rows, list) else map(json_line, rows.to_pylist())
        self.file.write(b"".join(lines))

    def close(self) -> None:
        """Write what is left."""
        self.file.close()

    def drop(self) -> None:
        """Close the file, whatever becomes of it."""
        with suppress(OSError):
            self.file.close()


def json_line(record: Mapping[str, Any]) -> bytes:
    """One object with its line end; what JSON has no word for is null or text: NaN, times, bytes."""
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError):
        text = json.dumps(_plain(record), ensure_ascii=False, allow_nan=False)
    try:
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # half a surrogate, which JSON can escape
        return json.dumps(json.loads(text)).encode("ascii") + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (str, int, bool)) or value is None:
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
