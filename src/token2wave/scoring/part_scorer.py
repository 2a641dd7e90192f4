"""Scores a segment of the input into parts of the output; every engine does this, in any process.

A part holds consecutive blocks of rows of a segment. Where it begins and ends depends on the input alone. It
is written to the staging folder, and :class:`token2wave.scoring.job.Job` moves it to its place.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from token2wave.data.parquet import parquet_file
from token2wave.data.reader import read_segment
from token2wave.data.rows import ROWS_CHUNK, Rejected, RowBlock, RowLimits, Segment
from token2wave.scoring.batch_predictor import BatchPredictor, Predictions
from token2wave.scoring.filter_parsing import Field
from token2wave.scoring.filters import Filter
from token2wave.scoring.input_schema import SchemaMismatch, cast_table, parse_schema, table_from_records
from token2wave.scoring.output_parts import (
    STAGING,
    JobConfig,
    OutputPart,
    PartFile,
    cannot_write,
    checksum,
    part_paths,
)
from token2wave.scoring.output_writer import json_line, open_writer

MAX_NUMBERS = 1 << 23  # probabilities at once
UNDIVIDED_FACTOR = 4  # only a segment so many times as large as a part is divided


class SegmentScorer:
    """Scores segments, one after the other.

    Args:
        config: the settings of the job.
    """

    def __init__(self, config: JobConfig) -> None:
        self.config = config
        self.filter = None if config.keep is None else Filter.parse(config.keep)
        self.schema = None if config.schema is None else parse_schema(config.schema)
        self.predictor = BatchPredictor(
            config.model, text_column=config.text_column, **config.prediction._asdict()
        )

    def score_segment(
        self,
        segment: Segment,
        number: int,
        done: Collection[int] = (),
        set_aside: tuple[int, str] | None = None,
    ) -> Iterator[OutputPart]:
        """Score a segment, and yield its parts as they are written.

        Args:
            segment: what to read.
            number: its number.
            done: numbers of its parts that are finished; their rows are skipped.
            set_aside: number of a part to skip, and why; its rows are rejected.

        Raises:
            DataError: the file can no longer be read.
            OutputError: a part cannot be written.
        """
        part = 0
        writing: _PartWriter | None = None
        size = 0
        most = self.config.part_bytes * (UNDIVIDED_FACTOR if _is_divided(segment) else 1)
        try:
            for rows in self._blocks(segment):
                if size >= most:
                    if writing is not None:
                        yield writing.finished(is_last=False)
                    part, size, writing = part + 1, 0, None
                size += _size(rows, self.config.text_column)
                if part in done:
                    continue
                reason = set_aside[1] if set_aside is not None and set_aside[0] == part else ""
                writing = writing or _PartWriter(self, segment, number, part, reason)
                writing.add(rows)
            if part not in done:
                writing = writing or _PartWriter(self, segment, number, part, "")
                yield writing.finished(is_last=True)
        finally:
            if writing is not None:
                writing.drop()

    def _blocks(self, segment: Segment) -> Iterator[RowBlock]:
        columns = None
        if segment.format == ".parquet" and self.config.columns is not None:
            needed = [*self.config.columns, *(self.filter.columns if self.filter else ())]
            with parquet_file(Path(segment.path)) as file:
                there = set(file.schema_arrow.names)
            columns = [name for name in dict.fromkeys(needed) if name in there]
        n_classes = len(self.predictor.classifier.label_names)
        n_rows = max(min(ROWS_CHUNK, MAX_NUMBERS // n_classes), 1)
        return read_segment(segment, self.config.text_column, columns, RowLimits(), n_rows)

    def filter_mask(
        self, rows: RowBlock, predictions: Predictions
    ) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
        """The rows that the filter keeps, ``(N,)`` bool; None keeps all."""
        if self.filter is None:
            return None
        names, probabilities = predictions.names, predictions.probabilities

        def values_of(field: Field) -> Any:
            match field.source, field.name:
                case "probability", _:
                    return probabilities[:, names.index(field.name)]
                case "prediction", "confidence":
                    return predictions.confidence()
                case "prediction", "novelty":
                    return predictions.novelty
                case "prediction", "label":
                    return [names[i] for i in predictions.best().tolist()]
                case "prediction", "labels":
                    return predictions.assigned_labels()
            if rows.records is not None:
                return rows.values(field.name)
            index = rows.table.schema.get_field_index(field.name)
            return [None] * len(rows) if index < 0 else rows.table.column(index)

        return self.filter.mask(len(rows), values_of)


class _PartWriter:
    """Writes one part, block by block."""

    def __init__(
        self, scorer: SegmentScorer, segment: Segment, number: int, part: int, set_aside: str
    ) -> None:
        self.scorer, self.config, self.segment = scorer, scorer.config, segment
        self.number, self.part, self.set_aside = number, part, set_aside
        self.n_written = self.n_filtered = self.n_rejected = self.size = 0
        self.paths = part_paths(number, part, self.config.format)
        self.token = f"{Path(self.paths[0]).stem}.{os.getpid()}.{secrets.token_hex(4)}"
        self.folder = Path(self.config.folder)
        self.writer: Any = None
        self.reject_file: Any = None
        self.is_finished = False

    def add(self, rows: RowBlock) -> None:
        """Score a block and write it."""
        self.size += _size(rows, self.config.text_column)
        self._reject(rows.rejected)
        if self.set_aside:
            self._reject([Rejected(int(at), self.set_aside) for at in rows.places])
        elif len(rows):
            self._score(rows)

    def _score(self, rows: RowBlock) -> None:
        scorer, text_column = self.scorer, self.config.text_column
        texts = rows.values(text_column) if rows.records is not None else rows.table.column(text_column)
        predictions = scorer.predictor.predictions(texts)
        mask = scorer.filter_mask(rows, predictions)
        places = rows.places
        if rows.records is not None:
            added = [dict(zip(added_names, row, strict=True)) for added_names, row in _rows(predictions)]
            both = list(zip(rows.records, added, strict=True))
            if mask is not None:
                both = [pair for pair, keeps in zip(both, mask, strict=True) if keeps]
            n_kept, output, mismatches = len(both), *self._from_records(both)
        else:
            table = rows.table
            if self.config.columns is not None:
                table = table.select([name for name in self.config.columns if name in table.column_names])
            for name, column in predictions.arrow().items():
                table = table.append_column(name, column)
            if mask is not None:
                table = table.filter(_arrow_mask(mask))
            n_kept = len(table)
            output, mismatches = (table, []) if scorer.schema is None else cast_table(table, scorer.schema)
        self.n_filtered += len(rows) - n_kept
        if mismatches:
            kept_places = places if mask is None else places[mask]
            self._reject([Rejected(int(kept_places[row]), reason) for row, reason in mismatches])
        if len(output):
            self.n_written += len(output)
            try:
                self._open_writer().write(output)
            except OSError as error:
                raise cannot_write(self.folder, error) from error

    def _from_records(
        self, both: Sequence[tuple[dict[str, Any], dict[str, Any]]]
    ) -> tuple[Any, list[SchemaMismatch]]:
        """Join records and predictions to a table or to lines, and find the rows that do not fit."""
        columns = self.config.columns
        merged, clashes, numbers = [], [], []
        for row, (record, added) in enumerate(both):
            kept = record if columns is None else {n: record[n] for n in columns if n in record}
            clash = next((name for name in added if name in kept), None)
            if clash is None:
                merged.append({**kept, **added})
                numbers.append(row)
            else:
                clashes.append(SchemaMismatch(row, f"has a column {clash!r}, which predictions add, too"))
        if self.scorer.schema is None:
            lines = []
            for row, record in zip(numbers, merged, strict=True):
                try:
                    lines.append(json_line(record))
                except (ValueError, RecursionError) as error:
                    clashes.append(SchemaMismatch(row, f"cannot be written as JSON ({str(error)[:100]})"))
            return lines, sorted(clashes)
        table, mismatches = table_from_records(merged, self.scorer.schema)
        return table, sorted(
            [*clashes, *(SchemaMismatch(numbers[row], reason) for row, reason in mismatches)]
        )

    def _open_writer(self) -> Any:
        if self.writer is None:
            path = self._staged(self.config.format)
            self.writer = open_writer(self.config.format, path, self.scorer.schema, self.config.text_column)
        return self.writer

    def _staged(self, suffix: str) -> Path:
        return self.folder / STAGING / f"{self.token}.{suffix}"

    def _reject(self, rejects: Sequence[Rejected]) -> None:
        if not rejects:
            return
        try:
            if self.reject_file is None:
                self.reject_file = self._staged("rejected").open("wb")
            for reject in rejects:
                self.n_rejected += reject.n_rows
                document = {"path": self.segment.path, "at": reject.at, "reason": reject.reason}
                document |= {"beginning": reject.beginning} if reject.beginning else {}
                document |= {"rows": reject.n_rows} if reject.n_rows != 1 else {}
                self.reject_file.write(json.dumps(document).encode("ascii") + b"\n")
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def drop(self) -> None:
        """Close what is still open, and remove it; without effect on what is finished."""
        if self.is_finished:
            return
        if self.writer is not None:
            self.writer.drop()
        with suppress(OSError):
            if self.reject_file is not None:
                self.reject_file.close()
        for suffix in (self.config.format, "rejected"):
            with suppress(OSError):
                self._staged(suffix).unlink()

    def finished(self, is_last: bool) -> OutputPart:
        """Close the files, and return the part."""
        files = []
        try:
            if self.writer is not None:
                self.writer.close()
                files.append(_part_file(self.folder, self._staged(self.config.format), self.paths[0]))
            if self.reject_file is not None:
                self.reject_file.close()
                files.append(_part_file(self.folder, self._staged("rejected"), self.paths[1]))
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        self.is_finished = True
        return OutputPart(
            self.number,
            self.part,
            is_last,
            self.n_written,
            self.n_filtered,
            self.n_rejected,
            self.size,
            tuple(files),
            self.set_aside,
        )


def _part_file(folder: Path, staged: Path, target: str) -> PartFile:
    return PartFile(staged.relative_to(folder).as_posix(), target, staged.stat().st_size, checksum(staged))


def _is_divided(segment: Segment) -> bool:
    return segment.format == ".parquet" or segment.counts_bytes


def _size(rows: RowBlock, text_column: str) -> int:
    if rows.records is None:
        return int(rows.table.nbytes)
    return sum(len(record[text_column]) for record in rows.records) + sum(
        reject.n_rows for reject in rows.rejected
    )


def _rows(predictions: Predictions) -> Iterator[tuple[list[str], tuple[Any, ...]]]:
    values = predictions.values()
    names = list(values)
    for row in zip(*values.values(), strict=True):
        yield names, row


def _arrow_mask(mask: Any) -> Any:
    import pyarrow

    return pyarrow.array(mask)
