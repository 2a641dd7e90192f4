"""The model file: one safetensors file with everything that prediction needs. Never pickle.

The tensors of the network lie under their names, those of the features under ``features.NAME``. The
metadata has one key, ``token2wave``, whose value is JSON (one key, so that equal models give equal
bytes) with ``format_version``, ``versions``, ``features``, ``network``, ``labels``, ``training``,
``storage``, which says how tensors are stored that do not lie there as they are
(:mod:`token2wave.storage.encodings`), ``thresholds``, where a text may have several classes, ``novelty``,
if it is known (:mod:`token2wave.inference.novelty`), and before all ``checksum``: the CRC-32 of the whole
file with these eight digits as zeros. The specification is ``docs/format.md``.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from token2wave.errors import ModelFileError
from token2wave.storage.atomic import atomic_write
from token2wave.storage.encodings import EncodedArray
from token2wave.storage.safetensors_writer import TYPES, bytes_of, size_of_arrays, write_arrays

FORMAT_VERSION = 3
KEY = "token2wave"
SECTIONS = {
    "versions": dict,
    "features": dict,
    "network": dict,
    "labels": list,
    "training": dict,
    "storage": dict,
}
BEGINNING = '{"__metadata__":{"token2wave":"{\\"checksum\\": \\"'  # of the header; the digits follow
AT = 8 + len(BEGINNING)  # where they stand in the file
NO_DIGITS = "0" * 8


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds.

    Attributes:
        tensors: arrays by name.
        features: ``{"kind": ..., "settings": {...}}``.
        network: settings of the network.
        labels: names of the classes, in order.
        training: record of the training run.
        versions: what wrote the file.
        stored: arrays that lie in the file in another form, by name; ``tensors`` has them decoded.
        thresholds: probability from which on a text is given each class, where it may have several.
        novelty: what is usual in texts to come; None where it is not known.
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


def write_model_file(path: Path, model: ModelFile) -> None:
    """Write a model file; an existing one stays whole until the new one is complete.

    Raises:
        OutputError: the place cannot be written to.
    """
    tensors, metadata = _contents(model)
    with atomic_write(path) as temporary:
        checksum = write_arrays(temporary, tensors, metadata)
        with temporary.open("rb+") as file:
            file.seek(AT)
            file.write(f"{checksum:08x}".encode())


def size_of_model_file(model: ModelFile) -> int:
    """Bytes that :func:`write_model_file` would write."""
    return size_of_arrays(*_contents(model))


def _contents(model: ModelFile) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Tensors and metadata of the safetensors file."""
    tensors = {name: array for name, array in model.tensors.items() if name not in model.encoded}
    for name, encoded in model.encoded.items():
        tensors |= {name + suffix: part for suffix, part in encoded.parts.items()}
    header: dict[str, Any] = {
        "checksum": NO_DIGITS,  # first of the sorted keys, so that it always stands in one place
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
    if model.novelty is not None:
        header["novelty"] = model.novelty
    return tensors, {KEY: json.dumps(header, sort_keys=True)}


def read_model_file(path: Path) -> ModelFile:
    """Read and check a model file. Nothing in it is executed.

    Raises:
        ModelFileError: it is missing, not a safetensors file, cut short, not of this project, of a
            newer format, not what was written by its checksum, or holds numbers that are not finite.
    """
    if path.is_dir():
        raise ModelFileError(
            "expected a model file, found a folder", location=str(path), hint="name a file in it"
        )
    try:
        # The library checks the file. The arrays are read here, since it would map them and copy them, and so
        # need twice the memory.
        with safe_open(path, framework="numpy"), path.open("rb") as file:
            begin = file.read(8)
            begin += file.read(int.from_bytes(begin, "little"))
            entries = json.loads(begin[8:])
            header = _header(path, (entries.pop("__metadata__", None) or {}).get(KEY))
            in_order = sorted(entries.items(), key=lambda item: item[1]["data_offsets"])
            tensors = {name: _tensor(path, file, len(begin), name, entry) for name, entry in in_order}
    except FileNotFoundError as error:
        raise ModelFileError("there is no such file", location=str(path), hint="check the path") from error
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror or error}", location=str(path)) from error
    except ValueError as error:  # a path with NUL in it
        raise ModelFileError(f"cannot be read: {error}", location=repr(str(path))) from error
    except SafetensorError as error:
        raise ModelFileError(
            f"expected a whole safetensors file, "
            f"found one that is damaged, cut short or of another kind ({error})",
            location=str(path),
            hint="copy it again, or train again",
        ) from error
    if "checksum" in header:  # writers other than this one may leave it out
        _check(path, header["checksum"], begin, tensors.values())
    encoded = _encoded_arrays(path, header["storage"], tensors)
    for name, array in tensors.items():
        # The extremes tell as much as every number, and need no memory.
        if array.dtype.kind == "f" and array.size and not np.isfinite([array.min(), array.max()]).all():
            raise ModelFileError(f"expected finite numbers in {name!r}, found others", location=str(path))
    novelty = header.get("novelty")
    if novelty is not None and not isinstance(novelty, dict):
        raise ModelFileError("expected numbers by name in the section 'novelty'", location=str(path))
    return ModelFile(
        tensors=tensors,
        encoded=encoded,
        thresholds=_thresholds(path, header.get("thresholds", [])),
        novelty=novelty,
        **{section: header[section] for section in SECTIONS if section != "storage"},
    )


def _check(path: Path, expected: Any, begin: bytes, tensors: Iterable[NDArray[Any]]) -> None:
    """Compare the checksum of a file with what its header says.

    Args:
        path: of the file.
        expected: what the header says.
        begin: the file up to the first array.
        tensors: in the order in which they lie in the file, which safetensors leaves no gaps between.
    """
    found = zlib.crc32(begin[:AT] + NO_DIGITS.encode() + begin[AT + len(NO_DIGITS) :])
    for array in tensors:
        found = zlib.crc32(bytes_of(array), found)
    if expected != f"{found:08x}":
        raise ModelFileError(
            f"expected the bytes that were written, of checksum {expected!r:.10}, found others ({found:08x})",
            location=str(path),
            hint="the file was damaged since: copy it again, or train again",
        )


def _thresholds(path: Path, found: Any) -> list[float]:
    """Check probabilities, if there are any."""
    legal = isinstance(found, list)
    if not legal or not all(type(share) in (int, float) and 0 <= share <= 1 for share in found):
        raise ModelFileError("expected probabilities in the section 'thresholds'", location=str(path))
    return [float(share) for share in found]


def _encoded_arrays(path: Path, settings: Any, tensors: dict[str, NDArray[Any]]) -> dict[str, EncodedArray]:
    """Decode what does not lie in the file as it is, in place; returns it undecoded."""
    if not isinstance(settings, dict) or not all(isinstance(entry, dict) for entry in settings.values()):
        raise ModelFileError(
            "expected settings of stored arrays in the section 'storage'", location=str(path)
        )
    found = {}
    for name, entry in settings.items():
        parts = {suffix: tensors.pop(name + suffix) for suffix in ("", ".scale") if name + suffix in tensors}
        found[name] = EncodedArray(entry, parts)
        try:
            tensors[name] = found[name].decoded()
        except ModelFileError as error:
            raise ModelFileError(error.problem, location=f"{path}, {name!r}", hint=error.hint) from error
    return found


def _tensor(path: Path, file: BinaryIO, start: int, name: str, entry: dict[str, Any]) -> NDArray[Any]:
    """Read an array, of a type and shape that numpy has; the arrays begin at ``start``."""
    kind, shape = entry["dtype"], entry["shape"]
    try:
        if kind not in TYPES:
            raise TypeError(f"it has no type {kind}")
        file.seek(start + entry["data_offsets"][0])
        array: NDArray[Any] = np.fromfile(file, TYPES[kind], math.prod(shape)).reshape(shape)
    except (OverflowError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"expected an array in {name!r} that numpy can hold: {error}", location=str(path)
        ) from error
    return array


def _header(path: Path, encoded: str | None) -> dict[str, Any]:
    """Decode and check the metadata."""
    try:
        header = json.loads(encoded) if encoded is not None else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or type(header.get("format_version")) is not int:
        raise ModelFileError(
            "expected a model of token2wave, found a safetensors file of another origin",
            location=str(path),
            hint="give a file that token2wave train wrote",
        )
    if header["format_version"] != FORMAT_VERSION:
        raise ModelFileError(
            f"expected format {FORMAT_VERSION}, found format {header['format_version']}",
            location=str(path),
            hint="another version of token2wave wrote the file: use that version, or train again",
        )
    for section, kind in SECTIONS.items():
        if not isinstance(header.get(section), kind):
            raise ModelFileError(f"expected the section {section!r} in the metadata", location=str(path))
    labels = header["labels"]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
        raise ModelFileError("expected distinct names of classes in the section 'labels'", location=str(path))
    return header
