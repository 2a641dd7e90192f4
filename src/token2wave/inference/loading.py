"""Reads a model file and checks every tensor against the settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import MissingExtraError, ModelFileError, Token2WaveError, import_extra
from token2wave.features import Features, Ragged, features_from_file
from token2wave.features.ragged import offsets_of
from token2wave.inference import reference
from token2wave.inference.compiled import compile_network, reason_not_to_compile
from token2wave.inference.model import FEATURE_PREFIX, Model, Network
from token2wave.inference.novelty import NoveltyReference
from token2wave.models.wave_config import WaveConfig
from token2wave.storage.model_file import ModelFile, read_model_file

if TYPE_CHECKING:
    from token2wave.models import WaveNetwork

M = TypeVar("M", bound=Model)
PROBE_TEXTS = ["", "a", "A good film, and the 2 best games: not bad!"]
N_PROBES = 64  # rows, besides those with the largest numbers


def load_model(path: str | os.PathLike[str], device: str, model_class: type[M]) -> M:
    """Read a model file as :class:`Model` or a subclass; see :func:`token2wave.load`."""
    file = read_model_file(Path(path))
    try:
        return _build(file, device, model_class)
    except MissingExtraError:
        raise
    except Token2WaveError as error:
        location = str(path) if error.location is None else f"{path}, {error.location}"
        raise ModelFileError(error.problem, location=location, hint=error.hint) from error


def _build(file: ModelFile, device: str, model_class: type[M]) -> M:
    """Make features and network, and check the tensors against their settings."""
    config = WaveConfig.from_dict(file.network)
    arrays = {name: array for name, array in file.tensors.items() if not name.startswith(FEATURE_PREFIX)}
    features = _features(file)
    if features.n_rows != config.n_rows:
        raise ModelFileError(f"expected {config.n_rows} rows from the features, found {features.n_rows}")
    if len(file.labels) != config.n_classes:
        raise ModelFileError(f"expected {config.n_classes} names of classes, found {len(file.labels)}")
    expected = config.parameter_shapes()
    if expected.keys() != arrays.keys():
        odd = sorted(expected.keys() ^ arrays.keys())[0]
        raise ModelFileError(f"expected the tensors of this network, found {odd!r} missing or too many")
    for name, shape in expected.items():
        if arrays[name].shape != shape or arrays[name].dtype != np.float32:
            raise ModelFileError(
                f"expected float32 of shape {shape} for {name!r}, "
                f"found {arrays[name].dtype} of shape {arrays[name].shape}"
            )
    with np.errstate(all="ignore"):  # the probe finds what overflows
        network = build_network(config, arrays, device)
        _probe(features, network, arrays)
    if config.multi_label and len(file.thresholds) not in (0, config.n_classes):
        raise ModelFileError(f"expected {config.n_classes} thresholds, found {len(file.thresholds)}")
    return model_class(
        features,
        network,
        tuple(file.labels),
        file.training,
        file.versions,
        file.encoded,
        tuple(file.thresholds) if config.multi_label else (),
        None if file.novelty is None else NoveltyReference.from_dict(file.novelty),
    )


def _probe(features: Features, network: Network, arrays: dict[str, NDArray[np.float32]]) -> None:
    """Predict a few texts, and the rows with the largest numbers: finite weights can overflow."""
    rows = [np.linspace(0, features.n_rows - 1, min(features.n_rows, N_PROBES), dtype=np.int64)]
    for array in arrays.values():
        if array.ndim == 2 and len(array) == features.n_rows > 0:
            rows += [array.argmax(axis=0), array.argmin(axis=0)]
    ids = np.unique(np.concatenate(rows)).astype(np.int32)
    ones = np.ones(len(ids), dtype=np.int64)
    probes = [features(PROBE_TEXTS), Ragged(ids, offsets_of(ones), ones)]
    if len(ids):  # all of them in one text
        probes.append(Ragged(ids, offsets_of(n := np.array([len(ids)])), n))
    logits = np.concatenate([network.logits(probe) for probe in probes])
    sums = reference.probabilities(logits, network.config.multi_label).sum(axis=1)
    if not np.isfinite(sums).all() or not (network.config.multi_label or np.allclose(sums, 1, atol=1e-3)):
        raise ModelFileError(
            "expected finite probabilities for a probe text, found others",
            hint="its weights overflow: use another file, or train again",
        )


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
    with import_extra("train", purpose, "torch"):
        import torch

        from token2wave.models import WaveNetwork
    with torch.random.fork_rng(devices=[]):  # the initial weights are overwritten
        network = WaveNetwork(config)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, assign=True)
    network.eval()
    return network.to(device)


def _features(file: ModelFile) -> Features:
    """Rebuild the features, and check that no array is left over."""
    settings = file.features.get("settings")
    if not isinstance(settings, dict):
        raise ModelFileError("expected settings of the features, found none")
    arrays = {
        name.removeprefix(FEATURE_PREFIX): array
        for name, array in file.tensors.items()
        if name.startswith(FEATURE_PREFIX)
    }
    features = features_from_file(str(file.features.get("kind")), settings, arrays)
    if odd := sorted(arrays.keys() - features.arrays().keys()):
        raise ModelFileError(f"expected no array {odd[0]!r} for features of type {features.type_name}")
    return features
