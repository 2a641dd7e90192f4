"""The record of a job, in the folder of its output: what is to be done, and which parts are finished.

    DIR/parts/part-SSSSSS-PPPP.parquet    part P of segment S
    DIR/rejected/part-SSSSSS-PPPP.jsonl   rows of it that could not be used, with place and reason
    DIR/summary.json                      all counts, once the job is finished
    DIR/_job/job.json                     the inputs, the model and the settings
    DIR/_job/finished.jsonl               a line for each finished part, with its counts and checksums
    DIR/_job/aside/                       what is being written

A part is written aside, brought to the disk, renamed, and then recorded. Whoever is killed between two of
these steps leaves a part that nobody recorded, which is made again, the same.
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
    ASIDE,
    PARTS,
    REJECTED,
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
    """What came of a job; ``n_read`` is the sum of the three numbers after it.

    Attributes:
        output: the folder.
        n_read: rows of the input.
        n_written: rows in the parts.
        n_filtered: rows that the filter left out.
        n_rejected: rows in ``rejected``; what follows the break of a damaged file counts as one.
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
    """A job that is open in this process, and in no other.

    Attributes:
        plan: what is to be done.
        segments: of the input, by number.
        finished: parts that are recorded and there: by segment, then by number.
    """

    plan: JobConfig
    segments: Sequence[Segment]
    finished: dict[int, dict[int, OutputPart]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the output goes."""
        return Path(self.plan.folder)

    def is_complete(self, segment: int) -> bool:
        """Whether all parts of a segment are finished."""
        parts = self.finished.get(segment, {})
        return any(part.is_last and len(parts) == part.number + 1 for part in parts.values())

    def open_segments(self) -> list[int]:
        """Numbers of the segments that are not complete."""
        return [number for number in range(len(self.segments)) if not self.is_complete(number)]

    def commit(self, part: OutputPart) -> None:
        """Give a part its place, and record it; what was recorded is there after any crash.

        Raises:
            OutputError: the disk is full, or the folder is gone.
        """
        try:
            for file in part.files:
                _to_disk(self.folder / file.aside)
                os.replace(self.folder / file.aside, self.folder / file.path)
            for path in part_paths(part.segment, part.number, self.plan.format):
                if path not in {
                    file.path for file in part.files
                }:  # of one who was killed and went another way
                    (self.folder / path).unlink(missing_ok=True)
            for folder in {(self.folder / file.path).parent for file in part.files}:
                _to_disk(folder)
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
            output=self.plan.folder,
            n_read=written + filtered + rejected,
            n_written=written,
            n_filtered=filtered,
            n_rejected=rejected,
            n_parts=len(parts),
            n_set_aside=sum(bool(part.set_aside) for part in parts),
            n_bytes=sum(file.n_bytes for p in parts for file in p.files if file.path.startswith(PARTS)),
        )
        with atomic_write(self.folder / SUMMARY) as aside:
            aside.write_text(json.dumps(summary.to_dict(), indent=1) + "\n", encoding="utf-8")
        return summary


@contextmanager
def opened(plan: JobConfig, segments: Sequence[Segment], identity: Mapping[str, Any]) -> Iterator[Job]:
    """Begin a job, or go on with the one in its folder; nobody else can while the block runs.

    Args:
        plan: what is to be done.
        segments: of the input.
        identity: what must be the same for the job to go on, as plain data; see :func:`token2wave.score`.

    Raises:
        OutputError: the folder holds something else or cannot be written to, or another process works in it.
        ConfigError: the folder holds a job of other inputs, settings or another model.
    """
    folder = Path(plan.folder)
    record = {"format": FORMAT, "token2wave": __version__, **identity}
    is_new = not (folder / JOB).is_file()
    if is_new and folder.exists() and (not folder.is_dir() or any(_strangers(folder))):
        raise OutputError(
            "expected a new or empty folder, or one of a job of scoring",
            location=str(folder),
            hint="name another with --output",
        )
    for below in (ASIDE, PARTS, REJECTED):
        make_folder(folder / below)
    with _locked(folder):
        if is_new:
            with atomic_write(folder / JOB) as aside:
                aside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        else:
            _require_same(folder, record)
        for left in (folder / ASIDE).iterdir():  # by somebody who was killed
            with suppress(OSError):
                left.unlink()
        job = Job(plan, segments)
        for part in _sound(folder, _recorded(folder)):
            job.finished.setdefault(part.segment, {})[part.number] = part
        yield job


def _strangers(folder: Path) -> Iterator[Path]:
    """What is in a folder and cannot be a job that was killed before it was recorded."""
    ours = {"_job", PARTS, REJECTED}
    for path in folder.iterdir():
        if path.name not in ours or (path.name != "_job" and any(path.iterdir())):
            yield path


def _require_same(folder: Path, record: Mapping[str, Any]) -> None:
    where = str(folder / JOB)
    try:
        found = json.loads((folder / JOB).read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("no object")
    except (OSError, ValueError) as error:
        raise OutputError(
            f"the record of the job cannot be read ({error})", location=where, hint="name another folder"
        ) from error
    for name, value in record.items():
        if found.get(name) == value:
            continue
        before, now = found.get(name), value
        if isinstance(before, dict) and isinstance(value, dict):
            name = next(key for key in (*value, *before) if before.get(key) != value.get(key))
            before, now = before.get(name), value.get(name)
        if name in ("inputs", "schema", "model_sha256"):
            problem = f"the folder holds a job whose {name} was another"
        else:
            problem = f"the folder holds a job with {name}={str(before)[:60]!r}, now it is {str(now)[:60]!r}"
        raise ConfigError(
            problem, location=str(folder), hint="give the same command, or name another --output"
        )


def _recorded(folder: Path) -> dict[tuple[int, int], OutputPart]:
    """Parts that were recorded; a line that cannot be read counts for nothing, and its part is made again."""
    found: dict[tuple[int, int], OutputPart] = {}
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
            found[part.segment, part.number] = part
    return found


def _sound(folder: Path, recorded: Mapping[tuple[int, int], OutputPart]) -> list[OutputPart]:
    """Parts whose files are those that were recorded, by their checksums."""

    def is_sound(part: OutputPart) -> bool:
        with suppress(OSError, TypeError, ValueError):
            return all(
                _is_ours(file.path)
                and (folder / file.path).stat().st_size == file.n_bytes
                and checksum(folder / file.path) == file.sha256
                for file in part.files
            )
        return False

    parts = list(recorded.values())
    with ThreadPoolExecutor(n_threads()) as pool:
        return [part for part, sound in zip(parts, pool.map(is_sound, parts), strict=True) if sound]


def _is_ours(path: str) -> bool:
    """Whether a path of the record lies where parts do, whoever wrote it."""
    folder, _, name = path.partition("/")
    return folder in (PARTS, REJECTED) and "/" not in name and not name.startswith(".")


def _to_disk(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes out; the system lets go of the lock when this one ends, however it ends.

    Raises:
        OutputError: another is in.
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
    found = []
    for path in dict.fromkeys(segment.path for segment in segments):
        try:
            state = os.stat(path)
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})", location=path) from error
        found.append([os.path.abspath(path), state.st_size, state.st_mtime_ns])
    return found
