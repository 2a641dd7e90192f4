"""Scores files of any size: predicts every row, writes output parts, and resumes interrupted jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from token2wave.config import accept_options, parse_size, require, require_choice
from token2wave.core import n_threads
from token2wave.data.columns import guess_stream_columns, log_notes
from token2wave.data.file_segments import find_inputs, segments_of
from token2wave.data.rows import Segment
from token2wave.data.sources import is_name
from token2wave.errors import ConfigError, DataError, InputError, type_name
from token2wave.options import TextOptions
from token2wave.scoring import local_engine
from token2wave.scoring.batch_predictor import BatchPredictor, PredictionOptions
from token2wave.scoring.filters import Filter
from token2wave.scoring.input_schema import infer_schema, require_columns, serialize_schema
from token2wave.scoring.job import Job, JobConfig, ScoringSummary, check_folders, open_job
from token2wave.scoring.journal import OutputPart
from token2wave.storage.atomic import private_files
from token2wave.storage.outputs import Outputs
from token2wave.training.callbacks import Callback, CallbackList

PART_BYTES = 32 << 20
MIN_PART_BYTES = 1 << 10
COMPRESSION_RATIO = 3  # of text, estimated for the progress bar


@accept_options(data_options=TextOptions)
def score(
    model: str | os.PathLike[str],
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    engine: str = "local",
    workers: int | None = None,
    data_options: TextOptions,
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

    Memory depends on the number of workers, not on the input. After any interruption, the same call resumes
    the job and writes only the output parts that are not finished.

    Args:
        model: path of the model file.
        inputs: files, folders or patterns: Parquet, JSON lines, CSV, fastText or plain text, also compressed.
        output: output folder: new, empty, or that of the same job.
        engine: ``local`` for the cores of this machine; ``ray`` for Ray Data on the cluster that Ray finds.
        workers: number of processes; by default one for each core, or with Ray as many as the cluster offers.
        data_options: the column of the texts, and how files are written. You give its fields as keyword
            arguments.
        columns: input columns to keep; all if None.
        keep: a filter, e.g. ``label == 'good' and confidence > 0.9``; other rows are left out.
        format: ``parquet`` or ``jsonl``.
        top_k: if more than 1, add a column ``top`` of the ``top_k`` most probable classes.
        probabilities: add a column ``probabilities`` with the probability of every class.
        novelty: add a column ``novelty``; a filter that reads it adds it, too.
        prefix: prefix of the names of the added columns.
        part_size: approximate size of an output part in memory: bytes, or e.g. ``"64MB"``.
        callbacks: receive the progress.

    Returns:
        All counts.

    Raises:
        ConfigError: a setting or the filter is wrong, or the folder holds a job with other settings.
        DataError: an input is missing, or its columns cannot be used.
        ModelFileError: as :func:`token2wave.load`.
        OutputError: the output cannot be written, or contains an input; finished parts are kept.
        MissingExtraError: Parquet or Ray is needed and not installed.
    """
    part_bytes = parse_size(part_size, "part_size")
    require_choice(engine, "engine", ("local", "ray"))
    require_choice(format, "format", ("parquet", "jsonl"))
    require(workers is None or workers >= 1, "workers", "at least one", workers)
    require(part_bytes >= MIN_PART_BYTES, "part_size", f"at least {MIN_PART_BYTES} bytes", part_bytes)
    row_filter = None if keep is None else Filter.parse(keep)
    novelty = novelty or (row_filter is not None and row_filter.reads_novelty)
    options = PredictionOptions(top_k, probabilities, novelty, prefix)
    names = [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs
    if not isinstance(names, list | tuple) or not all(map(is_name, names)):
        hint = "name files; for rows in memory call a BatchPredictor"
        problem = f"expected a file or several, found {type_name(inputs)}"
        raise InputError(problem, location="inputs", hint=hint)
    outputs = Outputs([model, *names], recursive=True)
    check_folders(outputs, output)
    predictor = BatchPredictor(model, **options._asdict())
    data_options = data_options.for_pairs(predictor.classifier.is_pairs)
    segments = segments_of(find_inputs(names), part_bytes, data_options)
    if not segments:
        raise DataError("expected rows, found only empty files", location="input", hint="choose other files")
    data_options, notes = guess_stream_columns(segments, data_options)
    log_notes(notes)
    text_columns = data_options.text_columns
    if len(text_columns) > 1 and not data_options.pair:
        hint = "join them in the files, or use token2wave predict --file, which holds a file in memory"
        problem = f"expected one column of texts, found {len(text_columns)}"
        raise ConfigError(problem, location="text_column", hint=hint)
    classifier, is_parquet = predictor.classifier, format == "parquet"
    added_types = predictor.arrow_types() if is_parquet else {}
    input_schema = infer_schema(segments, text_columns, with_types=is_parquet)
    output_columns = None if columns is None else list(dict.fromkeys(columns))
    require_columns(input_schema, output_columns or [], predictor.added_columns())
    if row_filter is not None:
        row_filter.check(
            classifier.label_names,
            classifier.multi_label,
            input_schema.value_types,
            input_schema.is_open,
            classifier.scale is not None,
        )
    config = JobConfig(
        predictor.model,
        os.path.abspath(output),
        text_columns,
        output_columns,
        keep,
        format,
        options,
        part_bytes,
        serialize_schema(input_schema.output_types(output_columns) | added_types) if is_parquet else None,
        outputs.is_private,
    )
    with private_files(outputs.is_private), open_job(config, segments) as job:
        start_time = time.perf_counter()
        progress = _Progress(job, CallbackList.with_logging(callbacks))
        if engine == "local":
            local_engine.run(job, workers or n_threads(), progress.on_commit)
        else:
            from token2wave.scoring import ray_engine

            ray_engine.run(job, workers, progress.on_commit)
        summary = job.finish()
    if not progress.n_read:
        return summary
    return replace(summary, texts_per_second=progress.n_read / (time.perf_counter() - start_time))


class _Progress:
    """Reports progress in bytes of the input, estimated for compressed files."""

    def __init__(self, job: Job, callbacks: CallbackList) -> None:
        self.callbacks, self.n_read = callbacks, 0
        self.remaining = [_estimate_bytes(segment) for segment in job.segments]
        callbacks.stage("scoring", sum(self.remaining))
        for output_part in job.journal:
            self._advance(output_part)

    def on_commit(self, output_part: OutputPart) -> None:
        """Count an output part that this run has finished."""
        self.n_read += output_part.n_read
        self._advance(output_part)

    def _advance(self, output_part: OutputPart) -> None:
        remaining = self.remaining[output_part.segment]
        n_bytes = remaining if output_part.is_last else min(output_part.size, remaining)
        self.remaining[output_part.segment] -= n_bytes
        self.callbacks.advance(n_bytes)


def _estimate_bytes(segment: Segment) -> int:
    """Estimate the bytes of text in a segment."""
    size = os.stat(segment.path).st_size
    if segment.counts_bytes:
        return (size if segment.last is None else segment.last) - segment.first
    if segment.format == ".parquet":
        return PART_BYTES
    return size * (COMPRESSION_RATIO if segment.compression else 1)
