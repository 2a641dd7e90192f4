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
from dataclasses import replace
from pathlib import Path

from token2wave.data.lines import cannot_read, did_you_mean
from token2wave.data.parquet import parquet_file
from token2wave.data.rows import COMPRESSIONS, KINDS, Segment
from token2wave.errors import DataError

BYTES_OF_A_SEGMENT = 32 << 20


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
    paths: list[Path] = []
    for name in inputs:
        text, path = os.fspath(name), Path(name)
        if text and os.path.isdir(path):
            files = [file for file in _files_below(path) if stem(file) is not None]
            if not files:
                raise DataError(f"expected a file with one of the suffixes {suffixes()}", location=text)
        elif os.path.exists(path) or not glob.has_magic(text):
            files = [path]
        else:
            matches = sorted(Path(match) for match in glob.glob(text, recursive=True))
            files = [file for file in matches if file.is_file() and not _is_hidden(file.name)]
            if not files:
                raise DataError("no file has a name like this", location=text, hint="check the pattern")
        paths += files
    for path in paths:
        _require_readable(path)
    if not paths:
        raise DataError(
            "expected at least one file", location="input", hint="name files, folders or patterns"
        )
    return list(dict.fromkeys(paths))


def whole_file(path: Path) -> Segment:
    """The whole of a file as one segment.

    Raises:
        DataError: the format is not known.
    """
    _, kind, compression = _split_name(path)
    if not kind:
        raise _unknown_format(path)
    return Segment(os.fspath(path), kind, compression)


def stem(path: Path) -> str | None:
    """The name of a file without the suffixes of its format; None if no reader knows them."""
    root, kind, _ = _split_name(path)
    return root if kind else None


def _split_name(path: Path) -> tuple[str, str, str]:
    """The name of a file, and the suffixes of its format (empty if not known) and its compression."""
    root, suffix = os.path.splitext(path.name)
    compression = suffix.lower() if suffix.lower() in COMPRESSIONS else ""
    if compression:
        root, suffix = os.path.splitext(root)
    kind = suffix.lower()
    is_known = kind in KINDS and not (kind == ".parquet" and compression)
    return root, kind if is_known else "", compression


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
    segments: list[Segment] = []
    for path in paths:
        whole = whole_file(path)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise cannot_read(path, error) from error
        if whole.kind == ".parquet":
            bounds: Sequence[tuple[int, int | None]] = _row_groups(path, n_bytes)
        elif whole.counts_bytes:
            n_segments = -(-size // n_bytes)
            bounds = list(itertools.pairwise(size * i // n_segments for i in range(n_segments + 1) if size))
        else:
            bounds = [(0, None)] if size else []
        segments += [replace(whole, first=first, last=last) for first, last in bounds]
    return segments


def segment_size(segment: Segment) -> int:
    """About how many bytes of the disk a segment takes, to tell the progress.

    Raises:
        DataError: the file cannot be read.
    """
    if segment.counts_bytes and segment.last is not None:
        return segment.last - segment.first
    path = Path(segment.path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise cannot_read(path, error) from error
    if segment.kind != ".parquet" or segment.last is None:
        return size
    with parquet_file(path) as file:
        n_groups = int(file.metadata.num_row_groups)
    return size * (segment.last - segment.first) // max(n_groups, 1)


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
    if stem(path) is None:
        raise _unknown_format(path)
    if not os.access(path, os.R_OK):
        raise DataError("no permission to read this", location=where, hint="change it with chmod or chown")


def _unknown_format(path: Path) -> DataError:
    return DataError(
        f"the format of {path.name[-60:]!r} is not known",
        location=os.fspath(path),
        hint=f"use a file with one of the suffixes {suffixes()}",
    )


def suffixes() -> str:
    """The suffixes that the readers know, for error messages."""
    return f"{' '.join(KINDS)} (all but .parquet also with {', '.join(COMPRESSIONS)})"
