"""Inputs of any size: which files, and the segments that are read one at a time.

A segment is what one reader takes at once: some row groups of a Parquet file, a range of bytes of a plain
file of lines, or the whole of a file that can only be read from its beginning: CSV, whose fields may hold
line breaks, and all that is compressed. The segments of an input depend on the files alone, so that work that
was interrupted finds the same ones again.
"""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from token2wave.data.lines import cannot_read, did_you_mean
from token2wave.data.values import join_names
from token2wave.errors import DataError, MissingExtraError, place

BYTES_OF_A_SEGMENT = 32 << 20
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
LINE_KINDS = (".jsonl", ".ndjson", ".txt", ".fasttext", ".ft")
SEPARATORS = {".csv": ",", ".tsv": "\t"}
KINDS = (".parquet", *SEPARATORS, *LINE_KINDS)


@dataclass(frozen=True)
class Segment:
    """Part of a file; plain data, which can be sent to another process.

    Attributes:
        path: the file.
        kind: suffix of its format, in lower case, without that of a compression.
        compression: suffix of the compression; empty where there is none.
        first: first row group of Parquet; first byte of a plain file of lines; else 0.
        last: one past the last; None: to the end.
    """

    path: str
    kind: str
    compression: str = ""
    first: int = 0
    last: int | None = None

    @property
    def counts_bytes(self) -> bool:
        """Whether the place of a row is its first byte; else it is its number, from 1."""
        return self.kind in LINE_KINDS and not self.compression

    def where(self, at: int) -> str:
        """The place of a row, as an error says it."""
        return f"{self.path}, byte {at}" if self.counts_bytes else place(self.path, row=at)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return asdict(self)


def find_inputs(inputs: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Name the files of an input.

    Args:
        inputs: files, folders (all files in them, at any depth, of a format that is known), and patterns such
            as ``crawl/*.parquet`` or ``crawl/**/part-*.jsonl.gz``. Names that begin with a dot or an
            underscore, as other programs give to what is no data, count only where they are given themselves.

    Returns:
        The files, each once; those of one argument in the order of their names.

    Raises:
        DataError: there is no such file, none of a known format, or a folder that cannot be read.
    """
    found: list[Path] = []
    for one in inputs:
        text = os.fspath(one)
        path = Path(text)
        if text and os.path.isdir(path):
            files = [file for file in _files_below(path) if format_of(file) is not None]
            if not files:
                raise DataError(
                    f"there is no file of a known format in this folder ({_suffixes()})", location=text
                )
        elif os.path.exists(path) or not glob.has_magic(text):
            files = [path]
        else:
            matches = sorted(Path(name) for name in glob.glob(text, recursive=True))
            files = [file for file in matches if file.is_file() and not _is_hidden(file.name)]
            if not files:
                raise DataError("no file has a name like this", location=text, hint="check the pattern")
        found += files
    for file in found:
        _require_readable(file)
    if not found:
        raise DataError(
            "expected at least one file", location="input", hint="name files, folders or patterns"
        )
    return list(dict.fromkeys(found))


def format_of(path: Path) -> tuple[str, str] | None:
    """The suffixes of a file's format and of its compression, in lower case; None if it is not known."""
    root, suffix = os.path.splitext(path.name)
    compression = suffix.lower() if suffix.lower() in COMPRESSIONS else ""
    if compression:
        suffix = os.path.splitext(root)[1]
    kind = suffix.lower()
    return (kind, compression) if kind in KINDS and not (kind == ".parquet" and compression) else None


def segments_of(paths: Sequence[Path], n_bytes: int = BYTES_OF_A_SEGMENT) -> list[Segment]:
    """Divide files into segments.

    Args:
        paths: the files (:func:`find_inputs`).
        n_bytes: about so many bytes are in a segment, where a file can be divided.

    Returns:
        The segments in the order of the files; an empty file has none.

    Raises:
        DataError: a file cannot be read, or is no Parquet although its name says so.
        MissingExtraError: there is Parquet, and pyarrow is not installed.
    """
    found: list[Segment] = []
    for path in paths:
        known = format_of(path)
        assert known is not None, "find_inputs lets no other pass"
        kind, compression = known
        try:
            size = path.stat().st_size
        except OSError as error:
            raise cannot_read(path, error) from error
        whole = Segment(os.fspath(path), kind, compression)
        if kind == ".parquet":
            bounds: Sequence[tuple[int, int | None]] = _row_groups(path, n_bytes)
        elif whole.counts_bytes:
            n_parts = -(-size // n_bytes)
            cuts = [size * part // n_parts for part in range(n_parts + 1)] if size else []
            bounds = list(itertools.pairwise(cuts))
        else:
            bounds = [(0, None)] if size else []
        found += [Segment(whole.path, kind, compression, first, last) for first, last in bounds]
    return found


def parquet_file(path: Path) -> Any:
    """Open a Parquet file; only its description is read.

    Raises:
        DataError: it cannot be opened, or is no Parquet.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "train", purpose=f"reading {path}") from error
    try:
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowException, ValueError) as error:
        raise not_parquet(path, error) from error
    except OSError as error:
        raise (cannot_read(path, error) if error.errno else not_parquet(path, error)) from error


def not_parquet(path: Path, error: Exception) -> DataError:
    """The error for a file that is no Parquet, or damaged."""
    return DataError(
        f"not a readable Parquet file ({str(error)[:100]})",
        location=os.fspath(path),
        hint="write or copy the file again",
    )


def _row_groups(path: Path, n_bytes: int) -> list[tuple[int, int]]:
    """Ranges of row groups of about so many bytes, uncompressed."""
    with parquet_file(path) as file:
        sizes = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
    bounds, first, size = [], 0, 0
    for group, own in enumerate(sizes):
        if size and size + own > n_bytes:
            bounds.append((first, group))
            first, size = group, 0
        size += max(own, 1)
    return [*bounds, (first, len(sizes))] if size else bounds


def _files_below(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise cannot_read(Path(error.filename or folder), error) from error

    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        yield from (Path(parent, name) for name in sorted(files) if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _require_readable(path: Path) -> None:
    where = os.fspath(path)
    if not os.path.exists(path):
        raise DataError("there is no such file", location=where, hint=f"check the path{did_you_mean(path)}")
    if not os.path.isfile(path):
        raise DataError("expected a file, found a device or pipe", location=where, hint="name a regular file")
    if format_of(path) is None:
        raise DataError(
            f"the format of {path.name[-60:]!r} is not known",
            location=where,
            hint=f"use a file with one of the suffixes {_suffixes()}",
        )
    if not os.access(path, os.R_OK):
        raise DataError("no permission to read this", location=where, hint="change it with chmod or chown")


def _suffixes() -> str:
    return f"{join_names(KINDS)}; all but .parquet also with {join_names(COMPRESSIONS)}"
