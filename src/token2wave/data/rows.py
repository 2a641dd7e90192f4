"""Segments of files, blocks of their rows, and the limits of a row."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import locate

ROWS_CHUNK = 8192
COMPRESSIONS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
SEPARATORS = {".csv": ",", ".tsv": "\t"}
JSON_FORMATS = (".jsonl", ".ndjson")
TEXT_FORMATS = (".txt", ".fasttext", ".ft")
LINE_FORMATS = (*JSON_FORMATS, *TEXT_FORMATS)
FORMATS = (*SEPARATORS, *JSON_FORMATS, ".parquet", *TEXT_FORMATS)


@dataclass(frozen=True)
class Segment:
    """A range of a file; plain data that can be sent to another process.

    Attributes:
        path: the file.
        format: the suffix of its format, in lower case, without that of a compression.
        compression: the suffix of the compression; empty if there is none.
        first: first row group of Parquet; first byte of a plain file of lines; else 0.
        last: one past the last; None: to the end.
        quoting: of CSV and TSV; see :class:`token2wave.DataOptions`.
    """

    path: str
    format: str
    compression: str = ""
    first: int = 0
    last: int | None = None
    quoting: str = "auto"

    @property
    def counts_bytes(self) -> bool:
        """Whether a row's place is its first byte; else it is its number, from 1."""
        return self.format in LINE_FORMATS and not self.compression

    def location(self, at: int) -> str:
        """The place of a row, for an error message."""
        return f"{self.path}, byte {at}" if self.counts_bytes else locate(self.path, row=at)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class RowLimits:
    """Limits of a row. No size that a file claims is trusted.

    Attributes:
        line_bytes: bytes of a line, its end included; also characters of a field of CSV.
        columns: columns of a file with a header, and keys of a JSON object.
        json_values: commas and brackets in a line of JSON; each value may take 100 bytes in Python.
        block_bytes: a block ends once its rows hold so many bytes, even if they are few.
    """

    line_bytes: int = 16 << 20
    columns: int = 10_000
    json_values: int = 4_000_000
    block_bytes: int = 16 << 20


IN_MEMORY = RowLimits(line_bytes=64 << 20)
"""The limits for files that are read into memory."""


class Rejected(NamedTuple):
    """A row that cannot be read.

    Attributes:
        at: its place; see :meth:`Segment.location`.
        reason: why.
        beginning: of the row, as far as it makes sense.
        n_rows: how many rows it stands for; 1 if unknown, as after the break of a damaged file.
    """

    at: int
    reason: str
    beginning: str = ""
    n_rows: int = 1


@dataclass
class RowBlock:
    """A block of rows of a segment, in their order.

    Attributes:
        places: ``(n,)`` int64, the place of each; see :meth:`Segment.location`.
        records: the rows of a file of lines or of CSV, as their values by column; keys may differ in JSON.
        table: the rows of Parquet, a ``pyarrow.Table``.
        rejected: the rows among or after them that cannot be read.
    """

    places: NDArray[np.int64]
    records: list[dict[str, Any]] | None = None
    table: Any = None
    rejected: list[Rejected] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.places)

    def values(self, column: str) -> list[Any]:
        """The values of a column as Python objects; None if a JSON object lacks it."""
        if self.records is not None:
            return [record.get(column) for record in self.records]
        return cast("list[Any]", self.table.column(column).to_pylist())
