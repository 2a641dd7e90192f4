"""Scores a segment of the input and writes it as output parts; every engine runs this, in any process.

An output part holds consecutive rows of a segment. Its bounds depend on the input alone. A part is written to
the staging folder; :meth:`token2wave.scoring.journal.Journal.commit` moves it to its place.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.data.parquet import parquet_file
from token2wave.data.reader import read_segment
from token2wave.data.rows import ROWS_CHUNK, Rejected, RowBlock, Segment
from token2wave.scoring.batch_predictor import BatchPredictor, Predictions
from token2wave.scoring.filter_parsing import Field
from token2wave.scoring.filters import Filter
from token2wave.scoring.input_schema import Mismatches, cast_table, parse_schema, table_from_records
from token2wave.scoring.job import JobConfig, SegmentTask
from token2wave.scoring.journal import (
    STAGING,
    OutputFile,
    OutputPart,
    cannot_write,
    compute_sha256,
    part_paths,
)
from token2wave.scoring.output_formats import JsonLinesOutput, ParquetOutput, encode_json_line

MAX_PROBABILITIES = 1 << 23  # in memory at once
SEGMENT_FACTOR = 4  # a segment is about one part; only one that is so many times larger becomes several


class SegmentScorer:
    """Scores segments of a job one after the other."""

    def __init__(self, config: JobConfig) -> None:
        self.config = config
        self.filter = None if config.keep is None else Filter.parse(config.keep)
        self.schema = None if config.schema is None else parse_schema(config.schema)
        self.predictor = BatchPredictor(
            config.model, text_column=config.text_columns, **config.prediction._asdict()
        )

    def score_segment(self, task: SegmentTask) -> Iterator[OutputPart]:
        """Score a segment, and yield its output parts as they are written.

        Raises:
            DataError: the file can no longer be read.
            OutputError: a part cannot be written.
        """
        is_divisible = task.segment.format == ".parquet" or task.segment.counts_bytes
        max_size = self.config.part_bytes * (SEGMENT_FACTOR if is_divisible else 1)
        number = size = 0
        writer: _PartWriter | None = None
        try:
            for rows in self._read(task.segment):
                if size >= max_size:
                    if writer is not None:
                        yield writer.finish(is_last=False)
                    number, size, writer = number + 1, 0, None
                n_bytes = _count_bytes(rows, self.config.text_column)
                size += n_bytes
                if number in task.finished:
                    continue
                writer = writer or _PartWriter(self, task, number)
                writer.add(rows, n_bytes)
            if number not in task.finished:
                writer = writer or _PartWriter(self, task, number)
                yield writer.finish(is_last=True)
        finally:
            if writer is not None:
                writer.discard()

    def _read(self, segment: Segment) -> Iterator[RowBlock]:
        columns = None
        if segment.format == ".parquet" and self.config.columns is not None:
            needed = [*self.config.columns, *(self.filter.columns if self.filter else ())]
            with parquet_file(Path(segment.path)) as file:
                names = set(file.schema_arrow.names)
            columns = [name for name in dict.fromkeys(needed) if name in names]
        n_classes = len(self.predictor.classifier.label_names)
        n_rows = max(min(ROWS_CHUNK, MAX_PROBABILITIES // n_classes), 1)
        return read_segment(segment, self.config.text_columns, columns, n_rows=n_rows)

    def score_rows(self, rows: RowBlock) -> tuple[Any, int, Mismatches]:
        """Predict and filter a block of rows.

        Returns:
            The rows of the output, a table or encoded lines; the number of rows that the filter left out; and
            the reason for each row that does not fit the output, by its index in the block.
        """
        predictions = self.predictor.predictions(_column(rows, self.config.text_column))
        if len(self.config.text_columns) > 1:
            rows = _without_column(rows, self.config.text_column)
        selected = np.arange(len(rows))
        if self.filter is not None:
            mask = self.filter.mask(len(rows), lambda field: _field_values(field, rows, predictions))
            selected = np.flatnonzero(mask)
        score = self._score_table if rows.records is None else self._score_records
        output, mismatches = score(rows, predictions, selected)
        return output, len(rows) - len(selected), mismatches

    def _score_table(
        self, rows: RowBlock, predictions: Predictions, selected: NDArray[np.int64]
    ) -> tuple[Any, Mismatches]:
        table = rows.table
        if self.config.columns is not None:
            table = table.select([name for name in self.config.columns if name in table.column_names])
        for name, column in predictions.to_arrow().items():
            table = table.append_column(name, column)
        if len(selected) < len(table):
            table = table.take(selected)
        if self.schema is None:
            return table, {}
        table, mismatches = cast_table(table, self.schema)
        return table, {int(selected[index]): reason for index, reason in mismatches.items()}

    def _score_records(
        self, rows: RowBlock, predictions: Predictions, selected: NDArray[np.int64]
    ) -> tuple[Any, Mismatches]:
        assert rows.records is not None
        added: dict[str, Any] = predictions.to_lists() if self.schema is None else predictions.to_arrow()
        records: list[dict[str, Any]] = []
        indices: list[int] = []
        mismatches: Mismatches = {}
        for index in selected.tolist():
            record = rows.records[index]
            if self.config.columns is not None:
                record = {name: record[name] for name in self.config.columns if name in record}
            if added.keys().isdisjoint(record):
                records.append(record)
                indices.append(index)
            else:
                clash = next(name for name in added if name in record)
                mismatches[index] = f"has a column {clash!r}, which predictions add"
        if self.schema is None:
            values = {name: [column[index] for index in indices] for name, column in added.items()}
            output, misfits = _encode_lines(records, values)
        else:
            import pyarrow

            if len(indices) < len(rows):
                at = pyarrow.array(indices, pyarrow.int64())
                added = {name: column.take(at) for name, column in added.items()}
            output, misfits = table_from_records(records, self.schema, added)
        return output, mismatches | {indices[at]: reason for at, reason in misfits.items()}


def _encode_lines(
    records: Sequence[dict[str, Any]], added: dict[str, list[Any]]
) -> tuple[list[bytes], Mismatches]:
    """Encode records with added columns, without those that JSON cannot hold."""
    lines: list[bytes] = []
    mismatches: Mismatches = {}
    for index, (record, values) in enumerate(zip(records, zip(*added.values(), strict=True), strict=True)):
        try:
            lines.append(encode_json_line(record | dict(zip(added, values, strict=True))))
        except (ValueError, RecursionError) as error:
            mismatches[index] = f"cannot be written as JSON ({str(error)[:100]})"
    return lines, mismatches


class _PartWriter:
    """Writes one output part, block by block."""

    def __init__(self, scorer: SegmentScorer, task: SegmentTask, number: int) -> None:
        self.scorer, self.config, self.task, self.number = scorer, scorer.config, task, number
        self.is_quarantined = number == task.quarantined
        self.n_written = self.n_filtered = self.n_rejected = self.size = 0
        self.folder = Path(self.config.folder)
        self.paths = part_paths(task.number, number, self.config.format)
        token = f"{Path(self.paths[0]).stem}.{os.getpid()}.{secrets.token_hex(4)}"
        self.staged = [self.folder / STAGING / f"{token}.{name}" for name in (self.config.format, "rejected")]
        self.rejects = JsonLinesOutput(self.staged[1])
        self.output: ParquetOutput | JsonLinesOutput = JsonLinesOutput(self.staged[0])
        if self.config.format == "parquet":
            self.output = ParquetOutput(self.staged[0], scorer.schema, self.config.text_column)
        self.is_finished = False

    def add(self, rows: RowBlock, n_bytes: int) -> None:
        """Score a block and write it."""
        self.size += n_bytes
        try:
            self._reject(rows.rejected)
            if self.is_quarantined:
                self._reject([Rejected(at, self.task.reason) for at in rows.places.tolist()])
            elif len(rows):
                output, n_filtered, mismatches = self.scorer.score_rows(rows)
                self.n_filtered += n_filtered
                self._reject([Rejected(int(rows.places[i]), mismatches[i]) for i in sorted(mismatches)])
                if len(output):
                    self.n_written += len(output)
                    self.output.write(output)
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def _reject(self, rejects: Sequence[Rejected]) -> None:
        for reject in rejects:
            self.n_rejected += reject.n_rows
            record = {"path": self.task.segment.path, "at": reject.at, "reason": reject.reason}
            record |= {"beginning": reject.beginning} if reject.beginning else {}
            record |= {"rows": reject.n_rows} if reject.n_rows != 1 else {}
            self.rejects.write([json.dumps(record).encode("ascii") + b"\n"])

    def finish(self, is_last: bool) -> OutputPart:
        """Close the files, and return the part."""
        files = []
        try:
            for output, path in zip((self.output, self.rejects), self.paths, strict=True):
                output.close()
                if output.path.exists():
                    staged = output.path.relative_to(self.folder).as_posix()
                    n_bytes, sha256 = output.path.stat().st_size, compute_sha256(output.path)
                    files.append(OutputFile(staged, path, n_bytes, sha256))
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        self.is_finished = True
        counts = (self.n_written, self.n_filtered, self.n_rejected, self.size)
        number = self.task.number
        return OutputPart(number, self.number, is_last, *counts, tuple(files), self.is_quarantined)

    def discard(self) -> None:
        """Close and remove the files of an unfinished part."""
        if self.is_finished:
            return
        for output in (self.output, self.rejects):
            with suppress(Exception):
                output.close(discard=True)
            output.path.unlink(missing_ok=True)


def _column(rows: RowBlock, name: str) -> Any:
    """The values of a column; None where rows lack it."""
    if rows.records is not None:
        return rows.values(name)
    index = rows.table.schema.get_field_index(name)
    return [None] * len(rows) if index < 0 else rows.table.column(index)


def _field_values(field: Field, rows: RowBlock, predictions: Predictions) -> Any:
    """The values of a field of the filter."""
    names = predictions.classifier.label_names
    match field.source, field.name:
        case "probability", name:
            return predictions.probabilities[:, names.index(name)]
        case "prediction", "confidence":
            return predictions.confidence
        case "prediction", "novelty":
            return predictions.novelty
        case "prediction", "score":
            return predictions.scores
        case "prediction", "known":
            return predictions.known
        case "prediction", _:
            return predictions.labels
    return _column(rows, field.name)


def _without_column(rows: RowBlock, name: str) -> RowBlock:
    """The same rows without the column of joined texts, which the file does not have."""
    if rows.records is None:
        return replace(rows, table=rows.table.drop_columns([name]))
    for record in rows.records:
        record.pop(name, None)
    return rows


def _count_bytes(rows: RowBlock, text_column: str) -> int:
    """The approximate size of a block in memory."""
    if rows.records is None:
        return int(rows.table.nbytes)
    n_rejected = sum(reject.n_rows for reject in rows.rejected)
    return n_rejected + sum(len(record[text_column]) for record in rows.records)
