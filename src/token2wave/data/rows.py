"""What readers of streams hand on: rows, and what could not be read; and how much of each there may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

ROWS_CHUNK = 8192


@dataclass(frozen=True)
class Limits:
    """What one row may take; a row beyond is set aside.

    Attributes:
        line_bytes: of a line, its end included; also characters of a field of CSV. JSON may take 30 times so
            much memory.
        columns: of a file with a header, and keys of a JSON object.
        bytes_at_once: rows are handed on once they hold so many bytes, even if they are few.
    """

    line_bytes: int = 16 << 20
    columns: int = 10_000
    bytes_at_once: int = 16 << 20


class Rejected(NamedTuple):
    """What could not be read.

    Attributes:
        at: its place; see :meth:`Segment.where`.
        reason: why.
        beginning: of the row, as far as it makes sense.
        n_rows: how many rows it stands for; 1 where nobody knows, as behind the break of a damaged file.
    """

    at: int
    reason: str
    beginning: str = ""
    n_rows: int = 1


@dataclass
class Rows:
    """Some rows of a segment, in their order.

    Attributes:
        places: ``(n,)`` int64, of each; see :meth:`Segment.where`.
        records: the rows of a file of lines or of CSV, as their values by column; keys may differ in JSON.
        table: the rows of Parquet, a ``pyarrow.Table``.
        rejected: what could not be read among or behind them.
    """

    places: NDArray[np.int64]
    records: list[dict[str, Any]] | None = None
    table: Any = None
    rejected: list[Rejected] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.places)

    def values(self, column: str) -> list[Any]:
        """The values of a column, as Python has them; None where a JSON object lacks it."""
        if self.records is not None:
            return [record.get(column) for record in self.records]
        return cast("list[Any]", self.table.column(column).to_pylist())
