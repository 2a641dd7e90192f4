"""Segments of files, blocks of their rows, and the limits of a row."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import locate

ROWS_CHUNK = 8192
COMPRESSIONS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd", ".zip": "zip"}
WORKBOOKS = (".xlsx", ".ods")  # read as CSV that is packed
SEPARATORS = {".csv": ",", ".tsv": "\t"}
JSON_FORMATS = (".jsonl", ".ndjson")
TEXT_FORMATS = (".txt", ".fasttext", ".ft")
LINE_FORMATS = (*JSON_FORMATS, *TEXT_FORMATS)
FORMATS = (*SEPARATORS, *JSON_FORMATS, ".parquet", *TEXT_FORMATS)


@dataclass(frozen=True)
class Dialect:
    r"""How a file of lines is written; plain data. :func:`token2wave.data.dialects.find_dialect` finds it.

    Attributes:
        delimiter: of the fields of a table; empty: that of the format.
        encoding: Python's name of the encoding.
        quoting: of a table; see :class:`token2wave.DataOptions`. ``auto`` is ``standard``, and stops where a
            quote swallows rows.
        has_header: whether a table begins with the names of its columns.
        n_skipped: lines before the header or the first row.
        unnamed: where each row has a field more than the header: ``first``, ``last`` or nowhere.
        line_end: ``\n``, or ``\r`` where carriage returns alone end lines.
    """

    delimiter: str = ""
    encoding: str = "utf-8"
    quoting: str = "auto"
    has_header: bool = True
    n_skipped: int = 0
    unnamed: str = ""
    line_end: str = "\n"

    @property
    def is_transcoded(self) -> bool:
        """Whether the bytes of the file are not those of lines of UTF-8."""
        return (self.encoding, self.line_end) != ("utf-8", "\n")


@dataclass(frozen=True)
class Segment:
    """A range of a file; plain data that can be sent to another process.

    Attributes:
        path: the file.
        format: the suffix of its format, in lower case, without that of a compression.
        compression: the suffix of the compression; empty if there is none.
        first: first row group of Parquet; first byte of a plain file of lines; else 0.
        last: one past the last; None: to the end.
        dialect: how the file is written.
        pair: whether its two columns of texts are pairs of texts.
    """

    path: str
    format: str
    compression: str = ""
    first: int = 0
    last: int | None = None
    dialect: Dialect = Dialect()
    pair: bool = False

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Segment:
        """Make a segment of plain data."""
        return cls(**{**record, "dialect": Dialect(**record["dialect"])})

    @property
    def counts_bytes(self) -> bool:
        """Whether a row's place is its first byte; else it is its number, from 1."""
        return self.format in LINE_FORMATS and not self.compression and not self.dialect.is_transcoded

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
