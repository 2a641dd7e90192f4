"""Score files of any size: predictions for every row, in parts that are finished once and for all."""

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
from token2wave.scoring import local_engine as local_engine
from token2wave.scoring.batch_predictor import BatchPredictor, PredictionOptions, arrow_fields, column_names
from token2wave.scoring.filters import Filter
from token2wave.scoring.input_schema import InputSchema, infer_schema, require_columns, schema_text
from token2wave.scoring.job import Job, ScoringSummary, input_identity, opened
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

    Memory is bounded by the number of workers, not by the input. The output comes in parts, each finished
    once and for all; the same call after an interruption of any kind goes on with the others.

    Args:
        model: path of the model file.
        inputs: files, folders or patterns: Parquet, JSON lines, CSV, fastText or plain text, also compressed.
        output: folder of the output: new, empty, or that of the same job.
        engine: ``local``: the cores of this machine; ``ray``: Ray Data, on the cluster that Ray finds.
        workers: processes; by default one for each core; with Ray, what the cluster offers.
        text_column: the column of the texts.
        columns: those to keep; all, if None.
        keep: a filter, e.g. ``label == 'good' and confidence > 0.9``; rows that it is false for are left out.
        format: ``parquet`` or ``jsonl``.
        top_k: add a column ``top`` of so many most probable classes, where more than one.
        probabilities: add a column ``probabilities`` with that of every class.
        novelty: add a column ``novelty``; a filter that reads it asks for it, too.
        prefix: what the names of the added columns begin with.
        part_size: about how large a part is, as it lies in memory: bytes, or e.g. ``"64MB"``.
        callbacks: told how it goes.

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
    wanted = PredictionOptions(
        top_k, probabilities, novelty or (parsed is not None and parsed.reads_novelty), prefix
    )
    predictor = BatchPredictor(model, text_column=text_column, **wanted._asdict())
    names = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    segments = segments_of(find_inputs(names), part_bytes)
    if not segments:
        raise DataError("expected rows, found empty files alone", location="input", hint="name other files")
    classifier = predictor.classifier
    added = arrow_fields(classifier, wanted) if format == "parquet" else []
    layout = infer_schema(segments, text_column, with_types=format == "parquet")
    kept = None if columns is None else tuple(dict.fromkeys(columns))
    require_columns(layout, kept or (), column_names(classifier, wanted))
    if parsed is not None:
        parsed.check(classifier.label_names, classifier.multi_label, layout.kinds, layout.is_open)
    schema = schema_text([*_kept_fields(layout, kept), *added]) if format == "parquet" else None
    plan = JobConfig(
        predictor.model, os.path.abspath(output), text_column, kept, keep, format, wanted, part_bytes, schema
    )
    identity = {
        "settings": {k: v for k, v in plan.to_dict().items() if k not in ("model", "folder", "schema")},
        "model_sha256": checksum(Path(plan.model)),
        "inputs": input_identity(segments),
        "schema": schema,
    }
    teller = CallbackList(callbacks)
    with opened(plan, segments, identity) as job:
        begun = time.perf_counter()
        bar = _Progress(job, teller)
        if engine == "local":
            local_engine.run(job, workers or n_threads(), bar.finished)
        else:
            from token2wave.scoring import ray_engine as on_ray

            on_ray.run(job, workers, bar.finished)
        summary = job.finish()
    if bar.n_read:
        rate = bar.n_read / (time.perf_counter() - begun)
        summary = ScoringSummary(**{**summary.__dict__, "texts_per_second": rate})
    return summary


def _kept_fields(layout: InputSchema, columns: Sequence[str] | None) -> list[Any]:
    """Fields of the columns that are kept, for Parquet."""
    import pyarrow

    names = list(layout.types) if columns is None else columns
    return [pyarrow.field(name, layout.types.get(name, pyarrow.string())) for name in names]


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


class _Progress:
    """Tells how far the work is, in bytes of the input; what a compressed file will come to is guessed."""

    def __init__(self, job: Job, teller: Any) -> None:
        self.teller = teller
        self.n_read = 0
        self.weights = [_weight(segment) for segment in job.segments]
        self.told: dict[int, int] = {}
        teller.stage("scoring", sum(self.weights))
        for parts in list(job.finished.values()):
            for part in parts.values():
                self._advance(part)

    def finished(self, part: OutputPart) -> None:
        """A part is recorded."""
        self.n_read += part.n_written + part.n_filtered + part.n_rejected
        self._advance(part)

    def _advance(self, part: OutputPart) -> None:
        told, weight = self.told.get(part.segment, 0), self.weights[part.segment]
        step = weight - told if part.is_last else min(part.size, weight - told)
        self.told[part.segment] = told + step
        self.teller.advance(step)


def _weight(segment: Segment) -> int:
    """About how many bytes of text a segment has."""
    size = os.stat(segment.path).st_size
    if segment.counts_bytes:
        return (size if segment.last is None else segment.last) - segment.first
    if segment.kind == ".parquet":
        return PART_BYTES
    return size * (UNPACKED if segment.compression else 1)
