"""The output formats: Parquet and JSON lines."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from token2wave.data.fast_json import fast_object_encoder

ROW_GROUP_ROWS = 1 << 16
ROW_GROUP_BYTES = 32 << 20


class ParquetOutput:
    """Writes tables to a Parquet file, which the first table creates.

    Texts get no dictionary and no statistics, which cost much and say nothing.
    """

    def __init__(self, path: Path, schema: Any, text_column: str) -> None:
        self.path, self.schema, self.text_column = path, schema, text_column
        self.buffer: list[Any] = []
        self.n_rows = self.n_bytes = 0
        self.writer: Any = None

    def write(self, rows: Any) -> None:
        """Write a table, together with those before it."""
        self.buffer.append(rows)
        self.n_rows += len(rows)
        self.n_bytes += rows.nbytes
        if self.n_rows >= ROW_GROUP_ROWS or self.n_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow
        from pyarrow import parquet

        if not self.buffer:
            return
        if self.writer is None:
            names = [name for name in self.schema.names if name != self.text_column]
            labels = [name for name in names if name.endswith("label")]
            self.writer = parquet.ParquetWriter(
                self.path,
                self.schema,
                compression="snappy",
                use_dictionary=labels or False,
                write_statistics=names or False,
            )
        self.writer.write_table(pyarrow.concat_tables(self.buffer), row_group_size=ROW_GROUP_ROWS * 2)
        self.buffer, self.n_rows, self.n_bytes = [], 0, 0

    def close(self, discard: bool = False) -> None:
        """Write the rest, unless it is discarded, and close the file."""
        try:
            if not discard:
                self._flush()
        finally:
            if self.writer is not None:
                self.writer.close()


class JsonLinesOutput:
    """Writes JSON lines in UTF-8 to a file, which the first line creates."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: Any = None

    def write(self, rows: Any) -> None:
        """Write encoded lines, or the rows of a table."""
        lines = rows if isinstance(rows, list) else map(encode_json_line, rows.to_pylist())
        self.file = self.file or self.path.open("wb")
        self.file.write(b"".join(lines))

    def close(self, discard: bool = False) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()


def encode_json_line(record: Mapping[str, Any]) -> bytes:
    """Encode an object as a line; NaN becomes null, and times and bytes become texts."""
    encode_object = fast_object_encoder()
    if encode_object is not None and (line := encode_object(record)) is not None:
        return line + b"\n"
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError):
        text = json.dumps(_to_json(record), ensure_ascii=False, allow_nan=False)
    try:
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can escape
        return json.dumps(json.loads(text)).encode("ascii") + b"\n"


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (str, int, bool)) or value is None:
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
