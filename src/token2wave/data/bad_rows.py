"""Collects the rows that cannot be used: to count them in one error, or to leave them out and list them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from token2wave.errors import DataError
from token2wave.options import DataOptions
from token2wave.storage.atomic import private_files
from token2wave.storage.outputs import Outputs
from token2wave.storage.tables import write_table

HEADER = ("file", "row", "line", "problem", "beginning")
MAX_COUNTED = 100_000  # of a file whose first bad row is an error
MAX_BAD_FRACTION = 0.5
MAX_BEGINNING = 200  # characters of a row that are shown


class BadRow(NamedTuple):
    """A row that cannot be used.

    Attributes:
        source: the file or data set.
        row: its number, from 1; None for a blank line.
        line: the line it starts on, if that is known.
        category: as in "3 rows are ...".
        problem: what is wrong.
        beginning: its first characters, or those of its text.
    """

    source: str
    row: int | None
    line: int | None
    category: str
    problem: str
    beginning: str


class BadRows:
    """The bad rows of a file, each with its first fault.

    Args:
        source: the file or data set.
        skip: whether to leave them out, instead of raising an error; None: as False, where it is no option.
        saved_as: the file that will list them, for the note.
    """

    def __init__(
        self, source: str, skip: bool | None, saved_as: str | os.PathLike[str] | None = None
    ) -> None:
        self.source, self.skip, self.saved_as = source, skip, saved_as
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self._rows: dict[tuple[int, int], BadRow] = {}  # by row and line
        self._first: tuple[tuple[int, int], DataError] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self, error: DataError, category: str, row: int | None, line: int | None, beginning: str = ""
    ) -> None:
        """Note the fault of a row, unless it has one already.

        Raises:
            DataError: there are too many to count.
        """
        key = row or 0, line or 0
        if key not in self._rows:
            bad_row = BadRow(self.source, row, line, category, error.problem, beginning[:MAX_BEGINNING])
            self._rows[key] = bad_row
            if self._first is None or (line or row or 0, row or 0) < self._first[0]:
                self._first = (line or row or 0, row or 0), error
        if not self.skip and len(self) >= MAX_COUNTED:
            self.require_few(len(self))

    def require_few(self, n_rows: int) -> None:
        """Raise the first fault if bad rows are errors, or an error if most of ``n_rows`` are bad."""
        if self._first is None:
            return
        first = self._first[1]
        if not self.skip:
            count = f"{'at least ' if len(self) >= MAX_COUNTED else ''}{len(self):,}"
            others = f" (the first of {count} bad rows)" if len(self) > 1 else ""
            hint = first.hint or "correct the row"
            hint += (
                "; or leave such rows out with --skip-bad-rows (skip_bad_rows=True)"
                if self.skip is False
                else ""
            )
            raise DataError(f"{first.problem}{others}", location=first.location, hint=hint) from None
        if len(self) > MAX_BAD_FRACTION * n_rows:
            raise DataError(
                f"{len(self):,} of {n_rows:,} rows cannot be read, {self._categories()}; the first: {first}",
                location=self.source,
                hint="check delimiter, encoding and columns, since so many rows are hardly all wrong",
            )

    def rows(self, texts: Mapping[int, str]) -> tuple[BadRow, ...]:
        """The bad rows in the order of the file; ``texts`` are those that could be read, by row."""
        rows = sorted(self._rows.values(), key=lambda bad: (bad.line or bad.row or 0, bad.row or 0))
        return tuple(
            bad if bad.beginning else bad._replace(beginning=texts.get(bad.row or 0, "")[:MAX_BEGINNING])
            for bad in rows
        )

    def numbers(self) -> set[int]:
        """The numbers of the bad rows."""
        return {row for row, _ in self._rows}

    def note(self, n_rows: int) -> list[str]:
        """Count the skipped rows among ``n_rows`` in one sentence; nothing if there are none."""
        if not self._rows:
            return []
        where = f"; all are in {self.saved_as}" if self.saved_as is not None else ""
        name = Path(self.source).name
        verb = "rows was" if len(self) == 1 else "rows were"
        return [f"{name}: {len(self):,} of {n_rows:,} {verb} skipped, {self._categories()}{where}"]

    def _categories(self) -> str:
        counts = Counter(bad.category for bad in self._rows.values())
        return ", ".join(f"{count:,} {category}" for category, count in counts.most_common())


def check_bad_rows(options: DataOptions, outputs: Outputs) -> None:
    """Check before any work that the list of bad rows can be written, if the options name one.

    Raises:
        OutputError: it cannot, or something else would be lost.
    """
    if options.bad_rows is not None:
        outputs.check_file(options.bad_rows, "list of bad rows")


def write_bad_rows(options: DataOptions, rows: Iterable[BadRow], outputs: Outputs) -> None:
    """Write bad rows to the file that the options name, if there are any."""
    rows = list(rows)
    if options.bad_rows is None or not rows:
        return
    with private_files(outputs.is_private):
        cells = ((row.source, row.row, row.line, row.problem, row.beginning) for row in rows)
        write_table(Path(options.bad_rows), HEADER, cells)
