"""Scores files of any size: predictions for every row, in parts; an interrupted job can be resumed."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from token2wave.config import parse_size
from token2wave.core import n_threads
from token2wave.data.file_segments import find_inputs, segments_of
from token2wave.data.rows import Segment
from token2wave.errors import ConfigError, DataError
from token2wave.scoring import local_engine
from token2wave.scoring.batch_predictor import BatchPredictor, PredictionOptions, arrow_fields, column_names
from token2wave.scoring.filters import Filter
from token2wave.scoring.input_schema import InputSchema, infer_schema, require_columns, serialize_schema
from token2wave.scoring.job import Job, ScoringSummary, input_identity, open_job
from token2wave.scoring.output_parts import JobConfig, OutputPart, checksum

if TYPE_CHECKING:
    from token2wave.training.callbacks import Callback

ENGINES = ("local", "ray")
FORMATS = ("parquet", "jsonl")
PART_BYTES = 32 << 20
MIN_PART_BYTES = 1 << 10
UNPACKED = 3  # about how much larger compressed text becomes, for the progress bar alone


def score(
    model: str | os.PathLike[str],
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    engine: str = "local",
    workers: int | None = None,
    text_column: str = "text",
    columns: Sequence[str] | None = None,
    keep: str | None = None,
    format: str = "parquet",
    top_k: int = 1,
    probabilities: bool = False,
    novelty: bool = False,
    prefix: str = "",
    part_size: int | str = PART_BYTES,
    callbacks: Sequence[Callback] = (),
) -> ScoringSummary:
    """Predict every row of files of any size, and write the rows with their predictions.

    The number of workers bounds the memory, not the input. The output comes in parts. After an interruption
    of any kind, the same call resumes with the parts that are not finished.

    Args:
        model: path of the model file.
        inputs: files, folders or patterns: Parquet, JSON lines, CSV, fastText or plain text, also compressed.
        output: folder of the output: new, empty, or that of the same job.
        engine: ``local`` for the cores of this machine; ``ray`` for Ray Data on the cluster that Ray finds.
        workers: processes; by default one for each core; with Ray, what the cluster offers.
        text_column: the column of the texts.
        columns: the columns to keep; all, if None.
        keep: a filter, e.g. ``label == 'good' and confidence > 0.9``; other rows are left out.
        format: ``parquet`` or ``jsonl``.
        top_k: add a column ``top`` of so many most probable classes, where more than one.
        probabilities: add a column ``probabilities`` with that of every class.
        novelty: add a column ``novelty``; a filter that reads it asks for it, too.
        prefix: prefix of the names of the added columns.
        part_size: about how large a part is in memory: bytes, or e.g. ``"64MB"``.
        callbacks: reported how it goes.

    Returns:
        All counts.

    Raises:
        ConfigError: a setting or the filter is wrong, or the folder holds a job of other settings.
        DataError: an input is not there, or its columns cannot be used.
        ModelFileError: as :func:`token2wave.load`.
        OutputError: the output cannot be written; finished parts are kept.
        MissingExtraError: Parquet or Ray is asked for, and not installed.
    """
    part_bytes = parse_size(part_size, "part_size")
    _require(engine, format, workers, part_bytes)
    from token2wave.training.callbacks import CallbackList

    parsed = None if keep is None else Filter.parse(keep)
    options = PredictionOptions(
        top_k, probabilities, novelty or (parsed is not None and parsed.reads_novelty), prefix
    )
    predictor = BatchPredictor(model, text_column=text_column, **options._asdict())
    names = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    segments = segments_of(find_inputs(names), part_bytes)
    if not segments:
        raise DataError("expected rows, found empty files alone", location="input", hint="name other files")
    classifier = predictor.classifier
    added = arrow_fields(classifier, options) if format == "parquet" else []
    input_columns = infer_schema(segments, text_column, with_types=format == "parquet")
    kept_columns = None if columns is None else tuple(dict.fromkeys(columns))
    require_columns(input_columns, kept_columns or (), column_names(classifier, options))
    if parsed is not None:
        parsed.check(
            classifier.label_names, classifier.multi_label, input_columns.kinds, input_columns.is_open
        )
    schema = (
        serialize_schema([*_output_fields(input_columns, kept_columns), *added])
        if format == "parquet"
        else None
    )
    config = JobConfig(
        predictor.model,
        os.path.abspath(output),
        text_column,
        kept_columns,
        keep,
        format,
        options,
        part_bytes,
        schema,
    )
    identity = {
        "settings": {k: v for k, v in config.to_dict().items() if k not in ("model", "folder", "schema")},
        "model_sha256": checksum(Path(config.model)),
        "inputs": input_identity(segments),
        "schema": schema,
    }
    callback_list = CallbackList(callbacks)
    with open_job(config, segments, identity) as job:
        begun = time.perf_counter()
        bar = _ProgressBar(job, callback_list)
        if engine == "local":
            local_engine.run(job, workers or n_threads(), bar.finished)
        else:
            from token2wave.scoring import ray_engine

            ray_engine.run(job, workers, bar.finished)
        summary = job.finish()
    if bar.n_read:
        rate = bar.n_read / (time.perf_counter() - begun)
        summary = ScoringSummary(**{**summary.__dict__, "texts_per_second": rate})
    return summary


def _output_fields(input_schema: InputSchema, columns: Sequence[str] | None) -> list[Any]:
    """Fields of the columns that are kept_columns, for Parquet."""
    import pyarrow

    names = list(input_schema.types) if columns is None else columns
    return [pyarrow.field(name, input_schema.types.get(name, pyarrow.string())) for name in names]


def _require(engine: str, format: str, workers: int | None, part_bytes: int) -> None:
    for name, value, allowed in (("engine", engine, ENGINES), ("format", format, FORMATS)):
        if value not in allowed:
            raise ConfigError(f"expected {' or '.join(allowed)}, found {value!r}", location=name)
    if workers is not None and workers < 1:
        raise ConfigError(f"expected at least one, found {workers}", location="workers")
    if part_bytes < MIN_PART_BYTES:
        raise ConfigError(
            f"expected at least {MIN_PART_BYTES} bytes, found {part_bytes}", location="part_size"
        )


class _ProgressBar:
    """Reports progress in bytes of the input; the unpacked size of a compressed file is estimated."""

    def __init__(self, job: Job, callback_list: Any) -> None:
        self.callback_list = callback_list
        self.n_read = 0
        self.weights = [_estimate_bytes(segment) for segment in job.segments]
        self.reported: dict[int, int] = {}
        callback_list.stage("scoring", sum(self.weights))
        for parts in list(job.finished.values()):
            for part in parts.values():
                self._advance(part)

    def finished(self, part: OutputPart) -> None:
        """Count a part that is recorded."""
        self.n_read += part.n_written + part.n_filtered + part.n_rejected
        self._advance(part)

    def _advance(self, part: OutputPart) -> None:
        reported, weight = self.reported.get(part.segment, 0), self.weights[part.segment]
        step = weight - reported if part.is_last else min(part.size, weight - reported)
        self.reported[part.segment] = reported + step
        self.callback_list.advance(step)


def _estimate_bytes(segment: Segment) -> int:
    """About how many bytes of text a segment has."""
    size = os.stat(segment.path).st_size
    if segment.counts_bytes:
        return (size if segment.last is None else segment.last) - segment.first
    if segment.format == ".parquet":
        return PART_BYTES
    return size * (UNPACKED if segment.compression else 1)
