"""The configuration of a scoring job and the parts of its output, as plain data for other processes."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from token2wave.errors import OutputError
from token2wave.scoring.batch_predictor import PredictionOptions

STAGING = "_job/staging"
REJECTED = "rejected"
PARTS = "parts"


@dataclass(frozen=True)
class JobConfig:
    """What a worker needs to know to score, as plain data.

    Attributes:
        model: path of the model file.
        folder: where the output goes.
        text_column: the column of the texts.
        columns: the columns to keep; None keeps all.
        keep: the filter; None keeps every row.
        format: ``parquet`` or ``jsonl``.
        prediction: the columns that are added.
        part_bytes: about how large a part is, as it lies in memory.
        schema: of the output, for Parquet.
    """

    model: str
    folder: str
    text_column: str
    columns: tuple[str, ...] | None
    keep: str | None
    format: str
    prediction: PredictionOptions
    part_bytes: int
    schema: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        columns = None if self.columns is None else list(self.columns)
        return asdict(self) | {"prediction": list(self.prediction), "columns": columns}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> JobConfig:
        """Read what :meth:`to_dict` gave."""
        columns = None if record["columns"] is None else tuple(record["columns"])
        return cls(**{**record, "prediction": PredictionOptions(*record["prediction"]), "columns": columns})


@dataclass(frozen=True)
class OutputPart:
    """A part that is written and not yet committed, as plain data.

    Attributes:
        segment: number of its segment.
        number: its own number in it.
        is_last: whether it is the segment's last.
        n_written: rows that are in it.
        n_filtered: rows that the filter left out.
        n_rejected: rows that could not be used.
        size: about how many bytes its rows had.
        files: its files (:class:`PartFile`).
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
    def from_dict(cls, record: dict[str, Any]) -> OutputPart:
        """Read what :meth:`to_dict` gave."""
        return cls(**{**record, "files": tuple(PartFile(*file) for file in record["files"])})


class PartFile(NamedTuple):
    """A file of a part: where it is staged and where it belongs, below the output folder, and its hash."""

    staged: str
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
