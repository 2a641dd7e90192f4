"""The journal of a scoring job, in its output folder: its settings, and which parts are finished.

    DIR/parts/part-SSSSSS-PPPP.parquet    part P of segment S
    DIR/rejected/part-SSSSSS-PPPP.jsonl   rows of it that could not be used, with place and reason
    DIR/summary.json                      all counts, once the job is finished
    DIR/_job/job.json                     the inputs, the model and the settings
    DIR/_job/finished.jsonl               a line for each finished part, with its counts and checksums
    DIR/_job/staging/                     what is being written

A part is written to the staging folder, flushed to the disk, renamed, and then recorded. A process that is
killed between two of these steps leaves a part that is not recorded, and the next run makes it again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from token2wave.core import n_threads
from token2wave.data.rows import Segment
from token2wave.errors import ConfigError, DataError, OutputError
from token2wave.scoring.output_parts import (
    PARTS,
    REJECTED,
    STAGING,
    JobConfig,
    OutputPart,
    cannot_write,
    checksum,
    part_paths,
)
from token2wave.storage.atomic import atomic_write, make_folder
from token2wave.versions import __version__

FORMAT = 1
JOB = "_job/job.json"
FINISHED = "_job/finished.jsonl"
LOCK = "_job/lock"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class ScoringSummary:
    """The counts of a job; ``n_read`` is the sum of the three numbers after it.

    Attributes:
        output: the folder.
        n_read: rows of the input.
        n_written: rows in the parts.
        n_filtered: rows that the filter left out.
        n_rejected: rows in ``rejected``; the rest of a damaged file counts as one.
        n_parts: parts, those without a row included.
        n_set_aside: parts whose rows were all rejected, because scoring them ended a process three times.
        n_bytes: size of the parts.
        texts_per_second: rows that this run read, over its time; None where nothing was left to do.
    """

    output: str
    n_read: int
    n_written: int
    n_filtered: int
    n_rejected: int
    n_parts: int
    n_set_aside: int
    n_bytes: int
    texts_per_second: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {name: value for name, value in self.__dict__.items() if name != "texts_per_second"}


@dataclass
class Job:
    """A job that is open in this process alone.

    Attributes:
        config: the settings.
        segments: of the input, by number.
        finished: parts that are recorded and there: by segment, then by number.
    """

    config: JobConfig
    segments: Sequence[Segment]
    finished: dict[int, dict[int, OutputPart]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the output goes."""
        return Path(self.config.folder)

    def is_complete(self, segment: int) -> bool:
        """Whether all parts of a segment are finished."""
        parts = self.finished.get(segment, {})
        return any(part.is_last and len(parts) == part.number + 1 for part in parts.values())

    def open_segments(self) -> list[int]:
        """Numbers of the segments that are not complete."""
        return [number for number in range(len(self.segments)) if not self.is_complete(number)]

    def commit(self, part: OutputPart) -> None:
        """Move a part to its place, and record it; a recorded part survives any crash.

        Raises:
            OutputError: the disk is full, or the folder is gone.
        """
        try:
            for file in part.files:
                _fsync(self.folder / file.staged)
                os.replace(self.folder / file.staged, self.folder / file.path)
            for path in part_paths(part.segment, part.number, self.config.format):
                if path not in {
                    file.path for file in part.files
                }:  # left by a killed run that scored the part differently
                    (self.folder / path).unlink(missing_ok=True)
            for folder in {(self.folder / file.path).parent for file in part.files}:
                _fsync(folder)
            with (self.folder / FINISHED).open("ab") as journal:
                journal.write(json.dumps(part.to_dict()).encode("ascii") + b"\n")
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        self.finished.setdefault(part.segment, {})[part.number] = part

    def finish(self) -> ScoringSummary:
        """Count everything, and write the counts.

        Raises:
            OutputError: the folder cannot be written to.
        """
        parts = [part for parts in self.finished.values() for part in parts.values()]
        written, filtered = sum(p.n_written for p in parts), sum(p.n_filtered for p in parts)
        rejected = sum(part.n_rejected for part in parts)
        summary = ScoringSummary(
            output=self.config.folder,
            n_read=written + filtered + rejected,
            n_written=written,
            n_filtered=filtered,
            n_rejected=rejected,
            n_parts=len(parts),
            n_set_aside=sum(bool(part.set_aside) for part in parts),
            n_bytes=sum(file.n_bytes for p in parts for file in p.files if file.path.startswith(PARTS)),
        )
        with atomic_write(self.folder / SUMMARY) as temporary:
            temporary.write_text(json.dumps(summary.to_dict(), indent=1) + "\n", encoding="utf-8")
        return summary


@contextmanager
def open_job(config: JobConfig, segments: Sequence[Segment], identity: Mapping[str, Any]) -> Iterator[Job]:
    """Begin a job, or resume the one in its folder; no other process can while the block runs.

    Args:
        config: the settings.
        segments: of the input.
        identity: what must be the same to resume the job, as plain data; see :func:`token2wave.score`.

    Raises:
        OutputError: the folder holds something else or cannot be written to, or another process works in it.
        ConfigError: the folder holds a job of other inputs, settings or another model.
    """
    folder = Path(config.folder)
    record = {"format": FORMAT, "token2wave": __version__, **identity}
    is_new = not (folder / JOB).is_file()
    if is_new and folder.exists() and (not folder.is_dir() or any(_foreign_files(folder))):
        raise OutputError(
            "expected a new or empty folder, or one of a scoring job",
            location=str(folder),
            hint="name another with --output",
        )
    for below in (STAGING, PARTS, REJECTED):
        make_folder(folder / below)
    with _locked(folder):
        if is_new:
            with atomic_write(folder / JOB) as temporary:
                temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        else:
            _require_same(folder, record)
        for file in (folder / STAGING).iterdir():  # of a process that was killed
            with suppress(OSError):
                file.unlink()
        job = Job(config, segments)
        for part in _valid_parts(folder, _read_journal(folder)):
            job.finished.setdefault(part.segment, {})[part.number] = part
        yield job


def _foreign_files(folder: Path) -> Iterator[Path]:
    """Files in a folder that cannot belong to a job that was killed before it was recorded."""
    ours = {"_job", PARTS, REJECTED}
    for path in folder.iterdir():
        if path.name not in ours or (path.name != "_job" and any(path.iterdir())):
            yield path


def _require_same(folder: Path, record: Mapping[str, Any]) -> None:
    where = str(folder / JOB)
    try:
        previous = json.loads((folder / JOB).read_text(encoding="utf-8"))
        if not isinstance(previous, dict):
            raise ValueError("no object")
    except (OSError, ValueError) as error:
        raise OutputError(
            f"the record of the job cannot be read ({error})", location=where, hint="name another folder"
        ) from error
    for name, value in record.items():
        if previous.get(name) == value:
            continue
        old, new = previous.get(name), value
        if isinstance(old, dict) and isinstance(value, dict):
            name = next(key for key in (*value, *old) if old.get(key) != value.get(key))
            old, new = old.get(name), value.get(name)
        if name in ("inputs", "schema", "model_sha256"):
            problem = f"the folder holds a job whose {name} was another"
        else:
            problem = f"the folder holds a job with {name}={str(old)[:60]!r}, now it is {str(new)[:60]!r}"
        raise ConfigError(
            problem, location=str(folder), hint="give the same command, or name another --output"
        )


def _read_journal(folder: Path) -> dict[tuple[int, int], OutputPart]:
    """The recorded parts; a broken line is ignored, and its part is made again."""
    parts: dict[tuple[int, int], OutputPart] = {}
    path = folder / FINISHED
    try:
        journal = path.read_bytes() if path.exists() else b""
        if journal and not journal.endswith(b"\n"):  # killed on the way
            with path.open("ab") as file:
                file.write(b"\n")
    except OSError as error:
        raise cannot_write(folder, error) from error
    for line in journal.splitlines():
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            part = OutputPart.from_dict(json.loads(line))
            parts[part.segment, part.number] = part
    return parts


def _valid_parts(folder: Path, recorded: Mapping[tuple[int, int], OutputPart]) -> list[OutputPart]:
    """Parts whose files have the recorded checksums."""

    def is_valid(part: OutputPart) -> bool:
        with suppress(OSError, TypeError, ValueError):
            return all(
                _is_part_path(file.path)
                and (folder / file.path).stat().st_size == file.n_bytes
                and checksum(folder / file.path) == file.sha256
                for file in part.files
            )
        return False

    parts = list(recorded.values())
    with ThreadPoolExecutor(n_threads()) as pool:
        return [part for part, sound in zip(parts, pool.map(is_valid, parts), strict=True) if sound]


def _is_part_path(path: str) -> bool:
    """Whether a recorded path lies where parts do; the journal is not trusted."""
    folder, _, name = path.partition("/")
    return folder in (PARTS, REJECTED) and "/" not in name and not name.startswith(".")


def _fsync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes out; the system releases the lock however this process ends.

    Raises:
        OutputError: another process holds the lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                "another process works on this job", location=str(folder), hint="wait for it, or stop it"
            ) from error
        except OSError:  # a file system without locks
            pass
        yield


def input_identity(segments: Iterable[Segment]) -> list[list[Any]]:
    """Path, size and time of change of each file of an input.

    Raises:
        DataError: a file is gone.
    """
    identity = []
    for path in dict.fromkeys(segment.path for segment in segments):
        try:
            state = os.stat(path)
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})", location=path) from error
        identity.append([os.path.abspath(path), state.st_size, state.st_mtime_ns])
    return identity
