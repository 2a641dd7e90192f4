"""Reads and writes a teacher's probabilities.

A teacher of any kind can write one of three formats:

- ``.jsonl``, ``.ndjson``: an object on each line, ``{"text": ..., "probabilities": [...]}``, or ``"row"``
  instead of ``"text"``. The probabilities are a list in the order of the classes, or an object that maps
  labels to probabilities.
- ``.parquet``: a column ``text`` or ``row``, and a column ``probabilities`` of lists or one for each label.
- ``.npz``: ``probabilities`` ``(N, C)`` with ``rows`` ``(N,)``, ``texts`` ``(N,)`` or ``text_sha256``
  ``(N, 32)`` uint8 of the texts' UTF-8. Without these, row ``i`` belongs to row ``i`` of the training data.

``row`` is the number of a row of the training data, counted from 0.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.data.parquet import parquet_columns
from token2wave.errors import DataError, locate
from token2wave.storage.atomic import atomic_write
from token2wave.storage.outputs import Outputs

SUFFIXES = (".parquet", ".npz", ".jsonl", ".ndjson")
PROBABILITIES = "probabilities"
MAX_BYTES = 64 << 20  # that any .npz may unpack to
MAX_RATIO = 20  # beyond that, unpacked bytes for each of the file's own
NPY_MAGIC = b"\x93NUMPY\x01\x00"  # of the version that numpy writes for arrays of numbers
NPY_HEADER = re.compile(
    r"\{'descr': '([<>|][biufU][1-9][0-9]{0,8})', 'fortran_order': (True|False), "
    r"'shape': \(([0-9, ]{0,200})\),? *\} *\n?"
)
ROUNDING = 1e-4  # a sum this close to 1 counts as 1
TOLERANCE = 0.02  # of a row's sum: probabilities written with two decimals still pass

Floats = NDArray[np.float32]


class KnownProbabilities:
    """Probabilities of some texts.

    Args:
        digests: SHA-256 of each text's UTF-8, 32 bytes each, length ``N``. The last of equal ones counts.
        values: ``(N, C)`` float32; rows sum to one.
    """

    def __init__(self, digests: Sequence[bytes], values: Floats) -> None:
        last = {digest: row for row, digest in enumerate(digests)}
        self.digests = list(last)
        self.values = values[np.fromiter(last.values(), np.int64, len(last))]
        self._row = {digest: row for row, digest in enumerate(last)}

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, text: str) -> bool:
        return digest(text) in self._row

    def missing(self, texts: Sequence[str]) -> list[str]:
        """List the texts that are not known, each once."""
        return [text for text in dict.fromkeys(texts) if text not in self]

    def of(self, texts: Sequence[str]) -> Floats:
        """Look texts up: ``(N, C)`` float32, with NaN for texts that are not known."""
        rows = np.array([self._row.get(digest(text), -1) for text in texts], dtype=np.int64)
        values = np.full((len(texts), self.values.shape[1]), np.nan, dtype=np.float32)
        values[rows >= 0] = self.values[rows[rows >= 0]]
        return values

    def with_more(self, texts: Sequence[str], values: Floats) -> KnownProbabilities:
        """Add texts."""
        digests = [*self.digests, *map(digest, texts)]
        return KnownProbabilities(digests, np.concatenate([self.values, values]) if len(self) else values)


def digest(text: str) -> bytes:
    """SHA-256 of a text's UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def write_probabilities(
    path: Path, known: KnownProbabilities, array: str = PROBABILITIES, *, overwrite: bool = False
) -> None:
    """Write a ``.npz`` that :func:`read_probabilities` reads. It holds digests instead of texts.

    Raises:
        OutputError: the file cannot be written, or is of another kind; an older one stays as it was.
    """
    Outputs(overwrite=overwrite).check_file(path, "file of probabilities")
    digests = np.frombuffer(b"".join(known.digests), dtype=np.uint8).reshape(-1, 32)
    arrays: dict[str, Any] = {array: known.values, "text_sha256": digests}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_probabilities(
    path: str | os.PathLike[str], label_names: Sequence[str], train_texts: Sequence[str]
) -> KnownProbabilities:
    """Read a file of probabilities, in one of the formats of this module.

    Args:
        path: ends in one of :data:`SUFFIXES`.
        label_names: names of the ``C`` classes, in the order of lists of probabilities.
        train_texts: the training data, to whose rows row numbers refer.

    Raises:
        DataError: the file or one of its rows cannot be used. The message names the row.
        MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(
            "expected a file of probabilities",
            location=os.fspath(path),
            hint=f"use one of the formats {' '.join(SUFFIXES)}",
        )
    try:
        table = read(path, label_names)
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error})", location=os.fspath(path), hint="check the path"
        ) from error
    digests = table.digests
    if digests is None:
        _check_rows(path, table, len(train_texts))
        numbers = range(len(train_texts)) if table.rows is None else table.rows
        digests = [digest(train_texts[row]) for row in numbers]
    return KnownProbabilities(digests, _normalize(path, table.values, label_names))


class _Table(NamedTuple):
    """A file's contents: probabilities ``(N, C)``, and texts' digests or row numbers, if it has any."""

    values: NDArray[np.float64]
    digests: list[bytes] | None = None
    rows: list[Any] | None = None


def _check_rows(path: Path, table: _Table, n_rows: int) -> None:
    if table.rows is None and len(table.values) != n_rows:
        raise DataError(
            f"expected probabilities of {n_rows} training rows, found {len(table.values)}",
            location=os.fspath(path),
            hint="add rows, texts or text_sha256 to say which texts they belong to",
        )
    for i, row in enumerate(table.rows or (), start=1):
        if type(row) is not int or not 0 <= row < n_rows:
            raise DataError(
                f"expected a row of the training data, from 0 to {n_rows - 1}, found {row!r}",
                location=locate(path, row=i),
                hint="count the rows of the training data from 0, without the header",
            )


def _normalize(path: Path, values: NDArray[np.float64], label_names: Sequence[str]) -> Floats:
    """Check probabilities, and make each row sum to one."""
    if values.ndim != 2 or values.shape[1] != len(label_names):
        raise DataError(
            f"expected a probability for each of {len(label_names)} classes, "
            f"found an array of shape {values.shape}",
            location=os.fspath(path),
            hint=f"give them in the order {', '.join(label_names[:12])}",
        )
    with np.errstate(invalid="ignore"):
        sums = values.sum(axis=1)
        wrong = ~((values >= 0).all(axis=1) & (np.abs(sums - 1) <= TOLERANCE))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"expected probabilities that sum to 1, found {np.round(values[row], 4).tolist()[:12]}",
            location=locate(path, row=row + 1),
            hint="write probabilities, not logits: the softmax of a classifier's output",
        )
    sums[np.abs(sums - 1) < ROUNDING] = 1  # so that a file that is read and written again stays the same
    return np.asarray(values / sums[:, None], dtype=np.float32)


def _parse_probabilities(location: str, value: object, label_names: Sequence[str]) -> list[float]:
    """Read the probabilities of a row from a list, or from an object that maps labels to probabilities."""
    values = value
    if isinstance(value, Mapping) and value.keys() == set(label_names):
        values = [value[name] for name in label_names]
    if (
        not isinstance(values, list)
        or len(values) != len(label_names)
        or any(isinstance(number, bool) or not isinstance(number, int | float) for number in values)
    ):
        raise DataError(
            f"expected {len(label_names)} probabilities, found {str(value)[:60]}",
            location=location,
            hint=f"give a list or an object with a number for each of {', '.join(label_names[:12])}",
        )
    return [float(number) for number in values]


def _read_records(path: Path, records: Sequence[Mapping[str, Any]], label_names: Sequence[str]) -> _Table:
    key = "text" if records and "text" in records[0] else "row"
    values, keys = np.zeros((len(records), len(label_names))), []
    for row, record in enumerate(records, start=1):
        location = locate(path, row=row)
        if key not in record or PROBABILITIES not in record:
            problem = f"expected the keys {key!r} and {PROBABILITIES!r}, found {', '.join(map(repr, record))}"
            raise DataError(problem, location=location, hint='write {"text": "...", "probabilities": [...]}')
        values[row - 1] = _parse_probabilities(location, record[PROBABILITIES], label_names)
        keys.append(record[key])
        if key == "text" and not isinstance(keys[-1], str):
            raise DataError(f"expected a text, found {str(keys[-1])[:60]}", location=location)
    return _Table(values, list(map(digest, keys))) if key == "text" else _Table(values, rows=keys)


def _read_json_lines(path: Path, label_names: Sequence[str]) -> _Table:
    records = []
    for line, content in enumerate(path.read_bytes().splitlines(), start=1):
        if not content.strip():
            continue
        try:
            records.append(json.loads(content))
            if not isinstance(records[-1], dict):
                raise ValueError(f"found {str(records[-1])[:60]}")
        except (ValueError, RecursionError) as error:
            problem = f"expected a JSON object ({str(error)[:100]})"
            raise DataError(problem, location=locate(path, line=line), hint="mend the line") from error
    if not records:
        raise DataError("expected at least one row, but the file is empty", location=os.fspath(path))
    return _read_records(path, records, label_names)


def _read_parquet(path: Path, label_names: Sequence[str]) -> _Table:
    columns = parquet_columns(path)
    if columns and PROBABILITIES not in columns and all(name in columns for name in label_names):
        keys = {
            str(key): columns[key] for key in ("text", "row") if key in columns and key not in label_names
        }
        values = [list(row) for row in zip(*(columns[name] for name in label_names), strict=True)]
        columns = {**keys, PROBABILITIES: values}
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _read_records(path, records, label_names)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of a ``.npz``; one that would unpack to far more bytes than it has is refused first.

    Raises:
        ValueError: it is damaged, compressed in an unusual way, or holds no arrays.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            if sum(sizes.values()) > MAX_BYTES + MAX_RATIO * os.fstat(stream.fileno()).st_size:
                raise ValueError(f"it claims to unpack to {sum(sizes.values()):,} bytes")
            return {name[:-4]: _read_npy(archive, name) for name in sizes if name.endswith(".npy")}
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(str(error)) from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, TypeError) as error:
        raise ValueError(str(error)) from error
    except (NotImplementedError, RuntimeError, MemoryError, OverflowError) as error:
        raise ValueError(f"it is compressed or encrypted in a way that is not read: {error}") from error


def _read_npy(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Read an array of a zip file. Its header cannot claim more memory than the entry has bytes."""
    with archive.open(name) as stream:
        magic = stream.read(len(NPY_MAGIC) + 2)
        n_bytes = int.from_bytes(magic[len(NPY_MAGIC) :], "little")
        header = NPY_HEADER.fullmatch(stream.read(n_bytes).decode("latin-1"))
        if not magic.startswith(NPY_MAGIC) or header is None:
            raise ValueError(f"{name[:60]!r} is no array of numbers or strings")
        dtype, by_column, sizes = header.groups()
        shape = tuple(int(size) for size in sizes.split(",") if size.strip())
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if n_bytes > archive.getinfo(name).file_size:
            raise ValueError(f"{name[:60]!r} holds less than it claims")
        array: NDArray[Any] = np.frombuffer(stream.read(n_bytes), dtype, math.prod(shape))
        return array.reshape(shape, order="F" if by_column == "True" else "C")


def _read_npz(path: Path, label_names: Sequence[str]) -> _Table:
    del label_names  # arrays have no names of classes
    try:
        arrays = read_npz(path)
        values = arrays[PROBABILITIES].astype(np.float64)
    except (ValueError, KeyError) as error:
        raise DataError(
            f"expected a .npz with an array {PROBABILITIES!r} of numbers ({str(error)[:100]})",
            location=os.fspath(path),
            hint="write it with numpy.savez, and without pickled objects",
        ) from error
    key = next((name for name in ("text_sha256", "texts", "rows") if name in arrays), None)
    if key is None:
        return _Table(values)
    keys = arrays[key]
    shape, types = ((len(values), 32), "u") if key == "text_sha256" else ((len(values),), "iuU")
    if keys.shape != shape or keys.dtype.kind not in types:
        raise DataError(
            f"expected an entry of {key!r} for each of {len(values)} rows, "
            f"found {keys.dtype} of shape {keys.shape}",
            location=os.fspath(path),
        )
    if key == "rows":
        return _Table(values, rows=keys.tolist())
    if key == "texts":
        return _Table(values, [digest(str(text)) for text in keys])
    return _Table(values, [row.astype(np.uint8).tobytes() for row in keys])


_READERS: dict[str, Callable[[Path, Sequence[str]], _Table]] = {
    ".parquet": _read_parquet,
    ".npz": _read_npz,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}
