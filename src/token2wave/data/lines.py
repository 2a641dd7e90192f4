"""Reads the lines of a segment, plain or compressed, up to a limit of length."""

from __future__ import annotations

import codecs
import difflib
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from token2wave.data.rows import COMPRESSIONS, FORMATS, Dialect, Segment
from token2wave.data.values import join_names
from token2wave.errors import DataError, import_extra, locate

MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO = 256 << 20, 200
"""Compressed data may unpack to so many bytes, and so many times its own size; texts reach a tenth of it."""
SKIP_CHUNK = 1 << 20
CARRIAGE_RETURNS = (
    "found a carriage return that no line feed follows",
    "end the lines in line feeds, for example with: tr '\\r' '\\n' < old.csv > new.csv; put double quotes "
    "around a field that holds a line break",
)
BUFFER_BYTES = 1 << 13  # so many are lost if a compressed stream breaks off
_MAGIC = {
    b"PK\x03\x04": ("zip", "unpack it, and name the file that was in it; a spreadsheet is saved as CSV"),
    b"\x1f\x8b": ("gzip", "let the name of the file end in .gz"),
    b"BZh": ("bzip2", "let the name of the file end in .bz2"),
    b"\xfd7zXZ\x00": ("xz", "let the name of the file end in .xz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "let the name of the file end in .zst"),
    b"PAR1": ("Parquet", "let the name of the file end in .parquet"),
    b"\xd0\xcf\x11\xe0": ("Excel 97", "save it as .xlsx or CSV"),
    b"%PDF": ("PDF", "copy its texts into a table"),
    b"<!DOCTYPE html": ("HTML", "save the table in it as CSV"),
    b"<html": ("HTML", "save the table in it as CSV"),
}
_MARK_BROKEN = "token2wave.mark_broken"
BROKEN_STREAM = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError)
UNDECODABLE, LOST = "with undecodable bytes", "lost"
"""Kinds of faults. After a lost line nothing can be read, so it is not one bad row."""


class Fault(NamedTuple):
    """Why a line or a row cannot be read.

    Attributes:
        problem: what is wrong.
        hint: how to correct it.
        beginning: first characters of the row.
        line: the number of the line, if the line itself is broken and not the row.
        category: as in "3 rows are ...", to count such faults together.
    """

    problem: str
    hint: str
    beginning: str = ""
    line: int | None = None
    category: str = "that cannot be parsed"

    @property
    def is_encoding(self) -> bool:
        """Whether the bytes are not in the encoding of the file."""
        return self.category == UNDECODABLE


class EncodingError(DataError):
    """A file is not in the encoding that it was read in."""


Lines = Generator[tuple[int, bytes | Fault], None, None]


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading bytes; a failure is a DataError."""
    try:
        return open(path, "rb")
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise cannot_read(path, error) from error


def read_lines(segment: Segment, raw: BinaryIO, max_bytes: int) -> Lines:
    r"""Read the lines of a segment, split at ``\n`` alone, without a leading byte order mark.

    Yields:
        The place of each line, and its bytes with their end; a fault for a line of more than ``max_bytes``,
        and for the place where compressed data breaks off.

    Raises:
        DataError: the file cannot be read.
        MissingExtraError: pyarrow is needed, for .zst, and not installed.
    """
    counts_bytes, last = segment.counts_bytes, segment.last
    beginning = 0 if counts_bytes else 1
    at = segment.first or beginning
    try:
        stream = decompress(segment, raw)
        if segment.dialect.is_transcoded:
            stream = cast("BinaryIO", io.BufferedReader(_Transcoder(stream, segment.dialect)))
        if segment.first:
            stream.seek(at - 1)  # a line that begins here is this segment's; a cut one is not
            at += _skip_line(stream) - 1
        readline = stream.readline
        while last is None or at < last:
            line = readline(max_bytes + 1)
            if not line:
                return
            n_bytes = len(line)
            if at == beginning:
                require_text(segment, line)
                line = line.removeprefix(codecs.BOM_UTF8)
            if n_bytes <= max_bytes:
                yield at, line
            else:
                n_bytes += 0 if line.endswith(b"\n") else _skip_line(stream)
                problem = f"expected a line of at most {max_bytes:,} bytes, found a longer one"
                hint = "check that the lines end in \\n, or cut the text into passages"
                yield at, Fault(problem, hint, line=0)
            at += n_bytes if counts_bytes else 1
    except UnicodeError as error:
        raise wrong_encoding(segment.path, error) from error
    except BROKEN_STREAM as error:
        if not segment.compression:
            raise cannot_read(Path(segment.path), cast("OSError", error)) from error
        what = "ends too early" if isinstance(error, EOFError) else f"is damaged ({str(error)[:100]})"
        problem = f"the {COMPRESSIONS[segment.compression]} data {what}, and nothing after this can be read"
        yield at, Fault(problem, "copy the file again", line=0, category=LOST)


def require_text(segment: Segment, beginning: bytes) -> None:
    """Refuse a file that begins as another format does."""
    for magic, (name, hint) in _MAGIC.items():
        if beginning.startswith(magic):
            problem = f"expected lines of text, found {name} data"
            raise DataError(problem, location=segment.path, hint=hint)


def plausible_lines(lines: Lines, path: Path, raw: BinaryIO) -> Lines:
    """Pass on lines of compressed data, and check their size; see :func:`require_plausible_size`."""
    n_bytes = 0
    for at, line in lines:
        if isinstance(line, bytes):
            n_bytes += len(line)
            require_plausible_size(path, n_bytes, raw.tell())
        yield at, line


def require_plausible_size(path: Path, n_unpacked: int, n_packed: int) -> None:
    """Refuse a file that unpacks to far more than texts do: it is made to fill the memory."""
    if n_unpacked > MAX_UNPACKED_BYTES + MAX_UNPACKED_RATIO * n_packed:
        raise DataError(
            f"expected at most {MAX_UNPACKED_RATIO} times the {n_packed:,} bytes of the compressed data, "
            f"found at least {n_unpacked:,}",
            location=os.fspath(path),
            hint="check where it comes from; if you trust it, write it as CSV or JSON lines, uncompressed",
        )


def wrong_encoding(source: str, error: UnicodeError) -> DataError:
    """Return the error for a stream that its decoder refuses as a whole, as UTF-16 without its mark."""
    hint = "name the encoding with --encoding, such as utf-16-le or cp1252"
    return DataError(f"cannot be decoded ({error})", location=source, hint=hint)


def decode(line: bytes, encoding: str = "utf-8") -> str | Fault:
    """Decode a line of UTF-8, or of a file in another encoding that :func:`read_lines` has transcoded."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"expected text in {encoding}, found bytes that are not"
        if encoding == "utf-8":
            byte, position = line[error.start], error.start + 1
            problem = f"expected UTF-8, found the byte 0x{byte:02x} at byte {position} of the line"
        hint = "name the encoding of the file, for example with --encoding cp1252 (encoding='cp1252')"
        return Fault(problem, hint, line[:1000].decode("utf-8", "replace"), line=0, category=UNDECODABLE)


def decode_row(line: bytes, is_first: bool, encoding: str = "utf-8") -> str | Fault:
    """Decode a line that is a row; a fault if carriage returns alone end the lines of its file."""
    text = decode(line, encoding)
    is_whole_file = is_first and not line.endswith(b"\n")
    if is_whole_file and isinstance(text, str) and "\r" in text.rstrip("\r"):
        return Fault(*CARRIAGE_RETURNS, text[:1000])
    return text


def _skip_line(stream: BinaryIO) -> int:
    """Read on to the next line; return how many bytes were skipped."""
    n_bytes = 0
    while chunk := stream.readline(SKIP_CHUNK):
        n_bytes += len(chunk)
        if chunk.endswith(b"\n"):
            break
    return n_bytes


class _Transcoder(io.RawIOBase):
    """A stream of lines of UTF-8 from one in another dialect; what cannot be decoded is the byte 0xFF."""

    def __init__(self, stream: BinaryIO, dialect: Dialect) -> None:
        self.stream, self.line_end, self.pending = stream, dialect.line_end, b""
        self.decoder = codecs.getincrementaldecoder(dialect.encoding)(_MARK_BROKEN)

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer, and return how many."""
        chunk = b" "
        while not self.pending and chunk:
            chunk = self.stream.read(BUFFER_BYTES)
            text = self.decoder.decode(chunk, not chunk).replace(self.line_end, "\n")
            self.pending = text.encode("utf-8", _MARK_BROKEN)
        n_bytes = min(len(buffer), len(self.pending))
        buffer[:n_bytes], self.pending = self.pending[:n_bytes], self.pending[n_bytes:]
        return n_bytes


def _mark_broken(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeDecodeError | UnicodeEncodeError)
    return "\udcff" if isinstance(error, UnicodeDecodeError) else b"\xff", error.end


codecs.register_error(_MARK_BROKEN, _mark_broken)


def decompress(segment: Segment, raw: BinaryIO) -> BinaryIO:
    """Return a stream of the bytes of a file without its compression."""
    if not segment.compression:
        return raw
    if segment.compression == ".zst":
        with import_extra("parquet", f"reading {segment.path}"):
            import pyarrow
        stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), "zstd")
        return cast("BinaryIO", io.BufferedReader(stream, BUFFER_BYTES))
    if segment.compression == ".zip":
        archive, member = _open_zip(Path(segment.path), raw)
        return cast("BinaryIO", archive.open(member))
    import bz2
    import gzip

    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return cast("BinaryIO", openers[segment.compression](raw, "rb"))


def format_in_zip(path: Path) -> str:
    """Return the suffix of the one text file in a zip archive; a DataError if there are none or several."""
    with open_binary(path) as raw:
        return os.path.splitext(_open_zip(path, raw)[1].filename)[1].lower()


def _open_zip(path: Path, raw: BinaryIO) -> tuple[zipfile.ZipFile, zipfile.ZipInfo]:
    """Open an archive of one text file; what other programs add, such as ``__MACOSX``, does not count."""
    hint = "write an archive of one CSV or JSON lines file without a password, or unpack it"
    try:
        archive = zipfile.ZipFile(raw)
        names = [
            member.filename
            for member in archive.infolist()
            if not (member.is_dir() or any(name[:1] in "._" for name in member.filename.split("/")))
        ]
        texts = [name for name in names if os.path.splitext(name)[1].lower() in set(FORMATS) - {".parquet"}]
        if len(texts) != 1:
            problem = f"expected one text file in the archive, found {len(texts)} among {join_names(names)}"
            raise DataError(problem, location=os.fspath(path), hint=hint)
        archive.open(texts[0]).close()
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, *BROKEN_STREAM) as error:
        problem = f"not a readable zip archive ({' '.join(str(error).split())[:100]})"
        raise DataError(problem, location=os.fspath(path), hint=hint) from error
    return archive, archive.getinfo(texts[0])


def did_you_mean(path: Path, names: Iterable[str] = ()) -> str:
    """`` (did you mean 'x'?)`` for the nearest name beside a path or in ``names``; empty if none is near."""
    try:
        beside = os.listdir(path.parent)
    except (OSError, ValueError):
        beside = []
    close = difflib.get_close_matches(path.name, [*names, *beside], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def cannot_read(path: Path, error: OSError | ValueError) -> DataError:
    """Return the error for a file or folder that cannot be read."""
    reason = getattr(error, "strerror", None) or str(error)
    problem, hint = f"cannot be read ({reason})", "check the path and the disk"
    if isinstance(error, FileNotFoundError):
        problem, hint = "there is no such file", f"check the path{did_you_mean(path)}"
    elif isinstance(error, IsADirectoryError):
        problem, hint = "expected a file, found a folder", "name a file in it"
    elif isinstance(error, PermissionError):
        problem, hint = "no permission to read this", "change it with chmod or chown"
    return DataError(problem, location=locate(path), hint=hint)
