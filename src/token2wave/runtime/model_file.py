"""The model file: one safetensors file with everything that prediction needs. Never pickle.

The tensors of the network lie under their names, those of the features under ``features.NAME``. The
metadata has one key, ``token2wave``, whose value is JSON (one key, so that equal models give equal
bytes) with ``format_version``, ``versions``, ``features``, ``network``, ``labels``, ``training``,
``storage``, which says how tensors are stored that do not lie there as they are
(:mod:`token2wave.runtime.storage`), ``thresholds``, where a text may have several classes, and ``novelty``,
if it is known (:mod:`token2wave.runtime.novelty`). The specification is ``docs/format.md``.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save, save_file

from token2wave.errors import ModelFileError, OutputError
from token2wave.runtime.files import written_aside
from token2wave.runtime.storage import Stored

FORMAT_VERSION = 2  # 1 had no storage
KEY = "token2wave"
SECTIONS = {"versions": dict, "features": dict, "network": dict, "labels": list, "training": dict}
TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BOOL": "?"}  # those that numpy has
TYPES |= {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)}


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
    stored: dict[str, Stored] = field(default_factory=dict)
    thresholds: list[float] = field(default_factory=list)
    novelty: dict[str, Any] | None = None


def write_model_file(path: Path, model: ModelFile) -> None:
    """Write a model file; an existing one stays whole until the new one is complete.

    Raises:
        OutputError: the place cannot be written to.
    """
    tensors, metadata = _contents(model)
    with written_aside(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:  # what a full disk gives
            raise OutputError(f"cannot be written: {error}", where=str(path)) from error


def size_of_model_file(model: ModelFile) -> int:
    """Bytes that :func:`write_model_file` would write."""
    tensors, metadata = _contents(model)
    return len(save(tensors, metadata=metadata))


def _contents(model: ModelFile) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Tensors and metadata of the safetensors file."""
    tensors = {name: array for name, array in model.tensors.items() if name not in model.stored}
    for name, stored in model.stored.items():
        tensors |= {name + suffix: part for suffix, part in stored.parts.items()}
    header: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "versions": model.versions,
        "features": model.features,
        "network": model.network,
        "labels": model.labels,
        "training": model.training,
        "storage": {name: stored.settings for name, stored in model.stored.items()},
    }
    if model.thresholds:
        header["thresholds"] = model.thresholds
    if model.novelty is not None:
        header["novelty"] = model.novelty
    arrays = {name: np.ascontiguousarray(array) for name, array in sorted(tensors.items())}
    return arrays, {KEY: json.dumps(header, sort_keys=True)}


def read_model_file(path: Path) -> ModelFile:
    """Read and check a model file. Nothing in it is executed.

    Raises:
        ModelFileError: it is missing, not a safetensors file, cut short, not of this project, of a
            newer format, or holds numbers that are not finite.
    """
    if path.is_dir():
        raise ModelFileError(
            "expected a model file, found a folder", where=str(path), cure="name a file in it"
        )
    try:
        # The library checks the file. The arrays are read here, since it would map them and copy them, and so
        # need twice the memory.
        with safe_open(path, framework="numpy"), path.open("rb") as file:
            entries = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            header = _header(path, (entries.pop("__metadata__", None) or {}).get(KEY))
            start = file.tell()
            tensors = {name: _tensor(path, file, start, name, entry) for name, entry in entries.items()}
    except FileNotFoundError as error:
        raise ModelFileError("there is no such file", where=str(path), cure="check the path") from error
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    except ValueError as error:  # a path with NUL in it
        raise ModelFileError(f"cannot be read: {error}", where=repr(str(path))) from error
    except SafetensorError as error:
        raise ModelFileError(
            f"expected a whole safetensors file, "
            f"found one that is damaged, cut short or of another kind ({error})",
            where=str(path),
            cure="copy it again, or train again",
        ) from error
    stored = _stored(path, header.get("storage", {}), tensors)
    for name, array in tensors.items():
        # The extremes tell as much as every number, and need no memory.
        if array.dtype.kind == "f" and array.size and not np.isfinite([array.min(), array.max()]).all():
            raise ModelFileError(f"expected finite numbers in {name!r}, found others", where=str(path))
    novelty = header.get("novelty")
    if novelty is not None and not isinstance(novelty, dict):
        raise ModelFileError("expected numbers by name in the section 'novelty'", where=str(path))
    return ModelFile(
        tensors=tensors,
        stored=stored,
        thresholds=_thresholds(path, header.get("thresholds", [])),
        novelty=novelty,
        **{section: header[section] for section in SECTIONS},
    )


def _thresholds(path: Path, found: Any) -> list[float]:
    """Check probabilities, if there are any."""
    legal = isinstance(found, list)
    if not legal or not all(type(share) in (int, float) and 0 <= share <= 1 for share in found):
        raise ModelFileError("expected probabilities in the section 'thresholds'", where=str(path))
    return [float(share) for share in found]


def _stored(path: Path, settings: Any, tensors: dict[str, NDArray[Any]]) -> dict[str, Stored]:
    """Decode what does not lie in the file as it is, in place; returns it undecoded."""
    if not isinstance(settings, dict) or not all(isinstance(entry, dict) for entry in settings.values()):
        raise ModelFileError("expected settings of stored arrays in the section 'storage'", where=str(path))
    found = {}
    for name, entry in settings.items():
        parts = {suffix: tensors.pop(name + suffix) for suffix in ("", ".scale") if name + suffix in tensors}
        found[name] = Stored(entry, parts)
        try:
            tensors[name] = found[name].decoded()
        except ModelFileError as error:
            raise ModelFileError(error.problem, where=f"{path}, {name!r}", cure=error.cure) from error
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
            f"expected an array in {name!r} that numpy can hold: {error}", where=str(path)
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
            where=str(path),
            cure="give a file that token2wave train wrote",
        )
    if header["format_version"] < 1:
        raise ModelFileError(f"expected format 1 or newer, found {header['format_version']}", where=str(path))
    if header["format_version"] > FORMAT_VERSION:
        raise ModelFileError(
            f"expected format {FORMAT_VERSION} or older, found format {header['format_version']}",
            where=str(path),
            cure="upgrade with: pip install --upgrade token2wave",
        )
    for section, kind in SECTIONS.items():
        if not isinstance(header.get(section), kind):
            raise ModelFileError(f"expected the section {section!r} in the metadata", where=str(path))
    labels = header["labels"]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
        raise ModelFileError("expected distinct names of classes in the section 'labels'", where=str(path))
    return header
