"""The model file: one safetensors file with everything that prediction needs. Never pickle.

``docs/format.md`` specifies it. The tensors of the network have their own names, those of the features
``features.NAME``. The metadata has one key, ``token2wave``, so that equal models give equal bytes. Its value
is JSON with ``checksum`` (the CRC-32 of the file with these eight digits as zeros), ``format_version``, the
:data:`SECTIONS`, and optionally ``thresholds``, ``novelty``, ``drift`` and ``scale``.

A file may come from anyone. The settings decide which arrays there are, so names, types, shapes and sizes are
checked before an array is read or decoded. ``docs/security.md`` states the bound of the memory.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from token2wave.errors import ModelFileError, OutputError, Token2WaveError
from token2wave.storage.atomic import atomic_write
from token2wave.storage.encodings import MAX_FREE, MAX_PER_BYTE, EncodedArray, suffixes_of
from token2wave.storage.safetensors_writer import NAMES, TYPES, bytes_of, size_of_arrays, write_arrays

FORMAT_VERSION = 4
KEY = "token2wave"
FEATURE_PREFIX = "features."
MAX_HEADER = 8 << 20  # bytes; ten thousand names of classes take about one million
MAX_VALUES = 1 << 18  # in the JSON of a header; Python's objects take far more memory than their text
SECTIONS = {
    "versions": dict,
    "features": dict,
    "network": dict,
    "labels": list,
    "training": dict,
    "storage": dict,  # settings of the encoded tensors
}
STATISTICS = ("novelty", "drift", "scale")  # sections that may be absent
BEGINNING = '{"__metadata__":{"token2wave":"{\\"checksum\\": \\"'  # of the header, before the checksum
CHECKSUM_OFFSET = 8 + len(BEGINNING)
NO_DIGITS = "0" * 8

Entries = dict[str, dict[str, Any]]  # of the header, by name: dtype, shape, data_offsets
Expected = dict[str, tuple[str, list[int] | None]]  # dtype and shape of decoded arrays; None for any length


@dataclass(frozen=True)
class ModelFile:
    """The contents of a model file.

    Attributes:
        tensors: decoded arrays by name.
        features: ``{"kind": ..., "settings": {...}}``.
        network: settings of the network.
        labels: names of the classes, in order.
        training: record of the training run.
        versions: of the packages that wrote the file.
        encoded: arrays that are encoded in the file, by name.
        thresholds: of a multi-label model, the probability from which a text gets each class.
        novelty: statistics that novelty is measured against; None if there are none.
        drift: sums that drift is measured against; None if there are none.
        scale: the scale of a model of scores; None for a model of labels.
    """

    tensors: dict[str, NDArray[Any]]
    features: dict[str, Any]
    network: dict[str, Any]
    labels: list[str]
    training: dict[str, Any]
    versions: dict[str, Any]
    encoded: dict[str, EncodedArray] = field(default_factory=dict)
    thresholds: list[float] = field(default_factory=list)
    novelty: dict[str, Any] | None = None
    drift: dict[str, Any] | None = None
    scale: dict[str, Any] | None = None


def write_model_file(path: Path, model: ModelFile) -> None:
    """Write a model file atomically.

    Raises:
        OutputError: the file cannot be written, or its header is larger than readers accept.
    """
    tensors, metadata = _contents(model)
    n_bytes = len(metadata[KEY])
    if n_bytes > MAX_HEADER // 2 or _count_values(metadata[KEY]) > MAX_VALUES // 2:
        raise OutputError(
            f"expected at most {MAX_HEADER // 2:,} bytes of labels and settings, found {n_bytes:,}",
            location=str(path),
            hint="shorten the labels",
        )
    with atomic_write(path) as temporary:
        checksum = write_arrays(temporary, tensors, metadata)
        with temporary.open("rb+") as file:
            file.seek(CHECKSUM_OFFSET)
            file.write(f"{checksum:08x}".encode())


def size_of_model_file(model: ModelFile) -> int:
    """Return the number of bytes that :func:`write_model_file` would write."""
    return size_of_arrays(*_contents(model))


def _contents(model: ModelFile) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return tensors and metadata of the safetensors file."""
    tensors = {name: array for name, array in model.tensors.items() if name not in model.encoded}
    for name, encoded in model.encoded.items():
        tensors |= {name + suffix: array for suffix, array in encoded.parts.items()}
    header: dict[str, Any] = {
        "checksum": NO_DIGITS,  # first of the sorted keys, so its offset is fixed
        "format_version": FORMAT_VERSION,
        "versions": model.versions,
        "features": model.features,
        "network": model.network,
        "labels": model.labels,
        "training": model.training,
        "storage": {name: encoded.settings for name, encoded in model.encoded.items()},
    }
    if model.thresholds:
        header["thresholds"] = model.thresholds
    header |= {name: section for name in STATISTICS if (section := getattr(model, name)) is not None}
    return tensors, {KEY: json.dumps(header, sort_keys=True)}


def read_model_file(path: Path, expected_arrays: Callable[[dict[str, Any]], Expected]) -> ModelFile:
    """Read and check a model file. Nothing in it is executed.

    Args:
        path: of the file.
        expected_arrays: returns type and shape of every array, given the :data:`SECTIONS`. A file with other
            arrays is refused before one of them is read.

    Raises:
        ModelFileError: the file is missing, damaged, not of token2wave, of another format version, or has
            numbers that are not finite.
    """
    location = str(path)
    if path.is_dir():
        raise ModelFileError(
            "expected a model file, found a folder", location=location, hint="name a file in it"
        )
    try:
        with path.open("rb") as file:
            begin = _read_begin(file)
            # The library checks the file. It would map and copy the arrays, in twice the memory, so they are
            # read here.
            with safe_open(path, framework="numpy"):
                entries = parse_header(begin[8:].decode())
            header = _header((entries.pop("__metadata__", None) or {}).get(KEY))
            expected = expected_arrays(header)
            _check_entries(entries, expected, header["storage"])
            in_order = sorted(entries.items(), key=lambda item: item[1]["data_offsets"])
            tensors = {name: _read_array(file, len(begin), name, entry) for name, entry in in_order}
        if "checksum" in header:  # optional for other writers
            _check(header["checksum"], begin, tensors.values())
        encoded = _decode(header["storage"], tensors, expected)
        _check_values(header, tensors)
    except FileNotFoundError as error:
        raise ModelFileError("there is no such file", location=location, hint="check the path") from error
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror or error}", location=location) from error
    except ValueError as error:  # a path with NUL in it
        raise ModelFileError(f"cannot be read: {error}", location=repr(location)) from error
    except SafetensorError as error:
        problem = "expected a whole safetensors file, found one that is damaged, cut short or of another kind"
        hint = "copy it again, or train again"
        raise ModelFileError(f"{problem} ({error})", location=location, hint=hint) from error
    except Token2WaveError as error:
        at = location if error.location is None else f"{location}, {error.location}"
        raise ModelFileError(error.problem, location=at, hint=error.hint) from error
    statistics: dict[str, Any] = {name: header.get(name) for name in STATISTICS}
    return ModelFile(
        tensors=tensors,
        encoded=encoded,
        thresholds=[float(threshold) for threshold in header.get("thresholds", [])],
        **statistics,
        **{section: header[section] for section in SECTIONS if section != "storage"},
    )


def _read_begin(file: BinaryIO) -> bytes:
    """Read a safetensors header with its length. One that is longer than the file is left to the library."""
    begin = file.read(8)
    n_bytes = int.from_bytes(begin, "little")
    if n_bytes > os.fstat(file.fileno()).st_size:
        return begin
    if n_bytes > MAX_HEADER:
        raise ModelFileError(f"expected a header of at most {MAX_HEADER:,} bytes, found {n_bytes:,}")
    begin += file.read(n_bytes)
    _require_few_values(begin)
    return begin


def _count_values(text: Any) -> int:
    """Count at least the values of JSON, as text or bytes."""
    marks = (b",", b"[", b"{") if isinstance(text, bytes) else (",", "[", "{")
    return sum(map(text.count, marks))


def _require_few_values(text: str | bytes) -> None:
    if _count_values(text) > MAX_VALUES:
        raise ModelFileError(f"expected at most {MAX_VALUES:,} values in the header, found more")


def parse_header(text: str) -> Any:
    """Parse JSON of few values and without repeated keys.

    Raises:
        ModelFileError: there are too many values.
        ValueError: it is no such JSON.
        RecursionError: it is nested too deeply.
    """

    def to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            raise ValueError("expected each key once")
        return values

    _require_few_values(text)
    return json.loads(text, object_pairs_hook=to_dict)


def _check_entries(entries: Entries, expected: Expected, storage: dict[str, Any]) -> None:
    """Check that the file holds the expected arrays, or the parts of encoded ones, and no others."""
    if not all(isinstance(settings, dict) for settings in storage.values()):
        raise ModelFileError("expected settings of encoded arrays in the section 'storage'")
    parts = [name + suffix for name, settings in storage.items() for suffix in suffixes_of(settings)]
    odd = {*parts, *(expected.keys() - storage.keys())} ^ entries.keys() or storage.keys() - expected.keys()
    if odd:
        raise ModelFileError(f"expected the arrays of these settings, found {min(odd)!r} missing or too many")
    for name in expected:
        if name not in storage:
            _require_type(name, expected, entries[name]["dtype"], entries[name]["shape"])


def _require_type(name: str, expected: Expected, dtype: str, shape: list[int]) -> None:
    expected_type, expected_shape = expected[name]
    fits = len(shape) == 1 if expected_shape is None else shape == expected_shape
    if dtype != expected_type or not fits:
        raise ModelFileError(
            f"expected {expected_type} of shape {expected_shape or '[n]'}, found {dtype} of shape {shape}",
            location=repr(name),
        )


def _check(expected: Any, begin: bytes, tensors: Iterable[NDArray[Any]]) -> None:
    """Compare the checksum in the header with that of the header and of the arrays in their order."""
    digits = slice(CHECKSUM_OFFSET, CHECKSUM_OFFSET + len(NO_DIGITS))
    checksum = zlib.crc32(begin[: digits.start] + NO_DIGITS.encode() + begin[digits.stop :])
    for array in tensors:
        checksum = zlib.crc32(bytes_of(array), checksum)
    if expected != f"{checksum:08x}":
        raise ModelFileError(
            f"expected bytes of checksum {expected!r:.10}, found {checksum:08x}",
            hint="the file is damaged: copy it again, or train again",
        )


def _check_values(header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
    """Check that all numbers are finite, and the optional sections."""
    for name, array in tensors.items():
        # The extremes suffice, and need no memory.
        if array.dtype.kind == "f" and array.size and not np.isfinite([array.min(), array.max()]).all():
            raise ModelFileError(f"expected finite numbers in {name!r}, found others")
    for name in STATISTICS:
        if not isinstance(header.get(name), dict | None):
            raise ModelFileError(f"expected numbers by name in the section {name!r}")
    thresholds = header.get("thresholds", [])
    is_list = isinstance(thresholds, list)
    if not is_list or not all(type(each) in (int, float) and 0 <= each <= 1 for each in thresholds):
        raise ModelFileError("expected probabilities in the section 'thresholds'")


def _decode(
    storage: dict[str, Any], tensors: dict[str, NDArray[Any]], expected: Expected
) -> dict[str, EncodedArray]:
    """Replace the parts of encoded arrays by the decoded arrays; return the encoded ones."""
    encoded = {
        name: EncodedArray(settings, {suffix: tensors.pop(name + suffix) for suffix in suffixes_of(settings)})
        for name, settings in storage.items()
    }
    n_numbers, n_bytes = 0, 0
    for name, array in encoded.items():  # all of them are checked before one is decoded
        with _located(name):
            _require_type(name, expected, NAMES[array.dtype.newbyteorder("<")], list(array.shape))
        n_numbers += math.prod(array.shape)
        n_bytes += sum(stored.nbytes for stored in array.parts.values())
    if n_numbers > MAX_FREE + MAX_PER_BYTE * n_bytes:
        raise ModelFileError(f"expected at most {MAX_PER_BYTE} numbers a byte in encoded arrays, found more")
    for name, array in encoded.items():
        with _located(name):
            tensors[name] = array.decoded()
    return encoded


@contextmanager
def _located(name: str) -> Iterator[None]:
    """Name the array in errors."""
    try:
        yield
    except ModelFileError as error:
        raise ModelFileError(error.problem, location=repr(name), hint=error.hint) from error


def _read_array(file: BinaryIO, start: int, name: str, entry: dict[str, Any]) -> NDArray[Any]:
    """Read an array; the arrays begin at ``start`` of the file."""
    dtype, shape = entry["dtype"], entry["shape"]
    try:
        if dtype not in TYPES:
            raise TypeError(f"it has no type {dtype}")
        file.seek(start + entry["data_offsets"][0])
        return np.fromfile(file, TYPES[dtype], math.prod(shape)).reshape(shape)
    except (OverflowError, TypeError, ValueError) as error:
        raise ModelFileError(f"expected an array in {name!r} that numpy can hold: {error}") from error


def _header(encoded: str | None) -> dict[str, Any]:
    """Decode and check the metadata."""
    try:
        header = parse_header(encoded) if encoded is not None else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or type(header.get("format_version")) is not int:
        raise ModelFileError(
            "expected a model of token2wave, found a safetensors file of another origin",
            hint="give a file that token2wave train wrote",
        )
    if header["format_version"] != FORMAT_VERSION:
        raise ModelFileError(
            f"expected format {FORMAT_VERSION}, found format {header['format_version']}",
            hint="another version of token2wave wrote the file: use that version, or train again",
        )
    for section, section_type in SECTIONS.items():
        if not isinstance(header.get(section), section_type):
            raise ModelFileError(f"expected the section {section!r} in the metadata")
    labels = header["labels"]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
        raise ModelFileError("expected distinct names of classes in the section 'labels'")
    return header
