"""The journal of a scoring job: which output parts are finished, so that an interrupted job can resume.

    DIR/parts/part-SSSSSS-PPPP.parquet    output part P of input segment S
    DIR/rejected/part-SSSSSS-PPPP.jsonl   its rejected rows, with place and reason
    DIR/summary.json                      all counts, once the job is finished
    DIR/_job/job.json                     the inputs, the model and the settings
    DIR/_job/journal.jsonl                a line for each finished part, with counts and checksums
    DIR/_job/staging/                     files that are being written

A worker writes a part to the staging folder. :meth:`Journal.commit` flushes it to the disk, renames it and
then records it. If the process is killed in between, the part is not recorded, and the next run writes it
again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

from token2wave.core import n_threads
from token2wave.errors import OutputError
from token2wave.storage.atomic import open_to_append, sync_folder

STAGING = "_job/staging"
JOURNAL = "_job/journal.jsonl"
PARTS = "parts"
REJECTED = "rejected"


class OutputFile(NamedTuple):
    """A file of an output part: its staged and its final path below the output folder, size and SHA-256."""

    staged: str
    path: str
    n_bytes: int
    sha256: str


@dataclass(frozen=True)
class OutputPart:
    """A finished output part.

    Attributes:
        segment: number of its input segment.
        number: its number within the segment.
        is_last: whether it is the last part of the segment.
        n_written: rows written.
        n_filtered: rows that the filter left out.
        n_rejected: rows that cannot be used.
        size: approximate bytes of its input rows in memory.
        files: its files, at most one of rows and one of rejects.
        is_quarantined: whether all rows were rejected because scoring them ended a process again and again.
    """

    segment: int
    number: int
    is_last: bool
    n_written: int
    n_filtered: int
    n_rejected: int
    size: int
    files: tuple[OutputFile, ...]
    is_quarantined: bool = False

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> OutputPart:
        """Make a part from its fields, as JSON holds them."""
        return cls(**{**record, "files": tuple(OutputFile(*file) for file in record["files"])})

    @property
    def n_read(self) -> int:
        """Rows of the input."""
        return self.n_written + self.n_filtered + self.n_rejected


class Journal:
    """Records finished output parts.

    Args:
        folder: the output folder.
        format: format of the output, ``parquet`` or ``jsonl``.

    Attributes:
        finished: the recorded parts by segment and number.
    """

    def __init__(self, folder: Path, format: str) -> None:
        self.folder, self.format = folder, format
        self.finished: dict[int, dict[int, OutputPart]] = defaultdict(dict)

    def __iter__(self) -> Iterator[OutputPart]:
        for output_parts in self.finished.values():
            yield from output_parts.values()

    def is_complete(self, segment: int) -> bool:
        """Whether all parts of a segment are finished."""
        output_parts = self.finished[segment]
        return any(last.is_last and len(output_parts) == last.number + 1 for last in output_parts.values())

    def read(self) -> None:
        """Read the parts recorded by earlier runs; parts with missing or changed files do not count.

        Raises:
            OutputError: the journal cannot be read.
        """
        path = self.folder / JOURNAL
        try:
            lines = path.read_bytes() if path.exists() else b""
            if lines and not lines.endswith(b"\n"):  # a run was killed while it wrote the last line
                with path.open("ab") as file:
                    file.write(b"\n")
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        recorded: dict[tuple[int, int], OutputPart] = {}
        for line in lines.splitlines():
            # A damaged line: its part is written again.
            with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
                output_part = OutputPart.from_dict(json.loads(line))
                recorded[output_part.segment, output_part.number] = output_part
        with ThreadPoolExecutor(n_threads()) as pool:
            for output_part in compress(recorded.values(), pool.map(self._is_intact, recorded.values())):
                self.finished[output_part.segment][output_part.number] = output_part

    def commit(self, output_part: OutputPart) -> None:
        """Move a staged part to its place and record it; a recorded part survives any crash.

        Raises:
            OutputError: the disk is full, or the folder is gone.
        """
        paths = {file.path for file in output_part.files}
        try:
            for file in output_part.files:
                with (self.folder / file.staged).open("rb+") as staged:
                    os.fsync(staged.fileno())
                os.replace(self.folder / file.staged, self.folder / file.path)
            for path in {*part_paths(output_part.segment, output_part.number, self.format)} - paths:
                (self.folder / path).unlink(missing_ok=True)  # of a killed run that did not record it
            for folder in {(self.folder / path).parent for path in paths}:
                sync_folder(folder)
            with open_to_append(self.folder / JOURNAL) as journal:
                journal.write(json.dumps(asdict(output_part)).encode("ascii") + b"\n")
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        self.finished[output_part.segment][output_part.number] = output_part

    def _is_intact(self, output_part: OutputPart) -> bool:
        """Whether all files have the recorded checksums and are ours; the journal is not trusted."""
        with suppress(OSError, TypeError, ValueError):
            paths = part_paths(output_part.segment, output_part.number, self.format)
            return all(
                file.path in paths
                and (self.folder / file.path).stat().st_size == file.n_bytes
                and compute_sha256(self.folder / file.path) == file.sha256
                for file in output_part.files
            )
        return False


def part_paths(segment: int, number: int, format: str) -> tuple[str, str]:
    """Return the paths of a part's rows and rejects, below the output folder."""
    name = f"part-{segment:06d}-{number:04d}"
    return f"{PARTS}/{name}.{format}", f"{REJECTED}/{name}.jsonl"


def cannot_write(folder: Path, error: OSError) -> OutputError:
    """Return the error for a full disk or a missing folder."""
    return OutputError(
        f"cannot be written ({error.strerror or error})",
        location=str(folder),
        hint="make room on the disk, and run the same command again: finished parts are kept",
    )


def compute_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
