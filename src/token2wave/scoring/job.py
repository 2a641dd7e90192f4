"""A scoring job: its settings, the output folder that it owns, and its counts.

:mod:`token2wave.scoring.journal` describes the output folder and records which parts are finished.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from token2wave.data.rows import Segment
from token2wave.errors import ConfigError, DataError, OutputError
from token2wave.scoring.batch_predictor import PredictionOptions
from token2wave.scoring.journal import PARTS, REJECTED, STAGING, Journal, compute_sha256
from token2wave.storage.atomic import atomic_write, lock_file, make_folder, open_to_append
from token2wave.storage.outputs import Outputs
from token2wave.versions import __version__

JOB = "_job/job.json"
LOCK = "_job/lock"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class JobConfig:
    """The settings of a job: arguments of :func:`token2wave.score`, and what follows from them.

    Attributes:
        folder: the output folder.
        text_columns: the column of the texts, or the two columns of pairs.
        prediction: the columns that predictions add.
        part_bytes: approximate size of an output part in memory.
        schema: the serialized output schema, for Parquet.
        is_private: whether only their owner may read the output files.
    """

    model: str
    folder: str
    text_columns: Sequence[str]
    columns: Sequence[str] | None
    keep: str | None
    format: str
    prediction: PredictionOptions
    part_bytes: int
    schema: str | None
    is_private: bool = False

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> JobConfig:
        """Make the settings from their fields, as JSON holds them."""
        return cls(**{**record, "prediction": PredictionOptions(*record["prediction"])})

    @property
    def text_column(self) -> str:
        """The column of the texts, as a block of rows has it; of pairs it is not among those of the file."""
        return ",".join(self.text_columns)

    def identity(self, segments: Sequence[Segment]) -> dict[str, Any]:
        """Return what must be equal for a job to be resumed, as JSON data.

        Raises:
            DataError: an input file is gone.
        """
        settings = asdict(self) | self.prediction._asdict()
        for name in ("model", "folder", "prediction", "is_private"):
            del settings[name]
        inputs = []
        for path in dict.fromkeys(segment.path for segment in segments):
            try:
                state = os.stat(path)
            except OSError as error:
                raise DataError(f"cannot be read ({error.strerror})", location=path) from error
            inputs.append([os.path.abspath(path), state.st_size, state.st_mtime_ns])
        model_sha256 = compute_sha256(Path(self.model))
        identity = {"token2wave": __version__, "model_sha256": model_sha256, "inputs": inputs, **settings}
        identity["dialects"] = [asdict(dialect) for dialect in dict.fromkeys(s.dialect for s in segments)]
        return dict(json.loads(json.dumps(identity)))


@dataclass(frozen=True)
class SegmentTask:
    """A segment to score.

    Attributes:
        number: its number in the job.
        segment: the range of the input file.
        finished: numbers of its finished output parts, to skip.
        quarantined: number of the output part whose rows must be rejected unscored; None for none.
        reason: why they are rejected.
    """

    number: int
    segment: Segment
    finished: Sequence[int]
    quarantined: int | None = None
    reason: str = ""

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> SegmentTask:
        """Make a task from its fields, as JSON holds them."""
        return cls(**{**record, "segment": Segment.from_dict(record["segment"])})


@dataclass(frozen=True)
class ScoringSummary:
    """The counts of a job; ``n_read`` is the sum of the next three.

    Attributes:
        output: the output folder.
        n_read: rows of the input.
        n_written: rows written.
        n_filtered: rows that the filter left out.
        n_rejected: rejected rows; the rest of a damaged file counts as one.
        n_parts: output parts, those without rows included.
        n_quarantined: parts whose rows were all rejected because scoring them ended a process three times.
        n_bytes: size of the files in ``parts``.
        texts_per_second: rows that this run read per second; None if nothing was left to do.
    """

    output: str
    n_read: int
    n_written: int
    n_filtered: int
    n_rejected: int
    n_parts: int
    n_quarantined: int
    n_bytes: int
    texts_per_second: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all counts as JSON data, without the speed."""
        return {name: value for name, value in asdict(self).items() if name != "texts_per_second"}


class Job:
    """A job that this process alone has open: its settings, all segments of its input and its journal."""

    def __init__(self, config: JobConfig, segments: Sequence[Segment]) -> None:
        self.config, self.segments = config, segments
        self.journal = Journal(Path(config.folder), config.format)

    def open_segments(self) -> list[int]:
        """Numbers of the segments that are not complete."""
        return [number for number in range(len(self.segments)) if not self.journal.is_complete(number)]

    def task(self, number: int, quarantined: int | None = None, reason: str = "") -> SegmentTask:
        """Return the task of scoring what is left of a segment."""
        finished = sorted(self.journal.finished[number])
        return SegmentTask(number, self.segments[number], finished, quarantined, reason)

    def finish(self) -> ScoringSummary:
        """Write the counts.

        Raises:
            OutputError: the folder cannot be written to.
        """
        output_parts = list(self.journal)
        files = [file for output_part in output_parts for file in output_part.files]
        counts = ("n_read", "n_written", "n_filtered", "n_rejected")
        summary = ScoringSummary(
            self.config.folder,
            **{name: sum(getattr(output_part, name) for output_part in output_parts) for name in counts},
            n_parts=len(output_parts),
            n_quarantined=sum(output_part.is_quarantined for output_part in output_parts),
            n_bytes=sum(file.n_bytes for file in files if file.path.startswith(PARTS)),
        )
        _write_json(Path(self.config.folder) / SUMMARY, summary.to_dict())
        return summary


def check_folders(outputs: Outputs, folder: str | os.PathLike[str]) -> None:
    """Check before any work that no input is in a folder in which a job writes and removes files.

    Raises:
        OutputError: one is, or the folder is in a folder of inputs.
    """
    for name in ("", STAGING, PARTS, REJECTED):  # any of them may be a link
        outputs.check_folder(Path(folder, name))


@contextmanager
def open_job(config: JobConfig, segments: Sequence[Segment]) -> Iterator[Job]:
    """Begin a job, or resume the one in its folder, and lock the folder while the block runs.

    Raises:
        OutputError: the folder holds other files, cannot be written to, or is locked by another process.
        ConfigError: the folder holds a job with other inputs, settings or another model.
    """
    folder, identity = Path(config.folder), config.identity(segments)
    is_new = not (folder / JOB).is_file()
    if is_new and folder.exists() and (not folder.is_dir() or _has_other_files(folder)):
        raise OutputError(
            "expected a new or empty folder, or the folder of a scoring job",
            location=str(folder),
            hint="choose another folder with --output",
        )
    for name in ("", Path(JOB).parent, STAGING, PARTS, REJECTED):
        make_folder(folder / name)
    with open_to_append(folder / LOCK) as lock:  # the system releases it when this process ends
        if lock_file(lock.fileno()) is False:
            problem = "another process works on this job"
            raise OutputError(problem, location=str(folder), hint="wait for it, or stop it")
        if is_new:
            _write_json(folder / JOB, identity)
        else:
            _require_same_job(folder, identity)
        for file in (folder / STAGING).iterdir():  # left by a killed process
            with suppress(OSError):
                file.unlink()
        job = Job(config, segments)
        job.journal.read()
        yield job


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _has_other_files(folder: Path) -> bool:
    """Whether a folder holds more than a job leaves that was killed before it wrote ``job.json``."""
    return any(
        path.name not in ("_job", PARTS, REJECTED) or (path.name != "_job" and any(path.iterdir()))
        for path in folder.iterdir()
    )


def _require_same_job(folder: Path, identity: Mapping[str, Any]) -> None:
    try:
        previous = dict(json.loads((folder / JOB).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise OutputError(
            f"cannot read the settings of the job ({error})",
            location=str(folder / JOB),
            hint="choose another folder with --output",
        ) from error
    for name, value in identity.items():
        if previous.get(name) == value:
            continue
        problem = f"the folder holds a job with {name}={previous.get(name)!r:.60}, not {value!r:.60}"
        if name in ("inputs", "schema", "model_sha256"):
            problem = f"the folder holds a job with different {name}"
        hint = "run the command of that job, or choose another folder with --output"
        raise ConfigError(problem, location=str(folder), hint=hint)
