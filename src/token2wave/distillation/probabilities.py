"""Probabilities that a teacher gave to texts, in memory and in files.

Three formats are read, so that any teacher can write one:

- ``.jsonl``, ``.ndjson``: one object a line, ``{"text": ..., "probabilities": [...]}``, or ``"row"`` in
  place of ``"text"``; the probabilities are a list in the order of the classes, or an object of label and
  probability;
- ``.parquet``: a column ``text`` or ``row``, and a column ``probabilities`` of lists, or one for each label;
- ``.npz``: ``probabilities`` ``(N, C)`` with ``rows`` ``(N,)``, ``texts`` ``(N,)`` or ``text_sha256``
  ``(N, 32)`` uint8 of the texts' UTF-8; with none of them, row ``i`` belongs to row ``i`` of the training
  data.

A ``row`` is the number of a row of the training data, from 0.
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
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.data.parquet import parquet_columns
from token2wave.errors import DataError, place
from token2wave.storage.atomic import atomic_write

SUFFIXES = (".parquet", ".npz", ".jsonl", ".ndjson")
PROBABILITIES = "probabilities"
MAX_BYTES, MAX_UNPACKED = (
    64 << 20,
    20,
)  # a .npz unpacks to so many bytes, and so many times its own, at most
MAGIC = b"\x93NUMPY\x01\x00"  # of a .npy, of the version that numpy writes for arrays of numbers
HEADER = re.compile(
    r"\{'descr': '([<>|][biufU][1-9][0-9]{0,8})', 'fortran_order': (True|False), "
    r"'shape': \(([0-9, ]{0,200})\),? *\} *\n?"
)
ROUNDING = 1e-4
ONE = 0.02  # how far from 1 a row's sum may be: what is written with two decimals still passes

Floats = NDArray[np.float32]


class KnownProbabilities:
    """Probabilities of some texts.

    Args:
        digests: SHA-256 of each text's UTF-8, 32 bytes each, length ``N``; of one that stands there twice the
            last counts.
        values: ``(N, C)`` float32; rows sum to one.
    """

    def __init__(self, digests: Sequence[bytes], values: Floats) -> None:
        self.values = values
        self._row = {digest: row for row, digest in enumerate(digests)}

    def __len__(self) -> int:
        return len(self._row)

    @property
    def digests(self) -> list[bytes]:
        """Of the texts, each once."""
        return list(self._row)

    def of(self, texts: Sequence[str]) -> Floats:
        """Look texts up: ``(N, C)`` float32, a row of NaN for a text that is not known."""
        rows = np.array([self._row.get(digest(text), -1) for text in texts], dtype=np.int64)
        found = np.full((len(texts), self.values.shape[1]), np.nan, dtype=np.float32)
        found[rows >= 0] = self.values[rows[rows >= 0]]
        return found

    def with_more(self, texts: Sequence[str], values: Floats) -> KnownProbabilities:
        """The same and further texts."""
        rows = np.array(list(self._row.values()), dtype=np.int64)
        return KnownProbabilities(
            [*self._row, *map(digest, texts)], np.concatenate([self.values[rows], values])
        )


def digest(text: str) -> bytes:
    """SHA-256 of a text's UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def write_probabilities(path: Path, known: KnownProbabilities) -> None:
    """Write a ``.npz`` that :func:`read_probabilities` reads: texts as digests alone.

    Raises:
        OutputError: the place cannot be written to; a file that was there is left as it was.
    """
    digests = known.digests
    values = known.with_more([], known.values[:0]).values  # in the order of the digests
    with atomic_write(path) as aside, aside.open("wb") as file:
        np.savez_compressed(
            file,
            probabilities=values,
            text_sha256=np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32),
        )


def read_probabilities(
    path: str | os.PathLike[str], label_names: Sequence[str], train_texts: Sequence[str]
) -> KnownProbabilities:
    """Read a file of probabilities; the module says in which formats.

    Args:
        path: ends in one of :data:`SUFFIXES`.
        label_names: names of the ``C`` classes, in the order of lists of probabilities.
        train_texts: the training data's rows, which numbers of rows mean.

    Raises:
        DataError: the file cannot be read, or a row of it cannot be used; names the file and the row.
        MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            "expected a file of probabilities",
            location=os.fspath(path),
            hint=f"use one of the formats {' '.join(SUFFIXES)}",
        )
    try:
        rows = reader(path, label_names)
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error})", location=os.fspath(path), hint="check the path"
        ) from error
    digests = rows.digests
    if digests is None:
        digests = [digest(train_texts[row]) for row in _checked_rows(path, rows, len(train_texts))]
    return KnownProbabilities(digests, _checked(path, rows.values, label_names))


class _Rows(NamedTuple):
    """What a file holds: probabilities ``(N, C)``, and the texts' digests, or else numbers of rows."""

    values: NDArray[np.float64]
    digests: list[bytes] | None
    numbers: list[Any] | None


def _checked_rows(path: Path, rows: _Rows, n_rows: int) -> Iterable[int]:
    if rows.numbers is None:
        if len(rows.values) != n_rows:
            raise DataError(
                f"expected probabilities of {n_rows} training rows, found {len(rows.values)}",
                location=os.fspath(path),
                hint="say which texts they are of: rows, texts or text_sha256",
            )
        return range(n_rows)
    for i, number in enumerate(rows.numbers, start=1):
        if type(number) is not int or not 0 <= number < n_rows:
            raise DataError(
                f"expected a row of the training data, from 0 to {n_rows - 1}, found {number!r}",
                location=place(path, row=i),
                hint="count the rows of the training data from 0, without the header",
            )
    return rows.numbers


def _checked(path: Path, values: NDArray[np.float64], label_names: Sequence[str]) -> Floats:
    """Probabilities whose rows sum to one."""
    if values.ndim != 2 or values.shape[1] != len(label_names):
        raise DataError(
            f"expected a probability for each of {len(label_names)} classes, "
            f"found an array of shape {values.shape}",
            location=os.fspath(path),
            hint=f"give them in the order {', '.join(label_names[:12])}",
        )
    with np.errstate(invalid="ignore"):
        sums = values.sum(axis=1)
        wrong = ~((values >= 0).all(axis=1) & (np.abs(sums - 1) <= ONE))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"expected probabilities that sum to 1, found {np.round(values[row], 4).tolist()[:12]}",
            location=place(path, row=row + 1),
            hint="write probabilities, not logits: the softmax of a classifier's output",
        )
    sums[np.abs(sums - 1) < ROUNDING] = 1  # what was read is written, and read again, as it is
    checked: Floats = (values / sums[:, None]).astype(np.float32)
    return checked


def _vector(path: Path, row: int, found: object, label_names: Sequence[str]) -> list[float]:
    """Probabilities of a row, given as a list or by label."""
    if isinstance(found, Mapping):
        missing = [name for name in label_names if name not in found]
        if missing or len(found) != len(label_names):
            odd = missing or sorted(set(found) - set(label_names))
            raise DataError(
                f"expected a probability for each class, found {odd[0]!r} missing or too many",
                location=place(path, row=row),
                hint="name the classes as the training data does",
            )
        found = [found[name] for name in label_names]
    if (
        not isinstance(found, list)
        or len(found) != len(label_names)
        or any(isinstance(value, bool) or not isinstance(value, int | float) for value in found)
    ):
        raise DataError(
            f"expected {len(label_names)} probabilities, found {str(found)[:60]}",
            location=place(path, row=row),
            hint="give a list in the order of the classes, or an object of label and probability",
        )
    return [float(value) for value in found]


def _of_records(path: Path, records: Sequence[Mapping[str, Any]], label_names: Sequence[str]) -> _Rows:
    key = "text" if records and "text" in records[0] else "row"
    values, keys = np.zeros((len(records), len(label_names))), []
    for row, record in enumerate(records, start=1):
        if key not in record or PROBABILITIES not in record:
            raise DataError(
                f"expected the keys {key!r} and {PROBABILITIES!r}, found {', '.join(map(repr, record))}",
                location=place(path, row=row),
                hint='write {"text": "...", "probabilities": [...]}',
            )
        values[row - 1] = _vector(path, row, record[PROBABILITIES], label_names)
        keys.append(record[key])
        if key == "text" and not isinstance(keys[-1], str):
            raise DataError(f"expected a text, found {str(keys[-1])[:60]}", location=place(path, row=row))
    if key == "text":
        return _Rows(values, list(map(digest, keys)), None)
    return _Rows(values, None, keys)


def _json_lines(path: Path, label_names: Sequence[str]) -> _Rows:
    records = []
    for line, content in enumerate(path.read_bytes().splitlines(), start=1):
        if not content.strip():
            continue
        try:
            record = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"not valid JSON ({str(error)[:100]})", location=place(path, line=line), hint="mend the line"
            ) from error
        if not isinstance(record, dict):
            raise DataError("expected a JSON object", location=place(path, line=line), hint="mend the line")
        records.append(record)
    if not records:
        raise DataError("the file is empty", location=os.fspath(path), hint="expected at least one row")
    return _of_records(path, records, label_names)


def _parquet(path: Path, label_names: Sequence[str]) -> _Rows:
    columns = parquet_columns(path)
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if records and PROBABILITIES not in records[0] and all(name in records[0] for name in label_names):
        records = [
            {
                **{key: record[key] for key in ("text", "row") if key in record and key not in label_names},
                PROBABILITIES: [record[name] for name in label_names],
            }
            for record in records
        ]
    return _of_records(path, records, label_names)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a ``.npz``; one that unpacks to far more than it holds is refused before it is unpacked.

    Raises:
        ValueError: it is damaged, packed in an unusual way, or no file of arrays.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as packed:
            sizes = {entry.filename: entry.file_size for entry in packed.infolist()}
            if sum(sizes.values()) > MAX_BYTES + MAX_UNPACKED * os.fstat(stream.fileno()).st_size:
                raise ValueError(f"it claims to unpack to {sum(sizes.values()):,} bytes")
            return {name[:-4]: _npy(packed, name) for name in sizes if name.endswith(".npy")}
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(str(error)) from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, TypeError) as error:
        raise ValueError(str(error)) from error
    except (NotImplementedError, RuntimeError, MemoryError, OverflowError) as error:
        raise ValueError(f"it is packed or encrypted in a way that is not read: {error}") from error


def _npy(packed: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """An array of a zip file; no more than its entry holds is set aside for it."""
    with packed.open(name) as stream:
        beginning = stream.read(len(MAGIC) + 2)
        n_bytes = int.from_bytes(beginning[len(MAGIC) :], "little")
        header = HEADER.fullmatch(stream.read(n_bytes).decode("latin-1"))
        if not beginning.startswith(MAGIC) or header is None:
            raise ValueError(f"{name[:60]!r} is no array of numbers or strings")
        kind, in_columns, sizes = header.groups()
        shape = tuple(int(size) for size in sizes.split(",") if size.strip())
        n_bytes = math.prod(shape) * np.dtype(kind).itemsize
        if n_bytes > packed.getinfo(name).file_size:
            raise ValueError(f"{name[:60]!r} holds less than it claims")
        array: NDArray[Any] = np.frombuffer(stream.read(n_bytes), kind, math.prod(shape))
        return array.reshape(shape, order="F" if in_columns == "True" else "C")


def _npz(path: Path, label_names: Sequence[str]) -> _Rows:
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
    keys = next((name for name in ("text_sha256", "texts", "rows") if name in arrays), None)
    if keys is None:
        return _Rows(values, None, None)
    named = arrays[keys]
    shape, kind = ((len(values), 32), "u") if keys == "text_sha256" else ((len(values),), "iuU")
    if named.shape != shape or named.dtype.kind not in kind:
        raise DataError(
            f"expected an entry of {keys!r} for each of {len(values)} rows, "
            f"found {named.dtype} of shape {named.shape}",
            location=os.fspath(path),
            hint="write one for each row of the probabilities",
        )
    if keys == "text_sha256":
        return _Rows(values, [row.astype(np.uint8).tobytes() for row in named], None)
    if keys == "texts":
        return _Rows(values, [digest(str(text)) for text in named], None)
    return _Rows(values, None, named.tolist())


_READERS: dict[str, Callable[[Path, Sequence[str]], _Rows]] = {
    ".parquet": _parquet,
    ".npz": _npz,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}
