"""Reads a model file and checks every tensor against the settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import MissingExtraError, ModelFileError, Token2WaveError, import_extra
from token2wave.features import Features, PairConfig, Ragged, WordConfig, feature_config, features_from_file
from token2wave.features.pairs import ARRAYS, COMPARISONS, N_CUTS
from token2wave.features.ragged import offsets_of
from token2wave.inference import reference
from token2wave.inference.compiled import compile_network, reason_not_to_compile
from token2wave.inference.drift_sums import DriftSums
from token2wave.inference.model import Model, Network
from token2wave.inference.novelty import NoveltyReference
from token2wave.models.wave_config import WaveConfig
from token2wave.score_scale import ScoreScale
from token2wave.storage.model_file import FEATURE_PREFIX, Expected, ModelFile, read_model_file

if TYPE_CHECKING:
    from token2wave.models import WaveNetwork

M = TypeVar("M", bound=Model)
N_PROBES = 64  # rows with the largest numbers
ROWS_CHUNK = 1 << 14  # rows searched at once; bounds memory


def load_model(path: str | os.PathLike[str], device: str, model_class: type[M]) -> M:
    """Read a model file as :class:`Model` or a subclass; see :func:`token2wave.load`."""
    file = read_model_file(Path(path), expected_arrays)
    try:
        return _build(file, device, model_class)
    except MissingExtraError:
        raise
    except Token2WaveError as error:
        location = str(path) if error.location is None else f"{path}, {error.location}"
        raise ModelFileError(error.problem, location=location, hint=error.hint) from error


def expected_arrays(header: dict[str, Any]) -> Expected:
    """Return type and shape of every array of a model file, from its settings alone.

    Raises:
        Token2WaveError: the settings are illegal, or contradict each other.
    """
    config, features = WaveConfig.from_dict(header["network"]), header["features"]
    n_names = config.n_classes + (header.get("scale") is not None)  # K cuts part K + 1 classes
    if len(header["labels"]) != n_names:
        raise ModelFileError(f"expected {n_names} names of classes, found {len(header['labels'])}")
    if not isinstance(features.get("settings"), dict):
        raise ModelFileError("expected settings of the features, found none")
    words = feature_config(str(features.get("kind")), features["settings"])
    expected: Expected = {name: ("F32", list(shape)) for name, shape in config.parameter_shapes().items()}
    if isinstance(words, PairConfig):
        sizes = {"n_texts": [1], "cuts": [len(COMPARISONS), N_CUTS]}
        types = {"uint32": "U32", "int8": "I8", "float32": "F32"}
        return expected | {
            f"{FEATURE_PREFIX}{name}": (types[np.dtype(dtype).name], sizes.get(name))
            for name, (dtype, _) in ARRAYS.items()
        }
    if not isinstance(words, WordConfig):
        if config.n_oov or config.window_words:
            raise ModelFileError(
                "expected features of words beside an OOV table or a window level, found WordPiece"
            )
        return {**expected, f"{FEATURE_PREFIX}vocabulary": ("U8", None)}
    n_buckets = config.n_rows - int(words.cls)
    if n_buckets > 1 << words.bits:
        raise ModelFileError(f"expected at most 2^{words.bits} rows, found {config.n_rows:,}")
    if config.n_oov:
        expected[f"{FEATURE_PREFIX}oov_hashes"] = ("U32", [config.n_oov])
    return {**expected, f"{FEATURE_PREFIX}buckets": ("U32", [n_buckets])}


def _build(file: ModelFile, device: str, model_class: type[M]) -> M:
    """Make features and network, and check the tensors against their settings."""
    config = WaveConfig.from_dict(file.network)
    arrays = {name: array for name, array in file.tensors.items() if not name.startswith(FEATURE_PREFIX)}
    features = _features(file)
    if features.n_rows != config.n_rows:
        raise ModelFileError(f"expected {config.n_rows} rows from the features, found {features.n_rows}")
    with np.errstate(all="ignore"):  # the probe finds what overflows
        network = build_network(config, arrays, device)
        _probe(network, arrays)
    scale = None if file.scale is None else ScoreScale.from_dict(file.scale)
    has_thresholds = config.multi_label and scale is None
    if has_thresholds and len(file.thresholds) not in (0, config.n_classes):
        raise ModelFileError(f"expected {config.n_classes} thresholds, found {len(file.thresholds)}")
    return model_class(
        features,
        network,
        tuple(file.labels),
        file.training,
        file.versions,
        file.encoded,
        tuple(file.thresholds) if has_thresholds else (),
        None if file.novelty is None else NoveltyReference.from_dict(file.novelty),
        None if file.drift is None else DriftSums.from_dict(file.drift, len(file.labels)),
        scale,
    )


def _probe(network: Network, arrays: dict[str, NDArray[np.float32]]) -> None:
    """Predict the empty text, and the rows with the largest numbers, each alone and all in one text.

    The OOV table likewise; in the text of all its rows, they are the n-grams of one token.

    Raises:
        ModelFileError: the weights overflow.
    """
    for name in arrays.keys() & {reference.EMBEDDING, reference.OOV, reference.WINDOWS}:
        ids = _largest_rows(arrays[name])
        lengths = np.array([0, *[1] * len(ids), len(ids)], dtype=np.int64)
        n_ordered, n_oov = lengths, None
        if name == reference.OOV:
            ids, n_ordered, n_oov = ids + network.config.n_rows, lengths * 0, np.minimum(lengths, 1)
        probes = Ragged(np.tile(ids, 2).astype(np.int32), offsets_of(lengths), n_ordered, n_oov)
        reference.probabilities(network.logits(probes), network.config.multi_label)


def _largest_rows(table: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the rows of a table with the largest numbers."""
    rows, sizes = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    for first in range(0, len(table), ROWS_CHUNK):
        chunk = table[first : first + ROWS_CHUNK]
        rows = np.append(rows, np.arange(first, first + len(chunk)))
        sizes = np.append(sizes, np.maximum(chunk.max(axis=1), -chunk.min(axis=1)))
        largest = np.argsort(-sizes)[:N_PROBES]
        rows, sizes = rows[largest], sizes[largest]
    return rows


def build_network(config: WaveConfig, arrays: dict[str, NDArray[np.float32]], device: str) -> Network:
    """Make the network of a shape and its parameters, without torch if possible.

    Raises:
        MissingExtraError: it needs torch, which is not installed.
    """
    if device == "cpu" and reason_not_to_compile(config) is None:
        return compile_network(config, arrays)
    return build_torch_network(config, arrays, device)


def build_torch_network(
    config: WaveConfig, arrays: dict[str, NDArray[np.float32]], device: str, purpose: str = "this model"
) -> WaveNetwork:
    """Make a network in torch of a shape and its parameters, whose memory it shares on the CPU.

    Raises:
        MissingExtraError: torch is not installed.
    """
    with import_extra("torch", purpose, "torch"):
        import torch

        from token2wave.models import WaveNetwork
    with torch.device("meta"):  # no initial weights, which would be overwritten
        network = WaveNetwork(config)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, assign=True)
    network.eval()
    return network.to(device)


def _features(file: ModelFile) -> Features:
    """Rebuild the features."""
    arrays = {
        name.removeprefix(FEATURE_PREFIX): array
        for name, array in file.tensors.items()
        if name.startswith(FEATURE_PREFIX)
    }
    return features_from_file(file.features["kind"], file.features["settings"], arrays)
