"""What a job consists of, as plain data that travels between processes: its plan and its parts."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from token2wave.errors import OutputError
from token2wave.scoring.batch_predictor import PredictionOptions

ASIDE = "_job/aside"
REJECTED = "rejected"
PARTS = "parts"


@dataclass(frozen=True)
class JobConfig:
    """All that a process must know to score; plain data.

    Attributes:
        model: path of the model file.
        folder: where the output goes.
        text_column: the column of the texts.
        columns: those kept; None: all.
        keep: the filter; None: every row is kept.
        format: ``parquet`` or ``jsonl``.
        wanted: which columns are added (:class:`Wanted`).
        part_bytes: about how large a part is, as it lies in memory.
        schema: of the output, for Parquet.
    """

    model: str
    folder: str
    text_column: str
    columns: tuple[str, ...] | None
    keep: str | None
    format: str
    wanted: PredictionOptions
    part_bytes: int
    schema: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        columns = None if self.columns is None else list(self.columns)
        return asdict(self) | {"wanted": list(self.wanted), "columns": columns}

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> JobConfig:
        """Read what :meth:`to_dict` gave."""
        columns = None if found["columns"] is None else tuple(found["columns"])
        return cls(**{**found, "wanted": PredictionOptions(*found["wanted"]), "columns": columns})


@dataclass(frozen=True)
class OutputPart:
    """A part that is written aside; plain data.

    Attributes:
        segment: number of its segment.
        number: its own number in it.
        is_last: whether it is the segment's last.
        n_written: rows that are in it.
        n_filtered: rows that the filter left out.
        n_rejected: rows that could not be used.
        size: about how many bytes its rows had.
        files: what it consists of: where each file lies aside, where it belongs, its bytes and SHA-256.
        set_aside: why it was not scored at all; empty where it was.
    """

    segment: int
    number: int
    is_last: bool
    n_written: int
    n_filtered: int
    n_rejected: int
    size: int
    files: tuple[PartFile, ...]
    set_aside: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return asdict(self) | {"files": [list(file) for file in self.files]}

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> OutputPart:
        """Read what :meth:`to_dict` gave."""
        return cls(**{**found, "files": tuple(PartFile(*file) for file in found["files"])})


class PartFile(NamedTuple):
    """A file of a part, by paths below the folder of the output."""

    aside: str
    path: str
    n_bytes: int
    sha256: str


def part_paths(segment: int, number: int, format: str) -> tuple[str, str]:
    """Where a part's rows and its rejects belong, below the folder of the output."""
    name = f"part-{segment:06}-{number:04}"
    return f"{PARTS}/{name}.{format}", f"{REJECTED}/{name}.jsonl"


def cannot_write(folder: Path, error: OSError) -> OutputError:
    """The error for a disk that is full, or a folder that is gone."""
    return OutputError(
        f"cannot be written ({error.strerror or error})",
        location=str(folder),
        hint="make room on the disk, and give the same command again: finished parts are kept",
    )


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
