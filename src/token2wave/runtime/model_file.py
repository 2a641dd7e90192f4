"""The model file: one safetensors file with everything that prediction needs. Never pickle.

The tensors of the network lie under their names, those of the features under ``features.NAME``. The
metadata has one key, ``token2wave``, whose value is JSON (one key, so that equal models give equal
bytes) with ``format_version``, ``versions``, ``features``, ``network``, ``labels`` and ``training``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from token2wave.errors import ModelFileError, OutputError
from token2wave.runtime.files import written_aside

FORMAT_VERSION = 1
KEY = "token2wave"
SECTIONS = {"versions": dict, "features": dict, "network": dict, "labels": list, "training": dict}


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
    """

    tensors: dict[str, NDArray[Any]]
    features: dict[str, Any]
    network: dict[str, Any]
    labels: list[str]
    training: dict[str, Any]
    versions: dict[str, Any]


def write_model_file(path: Path, model: ModelFile) -> None:
    """Write a model file; an existing one stays whole until the new one is complete.

    Raises:
        OutputError: the place cannot be written to.
    """
    header = {
        "format_version": FORMAT_VERSION,
        "versions": model.versions,
        "features": model.features,
        "network": model.network,
        "labels": model.labels,
        "training": model.training,
    }
    tensors = {name: np.ascontiguousarray(array) for name, array in sorted(model.tensors.items())}
    with written_aside(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={KEY: json.dumps(header, sort_keys=True)})
        except SafetensorError as error:  # what a full disk gives
            raise OutputError(f"cannot be written: {error}", where=str(path)) from error


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
        with safe_open(path, framework="numpy") as file:
            header = _header(path, (file.metadata() or {}).get(KEY))
            tensors = {name: _tensor(path, file, name) for name in file.keys()}  # noqa: SIM118 - not a dict
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
    for name, array in tensors.items():
        # The extremes tell as much as every number, and need no memory.
        if array.dtype.kind == "f" and array.size and not np.isfinite([array.min(), array.max()]).all():
            raise ModelFileError(f"expected finite numbers in {name!r}, found others", where=str(path))
    return ModelFile(tensors=tensors, **{section: header[section] for section in SECTIONS})


def _tensor(path: Path, file: Any, name: str) -> NDArray[Any]:
    """Read an array, of a type and shape that numpy has."""
    try:
        array: NDArray[Any] = file.get_tensor(name)
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
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
