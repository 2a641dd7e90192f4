"""Finds the files of an input, and divides them into segments that are read one at a time.

A segment is a few row groups of a Parquet file, a range of bytes of a plain file of lines, or a whole file
that can only be read from its beginning: CSV, whose fields may hold line breaks, and compressed files.
Segments depend on the files alone, so that a resumed job finds the same ones.
"""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from token2wave.data.dialects import find_dialect
from token2wave.data.lines import cannot_read, format_in_zip
from token2wave.data.parquet import parquet_file
from token2wave.data.rows import COMPRESSIONS, FORMATS, TEXT_FORMATS, WORKBOOKS, Segment
from token2wave.errors import DataError
from token2wave.options import TextOptions

SEGMENT_BYTES = 32 << 20
DEFAULT_OPTIONS = TextOptions()
OTHER_FORMATS = {
    ".sql": "export the rows as CSV",
    **dict.fromkeys((".xls", ".xlsb", ".numbers"), "save it as .xlsx or CSV"),
    **dict.fromkeys((".feather", ".arrow", ".orc", ".h5"), "write it as Parquet"),
    **dict.fromkeys((".dta", ".sav", ".rds", ".rdata", ".sas7bdat", ".pkl"), "write it as CSV or Parquet"),
    **dict.fromkeys((".docx", ".doc", ".pdf", ".html"), "put its texts and labels into a table, as CSV"),
    ".json": "write JSON lines, in pandas with: frame.to_json(path, orient='records', lines=True)",
}
"""What to do about files of formats that are not read."""


def find_inputs(inputs: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Find the files of an input.

    Args:
        inputs: files, folders (all files of a known format in them, at any depth), and patterns such as
            ``crawl/*.parquet`` or ``crawl/**/part-*.jsonl.gz``. Folders and patterns skip names that begin
            with a dot or an underscore, which other programs give to files without data.

    Returns:
        The files, each once; those of one argument in the order of their names.

    Raises:
        DataError: a file does not exist, no file has a known format, or a folder cannot be read.
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
        raise DataError("expected at least one file", location="input", hint="name files or folders")
    return list(dict.fromkeys(paths))


def whole_file(path: Path, options: TextOptions = DEFAULT_OPTIONS) -> Segment:
    """Return the whole of a file as one segment, in the dialect of its format.

    With a delimiter, a text file is a table. A file of unknown format is a DataError.
    """
    _, suffix, compression = _split_name(path)
    if compression == ".zip":
        suffix = format_in_zip(path)
    if options.delimiter is not None and suffix in ("", *TEXT_FORMATS):
        suffix = ".csv"
    if not suffix:
        raise DataError(
            f"the format of {path.name[-60:]!r} is not known",
            location=os.fspath(path),
            hint=OTHER_FORMATS.get(path.suffix.lower())
            or f"use a file with one of the suffixes {suffixes()}, or name the delimiter of a table",
        )
    if options.pair and suffix in TEXT_FORMATS:
        raise DataError(
            f"expected two columns of texts for pairs, found a {suffix} file, whose lines are texts",
            location=os.fspath(path),
            hint="write the pairs as CSV, or name the delimiter of a table: --delimiter tab",
        )
    return Segment(os.fspath(path), suffix, compression, pair=options.pair)


def stem(path: Path) -> str | None:
    """The name of a file without the suffixes of its format; None if the format is unknown."""
    root, suffix, _ = _split_name(path)
    return root if suffix else None


def suffixes() -> str:
    """The suffixes of all formats, for error messages."""
    return f"{' '.join((*FORMATS, *WORKBOOKS))} (text files also with {', '.join(COMPRESSIONS)})"


def _split_name(path: Path) -> tuple[str, str, str]:
    """The name of a file, and the suffixes of its format (empty if unknown) and its compression."""
    root, suffix = os.path.splitext(path.name)
    if suffix.lower() in WORKBOOKS:
        return root, ".csv", suffix.lower()
    compression = suffix.lower() if suffix.lower() in COMPRESSIONS else ""
    if compression:
        root, suffix = os.path.splitext(root)
    suffix = suffix.lower()
    if compression == ".zip" and suffix not in FORMATS:
        return path.stem, ".csv", compression  # the file in it tells the format
    is_known = suffix in FORMATS and not (suffix == ".parquet" and compression)
    return root, suffix if is_known else "", compression


def segments_of(
    paths: Sequence[Path], n_bytes: int = SEGMENT_BYTES, options: TextOptions = DEFAULT_OPTIONS
) -> list[Segment]:
    """Divide files into segments of about ``n_bytes``, in the order of the files; an empty file has none.

    Raises:
        DataError: a file cannot be read, or is not Parquet although its name says so.
        MissingExtraError: a file is Parquet, and pyarrow is not installed.
    """
    segments: list[Segment] = []
    for path in paths:
        whole, size = whole_file(path, options), _file_size(path)
        if size and whole.format != ".parquet":
            whole = replace(whole, dialect=find_dialect(whole, options))
        if whole.format == ".parquet":
            bounds: Sequence[tuple[int, int | None]] = _row_groups(path, n_bytes)
        elif whole.counts_bytes:
            n_segments = -(-size // n_bytes)
            bounds = list(itertools.pairwise(size * i // n_segments for i in range(n_segments + 1) if size))
        else:
            bounds = [(0, None)] if size else []
        segments += [replace(whole, first=first, last=last) for first, last in bounds]
    return segments


def segment_size(segment: Segment) -> int:
    """Estimate how many bytes of the disk a segment takes, to report progress."""
    if segment.counts_bytes and segment.last is not None:
        return segment.last - segment.first
    path = Path(segment.path)
    size = _file_size(path)
    if segment.format != ".parquet" or segment.last is None:
        return size
    with parquet_file(path) as file:
        n_groups = int(file.metadata.num_row_groups)
    return size * (segment.last - segment.first) // max(n_groups, 1)


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise cannot_read(path, error) from error


def _row_groups(path: Path, n_bytes: int) -> list[tuple[int, int]]:
    """Return ranges of row groups of about so many bytes, uncompressed."""
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
    if not os.path.exists(path):
        raise cannot_read(path, FileNotFoundError())
    if not os.path.isfile(path):
        problem = "expected a file, found a device or pipe"
        raise DataError(problem, location=os.fspath(path), hint="name a regular file")
    whole_file(path)  # refuses an unknown format
    if not os.access(path, os.R_OK):
        raise cannot_read(path, PermissionError())
