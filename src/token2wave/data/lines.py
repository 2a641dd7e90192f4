"""The lines of a text file, plain or gzip, and what can go wrong before a format comes into play.

One rule for blank lines: at the end of a file they are ignored; anywhere else they are an error, because to
skip them would shift the numbers of the rows after them. Only where a blank line can be a text, in plain
text and in CSV with one column, it is an empty text.
"""

from __future__ import annotations

import codecs
import difflib
import gzip
import io
import os
import zlib
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from token2wave.errors import DataError, place

_T = TypeVar("_T")
LONGEST_LINE = 64 << 20
"""Bytes of a line of a file that is read into memory, at most; also the characters of a field of CSV."""
LIKELY_BYTES, LIKELY_TIMES = 256 << 20, 200
"""What is compressed may unpack to so many bytes, and so many times its own; texts reach a tenth."""


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading bytes.

    Raises:
        DataError: the system does not let us.
    """
    try:
        return open(path, "rb")
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise cannot_read(path, error) from error


def text_lines(path: Path) -> Generator[str, None, None]:
    r"""Yield the lines of a UTF-8 file, split at ``\n`` alone, with their ends and without a leading BOM.

    Args:
        path: the file; it is read as gzip if its name ends in .gz.

    Raises:
        DataError: the file cannot be opened, is not gzip, ends too early or is not UTF-8; names the line.
    """
    number = 0
    try:
        with open_binary(path) as raw:
            is_gzip = path.suffix.lower() == ".gz"
            stream = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if is_gzip else raw
            for line in decoded_lines(short_lines(path, stream, raw if is_gzip else None), path):
                number += 1
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = "ends too early" if isinstance(error, EOFError) else f"is damaged ({error})"
        raise DataError(
            f"the gzip data {what}",
            location=place(path, line=number + 1),
            hint="copy the file again, or check it with: gzip -t",
        ) from error
    except OSError as error:
        raise cannot_read(path, error) from error


def short_lines(
    source: Path, stream: io.BufferedIOBase | BinaryIO, packed: BinaryIO | None = None
) -> Iterator[bytes]:
    """Yield the lines of a stream; of one that is too long, no more than the limit is held.

    Args:
        source: what to call the stream in an error.
        stream: of the lines.
        packed: what it unpacks, if it does.

    Raises:
        DataError: a line is longer than :data:`LONGEST_LINE`, or too much is unpacked.
    """
    n_bytes = 0
    for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE + 1), b""), start=1):
        if len(line) > LONGEST_LINE:
            raise DataError(
                f"expected a line of at most {LONGEST_LINE:,} bytes, found a longer one",
                location=place(source, line=number),
                hint="check that the lines end in \\n, or cut the text into passages",
            )
        n_bytes += len(line)
        if packed is not None:
            require_likely_size(source, n_bytes, packed.tell())
        yield line


def require_likely_size(path: Path, n_unpacked: int, n_packed: int) -> None:
    """Refuse a file that unpacks to far more than texts do, as one does that is made to fill the memory.

    Raises:
        DataError: it does.
    """
    if n_unpacked > LIKELY_BYTES + LIKELY_TIMES * n_packed:
        raise DataError(
            f"expected at most {LIKELY_TIMES} times the {n_packed:,} bytes of the compressed data, "
            f"found at least {n_unpacked:,}",
            location=os.fspath(path),
            hint="check where it comes from; if all is well, write it as CSV or JSON lines, uncompressed",
        )


def decoded_lines(lines: Iterable[bytes], source: Path) -> Iterator[str]:
    """Decode lines of UTF-8, without a leading BOM.

    Raises:
        DataError: a line is not UTF-8; names the source and the line.
    """
    for number, line in enumerate(lines, start=1):
        text = _decoded(line, source, number)
        yield text.removeprefix("\ufeff") if number == 1 else text


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        if line.startswith(b"\x1f\x8b"):
            hint = "this is gzip data: let the name of the file end in .gz"
        elif line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            hint = "save the file as UTF-8, for example with: iconv -f UTF-16 -t UTF-8"
        else:
            hint = "save the file as UTF-8, for example with: iconv -f WINDOWS-1252 -t UTF-8"
        raise DataError(not_unicode(line, error), location=place(path, line=number), hint=hint) from error


def not_unicode(line: bytes, error: UnicodeDecodeError) -> str:
    """What is wrong with a line that is not UTF-8."""
    return f"expected UTF-8, got the byte 0x{line[error.start]:02x} at byte {error.start + 1} of the line"


def without_gaps(path: Path, rows: Iterable[tuple[int, _T | None]]) -> Iterator[tuple[int, _T]]:
    """Drop blank rows (None) at the end, refuse them elsewhere. Each row comes with its line."""
    blank: int | None = None
    for line, row in rows:
        if row is None:
            blank = line if blank is None else blank
        elif blank is not None:
            raise DataError(
                "a blank line between rows", location=place(path, line=blank), hint="delete the line"
            )
        else:
            yield line, row


def filled_lines(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers, from 1. Blank ones are dropped at the end and refused elsewhere."""
    numbered = ((n, line if line.strip() else None) for n, line in enumerate(lines, start=1))
    return without_gaps(path, numbered)


def did_you_mean(path: Path, names: Iterable[str] = ()) -> str:
    """`` (did you mean 'x'?)`` for the nearest name beside a path or in ``names``; empty if none is near."""
    try:
        beside = os.listdir(path.parent)
    except (OSError, ValueError):
        beside = []
    close = difflib.get_close_matches(path.name, [*names, *beside], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def cannot_read(path: Path, error: OSError | ValueError) -> DataError:
    """The error for a file or folder that the system does not let us read."""
    where = os.fspath(path)
    if isinstance(error, FileNotFoundError):
        return DataError("there is no such file", location=where, hint=f"check the path{did_you_mean(path)}")
    if isinstance(error, IsADirectoryError):
        return DataError("expected a file, got a folder", location=where, hint="name a file in it")
    if isinstance(error, PermissionError):
        return DataError("no permission to read this", location=where, hint="change it with chmod or chown")
    reason = getattr(error, "strerror", None) or str(error)
    return DataError(f"cannot be read ({reason})", location=where, hint="check the path and the disk")
